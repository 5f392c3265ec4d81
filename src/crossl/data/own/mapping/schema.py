"""What `recordings.yaml` may say; unknown keys are refused with the nearest one that exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from crossl.data.entry import Entry, Text, explain
from crossl.data.own.mapping.entries import (
    FileEntry,
    IntervalsEntry,
    LongEntry,
    ModalityEntry,
    OffsetEntry,
    RecordingEntry,
    SignalEntry,
    Timezone,
    WindowsEntry,
)
from crossl.data.own.mapping.quantity import check_quantity
from crossl.data.own.mapping.table import TableEntry
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, nearest
from crossl.yaml_text import read_yaml as read_keys

OF_SINGLE_PEOPLE = ("recordings", "offsets", "targets")
"""Keys that say nothing of files of other people."""


class Mapping(Entry):
    """A whole mapping.

    Attributes:
        version: of this schema.
        name: of the data set in the store.
        description: in a sentence or two, for the store.
        licence: terms of the recordings.
        citation: what to cite.
        classes: labels to keep, in order; none: all that the files have.
        label_names: what a label in the files is called instead.
        timezone: of files that name no other: what their dates without a zone are of.
        table: how tables of text are written, in all files that do not say otherwise.
        windows: how windows are cut.
        modalities: what was recorded, by name.
        files: kinds of files, and what they hold.
        recordings: files of irregular names.
        offsets: clocks of single devices.
        targets: what is to be predicted for windows beside their label.
    """

    version: Literal[1] = 1
    name: Text = "my_recordings"
    description: Text = ""
    licence: Text = "not stated"
    citation: Text = "not stated"
    classes: tuple[Text, ...] = ()
    label_names: dict[Text, Text] = Field(default_factory=dict)
    timezone: Timezone | None = None
    table: TableEntry | None = None
    windows: WindowsEntry = WindowsEntry()
    modalities: dict[Text, ModalityEntry] = Field(min_length=1)
    files: tuple[FileEntry, ...] = Field(min_length=1)
    recordings: tuple[RecordingEntry, ...] = ()
    offsets: tuple[OffsetEntry, ...] = ()
    targets: dict[Text, Any] = Field(default_factory=dict)

    def for_others(self) -> dict[str, Any]:
        """Return what also holds for files of other people, as JSON values that `validate` takes.

        Without files that are listed one by one, clocks of single people, and targets.
        """
        return self.model_dump(
            mode="json", exclude=set(OF_SINGLE_PEOPLE), exclude_defaults=True, exclude_none=True
        )

    def spec(self) -> WindowSpec:
        """Return what cuts windows, with the gaps of single modalities."""
        gaps = {
            name: modality.max_gap_s
            for name, modality in self.modalities.items()
            if modality.max_gap_s is not None
        }
        return replace(self.windows.spec(), max_gap_of=gaps)


def read_yaml(path: Path) -> Mapping:
    """Read and check `recordings.yaml`.

    Raises:
        DataError: not YAML, an unknown key, or a value that is not allowed.
    """
    values = read_keys(path, DataError)
    if not values:
        raise DataError(f"{path}: is empty; keys and values are needed")
    return validate(values, where=str(path))


def validate(values: dict[str, Any], *, where: str) -> Mapping:
    """Check values against the schema, and against each other.

    Raises:
        DataError: names the first offending key, and the nearest one that exists.
    """
    try:
        mapping = Mapping.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{where}: {explain(error, _keys_at)}") from error
    try:
        _check(mapping)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    files = tuple(_with_defaults(file, mapping) for file in mapping.files)
    return mapping.model_copy(update={"files": files})


def _with_defaults(file: FileEntry, mapping: Mapping) -> FileEntry:
    """Give a kind of file what the mapping says of all."""
    table = file.table.over(mapping.table) if file.table is not None else mapping.table
    timezone = file.timezone or mapping.timezone
    return file.model_copy(update={"timezone": timezone, "table": table})


def _check(mapping: Mapping) -> None:
    mapping.spec()
    for name, modality in mapping.modalities.items():
        modality.declared(name)
    if len(set(mapping.classes)) != len(mapping.classes):
        raise DataError(f"classes: {', '.join(mapping.classes)}; names must be unique")
    for number, file in enumerate(mapping.files):
        for name, signal in file.signals.items():
            where = f"files.{number}.signals.{name}"
            if name not in mapping.modalities:
                raise DataError(f"{where}: no such modality; {nearest(name, mapping.modalities)}")
            channels = mapping.modalities[name].channels
            # one name may be that of an array with several columns
            if len(signal.columns) > 1 and len(signal.columns) != len(channels):
                raise DataError(
                    f"{where}: names {len(signal.columns)} columns "
                    f"({', '.join(signal.columns)}); the modality has {len(channels)} channels "
                    f"({', '.join(channels)})"
                )
    for name, modality in mapping.modalities.items():
        check_quantity(f"modalities.{name}.unit", modality.unit, (name,))
    _check_recordings(mapping)
    _check_offsets(mapping)


def _check_recordings(mapping: Mapping) -> None:
    kinds = [file.name for file in mapping.files if file.name]
    if len(set(kinds)) != len(kinds):
        raise DataError(f"files: names are {', '.join(kinds)}; names must be unique")
    for number, recording in enumerate(mapping.recordings):
        for key in ("files", "offset_s"):
            for name in getattr(recording, key):
                if name not in kinds:
                    known = nearest(name, kinds) if kinds else "none of `files` has a `name`"
                    raise DataError(f"recordings.{number}.{key}.{name}: no such kind; {known}")


def _check_offsets(mapping: Mapping) -> None:
    known = {
        "file": {file.name for file in mapping.files if file.name},
        "device": {m.device for m in mapping.modalities.values() if m.device},
        "modality": set(mapping.modalities),
    }
    for number, offset in enumerate(mapping.offsets):
        for what, name in offset.selectors.items():
            if name not in known[what]:
                told = nearest(name, known[what]) if known[what] else "none has a name"
                raise DataError(f"offsets.{number}.{what}: '{name}' is unknown; {told}")


_CHILDREN: dict[str, type[BaseModel]] = {
    "modalities": ModalityEntry,
    "windows": WindowsEntry,
    "files": FileEntry,
    "recordings": RecordingEntry,
    "signals": SignalEntry,
    "intervals": IntervalsEntry,
    "long": LongEntry,
    "offsets": OffsetEntry,
    "table": TableEntry,
}


def _keys_at(path: Sequence[str]) -> set[str]:
    """List the keys that exist below a path: those of the last part that is a block."""
    model: type[BaseModel] = Mapping
    for part in path:
        model = _CHILDREN.get(part, model)
    return set(model.model_fields)
