"""Times of files to seconds: columns of numbers, of dates, and when a file says it began."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, format_of
from crossl.data.own.mapping.columns import locate_clock
from crossl.data.own.mapping.entries import SECONDS, ClockUnit
from crossl.data.own.mapping.plan import Source
from crossl.data.own.mapping.zones import Zones, refuse_repeated_hour, shown, to_unix
from crossl.errors import DataError

ABSOLUTE_S = 1e8
"""Times from here on count from 1970: this is 1973, and no recording lasts three years."""

DAY_S = 86400.0
DAY = re.compile(r"%[djaAxcsDFuw]")
"""Letters of strptime that tell a day."""

SOME_CELLS = 500
"""Cells by which the format of dates is guessed."""

DATES = ("%d.%m.%Y ", "%d/%m/%Y ", "%m/%d/%Y ", "%d-%m-%Y ", "%m-%d-%Y ", "%Y/%m/%d ", "%Y.%m.%d ",
         "%d.%m.%y ", "%m/%d/%y ", "%d/%m/%y ", "%d %b %Y ", "%b %d %Y ", "")  # fmt: skip
TIMES = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
FRACTIONS = ("", ".%f", ",%f", " %z")

EXCEL_1970 = 25569.0
"""The day that Excel calls 25569 is 1970-01-01."""

ZONE_NAME = re.compile(r"\s*\[[A-Za-z_/+\-0-9]+\]$")
"""A zone's name behind an offset that says the same, `+0100 [Europe/London]`."""

COLON_BEFORE_FRACTION = re.compile(r"(\d\d:\d\d:\d\d):(\d{1,6})$")
"""GENEActiv writes `16:47:50:000`."""


def started(source: Source, content: FileContent, zones: Zones) -> FileContent:
    """Put a file that says when it began, in local time, on the clock that its zone tells.

    Args:
        source: the file, and what the mapping says of it.
        content: opened.
        zones: collects what the times of the file are.

    Returns:
        The content; of EDF and WFDB with a zone, moved to seconds since 1970.

    Raises:
        DataError: the start did not exist in that zone, or came twice.
    """
    timezone = source.entry.timezone
    kind = source.entry.format or format_of(source.path)
    if content.about.get("local_start"):
        return _local_starts(source, content, zones)
    if timezone is None or kind not in ("edf", "wfdb") or source.entry.clock is not None:
        return content
    told = content.about.get("start")
    try:
        time = datetime.fromisoformat(str(told))
    except ValueError:
        zones.notes.append(
            f"{source.path.name} gives no date and time of its start; its times count from 0"
        )
        return content
    local = np.array([time.replace(tzinfo=UTC).timestamp()])
    start_s = float(to_unix(f"{source.path}: start", local, timezone, zones.notes)[0])
    return replace(
        content,
        streams=tuple(replace(one, start_s=one.start_s + start_s) for one in content.streams),
        labels=tuple(
            replace(one, start_s=one.start_s + start_s, end_s=one.end_s + start_s)
            for one in content.labels
        ),
    )


def _local_starts(source: Source, content: FileContent, zones: Zones) -> FileContent:
    """Put sensors that begin with a date without a zone on the clock that the mapping's zone tells.

    Without one they stay as if in UTC, and `zones` collects a note.
    """
    timezone = source.entry.timezone
    if timezone is None:
        first = min(stream.start_s for stream in content.streams)
        zones.local.setdefault(source.path.name, shown(first))
        return content

    def unix(time_s: float) -> float:
        where = f"{source.path}: time"
        return float(to_unix(where, np.array([time_s]), timezone, zones.notes)[0])

    moved = [
        replace(
            one,
            start_s=unix(one.start_s),
            timestamps_s=None if one.timestamps_s is None
            else one.timestamps_s + (unix(one.start_s) - one.start_s),
        )
        for one in content.streams
    ]  # fmt: skip
    # where samples end is counted from their start, no clock showed it
    ends = {
        one.start_s + one.length / one.rate_hz: there.start_s + one.length / one.rate_hz
        for one, there in zip(content.streams, moved, strict=True)
        if one.rate_hz
    }
    labels = tuple(
        replace(
            one,
            start_s=unix(one.start_s),
            end_s=ends[one.end_s] if one.end_s in ends else unix(one.end_s),
        )
        for one in content.labels
    )
    about = {key: value for key, value in content.about.items() if key != "local_start"}
    about["notes"] = [note for note in about.get("notes", ()) if "`timezone:`" not in note]
    return replace(content, streams=tuple(moved), labels=labels, about=about)


