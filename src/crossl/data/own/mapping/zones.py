"""Time zones: what local times mean, and whether the files of a recording agree about it.

A time is an instant where it has a zone or counts from 1970; a date without a zone is not. Where a
mapping says which zone a file's dates are of (`timezone:`), they become instants here, summer time
included. Where it says none, they count as UTC, but only among their like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError

STEP_BACK_S = 60.0
"""A clock that goes back by more, within an hour that came twice, has begun its second time."""

HOUR_S = 3600.0

JOINED_STEPS = 10
"""Steps, by their median, within which one sample follows another without a pause."""


@dataclass
class Zones:
    """What the times of the files of one recording are.

    Attributes:
        instants: what shows it, by file, where times have a zone or count from 1970.
        local: likewise, where dates have no zone and the mapping says none.
        notes: how hours that came twice were resolved.
    """

    instants: dict[str, str] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def check(self, where: str) -> None:
        """Refuse files with instants beside files with local times.

        Raises:
            DataError: names a file of each, and the key that says what local times mean.
        """
        if not (self.instants and self.local):
            return
        (one, shown), (other, bare) = (
            next(iter(self.instants.items())),
            next(iter(self.local.items())),
        )
        raise DataError(
            f"{where}: times of {one} {shown}, and those of {other} are dates without a zone, "
            f"such as {bare}; say in the mapping what these mean, by `timezone:` of that file, "
            "such as Europe/Berlin, or UTC"
        )


def times_shown(date: datetime, timezone: str) -> int:
    """Count how often the clocks of a zone show a date: 0 where they were put forward, 2 back.

    Args:
        date: without a zone.
        timezone: IANA name.

    Examples:
        >>> [times_shown(datetime(2024, m, d, 2, 30), "Europe/Madrid")
        ...  for m, d in ((3, 31), (6, 1), (10, 27))]
        [0, 1, 2]
    """
    first, second = _offsets(date, ZoneInfo(timezone))
    return 1 if first == second else 2 if first > second else 0


def shown(local_s: float) -> str:
    """Write a local time.

    Examples:
        >>> shown(0.5)
        '1970-01-01 00:00:00.500'
    """
    try:
        time = datetime.fromtimestamp(local_s, UTC).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return f"{local_s:g} s"
    return time.isoformat(" ", "milliseconds")


def refuse_repeated_hour(where: str, local_s: NDArray[np.float64]) -> None:
    """Refuse local times that go back by an hour, as clocks do at the end of summer time.

    Args:
        where: names the column in messages.
        local_s: (time,) what the clock on the wall showed, seconds; of no zone that is known.

    Raises:
        DataError: names the place, and the key that says which zone they are of.
    """
    steps = np.diff(local_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    back = np.flatnonzero(np.abs(steps - usual + HOUR_S) <= min(STEP_BACK_S, 5 * abs(usual) + 1))
    if len(back) == 1:
        before, after = local_s[back[0]], local_s[back[0] + 1]
        raise DataError(
            f"{where}: goes back by an hour, from {shown(before)} to {shown(after)}, as local time "
            "does when summer time ends; say by `timezone:` which zone it is of"
        )


def to_unix(
    where: str, local_s: NDArray[np.float64], timezone: str, notes: list[str]
) -> NDArray[np.float64]:
    """Turn local times into seconds since 1970.

    In an hour that came twice, because clocks were put back, samples up to a step back of the
    clock are of the first time. Without a step, samples that follow what was before the hour
    are of the first time, and those that what was after it follows are of the second.

    Args:
        where: names the column in messages.
        local_s: (time,) what the clock on the wall showed, as seconds since 1970; NaN stays.
        timezone: IANA name.
        notes: gets a note on hours that came twice.

    Raises:
        DataError: a time that did not exist, or that came twice with nothing to tell which it is.

    Examples:
        >>> to_unix("t", np.array([7200.0]), "Europe/Berlin", []).tolist()
        [3600.0]
    """
    zone = ZoneInfo(timezone)
    there = np.isfinite(local_s)
    local = local_s[there]
    minutes, place = np.unique(np.floor(local / 60), return_inverse=True)
    first = np.array([_offset_s(where, zone, minute, 0) for minute in minutes.tolist()])[place]
    second = np.array([_offset_s(where, zone, minute, 1) for minute in minutes.tolist()])[place]
    if (first < second).any():
        at = int(np.argmax(first < second))
        hours = first[at] / 3600
        fixed = f", such as Etc/GMT{-hours:+g}" if hours.is_integer() else ""
        raise DataError(
            f"{where}: {shown(local[at])} did not exist in {timezone}, where clocks were put "
            f"forward; the clock that wrote it kept no summer time, name a zone without it{fixed}"
        )
    out = local_s.copy()
    out[there] = local - first
    again = np.zeros(len(local), dtype=np.bool_)
    for begin, end in _runs(first > second):
        again[begin:end] = _second_time(f"{where}: ", local, (begin, end), timezone)
        count = int(again[begin:end].sum())
        notes.append(
            f"{where}: an hour from {shown(local[begin:end].min())} came twice in {timezone}; "
            f"{end - begin - count} times are of the first, {count} of the second"
        )
    out[there] += np.where(again, first - second, 0.0)
    return out


def _offset_s(where: str, zone: ZoneInfo, minute: float, fold: int) -> float:
    try:
        offset = _offsets(datetime(1970, 1, 1) + timedelta(minutes=minute), zone)[fold]
    except OverflowError:
        raise DataError(f"{where}: a time of {minute * 60:g} s is not a date") from None
    return offset.total_seconds()


def _offsets(date: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Return what a local date is ahead of UTC, as of the first and of the second time."""
    first, second = (date.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first or timedelta(), second or timedelta()


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _second_time(
    where: str, local: NDArray[np.float64], run: tuple[int, int], timezone: str
) -> NDArray[np.bool_]:
    """Tell which of a run of times, all within an hour that came twice, are of the second."""
    begin, end = run
    times = local[begin:end]
    back = np.flatnonzero(np.diff(times) < -STEP_BACK_S)
    if len(back) == 1:
        return np.asarray(np.arange(len(times)) > back[0])
    steps = np.diff(local)
    steps = steps[steps > 0]
    near = JOINED_STEPS * float(np.median(steps)) if len(steps) else 0.0
    follows = begin > 0 and 0 <= times[0] - local[begin - 1] <= near
    leads = end < len(local) and 0 <= local[end] - times[-1] <= near
    if len(back) or follows == leads:
        why = "goes back more than once within it" if len(back) else (
            "runs through it once without a pause" if follows else "does not say which it is"
        )  # fmt: skip
        raise DataError(
            f"{where}{shown(times[0])} came twice in {timezone}, where clocks were put back, and "
            f"the column {why}; write the zone behind each time, or name a zone without summer time"
        )
    return np.full(len(times), leads)
