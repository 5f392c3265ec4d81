"""The text of a `.hea` file: what a record is, and how each of its signals is stored.

Source: G. B. Moody, WFDB Applications Guide, header(5),
https://physionet.org/physiotools/wag/header-5.htm. What a header leaves out has the value that is
named there: 250 Hz, 200 units per mV.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path

from crossl.errors import DataError

DEFAULT_HZ = 250.0
DEFAULT_GAIN = 200.0
MAX_BYTES = 1 << 24
"""Of a header; real ones have a few thousand."""

MAX_SIGNALS = 10_000

_RECORD = re.compile(r"([^\s/]+)(?:/(\d{1,9}))?")
_RATE = re.compile(r"([^/(]+)(?:/[^(]*)?(?:\([^)]*\))?")
_FORMAT = re.compile(r"(\d{1,9})(?:x(\d{1,9}))?(?::(\d{1,9}))?(?:\+(\d{1,18}))?")
_GAIN = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)?(?:\(([-+]?\d{1,18})\))?(?:/(\S*))?")
_INTEGER = re.compile(r"[-+]?\d{1,18}")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class SignalLine:
    """How one signal is stored.

    Attributes:
        file: name of the file that holds its samples.
        code: of the format of samples.
        per_frame: samples in a frame.
        skew: frames that the signal lies late in its file.
        offset: bytes before the first sample.
        gain: steps of the converter per physical unit; None where uncalibrated.
        baseline: the sample that means 0.
        unit: physical.
        first: value of the first sample, where stated.
        checksum: sum of all samples, of which 16 bits count; None where not stated.
        name: empty where not stated.
    """

    file: str
    code: int
    per_frame: int
    skew: int
    offset: int
    gain: float | None
    baseline: int
    unit: str
    first: int | None
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """A record.

    Attributes:
        name: of the record.
        signals: in the header's order.
        rate_hz: frames per second.
        frames: length; None where not stated.
        start: date and time of the first sample, or the time alone; None where not stated.
        comments: lines that begin with #.
        parts: name and frames of each segment, of a record that is a list of them.
        notes: what the header leaves out, a sentence each.
    """

    name: str
    signals: tuple[SignalLine, ...]
    rate_hz: float
    frames: int | None
    start: str | None
    comments: tuple[str, ...]
    parts: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_header(path: Path) -> Header:
    """Read a `.hea` file.

    Raises:
        DataError: it does not follow the format; the line is named.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{path}: has {path.stat().st_size} bytes; a header of at most {MAX_BYTES} is read"
        )
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin1")
    lines = [(n, line.strip(" \t\r\0\x1a")) for n, line in enumerate(text.split("\n"), start=1)]
    comments = tuple(line.strip("# \t") for _, line in lines if line.startswith("#"))
    said = [(n, line) for n, line in lines if line and not line.startswith("#")]
    if not said:
        raise DataError(f"{path}: holds no line that describes a record; no WFDB header")
    notes: list[str] = []
    (_, first), *rest = said
    name, segments, count, rate_hz, frames, start = _record(path, first, notes)
    signals: tuple[SignalLine, ...] = ()
    parts: tuple[tuple[str, int], ...] = ()
    if segments is not None:
        parts = _segments(path, rest, segments)
    else:
        if len(rest) < count:
            raise DataError(
                f"{path}: states {count} signals and describes {len(rest)}; each needs a line"
            )
        if len(rest) > count:
            notes.append(f"{path.name}: describes more than the {count} signals that it states")
        signals = tuple(_signal(f"{path}: line {n}", line) for n, line in rest[:count])
    return Header(name, signals, rate_hz, frames, start, comments, parts, tuple(notes))


def _record(
    path: Path, line: str, notes: list[str]
) -> tuple[str, int | None, int, float, int | None, str | None]:
    """Parse the first line: name, segments, signals, rate, length, start."""
    words = line.split()
    match = _RECORD.fullmatch(words[0])
    if match is None or len(words) < 2 or not re.fullmatch(r"\d{1,9}", words[1]):
        raise DataError(
            f"{path}: the record's line is {line[:80]!a}; it begins with a name and the number of "
            "signals"
        )
    count = int(words[1])
    if count > MAX_SIGNALS:
        raise DataError(f"{path}: states {count} signals; at most {MAX_SIGNALS} are read")
    rate_hz, frames = DEFAULT_HZ, None
    if len(words) > 2:
        rate = _RATE.fullmatch(words[2])
        rate_hz = _float(rate[1]) if rate else float("nan")
        if not 0 < rate_hz < 1e9:
            raise DataError(f"{path}: gives a rate of {words[2][:40]!a}; a positive number of Hz")
    else:
        notes.append(f"{path.name} gives no rate; {DEFAULT_HZ:g} Hz count, as the format says")
    if len(words) > 3:
        if not re.fullmatch(r"\d{1,18}", words[3]):
            raise DataError(
                f"{path}: states {words[3][:40]!a} samples; a whole number is needed, 0 or nothing "
                "where it is not known"
            )
        frames = int(words[3]) or None
    segments = int(match[2]) if match[2] is not None else None
    return match[1], segments, count, rate_hz, frames, _start(words[4:])


