"""Plan: how a data set becomes a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from crossl.data.classes import choose_classes
from crossl.data.rate_change import RATE_FILTER
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset
from crossl.data.recording import Modality
from crossl.data.segment import DTYPES, DType, SegmentSpec
from crossl.data.target_entries import TargetBlock
from crossl.data.target_plan import TargetPlan, plan_targets
from crossl.data.windows import WindowSpec
from crossl.data.write import check_names
from crossl.errors import ConfigError, nearest


@dataclass(frozen=True)
class Plan:
    """How a data set becomes a store.

    Attributes:
        modalities: the streams to keep, in order, at the rates they are read at.
        classes: label names, in order.
        spec: how windows are cut.
        dtype: how samples are kept on disk.
        resample: new rate by modality name, hertz; through an anti-alias filter.
        about: JSON values for the manifest.
        chosen: the class of each label of the recordings; empty where labels are the classes.
        targets: targets of windows beside their label.
        any_rate: modalities that files may hold at whatever rate they have.
    """

    modalities: tuple[Modality, ...]
    classes: tuple[str, ...]
    spec: WindowSpec
    dtype: DType = "float32"
    resample: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    targets: TargetPlan = field(default_factory=TargetPlan)
    any_rate: tuple[str, ...] = ()

    def choosing(self, texts: Sequence[str]) -> Plan:
        """Keep some classes, or make one of several; see `choose_classes`."""
        chosen = choose_classes(texts, self.classes)
        return replace(self, classes=tuple(dict.fromkeys(chosen.values())), chosen=chosen)

    def telling(
        self, block: TargetBlock, card: Card, *, named: Sequence[str] = (), more: Sequence[str] = ()
    ) -> Plan:
        """Tell targets beside the label; what they are read from is no input any more.

        Args:
            block: as it was written.
            card: of the data set.
            named: modalities that were asked for as inputs by name.
            more: labels that other recordings of the store have.

        Raises:
            DataError: the block does not fit the data set.
            ConfigError: a modality is asked for that a target is read from, or none is left.
        """
        targets = plan_targets(block, card, more=more)
        for name, target in targets.hidden.items():
            where = f"{block.where}: targets.{target}: is read from modality '{name}'"
            if name in named:
                raise ConfigError(
                    f"{where}, which would give the answer away as an input; leave it out of the "
                    "inputs that are asked for, or allow it by keep: true"
                )
            if name in self.resample:
                raise ConfigError(f"{where}, which is not an input and is not resampled")
        kept = tuple(m for m in self.modalities if m.name not in targets.hidden)
        if not kept:
            raise ConfigError(
                f"{block.where}: targets are read from every modality; leave at least one as input"
            )
        notes = targets.notes([m.name for m in self.modalities])
        notes = [*self.about.get("notes", ()), *notes]
        about = {**self.about, **({"notes": notes} if notes else {})}
        return replace(self, modalities=kept, targets=targets, about=about)

    def __post_init__(self) -> None:
        """Refuse names that are duplicate or unknown, and types that no store has."""
        check_names(self.modalities, self.classes)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype '{self.dtype}': unknown; {nearest(self.dtype, DTYPES)}")
        known = [m.name for m in self.modalities]
        for name in self.resample:
            if name not in known:
                raise ConfigError(f"resample: modality '{name}' is unknown; {nearest(name, known)}")

    @property
    def stored(self) -> tuple[Modality, ...]:
        """The streams as the store has them, at their new rates."""
        return tuple(
            Modality.from_dict({**m.as_dict(), "rate_hz": self.resample.get(m.name, m.rate_hz)})
            for m in self.modalities
        )

    @property
    def segment(self) -> SegmentSpec:
        """What a segment of the store holds."""
        return SegmentSpec(self.stored, self.dtype, self.targets.targets)

    @property
    def resampled(self) -> dict[str, dict[str, Any]]:
        """Whose rate is changed, from which rate (None: whatever files have), and how."""
        from_hz: dict[str, float | None] = {
            m.name: None if m.name in self.any_rate else m.rate_hz
            for m in self.modalities
            if m.name in self.any_rate or m.name in self.resample
        }
        return {name: {"from_hz": hz, "filter": RATE_FILTER} for name, hz in from_hz.items()}

    def settings(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {
            **self.about,
            **({"resampled": self.resampled} if self.resampled else {}),
            **({"chosen": dict(self.chosen)} if self.chosen else {}),
            "window": self.spec.as_dict(),
            "dtype": self.dtype,
            "modalities": [m.as_dict() for m in self.stored],
            "classes": list(self.classes),
            **self.targets.settings(),
        }


def plan_for(
    dataset: Dataset,
    reader: str,
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    spec: WindowSpec | None = None,
    dtype: DType = "float32",
    resample: Mapping[str, float] | None = None,
    options: Mapping[str, str] | None = None,
) -> Plan:
    """Plan a store of a data set.

    Args:
        dataset: what a reader found.
        reader: its name, for the manifest.
        only: modalities to keep, in this order; none for all.
        without: modalities to leave out.
        spec: how windows are cut; None for what the card says.
        dtype: how samples are kept on disk.
        resample: new rate by modality name.
        options: what the reader was asked for; other options are other work.

    Raises:
        ConfigError: no such modality, or none is left.
    """
    card = dataset.card
    by_name = {m.name: m for m in card.modalities}
    for name in (*only, *without):
        if name not in by_name:
            raise ConfigError(f"modality '{name}' of {card.name}: {nearest(name, by_name)}")
    kept = tuple(by_name[name] for name in (only or by_name) if name not in without)
    if not kept:
        raise ConfigError(f"modalities of {card.name}: none is left; keep at least one")
    about = {
        "dataset": card.name,
        "reader": reader,
        "options": dict(options or {}),
        "crossl": version("crossl"),
        "title": card.title,
        **({"notes": list(dataset.notes)} if dataset.notes else {}),
        **({"mapping": dict(dataset.mapping)} if dataset.mapping else {}),
        "description": f"{card.description} Licence: {card.licence}. Cite: {card.citation}.",
    }
    plan = Plan(kept, card.classes, spec or card.spec, dtype, dict(resample or {}), about,
                any_rate=dataset.any_rate)  # fmt: skip
    return plan.telling(dataset.targets, card, named=only) if dataset.targets else plan
