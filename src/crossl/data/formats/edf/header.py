"""The header of an EDF, EDF+ or BDF file: fields of fixed width, in ASCII.

Sources: B. Kemp et al., A simple format for exchange of digitized polygraphic recordings (1992) and
European Data Format 'plus' (2003), https://www.edfplus.info/specs/edf.html and `edfplus.html`; of
BDF https://www.biosemi.com/faq/file_format.htm.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

from crossl.errors import DataError

EDF_MAGIC, BDF_MAGIC = b"0       ", b"\xffBIOSEMI"
MAX_SIGNALS = 9999

_WIDTHS = {
    "label": 16, "transducer": 80, "unit": 8, "physical_min": 8, "physical_max": 8,
    "digital_min": 8, "digital_max": 8, "filter": 80, "samples": 8, "reserved": 32,
}  # fmt: skip
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d{1,3})?")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@dataclass(frozen=True)
class SignalHeader:
    """One signal.

    Attributes:
        label: as it stands, without blanks around it.
        unit: likewise.
        physical: values of the two digital ones; NaN where it is not a number.
        digital: two different values of samples.
        samples: in a data record.
    """

    label: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[float, float]
    samples: int

    @property
    def is_annotations(self) -> bool:
        """Whether it holds text."""
        return self.label in ("EDF Annotations", "BDF Annotations")

    def fault(self) -> str:
        """Tell why its samples have no values; empty where they have."""
        for what in ("physical", "digital"):
            low, high = getattr(self, what)
            if not (math.isfinite(low) and math.isfinite(high) and low != high):
                return (
                    f"it has {what} minimum {low:g} and maximum {high:g}; two different numbers "
                    "are needed to scale its values"
                )
        if not self.samples:
            return "it has 0 samples in a data record"
        return ""


@dataclass(frozen=True)
class Header:
    """What the header says, and where the records of the file lie.

    Attributes:
        kind: `EDF` or `BDF`.
        patient: of the recording.
        recording: when, by whom.
        start: ISO date and time; None where anonymous or no date.
        reserved: `EDF+C`, `EDF+D` or another word; often empty.
        records: data records that are read.
        record_s: how long one lasts, seconds; 0 where not stated.
        begin: byte of the first data record.
        signals: in the file's order.
        notes: what does not follow the format, a sentence each.
    """

    kind: str
    patient: str
    recording: str
    start: str | None
    reserved: str
    records: int
    record_s: float
    begin: int
    signals: tuple[SignalHeader, ...]
    notes: tuple[str, ...]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 3 if self.kind == "BDF" else 2

    @property
    def places(self) -> list[int]:
        """Where each signal begins in a data record, and where the last one ends; bytes."""
        edges = [0]
        for signal in self.signals:
            edges.append(edges[-1] + signal.samples * self.sample_bytes)
        return edges

    @property
    def is_interrupted(self) -> bool:
        """Whether data records may lie apart (EDF+D)."""
        return self.reserved[3:5] == "+D"


def read_header(path: Path) -> Header:
    """Read the header of a file, and compare its length with what it tells.

    Raises:
        DataError: not in the format, or cut off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(256)
        if fixed[:8] not in (EDF_MAGIC, BDF_MAGIC):
            raise DataError(f"{path}: begins with {fixed[:8]!a}; an EDF file begins with "
                            f"{EDF_MAGIC!a}")  # fmt: skip
        if len(fixed) < 256:
            raise cut_off(path, 256, size)
        kind = "BDF" if fixed[:8] == BDF_MAGIC else "EDF"
        count = _whole(path, "number of signals", fixed[252:256])
        if not 0 < count <= MAX_SIGNALS:
            raise DataError(f"{path}: states {count} signals; 1 to {MAX_SIGNALS} are read")
        table = file.read(256 * count)
        if len(table) < 256 * count:
            raise cut_off(path, 256 * (count + 1), size)
    notes: list[str] = []
    signals = _signals(path, table, count, notes)
    record_s = _number(fixed[244:252])
    if math.isnan(record_s):
        raise DataError(
            f"{path}: gives {_shown(fixed[244:252])} as the length of a data record; a number of "
            "seconds is needed"
        )
    if b"," in fixed[244:252]:
        _note_comma(path, notes)
    record_bytes = sum(s.samples for s in signals) * (3 if kind == "BDF" else 2)
    records, begin = _layout(path, fixed, size, (count, record_bytes), notes)
    return Header(
        kind=kind,
        patient=_text(fixed[8:88]),
        recording=_text(fixed[88:168]),
        start=_start(fixed),
        reserved=_text(fixed[192:236]),
        records=records,
        record_s=max(record_s, 0.0),
        begin=begin,
        signals=signals,
        notes=tuple(dict.fromkeys(notes)),
    )