def _segments(
    path: Path, lines: Sequence[tuple[int, str]], told: int
) -> tuple[tuple[str, int], ...]:
    if not 0 < told == len(lines):
        raise DataError(
            f"{path}: states {told} segments and lists {len(lines)}; each needs a line, and a "
            "record at least one"
        )
    parts = []
    for number, line in lines:
        words = line.split()
        if len(words) < 2 or Path(words[0]).name != words[0] or not words[1].isdecimal():
            raise DataError(
                f"{path}: line {number} is {line[:80]!a}; a segment has a name and a length"
            )
        parts.append((words[0], int(words[1][:18])))
    return tuple(parts)


def _signal(where: str, line: str) -> SignalLine:
    words = line.split()
    match = _FORMAT.fullmatch(words[1]) if len(words) > 1 else None
    if match is None:
        raise DataError(
            f"{where} is {line[:80]!a}; a signal has a file, a format, and then gain, resolution, "
            "zero, first value, checksum, block size and name"
        )
    rest = words[2:]
    gain, baseline, unit = None, None, "mV"
    calibration = _GAIN.fullmatch(rest[0]) if rest else None
    if calibration is not None:
        rest = rest[1:]
        gain = _float(calibration[1]) if calibration[1] else 0.0
        if not abs(gain) < float("inf"):
            raise DataError(f"{where} has a gain of {calibration[1][:40]!a}; a number is needed")
        baseline = int(calibration[2]) if calibration[2] else None
        unit = calibration[3] or "mV"
    # resolution, zero, first value, checksum, block size: whole numbers, as many as there are
    told = list(_integers(rest))
    zero = told[1] if len(told) > 1 else 0
    return SignalLine(
        file=words[0],
        code=int(match[1]),
        per_frame=int(match[2] or 1) or 1,
        skew=int(match[3] or 0),
        offset=int(match[4] or 0),
        gain=gain or None,
        baseline=zero if baseline is None else baseline,
        unit=unit,
        first=told[2] if len(told) > 2 else None,
        checksum=told[3] if len(told) > 3 else None,
        name=" ".join(rest[len(told) :]),
    )


def _integers(words: Sequence[str]) -> Iterator[int]:
    for word in words[:5]:
        if not _INTEGER.fullmatch(word):
            return
        yield int(word)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _start(words: Sequence[str]) -> str | None:
    """Read `10:23:45.5 31/12/2020`, in this order or the other; None where it says neither.

    Examples:
        >>> _start(["05-Feb-2020", "11:39:16"])
        '2020-02-05T11:39:16'
    """
    times = [found for word in words[:2] if (found := _time(word)) is not None]
    dates = [day for word in words[:2] if (day := _date(word)) is not None]
    if not times:
        return None
    return f"{dates[0].isoformat()}T{times[0].isoformat()}" if dates else times[0].isoformat()


def _time(word: str) -> time | None:
    match = re.fullmatch(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d*)?)?", word)
    if match is None:
        return None
    hour, minute, second, part = match.groups()
    try:
        if second is None:  # two numbers are minutes and seconds
            return time(0, int(hour), int(minute))
        return time(int(hour), int(minute), int(second), int((part or "").ljust(6, "0")))
    except ValueError:
        return None


def _date(word: str) -> date | None:
    match = re.fullmatch(r"(\d{1,2})[/-](\d{1,2}|[A-Za-z]{3})[/-](\d{4})", word)
    if match is None:
        return None
    day, month, year = match.groups()
    number = _MONTHS.index(month.lower()) + 1 if month.lower() in _MONTHS else 0
    try:
        return date(int(year), int(month) if month.isdigit() else number, int(day))
    except ValueError:
        return None
