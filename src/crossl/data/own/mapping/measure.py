"""Guess from values: which column is the clock, its unit, its rate, what unit a signal has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import Stream
from crossl.data.own.mapping.entries import SECONDS, ClockUnit
from crossl.data.own.mapping.guess import clean, split_unit
from crossl.data.own.mapping.quantity import read_unit
from crossl.data.own.mapping.times import ABSOLUTE_S, DAY_S, guess_dates
from crossl.data.timing import LEAST_BATCHES, put_in_order
from crossl.errors import DataError

CLOCK = re.compile(
    r"t|ts|time.*|.*timestamp.*|datetime|date|unix.*|epoch.*|sec|seconds|millis.*|elapsed.*|.*_time|"
    r"zeit.*|.*zeitstempel|uhrzeit|datum.*|iso_?date|sample_?time_?fine|hora|fecha.*|heure|"
    r"horodatage|temps|date_heure|marca_(de_)?tiempo|tiempo.*|tempo|tempo_s|orario|data_ora|"
    r"(start|begin|end|creation|local|utc|recording)_?(date|time|datetime)|tijd.*|tijdstempel|czas|tid"
)


INDEX = re.compile(r"c\d+|unnamed.*|(index_)?level_\d+|index")
"""Columns without a name, and those that a table's index becomes."""


FASTEST_S = 1e-5
"""Steps of a clock that no sensor of a body is as fast as."""


@dataclass(frozen=True)
class Clock:
    """A column of times.

    Attributes:
        column: its name.
        unit: of its numbers, or `datetime`.
        times_s: seconds.
        date_format: of dates that are not ISO 8601, for `strptime`.
    """

    column: str
    unit: ClockUnit
    times_s: NDArray[np.float64]
    date_format: str | None = None


def find_clock(stream: Stream, texts: Sequence[str], *, name: str = "") -> Clock | None:
    """Find the column of times: by its name, if it increases; or without a name, if it is dates.

    Of several, the one whose times increase most often: phones write the time at which a packet
    came, sensors their own. Numbers that would be of another day than dates beside them count from
    something else than 1970 (Polar's sensors from 2000) and are left out.

    Args:
        stream: of the file.
        texts: columns that hold text.
        name: of the only column, if not its own.
    """
    found = []
    for column in stream.columns:
        called = clean(split_unit(name or column)[0])
        clock = _clock(stream, column, called, column in texts)
        if clock is not None and _goes_on(clock.times_s):
            found.append((float((np.diff(clock.times_s) > 0).mean()), clock))
    days = [clock.times_s[0] for _, clock in found if clock.unit == "datetime"]
    if any(day_s >= ABSOLUTE_S for day_s in days):
        found = [pair for pair in found if not _counts_from_elsewhere(pair[1], max(days))]
    return max(found, key=lambda pair: round(pair[0], 2))[1] if found else None


def _counts_from_elsewhere(clock: Clock, day_s: float) -> bool:
    """Tell whether numbers look like times since 1970, but dates beside them say another day."""
    first = float(clock.times_s[0])
    return clock.unit != "datetime" and first >= ABSOLUTE_S and abs(first - day_s) > 2 * DAY_S


def _clock(stream: Stream, column: str, called: str, is_text: bool) -> Clock | None:  # noqa: FBT001
    """Read a column as times; None where it is none."""
    named = bool(CLOCK.fullmatch(called))
    index = bool(INDEX.fullmatch(called))
    if not (named or index):
        return None
    if is_text and stream.load_text is not None:
        try:
            times, date_format = guess_dates(column, stream.load_text(column))
        except DataError:
            return None
        return Clock(column, "datetime", times, date_format)
    raw = stream.load([column])[:, 0]
    if index and not _is_time(raw):
        return None
    unit = _clock_unit(clean(column) if named else "", raw)
    step_s = float(np.median(np.diff(raw))) * SECONDS[unit] if len(raw) > 1 else 1.0
    if 0 < step_s < FASTEST_S:
        return None  # days of MATLAB, or a count of something else
    return Clock(column, unit, raw * SECONDS[unit])


def _is_time(raw: NDArray[np.float64]) -> bool:
    """Tell whether numbers without a name are times: since 1970, or in steps that are not whole."""
    steps = np.diff(raw)
    if len(steps) < 2 or not np.isfinite(steps).all() or not (steps >= 0).all():
        return False
    step = float(np.median(steps))
    even = bool(step > 0 and (np.abs(steps - step) <= 0.01 * step).mean() >= 0.95)
    return bool(1e8 <= raw[0] < 1e19) or (even and step != round(step))


def _goes_on(times_s: NDArray[np.float64]) -> bool:
    """Tell whether times increase, but for a few, or never go back, as of batches."""
    if len(times_s) < 2 or not np.isfinite(times_s).all():
        return False
    steps = np.diff(times_s)
    batches = bool((steps >= 0).all() and (steps > 0).sum() >= LEAST_BATCHES)
    return batches or float((steps > 0).mean()) >= 0.8


