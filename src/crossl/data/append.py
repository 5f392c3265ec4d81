"""Append: whether recordings can be added to a store, and as what; what they lack is absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossl.data.recording import Modality
from crossl.data.target_entries import NumbersEntry, check_targets
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, nearest

if TYPE_CHECKING:
    from crossl.data.plan import Plan
    from crossl.data.readers.card import Card

CUT = ("window_s", "stride_s", "min_coverage", "min_label_share", "max_gap_s")


def as_in_store(out: Path, manifest: Mapping[str, Any], plan: Plan) -> Plan:
    """Plan recordings for a store that exists; modalities and classes that they lack are absent.

    Args:
        out: the store.
        manifest: what it says.
        plan: of what is to be added.

    Returns:
        The plan with the modalities and classes of the store, in its order.

    Raises:
        DataError: names the first thing that differs, as it is and as it must be.
    """
    wanted = {m["name"]: Modality.from_dict(m) for m in manifest["modalities"]}
    for found in plan.stored:
        if found.name not in wanted:
            raise DataError(
                f"{out}: has no modality '{found.name}', {nearest(found.name, wanted)}; leave it "
                "out (--without), or prepare everything into a new store"
            )
        _check_same(f"{out}: modality '{found.name}'", found.as_dict(),
                    wanted[found.name].as_dict())  # fmt: skip
    chosen = manifest.get("chosen", {})
    if plan.chosen:
        _check_same(f"{out}: classes", {"chosen": dict(plan.chosen)}, {"chosen": chosen})
    for name in () if chosen else plan.classes:
        if name not in manifest["classes"]:
            raise DataError(
                f"{out}: has no class '{name}', {nearest(name, manifest['classes'])}; prepare "
                "everything into a new store"
            )
    spec = WindowSpec(**manifest["window"])
    both = [{key: getattr(one, key) for key in CUT} for one in (plan.spec, spec)]
    _check_same(f"{out}: windows", *both)
    for name in (m.name for m in plan.modalities):
        gaps = [{"max_gap_s": one.gap_s(name)} for one in (plan.spec, spec)]
        _check_same(f"{out}: modality '{name}'", *gaps)
    _check_same(f"{out}: samples", {"dtype": plan.dtype}, {"dtype": manifest["dtype"]})
    read = {m.name: m for m in plan.modalities}
    modalities = tuple(read.get(name, modality) for name, modality in wanted.items())
    plan = _same_targets(out, manifest, plan)
    return replace(plan, modalities=modalities, classes=tuple(manifest["classes"]),
                   spec=spec, chosen=chosen)  # fmt: skip


def with_targets_of(manifest: Mapping[str, Any], out: Path, plan: Plan, card: Card) -> Plan:
    """Plan the targets that a store has, where whoever adds to it names none.

    Args:
        manifest: of the store.
        out: the store.
        plan: of what is to be added.
        card: of its data set.

    Raises:
        DataError: they are not known for what is to be added.
    """
    sources = manifest.get("target_sources")
    if not sources or plan.targets.rules:
        return plan
    block, labels = check_targets(sources, where=str(out), folder=out), []
    for name, entry in block.entries.items():
        if not isinstance(entry, NumbersEntry):
            labels += [label for some in entry.of.values() for label in some]
        elif any(number.people for number in entry.numbers(name).values()):
            raise DataError(
                f"{out}: target '{name}' is from a table of people; name the table again with "
                "--targets"
            )
    return plan.telling(block, card, more=labels)


def _same_targets(out: Path, manifest: Mapping[str, Any], plan: Plan) -> Plan:
    """Put targets into the order of the store; refuse others."""
    wanted = {target["name"]: target for target in manifest.get("targets", ())}
    found = {rule.target.name: rule for rule in plan.targets.rules}
    for name in found:
        if name not in wanted:
            cure = nearest(name, wanted) if wanted else "it was prepared without targets"
            raise DataError(
                f"{out}: has no target '{name}', {cure}; prepare everything into a new store"
            )
    for name, target in wanted.items():
        if name not in found:
            raise DataError(
                f"{out}: has target '{name}', which is not given for what is added; give it too"
            )
        where = f"{out}: target '{name}'"
        _check_same(where, found[name].target.as_dict(), target)
        sources = (plan.targets.sources[name], manifest["target_sources"][name])
        _check_same(where, *({"source": _without_people(source)} for source in sources))
    rules = tuple(found[name] for name in wanted)
    return replace(plan, targets=replace(plan.targets, rules=rules))


def _without_people(source: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out numbers of single people: other people are added."""
    of_people = ("people", "subject", "value", "unit", "keep")
    kept = {key: value for key, value in source.items() if key not in of_people}
    if isinstance(kept.get("of_person"), Mapping):
        del kept["of_person"]
    if source.get("kind") == "numbers" and "of" in kept:
        kept["of"] = {key: _without_people(number) for key, number in kept["of"].items()}
    return kept


def _check_same(where: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            raise DataError(
                f"{where}: {key} is {_text(found.get(key))} in what is to be added; the store has "
                f"{_text(value)}, and both must agree"
            )


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"'{value}'" if isinstance(value, str) else str(value)
