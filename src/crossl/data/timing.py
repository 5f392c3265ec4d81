"""Timing: what timestamps say about a clock, and how samples come to lie on a regular grid.

Arrays in, arrays out. Linear interpolation between neighbours onto a grid at the recorded rate; to
change the rate there is `rate_change`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError

Float32 = NDArray[np.float32]

RATE_TOLERANCE = 0.01
"""Relative difference between a declared rate and its timestamps that is still believed."""

MAX_DROPPED = 0.2
"""Share of samples that may be lost to a clock that stands still or runs backwards.

Phones stamp two samples with one time so often that a tenth of them are lost (sp-sw-har). Where
more share theirs, as with stamps in whole seconds, they came in batches, which are spread.
"""

DAY_S = 86400.0

LEAST_BATCHES = 3
"""Batches that tell how long one lasts."""

STUCK_S = 1.0
"""How much longer than the time until the next a batch may be before its clock has stood still."""

EVEN = 0.1
"""Range of distances, over their mean, up to which long steps come evenly."""

BLOCK_STEPS = 50
"""Steps over which a rate is estimated."""

MAX_EMPTY = 50
"""Grid points per sample, of long signals; more means a damaged timestamp, not a gap."""


@dataclass(frozen=True)
class Timing:
    """What the timestamps of one signal said before its samples were put on a grid.

    Attributes:
        declared_hz: the rate that was declared; 0 where none was.
        estimated_hz: the rate that the timestamps give, gaps left out.
        jitter_s: standard deviation of the steps, gaps left out.
        duplicates: samples with the time of the one before; the first is kept.
        backwards: times at which the clock jumped back.
        dropped: samples that were left out for either reason.
        gaps: steps longer than three times the mean.
        longest_gap_s: the longest step.
        spread: samples that came in batches of one time each and were spread until the next.
    """

    declared_hz: float
    estimated_hz: float
    jitter_s: float
    duplicates: int
    backwards: int
    dropped: int
    gaps: int
    longest_gap_s: float
    spread: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def _mean_step(timestamps_s: NDArray[np.float64]) -> float:
    """Estimate the time between samples, whatever gaps and bursts there are.

    Where every step is usual or a gap, the mean of the usual ones. Else the mean length of
    stretches of 50 steps, of those near the median length: a gap spoils only the stretches around
    it, samples that arrive in bursts even out within one, and stamps in whole milliseconds still
    tell 102.5 from 100 Hz.
    """
    usual = _usual_steps(np.diff(timestamps_s))
    if usual is not None:
        return float(usual.mean())
    block = max(1, min(BLOCK_STEPS, len(timestamps_s) // 4))
    lengths = timestamps_s[block:] - timestamps_s[:-block]
    median = np.quantile(lengths[lengths > 0], 0.5, method="lower")  # one of them, never between
    near = np.abs(lengths - median) <= 0.2 * median
    return float(lengths[near].mean()) / block


def _usual_steps(steps: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Leave out steps over lost samples; None where steps are not of these two kinds.

    Steps that are much shorter than others make up for long ones, as in bursts. Long ones that come
    at even distances are none over lost samples, but those of a clock that is rounded coarsely.
    """
    median = float(np.median(steps)) if len(steps) else 0.0
    gaps = np.flatnonzero(steps > 1.5 * median)
    if median <= 0 or (steps < 0.5 * median).any() or len(gaps) > MAX_DROPPED * len(steps):
        return None
    between = np.diff(gaps)
    if len(between) > 1 and np.ptp(between) <= max(2.0, EVEN * between.mean()):
        return None
    return steps[steps <= 1.5 * median]


def estimate_rate(where: str, timestamps_s: NDArray[np.float64]) -> float:
    """Tell the rate of a clock, gaps left out.

    Args:
        where: names the signal in the message.
        timestamps_s: time of each sample, seconds, increasing.

    Raises:
        DataError: fewer than 2 samples, or timestamps that do not increase.

    Examples:
        >>> round(estimate_rate("wrist_acc", np.arange(10) / 50), 6)
        50.0
    """
    if len(timestamps_s) < 2:
        raise DataError(f"{where}: has {len(timestamps_s)} samples; a rate needs at least 2")
    increases = np.diff(timestamps_s) > 0
    if not increases.all():
        at = int(np.argmin(increases)) + 1
        raise DataError(f"{where}: timestamp {at} does not increase; sort them, drop duplicates")
    return 1.0 / _mean_step(timestamps_s)