def _clock_unit(name: str, raw: NDArray[np.float64]) -> ClockUnit:
    """Guess by the name, then by the size of times since 1970, then by steps."""
    if looks_like_excel(raw):
        return "excel_days"
    hints: tuple[tuple[str, ClockUnit], ...] = (
        (r".*_ms|.*milli.*|ms", "ms"), (r".*_us|.*micro.*|us", "us"),
        (r".*_ns|.*nano.*|ns", "ns"), (r".*_s|.*_sec|.*seconds?", "s"),
    )  # fmt: skip
    for pattern, unit in hints:
        if re.fullmatch(pattern, name):
            return unit
    finite = raw[np.isfinite(raw)]
    if not len(finite):
        return "s"
    sizes: tuple[tuple[float, ClockUnit], ...] = ((1e9, "ns"), (1e6, "us"), (1e3, "ms"))
    for size, unit in sizes:
        if 5e8 <= finite[0] / size < 5e9:  # since 1970: 1985 to 2128
            return unit
    step = float(np.median(np.diff(finite))) if len(finite) > 1 else 1.0
    if 5e8 <= finite[0] < 5e9 or step <= 1:
        return "s"
    return "ms" if step < 2e3 else "us" if step < 2e6 else "ns"


def looks_like_excel(raw: NDArray[np.float64], least: int = 2) -> bool:
    """Tell whether numbers are days since 1900, of 2009 to 2064, in steps of less than 10 seconds.

    Args:
        raw: (time,) numbers of a column of times; as seconds they would be 10 kHz or faster.
        least: numbers that are needed.

    Examples:
        >>> looks_like_excel(45443.375 + np.arange(9) / 864000), looks_like_excel(np.arange(9.0))
        (True, False)
    """
    finite = raw[np.isfinite(raw)]
    if len(finite) < least or not ((finite > 40_000) & (finite < 60_000)).all():
        return False
    steps = np.diff(finite)
    steps = steps[steps > 0]
    return bool(len(steps) and np.median(steps) < 1e-4)


def guess_rate(times_s: NDArray[np.float64]) -> float | None:
    """Tell the rate of a clock, as a round number if one is within a percent."""
    try:
        rate = put_in_order("clock", times_s, times_s[:, None])[2].estimated_hz
    except DataError:
        return None
    for round_to in (10, 5, 1, 0.5):
        near = round(rate / round_to) * round_to
        if near and abs(near - rate) <= 0.002 * near:
            return float(near)
    told = float(f"{rate:.3g}")
    if abs(told - rate) <= 1e-4 * told and abs(told - round(rate)) > 1e-3 * told:
        return told  # such as 51.2
    whole = round(rate)
    return float(whole) if whole and abs(whole - rate) <= 0.005 * whole else float(f"{rate:.4g}")


def rate_in_name(path: Path) -> float | None:
    """Return the rate that a name tells, as in `resting_100hz.csv`."""
    match = re.search(r"(\d+)[ _-]?hz", path.name, re.IGNORECASE)
    return float(match[1]) if match else None


def guess_unit(group: str, columns: Sequence[str], values: NDArray[np.float64]) -> tuple[str, str]:
    """Guess the unit of a signal, and say by what.

    Args:
        group: what its columns have in common, such as `acc`.
        columns: their names.
        values: (time, channel).

    Examples:
        >>> guess_unit("acc", ["x"], np.full((9, 1), 0.98))[0]
        'g'
    """
    for column in columns:
        told = split_unit(column)[1]
        try:
            known = bool(told) and bool(read_unit(told, column, group))
        except DataError:
            continue
        if known:
            return told, "by the column's name"
    kept = values[np.isfinite(values).all(axis=1)]
    if not len(kept):
        return "1", "no values to go by"
    norm = float(np.median(np.linalg.norm(kept, axis=1)))
    spread = float(np.median(np.abs(kept - np.median(kept, axis=0))))
    for pattern, size, ranges in _RANGES:
        if re.search(pattern, group):
            measured = {"norm": norm, "spread": spread}[size]
            for low, high, unit in ranges:
                if low <= measured < high:
                    return unit, f"{'median size' if size == 'norm' else 'spread'} {measured:.3g}"
            return "1", f"median size {norm:.3g} fits no unit of such a signal"
    return "1", "nothing says its unit"


_RANGES: tuple[tuple[str, str, tuple[tuple[float, float, str], ...]], ...] = (
    (
        "acc|acel|beschl|versnelling",
        "norm",
        (
            (0.5, 2, "g"),
            (6, 14, "m/s^2"),
            (45, 90, "g/64"),
            (600, 1500, "mg"),
            (1800, 2300, "g/2048"),
        ),
    ),
    ("gyr|giro", "norm", ((0, 6, "rad/s"), (6, 2000, "deg/s"))),
    ("mag", "norm", ((0.15, 1.5, "G"), (15, 150, "uT"), (150, 1500, "mG"))),
    ("xyz", "norm", ((0.9, 1.1, "g"), (9.3, 10.3, "m/s^2"), (900, 1100, "mg"))),
    ("ecg|ekg", "spread", ((1e-6, 5e-3, "V"), (5e-3, 5, "mV"), (5, 5e3, "uV"))),
    ("eeg|eog|exg", "spread", ((1e-7, 1e-3, "V"), (1e-3, 0.2, "mV"), (0.2, 1e3, "uV"))),
    ("emg", "spread", ((1e-7, 1e-4, "V"), (1e-4, 0.5, "mV"), (0.5, 5e3, "uV"))),
    ("eda|gsr|skin_cond", "norm", ((1e-8, 1e-4, "S"), (0.01, 100, "uS"))),
    ("temp", "norm", ((10, 50, "degC"), (50, 115, "degF"), (270, 330, "K"))),
    ("hr|heart|pulse_rate|herz|cardia", "norm", ((0.4, 4, "Hz"), (25, 250, "bpm"))),
)
"""What a signal is, by its name; how large it is in which unit, on a living body."""
