"""Target plan: what a block `targets:` comes to in one data set, and which inputs it takes away."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossl.data.boundary import reading
from crossl.data.formats import open_file
from crossl.data.readers.card import Card
from crossl.data.recording import Modality
from crossl.data.target_entries import (
    LabelsEntry,
    NumberEntry,
    NumbersEntry,
    TargetBlock,
    TargetEntry,
)
from crossl.data.target_rules import (
    LabelsOfClasses,
    MergedClasses,
    Number,
    NumberKnown,
    NumberOfPerson,
    NumberOfSignal,
    Numbers,
    TargetRule,
)
from crossl.data.targets import Target
from crossl.data.units import parse_unit
from crossl.errors import DataError, nearest
from crossl.files import not_a_file


@dataclass(frozen=True)
class TargetPlan:
    """Targets of windows beside their label, and where they come from.

    Attributes:
        rules: one for each target.
        sources: the block as it was written, plain JSON values.
        hidden: modalities that are not inputs, and the target that is read from each.
        kept: modalities that may be inputs though a target is read from them, and that target.
    """

    rules: tuple[TargetRule, ...] = ()
    sources: Mapping[str, Any] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is reported."""
        return tuple(rule.target for rule in self.rules)

    def settings(self) -> dict[str, Any]:
        """Return what the manifest says of it; nothing where there is no target."""
        if not self.rules:
            return {}
        return {"targets": [target.as_dict() for target in self.targets],
                "target_sources": dict(self.sources)}  # fmt: skip

    def notes(self, modalities: Collection[str]) -> list[str]:
        """Say which of some modalities a target is read from, a sentence each."""
        hidden = [f"modality '{name}' is not an input: target '{target}' is read from it"
                  for name, target in self.hidden.items() if name in modalities]  # fmt: skip
        kept = [f"modality '{name}' is an input that gives the answer away: target '{target}' is "
                "read from it" for name, target in self.kept.items()
                if name in modalities and name not in self.hidden]  # fmt: skip
        return hidden + kept

    def refuse_strangers(self, subjects: Collection[str], *, read: bool) -> None:
        """Refuse a number that is given for a person who was not recorded.

        Args:
            subjects: of all recordings of the store.
            read: all recordings could be read; else the others may be of whom nobody knows.

        Raises:
            DataError: names the first; of a table, which may hold others, only where it knows none.
        """
        for rule in self.rules if read else ():
            for number in rule.numbers if isinstance(rule, Numbers) else ():
                if not isinstance(number, NumberOfPerson):
                    continue
                strange = [name for name in number.values_of if name not in subjects]
                if strange and (number.complete or len(strange) == len(number.values_of)):
                    raise DataError(
                        f"{number.where}: no recording is of subject '{strange[0]}'; "
                        f"{nearest(strange[0], subjects)}"
                    )


def plan_targets(block: TargetBlock, card: Card, *, more: Collection[str] = ()) -> TargetPlan:
    """Plan the targets of a data set.

    Args:
        block: as it was written.
        card: of the data set.
        more: labels that other recordings of the store have.

    Raises:
        DataError: a class, modality, channel, person or column is unknown, in one sentence.
    """
    known = (*card.classes, *sorted(set(more) - set(card.classes)))
    made = _Rules(block, card, known)
    try:
        rules = tuple(made.rule(name, entry) for name, entry in block.entries.items())
    except DataError as error:
        raise DataError(f"{block.where}: {error}") from None
    numbers = [
        (number.from_.partition(".")[0], name, number.keep)
        for name, entry in block.entries.items()
        if isinstance(entry, NumbersEntry)
        for number in entry.numbers(name).values()
        if number.from_ is not None
    ]
    hidden = {modality: name for modality, name, keep in numbers if not keep}
    kept = {modality: name for modality, name, keep in numbers if keep}
    return TargetPlan(rules, block.as_dict(), hidden, kept)


