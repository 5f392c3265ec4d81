"""What a block `targets:` may say, in a file of its own or in `recordings.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, ValidationError

from crossl.data.entry import Entry, Text, explain
from crossl.data.target_rules import Statistic
from crossl.data.targets import KINDS, LABEL
from crossl.errors import DataError, kind_of_value, nearest
from crossl.yaml_text import read_yaml

Lists: TypeAlias = Annotated[dict[Text, tuple[Text, ...]], Field(min_length=1)]


def _of_person(value: Any) -> str | dict[str, float]:
    """Take a word, or a number for each subject; a union would tell its types in messages."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or not value:
        raise ValueError("a number for each subject, or what the data set calls it, is needed")
    for subject, number in value.items():
        if isinstance(subject, bool) or not isinstance(subject, (str, int, float)):
            raise ValueError("YAML reads a subject as something else than text; put it into quotes")
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"the number of '{subject}' is {kind_of_value(number)}")
    return {str(subject): float(number) for subject, number in value.items()}


class LabelsEntry(Entry):
    """Several labels at once, from the class of a window.

    Attributes:
        kind: `labels`.
        of: the classes that have each label.
    """

    kind: Literal["labels"]
    of: Lists


class ClassesEntry(Entry):
    """Other classes than those of the recordings, each made of some of them.

    Attributes:
        kind: `classes`.
        of: the labels that are each class; what is in none is unknown.
    """

    kind: Literal["classes"]
    of: Lists


class NumberEntry(Entry):
    """Where one number comes from: a signal, a person, or a table of people.

    Attributes:
        from_: `MODALITY.channel`; the modality is then no input.
        statistic: of the signal in a window.
        keep: leave the modality among the inputs, though it tells the answer.
        of_person: a number for each person, or what the data set calls it.
        people: table of people, a row each; its path starts from the file that names it.
        subject: its column of subjects.
        value: its column of numbers.
        unit: of the numbers that are given here or in the table.
    """

    from_: Annotated[Text | None, Field(alias="from")] = None
    statistic: Statistic = "mean"
    keep: bool = False
    of_person: Annotated[str | dict[str, float] | None, PlainValidator(_of_person)] = None
    people: Text | None = None
    subject: Text | None = None
    value: Text | None = None
    unit: Text | None = None

    def check(self, where: str) -> None:
        """Refuse a number that comes from nowhere, or from two places.

        Raises:
            DataError: says what is missing or too much.
        """
        given = [key for key, value in (("from", self.from_), ("of_person", self.of_person),
                                        ("people", self.people)) if value is not None]  # fmt: skip
        if len(given) != 1:
            told = " and ".join(given) or "none of them"
            raise DataError(f"{where}: one of from, of_person and people is needed, got {told}")
        of_key = {"from": ("statistic", "keep"), "of_person": ("unit",),
                  "people": ("subject", "value", "unit")}  # fmt: skip
        for key in ("statistic", "keep", "subject", "value", "unit"):
            if key in self.model_fields_set and key not in of_key[given[0]]:
                source = given[0]
                raise DataError(f"{where}.{key}: means nothing where a number is from {source}")
        if self.people is not None and not (self.subject and self.value):
            missing = "value" if self.subject else "subject"
            raise DataError(f"{where}.{missing}: is missing; name the column of {self.people}")
        if isinstance(self.of_person, str) and self.unit is not None:
            raise DataError(f"{where}.unit: the data set gives the unit of '{self.of_person}'")


class NumbersEntry(NumberEntry):
    """A number for each window, or several.

    Attributes:
        kind: `numbers`.
        of: several numbers by name; without, what stands here is one.
    """

    kind: Literal["numbers"]
    of: dict[Text, NumberEntry] = Field(default_factory=dict)

    def numbers(self, name: str) -> dict[str, NumberEntry]:
        """Return the numbers by name; one alone is called like the target."""
        return self.of or {name: self}