def refuse_rate(where: str, estimated: float, rate_hz: float) -> None:
    """Refuse a declared rate that is not the estimated one, to 1%.

    Raises:
        DataError: they differ.
    """
    if abs(estimated - rate_hz) <= RATE_TOLERANCE * rate_hz:
        return
    cure = "correct the declared rate or ask for resampling"
    if abs(estimated / DAY_S - rate_hz) <= RATE_TOLERANCE * rate_hz:
        cure = "its clock counts days, as Excel does; say `clock_unit: excel_days`"
    for power in (1e3, 1e6, 1e9):  # seconds read as milliseconds, or the other way round
        for factor in (power, 1 / power):
            if abs(estimated * factor - rate_hz) <= RATE_TOLERANCE * rate_hz:
                cure = f"the unit of its clock is wrong by a factor of {power:g}"
    raise DataError(
        f"{where}: declares {rate_hz:g} Hz but its timestamps give {estimated:.4g} Hz; {cure}"
    )


def _increasing(
    timestamps_s: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Choose samples whose time increases; return also the latest time so far.

    A sample ahead of the next, which itself is later than the one before, has a wrong time: it
    alone goes, not all that follow it.
    """
    t = timestamps_s
    ahead = np.zeros(len(t), dtype=np.bool_)
    ahead[1:-1] = (t[1:-1] > t[2:]) & (t[2:] > t[:-2])
    latest = np.maximum.accumulate(np.where(ahead, -np.inf, t))
    later = np.r_[True, t[1:] > latest[:-1]][: len(t)]
    return np.asarray(~ahead & later), latest


def spread_batches(timestamps_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each sample of a batch, which all have one time, a time of its own.

    The samples of a batch are spread evenly from its time until that of the next, at no less than
    the usual rate; those of the first end where the second begins. A batch with far more samples
    than its time holds keeps its one time: the clock stood still.

    Args:
        timestamps_s: (time,) seconds.

    Returns:
        (time,) seconds; where they go back, and in batches of one, as they were.

    Examples:
        >>> spread_batches(np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])).tolist()
        [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    """
    begins = np.flatnonzero(np.r_[True, np.diff(timestamps_s) != 0])
    counts = np.diff(np.r_[begins, len(timestamps_s)])
    until = np.diff(timestamps_s[begins])
    whole = until > 0
    if len(begins) < LEAST_BATCHES or not whole.any():
        return timestamps_s
    # pauses and what is around a step back tell no rate; the first batch may be the end of one
    usual = whole & (until <= 3 * np.median(until[whole]))
    usual[0] &= not usual[1:].any()
    step = float(until[usual].sum() / counts[:-1][usual].sum())
    room = np.r_[until, np.inf]
    steps = np.minimum(step, np.where(room > 0, room, 0.0) / counts)
    stuck = counts * step - np.r_[until, np.inf] > max(STUCK_S, 3 * np.median(until[whole]))
    steps[stuck] = 0.0
    inside = np.arange(len(timestamps_s)) - np.repeat(begins, counts)
    out = timestamps_s + inside * np.repeat(steps, counts)
    late = until[0] - counts[0] * steps[0]
    if 0 < late <= counts[1] * step:
        out[: counts[0]] += late
    return np.asarray(out)


def _check_rows(
    where: str, timestamps_s: NDArray[np.float64], values: NDArray[np.floating[Any]]
) -> None:
    """Refuse values that have not a row for each timestamp."""
    if values.ndim != 2 or len(values) != len(timestamps_s):
        raise DataError(
            f"{where}: values have shape {values.shape} for {len(timestamps_s)} timestamps; "
            "allowed is (time, channel) with a row each"
        )


def put_in_order(
    where: str,
    timestamps_s: NDArray[np.float64],
    values: NDArray[np.floating[Any]],
    *,
    declared_hz: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.floating[Any]], Timing]:
    """Keep the samples whose time increases, and measure the clock.

    Of samples with equal times the first is kept; where more than a fifth share theirs, the clock
    is taken to tell when batches came, and each batch is spread evenly until the next. A single
    sample ahead of the next is left out. Where the clock jumps back for longer, the samples until
    it has caught up are left out: when they were recorded cannot be known. Nothing is sorted.

    Args:
        where: names the signal in messages.
        timestamps_s: (time,) seconds.
        values: (time, channel).
        declared_hz: for the report only.

    Returns:
        Increasing timestamps, their values, and what was seen.

    Raises:
        DataError: timestamps are not finite, fewer than 2, not one per row of values, or more
            than a fifth of the samples would be lost to a clock that goes back or stands still.
    """
    _check_rows(where, timestamps_s, values)
    if not np.isfinite(timestamps_s).all():
        bad = int(np.argmin(np.isfinite(timestamps_s)))
        raise DataError(f"{where}: timestamp {bad} is {timestamps_s[bad]}; a number is needed")
    steps = np.diff(timestamps_s)
    keep, latest = _increasing(timestamps_s)
    spread = 0
    if (~keep).sum() > MAX_DROPPED * len(keep):
        told, timestamps_s = timestamps_s, spread_batches(timestamps_s)
        spread = int((told != timestamps_s).sum())
        keep, latest = _increasing(timestamps_s)
    dropped = int((~keep).sum())
    if dropped > MAX_DROPPED * len(keep):
        raise DataError(
            f"{where}: {dropped} of {len(keep)} timestamps do not increase (the clock stands still "
            f"or jumps back); at most {MAX_DROPPED:.0%} are left out, sort or correct them"
        )
    times = timestamps_s[keep]
    if len(times) < 2:
        raise DataError(f"{where}: has {len(times)} samples; a rate needs at least 2")
    # a sample that shares its time was recorded all the same: it counts for the rate
    mean_step = _mean_step(timestamps_s[timestamps_s == latest])
    forward = np.diff(times)
    gap = forward > 3 * mean_step
    timing = Timing(
        declared_hz=float(declared_hz),
        estimated_hz=1.0 / mean_step,
        jitter_s=float(forward[~gap].std()) if not gap.all() else 0.0,
        duplicates=int((steps == 0).sum()),
        backwards=int((steps < 0).sum()),
        dropped=dropped,
        gaps=int(gap.sum()),
        longest_gap_s=float(forward.max()),
        spread=spread,
    )
    return times, values[keep], timing