def _signals(path: Path, table: bytes, count: int, notes: list[str]) -> tuple[SignalHeader, ...]:
    fields: dict[str, list[bytes]] = {}
    at = 0
    for name, width in _WIDTHS.items():
        fields[name] = [table[at + i * width : at + (i + 1) * width] for i in range(count)]
        at += width * count
    ranges = ("physical_min", "physical_max", "digital_min", "digital_max")
    if any(b"," in cell and not math.isnan(_number(cell)) for r in ranges for cell in fields[r]):
        _note_comma(path, notes)
    return tuple(
        SignalHeader(
            label=_text(fields["label"][i]),
            unit=_text(fields["unit"][i]),
            physical=(_number(fields["physical_min"][i]), _number(fields["physical_max"][i])),
            digital=(_number(fields["digital_min"][i]), _number(fields["digital_max"][i])),
            samples=_whole(path, f"samples of signal {i + 1}", fields["samples"][i]),
        )
        for i in range(count)
    )


def _layout(
    path: Path, fixed: bytes, size: int, shape: tuple[int, int], notes: list[str]
) -> tuple[int, int]:
    """Return how many data records there are, and where the first begins."""
    count, record_bytes = shape
    told = _whole(path, "number of data records", fixed[236:244], least=-1)
    begin = 256 * (count + 1)
    if not record_bytes:
        raise DataError(f"{path}: has data records without a sample; some are needed")
    if _whole(path, "length of its header", fixed[184:192], least=-1) != begin:
        notes.append(
            f"{path.name} states a header of {_shown(fixed[184:192])} bytes; with its {count} "
            f"signals it has {begin}, which counts"
        )
    held, rest = divmod(max(0, size - begin), record_bytes)
    if told < 0:
        notes.append(
            f"{path.name} was not closed: its header does not say how many data records there "
            f"are; it holds {held}"
        )
        told = held
    if held < told:
        raise cut_off(path, begin + told * record_bytes, size)
    if held > told or rest:
        more = f", {held - told} whole data records among them" if held > told else ""
        notes.append(
            f"{path.name} holds {size - begin - told * record_bytes} bytes behind the {told} data "
            f"records that its header states{more}; they are not read"
        )
    return told, begin


def cut_off(path: Path, told: int, size: int) -> DataError:
    """Say that a file is shorter than its header tells, both in bytes."""
    return DataError(
        f"{path}: is cut off: its header announces {told} bytes and it has {size}; fetch it again"
    )


def _note_comma(path: Path, notes: list[str]) -> None:
    notes.append(f"{path.name} writes numbers of its header with a comma; it is read as a point")


def _text(field: bytes) -> str:
    try:
        text = field.decode("utf-8")
    except UnicodeDecodeError:
        text = field.decode("latin1")
    return text.strip(" \0\t\r\n")


def _shown(field: bytes) -> str:
    return ascii(_text(field))


def _number(field: bytes) -> float:
    """Read a number; with a comma too, NaN where it is none."""
    text = _text(field)
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan


def _whole(path: Path, what: str, field: bytes, *, least: int = 0) -> int:
    value = _number(field)
    if math.isnan(value) or not value.is_integer() or value < least:
        raise DataError(
            f"{path}: gives {_shown(field)} as the {what}; a whole number is needed, from {least} "
            "on, to find anything in the file"
        )
    return int(value)


def _start(fixed: bytes) -> str | None:
    """Return when it began: by the field of EDF+ where there is one, else by the old ones."""
    clock = re.fullmatch(r"(\d\d)[.:](\d\d)[.:](\d\d)", _text(fixed[176:184]))
    day = _day(_text(fixed[88:168]), _text(fixed[168:176]))
    if clock is None or day is None:
        return None
    try:
        hour, minute, second = map(int, clock.groups())
        return datetime.combine(day, time(hour, minute, second)).isoformat()
    except ValueError:
        return None


def _day(recording: str, old: str) -> date | None:
    words = recording.split()
    if words[:2] == ["Startdate", "X"]:
        return None
    plus = re.fullmatch(r"Startdate (\d\d)-([A-Z]{3})-(\d{4})", " ".join(words[:2]).upper()
                        .replace("STARTDATE", "Startdate"))  # fmt: skip
    match = re.fullmatch(r"(\d\d)[./-](\d\d)[./-](\d\d)", old)
    try:
        if plus is not None and plus[2] in _MONTHS:
            return date(int(plus[3]), _MONTHS.index(plus[2]) + 1, int(plus[1]))
        if match is None:
            return None
        day, month, year = map(int, match.groups())
        return date(year + (1900 if year >= 85 else 2000), month, day)
    except ValueError:
        return None