TargetEntry: TypeAlias = LabelsEntry | ClassesEntry | NumbersEntry
ENTRIES: dict[str, type[LabelsEntry | ClassesEntry | NumbersEntry]] = {
    "labels": LabelsEntry, "classes": ClassesEntry, "numbers": NumbersEntry,
}  # fmt: skip


@dataclass(frozen=True)
class TargetBlock:
    """Targets as they were written.

    Attributes:
        entries: by name of the target.
        where: file, to be named in messages.
        folder: that paths start from.
    """

    entries: Mapping[str, TargetEntry]
    where: str
    folder: Path

    @property
    def tables(self) -> list[Path]:
        """The tables of people."""
        entries = (entry for entry in self.entries.values() if isinstance(entry, NumbersEntry))
        numbers = [number for entry in entries for number in entry.numbers("").values()]
        return [self.folder / number.people for number in numbers if number.people]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, from which `check_targets` makes the same."""
        return {
            name: entry.model_dump(mode="json", by_alias=True, exclude_unset=True)
            for name, entry in self.entries.items()
        }


def read_targets(path: Path) -> TargetBlock:
    """Read a file that has a block `targets:`.

    Raises:
        DataError: it cannot be read, or says what is not allowed.
    """
    values = read_yaml(path, DataError)
    for key in values:
        if key != "targets":
            raise DataError(f"{path}: {key}: unknown key; allowed is targets")
    return check_targets(values.get("targets"), where=str(path), folder=path.parent)


def check_targets(values: Any, *, where: str, folder: Path) -> TargetBlock:
    """Check a block of targets.

    Args:
        values: as they were read.
        where: names the file in messages.
        folder: that paths in it start from.

    Raises:
        DataError: names the first key that is wrong, and what is allowed.
    """
    if not isinstance(values, Mapping) or not values:
        got = "an empty block" if isinstance(values, Mapping) else kind_of_value(values)
        raise DataError(f"{where}: targets: names and blocks are needed, got {got}")
    entries = {}
    for key, value in values.items():
        name = str(key)
        entries[name] = _entry(f"{where}: targets.{name}", name, value)
    return TargetBlock(entries, where, folder)


def _entry(where: str, name: str, value: Any) -> TargetEntry:
    if name == LABEL:
        raise DataError(f"{where}: '{LABEL}' is what recordings name; choose another name")
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: keys and values are needed, got {kind_of_value(value)}")
    kind = value.get("kind")
    if kind not in KINDS:
        told = "is missing" if kind is None else f"'{str(kind)[:60]}' is unknown"
        raise DataError(f"{where}.kind: {told}; {nearest(str(kind), KINDS)}")
    try:
        entry = ENTRIES[kind].model_validate(value)
    except ValidationError as error:
        raise DataError(f"{where}.{explain(error, lambda path: _keys(kind, path))}") from error
    _check(where, entry)
    return entry


def _keys(kind: str, path: Any) -> set[str]:
    model: type[Entry] = NumberEntry if path else ENTRIES[kind]
    return {field.alias or name for name, field in model.model_fields.items()}


def _check(where: str, entry: TargetEntry) -> None:
    if isinstance(entry, NumbersEntry):
        if not entry.of:
            entry.check(where)
        elif entry.model_fields_set - {"kind", "of"}:
            raise DataError(f"{where}: several numbers go below of, and nothing beside it")
        for name, number in entry.of.items():
            number.check(f"{where}.of.{name}")
        return
    for name, labels in entry.of.items():
        if not labels:
            raise DataError(f"{where}.of.{name}: names no class; at least one is needed")
    every = [label for labels in entry.of.values() for label in labels]
    twice = next((one for one in every if every.count(one) > 1), None)
    if isinstance(entry, ClassesEntry) and twice is not None:
        raise DataError(f"{where}.of: '{twice}' is in two classes; a window has one")
