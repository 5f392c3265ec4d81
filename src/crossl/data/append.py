"""Append: whether recordings can be added to a store, and as what; what they lack is absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossl.data.recording import Modality
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, nearest

if TYPE_CHECKING:
    from crossl.data.prepare import Plan

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
    return replace(plan, modalities=modalities, classes=tuple(manifest["classes"]),
                   spec=spec, chosen=chosen)  # fmt: skip


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
