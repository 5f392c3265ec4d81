"""The blocks of `recordings.yaml`, one class each; `schema` puts them together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from crossl.data.entry import Entry, Text
from crossl.data.formats import FORMATS, format_of
from crossl.data.own.mapping.table import TableEntry
from crossl.data.recording import Modality
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import nearest
from crossl.names import known_zone

ClockUnit = Literal["s", "ms", "us", "ns", "datetime", "excel_days"]

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "excel_days": 86400.0}
"""Seconds in one count of a clock."""


Timezone = Annotated[str, AfterValidator(known_zone)]


class ModalityEntry(Entry):
    """One sensor stream, in the unit of the files.

    Attributes:
        channels: a name per channel.
        unit: of the values in the files; converted to SI.
        rate_hz: samples per second that recordings get.
        device: the thing that carries the sensor.
        resample: files may tell another rate; they are brought to `rate_hz` through a filter.
        optional: channels that some files lack, or `true` for all; in a recording that lacks one
            the modality counts as not recorded.
        max_gap_s: longer steps between its samples are gaps; none: that of `windows`.
        valid_range: least and greatest value, in `unit`; outside of it a value is missing.
    """

    channels: tuple[Text, ...] = Field(min_length=1)
    unit: Text
    rate_hz: float = Field(gt=0, allow_inf_nan=False)
    device: Text = ""
    resample: bool = False
    optional: bool | tuple[Text, ...] = ()
    max_gap_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    valid_range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _known_channels(self) -> ModalityEntry:
        for name in self.optional if isinstance(self.optional, tuple) else ():
            if name not in self.channels:
                known = nearest(name, self.channels)
                raise ValueError(f"optional '{name}' is not a channel; {known}")
        return self

    def may_lack(self, channel: str) -> bool:
        """Tell whether files may lack a channel."""
        return self.optional if isinstance(self.optional, bool) else channel in self.optional

    @field_validator("valid_range")
    @classmethod
    def _in_order(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"is {bounds[0]:g} to {bounds[1]:g}; the least value comes first")
        return bounds

    def declared(self, name: str) -> Modality:
        """Return the modality as recordings declare it, in SI."""
        unit = parse_unit(self.unit, where=f"modalities.{name}.unit")
        return Modality(name, self.channels, unit.si, self.rate_hz, self.device)


class WindowsEntry(Entry):
    """How windows are cut; see `WindowSpec`."""

    window_s: float = 2.0
    stride_s: float = 1.0
    min_coverage: float = 0.8
    max_gap_s: float = 0.2
    min_label_share: float = 0.6

    def spec(self) -> WindowSpec:
        """Return what cuts windows."""
        return WindowSpec(**self.model_dump())


class SignalEntry(Entry):
    """Where in a file a modality is.

    Attributes:
        stream: of a file that has several; not needed where the columns' names tell it.
        columns: one per channel; all of the stream where not given.
    """

    stream: Text | None = None
    columns: tuple[Text, ...] = ()


class IntervalsEntry(Entry):
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


class LongEntry(Entry):
    """A long table: a row for each sample of any sensor.

    Attributes:
        sensor: column that names the sensor of a row; the rows of each are a stream of that name.
        values: columns of the numbers; a single one is named after the sensor. Without it all
            columns.
    """

    sensor: Text
    values: tuple[Text, ...] = ()


class FileEntry(Entry):
    """One kind of file.

    Attributes:
        pattern: path below the mapping's folder with `{subject}`, `{session}`, `{label}`, and `*`
            for what does not matter; none of them reaches across a `/`.
        name: by which `recordings` name a file of this kind.
        subject: of all files of this kind, where the pattern does not tell.
        session: likewise.
        subject_column: whose a row is, in a table for several people.
        session_column: of which recording a row is, in a table for several.
        one_person: the file is of one person, whatever a column that is named like a subject says.
        parts: how files that a pattern tells apart by `{part}` follow each other: by their
            `clock`, or `follow`, each from the end of the one before.
        required: a pattern that finds no file is an error; else what it would hold is absent.
        format: of the files, where the ending does not tell.
        clock: column of timestamps; without one the rate counts.
        clock_unit: of the timestamps; `datetime` for dates as text (ISO 8601), `excel_days` for
            days since 1900 as Excel counts them.
        table: how its tables of text are written, where their lines do not tell.
        timezone: what dates without a zone are of (IANA name, such as Europe/Berlin).
        offset_s: is added to the file's times.
        sparse: sensors of several rates share the table; a row counts for a modality only where
            one of its columns holds a number.
        long: a row holds a sample of one sensor, which a column names.
        signals: where each modality is: columns, or a stream and columns.
        label: column with a label per sample.
        annotations: take the labels that the file carries itself (EDF+, WFDB, E4 tags, XDF).
        intervals: the file is a table of labels.
    """

    pattern: str | None = None
    name: Text | None = None
    subject: Text | None = None
    session: Text | None = None
    subject_column: Text | None = None
    session_column: Text | None = None
    one_person: bool = False
    parts: Literal["clock", "follow"] = "clock"
    required: bool = False
    format: str | None = None
    clock: Text | None = None
    clock_unit: ClockUnit = "s"
    timezone: Timezone | None = None
    table: TableEntry | None = None
    offset_s: float = Field(default=0.0, allow_inf_nan=False)
    sparse: bool = False
    long: LongEntry | None = None
    signals: dict[Text, SignalEntry] = Field(default_factory=dict)
    label: Text | None = None
    annotations: bool = False
    intervals: IntervalsEntry | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """Take a list for columns, and one word for one column."""
        if not isinstance(values, dict):
            return values
        if isinstance(values.get("long"), str):
            values = {**values, "long": {"sensor": values["long"]}}
        if not isinstance(values.get("signals"), dict):
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
            raise ValueError("is `sparse` without a `clock`; only timestamps give its rates")
        self._one_place()
        kind = self.format or format_of(Path(self.pattern or ""))
        if self.table is not None and kind not in (None, "csv"):
            raise ValueError(f"has a `table`, which is for tables of text, and is of format {kind}")
        return self

    def _one_place(self) -> None:
        """Refuse a subject or session that is given twice, and what intervals cannot have."""
        for field in ("subject", "session"):
            column = getattr(self, f"{field}_column")
            told = getattr(self, field) is not None or f"{{{field}}}" in (self.pattern or "")
            if column is not None and told:
                raise ValueError(
                    f"takes the {field} from the column '{column}' and from elsewhere; keep one"
                )
        if self.one_person and self.subject_column is not None:
            raise ValueError("is of `one_person` and has a `subject_column`; keep one")
        if self.intervals and (self.long or self.parts == "follow"):
            raise ValueError("has `intervals`, whose times are in the table: no `long` or "
                             "`parts: follow`")  # fmt: skip


class RecordingEntry(Entry):
    """One recording whose files no pattern finds.

    Attributes:
        subject: who.
        session: which recording of this subject.
        files: path by the name of the kind of file; none where there is no such file.
        offset_s: added to the times of a file, by the name of the kind of file.
    """

    subject: Text
    session: Text = "1"
    files: dict[Text, str | None] = Field(min_length=1)
    offset_s: dict[Text, float] = Field(default_factory=dict)


class OffsetEntry(Entry):
    """Times of one subject's file, device or modality, moved on top of the file's `offset_s`.

    Attributes:
        subject: whose.
        session: in which recording; None for all.
        file: `name` of a kind of file.
        device: whose modalities move; a file that has no others moves with its labels.
        modality: the only one that moves.
        offset_s: is added to the times.
    """

    subject: Text
    session: Text | None = None
    file: Text | None = None
    device: Text | None = None
    modality: Text | None = None
    offset_s: float = Field(allow_inf_nan=False)

    @property
    def selectors(self) -> dict[str, str]:
        """What is moved: one of three."""
        every = {"file": self.file, "device": self.device, "modality": self.modality}
        return {key: value for key, value in every.items() if value is not None}

    @model_validator(mode="after")
    def _one(self) -> OffsetEntry:
        if len(self.selectors) != 1:
            raise ValueError("needs one of `file`, `device` and `modality`")
        return self