@dataclass(frozen=True)
class _Rules:
    """Makes rules of entries.

    Attributes:
        block: that they stand in.
        card: of the data set.
        labels: of its recordings, in order.
    """

    block: TargetBlock
    card: Card
    labels: tuple[str, ...]

    def rule(self, name: str, entry: TargetEntry) -> TargetRule:
        where = f"targets.{name}"
        if isinstance(entry, NumbersEntry):
            several = entry.numbers(name)
            found = [
                self.number(f"{where}.of.{key}" if entry.of else where, one)
                for key, one in several.items()
            ]
            units = tuple(unit for _, unit in found)
            target = Target(name, "numbers", tuple(several), units)
            return Numbers(target, tuple(number for number, _ in found))
        for key, labels in entry.of.items():
            for label in labels:
                if label not in self.labels:
                    cure = nearest(label, self.labels) if self.labels else "it has no labels"
                    raise DataError(
                        f"{where}.of.{key}: {self.card.name} has no class '{label}'; {cure}"
                    )
        target = Target(name, entry.kind, tuple(entry.of))
        if isinstance(entry, LabelsEntry):
            return LabelsOfClasses(target, self.labels, tuple(entry.of.values()))
        merged = {label: key for key, labels in entry.of.items() for label in labels}
        return MergedClasses(target, merged)

    def number(self, where: str, entry: NumberEntry) -> tuple[Number, str]:
        """Return a number and its unit."""
        if entry.from_ is not None:
            modality, channel = self.channel(f"{where}.from", entry.from_)
            return NumberOfSignal(modality, channel, entry.statistic), modality.unit
        if isinstance(entry.of_person, str):
            fact, known = entry.of_person, self.card.person
            if fact not in known:
                cure = nearest(fact, known) if known else "give a number for each: {S1: 34}"
                raise DataError(
                    f"{where}.of_person: {self.card.name} knows no '{fact}' of its people; {cure}"
                )
            return NumberKnown(fact), known[fact]
        unit = parse_unit(entry.unit or "1", where=f"{where}.unit")
        if entry.of_person is not None:
            told = dict(entry.of_person)
        else:
            told = read_people(self.block.folder / str(entry.people), str(entry.subject),
                               str(entry.value), where=where)  # fmt: skip
        si = {subject: float(unit.to_si(np.array(value))) for subject, value in told.items()}
        for subject, value in si.items():
            if not np.isfinite(value):
                raise DataError(
                    f"{where}: the number of '{subject}' is {told[subject]:g}; a finite one is "
                    "needed"
                )
        told_in = f"{self.block.where}: {where}"
        return NumberOfPerson(si, entry.of_person is not None, told_in), unit.si

    def channel(self, where: str, text: str) -> tuple[Modality, int]:
        """Find a channel by `MODALITY.channel`."""
        name, _, channel = text.partition(".")
        found = {m.name: m for m in self.card.modalities}
        if name not in found:
            raise DataError(
                f"{where}: {self.card.name} has no modality '{name}'; {nearest(name, found)}"
            )
        channels = found[name].channels
        if channel not in channels:
            told = f"has no channel '{channel}'" if channel else "is a modality, not a channel"
            written = [f"{name}.{one}" for one in channels]
            raise DataError(f"{where}: '{name}' {told}; {nearest(text, written)}")
        return found[name], channels.index(channel)


def read_people(path: Path, subject: str, value: str, *, where: str) -> dict[str, float]:
    """Read a number for each person from a table.

    Args:
        path: a table with a row for each person.
        subject: column of subjects.
        value: column of numbers; where it is empty the number is unknown.
        where: names the target in messages.

    Returns:
        By subject, without those of whom it is unknown.

    Raises:
        DataError: no such file or column, no numbers, or two of one person.
    """
    if not path.is_file():
        raise DataError(
            f"{where}.people: {path} {not_a_file(path)}; paths start from the block's file"
        )
    with reading(path, "a table"):
        (stream,) = open_file(path).streams
        for key, column in (("subject", subject), ("value", value)):
            if column not in stream.columns:
                cure = nearest(column, stream.columns)
                raise DataError(f"{where}.{key}: {path} has no column '{column}'; {cure}")
        if stream.load_text is None:
            raise DataError(f"{path}: holds no text; a table with names is needed")
        names = [str(name).strip() for name in stream.load_text(subject)]
        numbers = stream.load([value])[:, 0]
    told: dict[str, float] = {}
    for name, number in zip(names, numbers.tolist(), strict=True):
        if np.isnan(number):
            continue
        if told.setdefault(name, number) != number:
            raise DataError(
                f"{where}: {path} says {told[name]:g} and {number:g} for '{name}'; one is needed"
            )
    if not told:
        raise DataError(f"{where}.value: column '{value}' of {path} holds no number")
    return told
