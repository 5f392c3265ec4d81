"""What `recordings.yaml` may say; unknown keys are refused with the nearest one that exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from crossl.data.formats import FORMATS
from crossl.data.recording import Modality
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, nearest

ClockUnit = Literal["s", "ms", "us", "ns", "datetime"]

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds in one count of a clock."""


def _plain_text(value: Any) -> Any:
    """Let YAML's numbers and words stand where text is meant: `channels: [1, 2]`, `unit: 1`."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this word as true or false; put it into quotes")
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, BeforeValidator(_plain_text)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModalityEntry(_Entry):
    """One sensor stream, in the unit of the files.

    Attributes:
        channels: a name per channel.
        unit: of the values in the files; converted to SI.
        rate_hz: samples per second that recordings get.
        device: the thing that carries the sensor.
        resample: files may tell another rate; they are brought to `rate_hz` through a filter.
    """

    channels: tuple[Text, ...] = Field(min_length=1)
    unit: Text
    rate_hz: float = Field(gt=0, allow_inf_nan=False)
    device: Text = ""
    resample: bool = False

    def declared(self, name: str) -> Modality:
        """Return the modality as recordings declare it, in SI."""
        unit = parse_unit(self.unit, where=f"modalities.{name}.unit")
        return Modality(name, self.channels, unit.si, self.rate_hz, self.device)


class WindowsEntry(_Entry):
    """How windows are cut; see `WindowSpec`."""

    window_s: float = 2.0
    stride_s: float = 1.0
    min_coverage: float = 0.8
    max_gap_s: float = 0.2
    min_label_share: float = 0.6

    def spec(self) -> WindowSpec:
        """Return what cuts windows."""
        return WindowSpec(**self.model_dump())


class SignalEntry(_Entry):
    """Where in a file a modality is.

    Attributes:
        stream: of a file that has several; not needed where the columns' names tell it.
        columns: one per channel; all of the stream where not given.
    """

    stream: Text | None = None
    columns: tuple[Text, ...] = ()


class IntervalsEntry(_Entry):
    """A table of stretches of time with a label each.

    Attributes:
        start: column of the beginnings.
        end: column of the ends.
        duration: column of the lengths, instead of `end`.
        label: column of the labels.
        unit: of the three.
        count_from: `clock`: times are on the signals' clock; `start`: they count from the first
            sample of the recording.
    """

    start: Text
    end: Text | None = None
    duration: Text | None = None
    label: Text
    unit: ClockUnit = "s"
    count_from: Literal["clock", "start"] = "clock"

    @model_validator(mode="after")
    def _one_end(self) -> IntervalsEntry:
        if (self.end is None) == (self.duration is None):
            raise ValueError("intervals need a column `end` or a column `duration`, one of the two")
        return self


class FileEntry(_Entry):
    """One kind of file.

    Attributes:
        pattern: path below the mapping's folder with `{subject}`, `{session}`, `{label}`, and `*`
            for what does not matter; none of them reaches across a `/`.
        name: by which `recordings` name a file of this kind.
        subject: of all files of this kind, where the pattern does not tell.
        session: likewise.
        format: of the files, where the ending does not tell.
        clock: column of timestamps; without one the rate counts.
        clock_unit: of the timestamps; `datetime` for dates as text (ISO 8601).
        offset_s: is added to the file's times.
        sparse: sensors of several rates share the table; a row counts for a modality only where
            one of its columns holds a number.
        signals: where each modality is: columns, or a stream and columns.
        label: column with a label per sample.
        annotations: take the labels that the file carries itself (EDF+, WFDB, E4 tags, XDF).
        intervals: the file is a table of labels.
    """

    pattern: str | None = None
    name: Text | None = None
    subject: Text | None = None
    session: Text | None = None
    format: str | None = None
    clock: Text | None = None
    clock_unit: ClockUnit = "s"
    offset_s: float = Field(default=0.0, allow_inf_nan=False)
    sparse: bool = False
    signals: dict[Text, SignalEntry] = {}
    label: Text | None = None
    annotations: bool = False
    intervals: IntervalsEntry | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """Take a list for columns, and one word for one column."""
        if not isinstance(values, dict) or not isinstance(values.get("signals"), dict):
            return values
        short = {
            name: {"columns": [one] if isinstance(one, (str, int)) else one}
            if isinstance(one, (str, int, list, tuple))
            else one
            for name, one in values["signals"].items()
        }
        return {**values, "signals": short}

    @model_validator(mode="after")
    def _makes_sense(self) -> FileEntry:
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"format '{self.format}' is unknown; {nearest(self.format, FORMATS)}")
        if self.pattern is None and self.name is None:
            raise ValueError("needs a `pattern` that finds files, or a `name` for `recordings`")
        whole = self.pattern is not None and "{label}" in self.pattern
        if not (self.signals or self.label or self.annotations or self.intervals or whole):
            raise ValueError("takes nothing from its files; name `signals`, `label` or `intervals`")
        if self.intervals and (self.signals or self.label or self.annotations or whole):
            raise ValueError("has `intervals` beside other contents; a file of intervals is apart")
        if sum([self.label is not None, self.annotations, whole]) > 1:
            raise ValueError("takes labels from several places; keep one")
        if self.sparse and self.clock is None:
            raise ValueError("is `sparse` without a `clock`; only timestamps tell its rates")
        return self


class RecordingEntry(_Entry):
    """One recording whose files no pattern finds.

    Attributes:
        subject: who.
        session: which recording of this subject.
        files: path by the name of the kind of file.
        offset_s: added to the times of a file, by the name of the kind of file.
    """

    subject: Text
    session: Text = "1"
    files: dict[Text, str] = Field(min_length=1)
    offset_s: dict[Text, float] = {}


class Mapping(_Entry):
    """A whole mapping.

    Attributes:
        version: of this schema.
        name: of the data set in the store.
        description: in a sentence or two, for the store.
        licence: terms of the recordings.
        citation: what to cite.
        classes: labels to keep, in order; none: all that the files have.
        label_names: what a label in the files is called instead.
        windows: how windows are cut.
        modalities: what was recorded, by name.
        files: kinds of files, and what they hold.
        recordings: files of irregular names.
    """

    version: Literal[1] = 1
    name: Text = "my_recordings"
    description: Text = ""
    licence: Text = "not stated"
    citation: Text = "not stated"
    classes: tuple[Text, ...] = ()
    label_names: dict[Text, Text] = {}
    windows: WindowsEntry = WindowsEntry()
    modalities: dict[Text, ModalityEntry] = Field(min_length=1)
    files: tuple[FileEntry, ...] = Field(min_length=1)
    recordings: tuple[RecordingEntry, ...] = ()


def read_yaml(path: Path) -> Mapping:
    """Read and check `recordings.yaml`.

    Raises:
        DataError: not YAML, an unknown key, or a value that is not allowed.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot be read as YAML ({told})") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: holds a {type(values).__name__}; keys and values are needed")
    return validate(values, where=str(path))


