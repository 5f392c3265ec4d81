"""Drift: two devices on one moving body feel the same steps; when they do tells their clocks.

The strength of motion of both, in stretches of five minutes, is shifted until they agree best. A
stretch counts only where one shift is clearly better than all others, as in walking every stride
looks like the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Recording, Signal
from crossl.doctor.arrays import norms, recorded
from crossl.doctor.finding import Finding, one

Float64 = NDArray[np.float64]

ENVELOPE_HZ = 20.0
STRETCH_S, LEAST_S = 300.0, 60.0
MAX_POINTS = 1000
"""Of the envelope for each sample; signals that are so slow tell no lag."""

MAX_LAG_S = 10.0
PEAK, SECOND, APART_S = 0.6, 0.8, 1.0
"""A shift convinces with this correlation, if no other one beyond a second has 0.8 of it."""

OFFSET_S = 0.5
"""A stride takes a second, and arm and leg move half a stride apart: less is no clock's fault."""

DRIFT_S, LEAST_STRETCHES = 0.1, 3


@dataclass(frozen=True)
class Lag:
    """How much later the second device feels what the first one felt."""

    at_s: float
    lag_s: float


def check_drift(recording: Recording) -> Iterator[Finding]:
    """Compare the motion sensors of each device with those of the first."""
    movers: dict[str, str] = {}
    for unit in ("m/s^2", "rad/s"):
        for name in recording.signals:
            modality = recording.modalities[name]
            if modality.unit == unit:
                movers.setdefault(modality.device or name, name)
    if len(movers) < 2:
        return
    first, *others = movers.values()
    for second in others:
        lags = find_lags(recording.signals[first], recording.signals[second])
        yield from _judge(first, second, lags)


def find_lags(first: Signal, second: Signal) -> list[Lag]:
    """Return the lag of every stretch that shows one clearly."""
    start, stop = max(first.start_s, second.start_s), min(first.end_s, second.end_s)
    points, samples = (stop - start) * ENVELOPE_HZ, max(len(first.values), len(second.values))
    if stop - start < LEAST_S or points > MAX_POINTS * samples:
        return []
    grid = np.arange(start, stop, 1 / ENVELOPE_HZ)
    a, b = (envelope(signal, grid) for signal in (first, second))
    width = round(min(STRETCH_S, stop - start) * ENVELOPE_HZ)
    edge = round(MAX_LAG_S * ENVELOPE_HZ)
    lags = []
    for begin in range(0, len(grid) - width + 1, width):
        inner = slice(begin + edge, begin + width - edge)
        lag = _lag(a[inner], b[begin : begin + width])
        if lag is not None:
            lags.append(Lag(float(grid[begin]) + width / ENVELOPE_HZ / 2, lag))
    return lags


def envelope(signal: Signal, grid: Float64) -> Float64:
    """Return the strength of motion on a grid of times.

    The size of each sample, less its mean over a second, without sign, smoothed over 0.2 s.
    """
    index, known = np.arange(len(signal.values)), np.flatnonzero(recorded(signal.values))
    # a gap bridged moves nothing; filled with zeros, its edges would be the strongest motion
    size = np.interp(index, known, norms(signal.values).astype(np.float64))
    size = np.abs(size - _smooth(size, signal.rate_hz))
    smooth = _smooth(size, 0.2 * signal.rate_hz)
    times = signal.start_s + np.arange(len(smooth)) / signal.rate_hz
    return np.interp(grid, times, smooth)


def _smooth(values: Float64, samples: float) -> Float64:
    width = 2 * int(samples / 2) + 1
    padded = np.pad(values, width // 2, mode="edge")
    total = np.cumsum(np.r_[0.0, padded])
    return np.asarray((total[width:] - total[:-width]) / width)


def _lag(inner: Float64, outer: Float64) -> float | None:
    from scipy.signal import correlate  # slow to import

    short = inner - inner.mean()
    n = len(short)
    total, squares = np.cumsum(np.r_[0.0, outer]), np.cumsum(np.r_[0.0, outer**2])
    sums = total[n:] - total[:-n]
    spread = np.maximum(squares[n:] - squares[:-n] - sums**2 / n, 0)
    scale = np.sqrt(spread) * np.linalg.norm(short)
    score = correlate(outer, short, mode="valid", method="fft")
    score = np.divide(score, scale, out=np.zeros_like(score), where=scale > 1e-9)
    best = int(score.argmax())
    apart = np.abs(np.arange(len(score)) - best) > APART_S * ENVELOPE_HZ
    if not 0 < best < len(score) - 1 or score[best] < PEAK:
        return None
    if score[apart].max() > SECOND * score[best]:
        return None
    left, top, right = score[best - 1 : best + 2]
    bend = left - 2 * top + right
    fine = best + (0.5 * (left - right) / bend if bend else 0.0)
    return float(fine / ENVELOPE_HZ - MAX_LAG_S)


def _judge(first: str, second: str, lags: list[Lag]) -> Iterator[Finding]:
    if not lags:
        return
    at, lag = np.array([x.at_s for x in lags]), np.array([x.lag_s for x in lags])
    names = f"{first}, {second}"
    if len(lags) >= LEAST_STRETCHES:
        pairs = np.array([(lag[j] - lag[i]) / (at[j] - at[i])
                          for i, j in combinations(range(len(lags)), 2)])  # fmt: skip
        slope = float(np.median(pairs))
        moved = slope * float(at[-1] - at[0])
        line = lag - slope * at
        scatter = float(np.median(np.abs(line - np.median(line))))
        if abs(moved) > DRIFT_S and scatter < 0.25 * abs(moved):
            yield Finding(
                "drift",
                "warning",
                names,
                f"the clock of '{second}' {'runs ahead' if moved > 0 else 'falls behind'} by {{}}",
                "Correct one clock by a linear factor, from two events that both devices felt; "
                "windows late in the recording pair different moments.",
                one(abs(slope) * 3600e3),
                "ms an hour",
            )
            return
    offset = float(np.median(lag))
    if abs(offset) > OFFSET_S:
        yield Finding(
            "drift",
            "warning",
            names,
            f"'{second}' feels the same motion {{}} {'later' if offset > 0 else 'earlier'}",
            "Windows pair different moments: add the `offset_s` given here to the rule in "
            "`files` that reads it, or for one recording to its entry in `recordings`.",
            one(abs(offset)),
            "s",
            detail=f"offset_s: {-offset:.3g} for '{second}'",
        )