def clock_seconds(
    source: Source, content: FileContent, stream: Stream, zones: Zones
) -> NDArray[np.float64] | None:
    """Return the time of each sample of a stream, without the offset; None where a rate counts.

    Args:
        source: the file, and what the mapping says of it.
        content: opened.
        stream: of it.
        zones: collects what the times are.

    Raises:
        DataError: no such column, or something that is not a time.
    """
    if source.entry.clock is None or source.more:  # of parts the times are joined already
        first = stream.start_s
        if stream.timestamps_s is not None and len(stream.timestamps_s):
            first = float(stream.timestamps_s[0])
        if first >= ABSOLUTE_S and not content.about.get("local_start"):
            zones.instants.setdefault(source.path.name, "count from 1970")
        return stream.timestamps_s
    place = locate_clock(content, source.entry.clock, stream)
    return seconds(source, place, source.entry.clock_unit, zones)


def seconds(
    source: Source,
    place: tuple[Stream, str],
    unit: ClockUnit,
    zones: Zones,
    needed: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Read a column of times.

    Args:
        source: the file, and what the mapping says of it.
        place: stream and column.
        unit: of its cells.
        zones: collects what the times are.
        needed: (time,) elsewhere an empty cell is NaN, a date or not.

    Raises:
        DataError: a cell is not a time, some have a zone and some have none, or a local time did
            not exist or came twice.
    """
    stream, column = place
    where = f"{source.path}: column '{column}'"
    if unit == "datetime":
        table = source.entry.table
        date_format = table.date_format if table is not None else None
        times, zoned = _dates(where, place, needed, date_format)
    elif unit == "excel_days":
        days = stream.load([column])[:, 0]
        _check_days(where, days)
        times, zoned = (days - EXCEL_1970) * DAY_S, False
    else:
        times = stream.load([column])[:, 0] * SECONDS[unit]
        zoned = column not in stream.zoneless
    finite = times[np.isfinite(times)]
    if not len(finite):
        return times
    if zoned is None:
        return times
    if zoned:
        if unit == "datetime":
            zones.instants.setdefault(source.path.name, "have a zone")
        elif finite[0] + source.offset_s >= ABSOLUTE_S:
            zones.instants.setdefault(source.path.name, "count from 1970")
        return times
    if source.entry.timezone is not None:
        zones.instants.setdefault(source.path.name, f"are of {source.entry.timezone}")
        return to_unix(where, times, source.entry.timezone, zones.notes)
    zones.local.setdefault(source.path.name, shown(float(finite[0])))
    refuse_repeated_hour(where, finite)
    return times


def _check_days(where: str, days: NDArray[np.float64]) -> None:
    wrong = np.isfinite(days) & ~((days > 1) & (days < 2_958_466))  # until the year 9999
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{where}, sample {at + 1}: {days[at]:g} is not an Excel day; they count from 1900, "
            "2024-05-31 is 45443"
        )


def _dates(
    where: str,
    place: tuple[Stream, str],
    needed: NDArray[np.bool_] | None,
    date_format: str | None,
) -> tuple[NDArray[np.float64], bool | None]:
    """Read a column of dates; says whether they have a zone, None for times of day."""
    stream, column = place
    if stream.load_text is None:
        raise DataError(
            f"{where} holds numbers; `datetime` needs text, name s, ms, us, ns or excel_days"
        )
    cells = stream.load_text(column)
    out = np.full(len(cells), np.nan)
    # an empty cell that is needed is refused by its row
    given = np.ones(len(cells), dtype=np.bool_)
    if needed is not None:
        given = needed | (np.char.strip(cells) != "")
    rows = np.flatnonzero(given)
    out[rows], zoned = read_dates(where, cells[rows], rows + 1, date_format)
    if date_format is None or DAY.search(date_format):
        return out, zoned
    out[rows] = _past_midnight(out[rows])
    return out, None


def parse_datetimes(where: str, text: NDArray[np.str_]) -> NDArray[np.float64]:
    """Read dates with times (ISO 8601) as seconds since 1970; without a zone as if in UTC.

    Raises:
        DataError: a cell is none, or some have a zone and some have none.

    Examples:
        >>> parse_datetimes("t", np.array(["1970-01-02 00:00:01,5"])).tolist()
        [86401.5]
    """
    return read_dates(where, text, np.arange(1, len(text) + 1))[0]


def guess_dates(where: str, text: NDArray[np.str_]) -> tuple[NDArray[np.float64], str | None]:
    """Read dates with times, in ISO 8601 or a way that is guessed.

    Args:
        where: names the column in messages.
        text: (time,).

    Returns:
        (time,) seconds since 1970, or since midnight for times of day; the format that was
        guessed, None for ISO 8601.

    Raises:
        DataError: a cell is not a date, or nothing tells day from month.
    """
    guess = None
    if len(text) and _date(str(text[0])) is None:
        guess = guess_date_format(text[:SOME_CELLS].tolist())
    times = read_dates(where, text, np.arange(1, len(text) + 1), guess)[0]
    return _past_midnight(times) if guess and not DAY.search(guess) else times, guess


def _past_midnight(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Let times of day go on where they pass midnight."""
    times_s = times_s % DAY_S  # strptime puts them into 1900
    back = np.diff(times_s, prepend=times_s[:1]) < -DAY_S / 2
    return np.asarray(times_s + np.cumsum(back) * DAY_S)


def read_dates(
    where: str,
    text: NDArray[np.str_],
    numbers: NDArray[np.int64],
    date_format: str | None = None,
) -> tuple[NDArray[np.float64], bool]:
    """Read dates with times, and tell whether they have a zone.

    Args:
        where: names the column in messages.
        text: (time,) ISO 8601, or in the format.
        numbers: (time,) what each sample is called in messages.
        date_format: by the letters of `strptime`.

    Returns:
        (time,) seconds since 1970, without a zone as if in UTC; whether they have one.

    Raises:
        DataError: a cell is none, or some have a zone and some have none.
    """
    out = np.empty(len(text))
    zoned: bool | None = None
    for row, cell in enumerate(text.tolist()):
        time = _date(cell) if date_format is None else _formatted(cell, date_format)
        if time is None:
            raise _no_date(f"{where}, sample {numbers[row]}: {cell[:40]!a}", cell, date_format)
        if zoned is None:
            zoned = time.tzinfo is not None
        elif zoned != (time.tzinfo is not None):
            raise DataError(
                f"{where}, sample {numbers[row]}: {cell[:40]!a} has {'no' if zoned else 'a'} zone "
                f"and sample {numbers[0]}, {text[0][:40]!a}, has {'one' if zoned else 'none'}; "
                "write all of a column in one way"
            )
        out[row] = (time if zoned else time.replace(tzinfo=UTC)).timestamp()
    return out, bool(zoned)


def _no_date(where: str, cell: str, date_format: str | None) -> DataError:
    if date_format is not None:
        return DataError(
            f"{where} does not fit the date_format '{date_format}'; correct one of them"
        )
    guess = guess_date_format([cell])
    cure = f'; say `table: {{date_format: "{guess}"}}` in the mapping' if guess else ""
    return DataError(
        f"{where} is not a date with a time; ISO 8601 is read, such as "
        f"2024-05-31T09:30:00.250+02:00{cure}"
    )


def guess_date_format(cells: Sequence[str]) -> str | None:
    """Guess how dates are written that are not ISO 8601, for `data init` and messages.

    Args:
        cells: some of a column.

    Returns:
        What `strptime` takes; None where nothing known fits all, or day and month may be either.

    Examples:
        >>> guess_date_format(["31.05.2024 09:30:00,250"]), guess_date_format(["1/2/2024 9:30"])
        ('%d.%m.%Y %H:%M:%S,%f', None)
    """
    texts = [cell.strip() for cell in cells if cell.strip()]
    fits = [
        date + time + fraction
        for date in DATES
        for time in TIMES
        for fraction in FRACTIONS
        if not (time.startswith(("%H:%M", "%I:%M")) and ":%S" not in time and "%f" in fraction)
        if all(_formatted(text, date + time + fraction) is not None for text in texts)
    ]
    # a fraction stands behind seconds: Excel shows short times as 01:02.5
    fits += [one for one in ("%M:%S.%f", "%M:%S,%f") if all(_formatted(t, one) for t in texts)]
    either = {one.replace("%d", "%?").replace("%m", "%?") for one in fits}
    return fits[0] if texts and fits and len(either) == len(fits) else None


def _formatted(cell: str, date_format: str) -> datetime | None:
    try:
        return datetime.strptime(cell.strip(), date_format)
    except ValueError:
        return None


def _date(cell: str) -> datetime | None:
    cell = cell.strip()
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        pass
    cell = ZONE_NAME.sub("", COLON_BEFORE_FRACTION.sub(r"\1.\2", cell))
    cell = re.sub(r" ?UTC$", "+00:00", cell)
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return None