def validate(values: dict[str, Any], *, where: str) -> Mapping:
    """Check values against the schema, and against each other.

    Raises:
        DataError: names the first offending key, and the nearest one that exists.
    """
    try:
        mapping = Mapping.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{where}: {_explain(error)}") from error
    try:
        _check(mapping)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return mapping


def _check(mapping: Mapping) -> None:
    mapping.windows.spec()
    for name, modality in mapping.modalities.items():
        modality.declared(name)
    if len(set(mapping.classes)) != len(mapping.classes):
        raise DataError(f"classes: {', '.join(mapping.classes)}; each may stand once")
    used: set[str] = set()
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
            used.add(name)
    for name in mapping.modalities:
        if name not in used:
            raise DataError(f"modalities.{name}: no file has it; name it in `files` or remove it")
    _check_recordings(mapping)


def _check_recordings(mapping: Mapping) -> None:
    kinds = [file.name for file in mapping.files if file.name]
    if len(set(kinds)) != len(kinds):
        raise DataError(f"files: names are {', '.join(kinds)}; each may stand once")
    for number, recording in enumerate(mapping.recordings):
        for key in ("files", "offset_s"):
            for name in getattr(recording, key):
                if name not in kinds:
                    known = nearest(name, kinds) if kinds else "none of `files` has a `name`"
                    raise DataError(f"recordings.{number}.{key}.{name}: no such kind; {known}")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "mapping"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(path[-1], _keys_at(path[:-1]))}"
    if first["type"] == "missing":
        return f"{key}: is missing; it is needed"
    if first.get("input") is None and first["type"] != "value_error":
        return f"{key}: is empty; it is needed"
    message = first["msg"].removeprefix("Value error, ")
    got = first.get("input")
    return f"{key}: {message}" + ("" if isinstance(got, (dict, list)) else f", got {got!r}")


_CHILDREN: dict[str, type[BaseModel]] = {
    "modalities": ModalityEntry,
    "windows": WindowsEntry,
    "files": FileEntry,
    "recordings": RecordingEntry,
    "signals": SignalEntry,
    "intervals": IntervalsEntry,
}


def _keys_at(path: Sequence[str]) -> set[str]:
    """List the keys that exist below a path: those of the last part that is a block."""
    model: type[BaseModel] = Mapping
    for part in path:
        model = _CHILDREN.get(part, model)
    return set(model.model_fields)