def resample_to_rate(
    timestamps_s: NDArray[np.float64],
    values: NDArray[np.floating[Any]],
    *,
    rate_hz: float,
    start_s: float,
    stop_s: float,
    max_gap_s: float,
) -> Float32:
    """Put irregular samples on a regular grid by linear interpolation between neighbours.

    No anti-alias filter: meant for grids at about the recorded rate (a clock of 102.5 Hz
    read at 100 Hz), not for downsampling; `rate_change` does that.

    Args:
        timestamps_s: time of each sample, seconds, increasing.
        values: (time, channel).
        rate_hz: rate of the grid.
        start_s: time of the first grid point.
        stop_s: no grid point lies at or after this time.
        max_gap_s: a grid point between samples further apart than this becomes NaN.

    Returns:
        (grid time, channel) float32, NaN where nothing was recorded.

    Raises:
        DataError: `values` has not a row per timestamp.
    """
    _check_rows("resample", timestamps_s, values)
    points = int(np.floor((stop_s - start_s) * rate_hz + 1e-6))
    if points > 1_000_000 + MAX_EMPTY * len(timestamps_s):
        raise DataError(
            f"resample: {len(timestamps_s)} samples at {rate_hz:g} Hz span "
            f"{stop_s - start_s:.6g} s; a timestamp is damaged, or these are several sessions"
        )
    grid = start_s + np.arange(points) / rate_hz
    out = np.stack([np.interp(grid, timestamps_s, column) for column in values.T], axis=1)
    after = np.clip(np.searchsorted(timestamps_s, grid), 1, len(timestamps_s) - 1)
    left, right = timestamps_s[after - 1], timestamps_s[after]
    # a grid point on a sample was recorded, whatever lies beside it
    between = (grid > left + 1e-9) & (grid < right - 1e-9)
    outside = (grid < timestamps_s[0] - 1e-9) | (grid > timestamps_s[-1] + 1e-9)
    out[(between & (right - left > max_gap_s)) | outside] = np.nan
    return out.astype(np.float32)
