"""Rate change: another rate through an anti-alias filter, of whole signals and in pieces.

Used only where the user asks. A polyphase filter removes what the new rate cannot carry.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from crossl.data.timing import Float32
from crossl.errors import DataError

RATE_FILTER = "resample_poly, Kaiser 5.0"
"""The filter by which `change_rate` changes rates, as stores and runs name it."""

MAX_RATIO = 1000
"""Largest number in the fraction that a change of rate is made by."""

HALF_WIDTH = 10
"""Samples of the slower rate that the filter of `resample_poly` reaches to each side."""

Pieces = list[tuple[int, Float32]]


def ratio_of_rates(from_hz: float, to_hz: float) -> Fraction:
    """Return `to_hz / from_hz` as a fraction of small numbers, exact to a millionth or so.

    Raises:
        DataError: the rates differ by more than a factor of 1000, or are not positive.

    Examples:
        >>> ratio_of_rates(200.0, 64.0)
        Fraction(8, 25)
    """
    if not (from_hz > 0 and to_hz > 0 and 1 / MAX_RATIO <= to_hz / from_hz <= MAX_RATIO):
        raise DataError(
            f"resample: from {from_hz:g} Hz to {to_hz:g} Hz; allowed are positive rates that "
            f"differ at most {MAX_RATIO} times"
        )
    return Fraction(to_hz / from_hz).limit_denominator(MAX_RATIO)


def change_rate(values: Float32, ratio: Fraction) -> Float32:
    """Change the rate of a regular signal, filtering out what the new rate cannot carry.

    `scipy.signal.resample_poly`: a linear-phase FIR low-pass (Kaiser window) at the lower of the
    two Nyquist frequencies. Missing samples are bridged for the filter; a new sample is missing
    again if it lies beside one, or, where the rate falls, if half of what it stands for is missing.

    Args:
        values: (time, channel), NaN where missing.
        ratio: new rate over old rate.

    Returns:
        (new time, channel) float32; the first sample keeps its time.
    """
    if ratio == 1 or not len(values):
        return values
    from scipy.signal import resample_poly  # slow to import, seldom needed

    missing = np.isnan(values)
    bridged = values.astype(np.float64)
    index = np.arange(len(values))
    for channel in np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0)):
        gap = missing[:, channel]
        bridged[gap, channel] = np.interp(index[gap], index[~gap], values[~gap, channel])
    bridged[:, missing.all(axis=0)] = 0.0
    # the filter's branches differ a little in gain: gravity or 300 K would ripple
    level = bridged.mean(axis=0)
    up, down = ratio.numerator, ratio.denominator
    out = resample_poly(bridged - level, up, down, axis=0, padtype="edge") + level
    out[too_little_below(missing, np.arange(len(out)), ratio)] = np.nan
    return np.asarray(out, dtype=np.float32)


def too_little_below(
    missing: NDArray[np.bool_], number: NDArray[np.int64], ratio: Fraction, *, first: int = 0
) -> NDArray[np.bool_]:
    """Tell where a new sample has too little below it.

    Beside a missing sample where the rate rises; where it falls, when half or more of the old
    samples nearest to the new one are missing.

    Args:
        missing: (time, channel) of the old samples.
        number: (new time,) which new samples.
        ratio: new rate over old rate.
        first: number of the first old sample in `missing`.
    """
    step = ratio.denominator / ratio.numerator
    position, width = number * step, max(1.0, step)
    if width <= 1.0:
        before = np.clip(np.floor(position + 1e-9) - first, 0, len(missing) - 1).astype(np.int64)
        after = np.clip(np.ceil(position - 1e-9) - first, 0, len(missing) - 1).astype(np.int64)
        return np.asarray(missing[before] | missing[after])
    begin = np.clip(np.ceil(position - width / 2) - first, 0, len(missing) - 1).astype(np.int64)
    end = np.clip(np.floor(position + width / 2) + 1 - first, 1, len(missing)).astype(np.int64)
    count = np.concatenate([np.zeros((1, missing.shape[1])), np.cumsum(missing, axis=0)])
    return np.asarray(count[end] - count[begin] >= 0.5 * (end - begin)[:, None])


class RateChange:
    """Filters pieces of a signal to a new rate, in bounded memory.

    What it yields is what `change_rate` makes of the whole signal, but for two things that only
    the whole signal tells. The level that is taken off before filtering is the first recorded value
    of a channel, not its mean; the filter's branches differ in gain by less than 0.1%, so results
    differ by less than 0.1% of how far these two lie apart. And a gap that is much longer than
    those that windows fill is not bridged by a line but by its last and its next value, which
    changes up to 10 samples of the slower rate to each side of it.

    Args:
        ratio: new rate over old rate.
        channels: of the signal.
        gap_samples: longest gap that is filled later, in old samples; those are bridged by a line.
    """

    def __init__(self, ratio: Fraction, channels: int, gap_samples: float) -> None:
        self._up, self._down = ratio.numerator, ratio.denominator
        self._ratio = ratio
        self._reach = ceil(HALF_WIDTH * max(self._up, self._down) / self._up) + 1
        # a gap whose two sides no filter sees at once
        self._longest = floor(gap_samples) + 2 * self._reach + 2
        self._values: Float32 = np.zeros((0, channels), dtype=np.float32)
        self._base = 0
        self._next = 0
        self._level = np.full(channels, np.nan)

    @property
    def held(self) -> int:
        """How many old samples are held."""
        return len(self._values)

    @property
    def _length(self) -> int:
        return self._base + len(self._values)

    def push(self, pieces: Pieces, settled: int, *, ended: bool) -> tuple[Pieces, int]:
        """Take pieces, and yield those of the new rate that are certain now.

        Args:
            pieces: number of the first sample, and (time, channel) values; in order.
            settled: every old sample below this number came, or never will.
            ended: no piece comes any more.

        Returns:
            Such pieces of the new signal, and the number below which nothing more of it comes.
        """
        out: Pieces = []
        for first, values in pieces:
            hole = first - self._length
            if hole > 2 * (self._longest + self._down):
                out += self._emit(silent=True)
                self._skip(first)
                hole = first - self._length
            gap = np.full((hole, values.shape[1]), np.nan, dtype=np.float32)
            self._values = np.concatenate([self._values, gap, values])
            self._find_level(values)
        silent = settled - self._length > self._longest
        out += self._emit(silent=silent, ended=ended)
        done = (
            floor((settled - 1) * self._ratio - max(Fraction(1), self._ratio)) - 1 if silent else 0
        )
        return out, max(self._next, done)

    def _skip(self, first: int) -> None:
        """Forget all before a long gap that ends at `first`, but for its last stretch."""
        base = (first - self._longest - self._reach - 2) // self._down * self._down
        shape = (0, self._values.shape[1])
        self._values, self._base = np.zeros(shape, dtype=np.float32), base
        self._next = max(self._next, base // self._down * self._up)
        # what is before lies in the gap: one missing sample says so
        self._values = np.full((1, shape[1]), np.nan, dtype=np.float32)

    def _find_level(self, values: Float32) -> None:
        for channel in np.flatnonzero(np.isnan(self._level)):
            known = values[~np.isnan(values[:, channel]), channel]
            if len(known):
                self._level[channel] = known[0]

    def _upto(self) -> int:
        """Return how many new samples are certain while more may come."""
        missing = np.isnan(self._values)
        resolved = len(missing) - 1
        for channel in np.flatnonzero(missing[-1:].any(axis=0)):
            known = np.flatnonzero(~missing[:, channel])
            open_from = int(known[-1]) if len(known) else -1
            if len(missing) - 1 - open_from <= self._longest:
                resolved = min(resolved, open_from)
        last = self._base + resolved - self._reach
        return max(0, floor(last * self._ratio) + 1)

    def _emit(self, *, silent: bool, ended: bool = False) -> Pieces:
        """Filter what is certain and was not yielded yet."""
        whole = ceil(self._length * self._ratio)
        upto = whole if silent or ended else min(whole, self._upto())
        if upto <= self._next or not len(self._values):
            return []
        values = self._values
        if silent and not ended:
            tail = np.full((self._longest + self._reach, values.shape[1]), np.nan, np.float32)
            values = np.concatenate([values, tail])
        level = np.where(np.isnan(self._level), 0.0, self._level)
        bridged = np.stack(
            [self._bridged(column) for column in values.T.astype(np.float64)], axis=1
        )
        bridged = np.where(np.isnan(bridged), level, bridged)
        number = np.arange(self._next, upto)
        local = number - self._base // self._down * self._up
        out = (_filtered(bridged - level, self._up, self._down) + level)[local]
        out[too_little_below(np.isnan(values), number, self._ratio, first=self._base)] = np.nan
        piece = (self._next, out.astype(np.float32))
        self._next = upto
        self._trim()
        return [piece]

    def _bridged(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bridge the gaps of one channel; see the class."""
        missing = np.isnan(column)
        if not missing.any() or missing.all():
            return column
        index = np.arange(len(column))
        out = column.copy()
        out[missing] = np.interp(index[missing], index[~missing], column[~missing])
        edges = np.flatnonzero(np.diff(np.r_[False, missing, False]))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if end - begin > self._longest and begin > 0 and end < len(column):
                out[begin : begin + self._reach] = column[begin - 1]
                out[begin + self._reach : end] = column[end]
        return out

    def _trim(self) -> None:
        """Let go of what no new sample needs any more."""
        needed = floor(self._next / self._ratio) - self._reach - self._longest - 2
        base = max(self._base, needed // self._down * self._down)
        base = min(base, self._length // self._down * self._down)
        if base > self._base:
            self._values = self._values[base - self._base :].copy()
            self._base = base


@lru_cache(maxsize=32)
def _taps(up: int, down: int) -> NDArray[np.float64]:
    """Return the filter that `resample_poly` designs by default, a Kaiser window of 5.0."""
    from scipy.signal import firwin  # slow to import, seldom needed

    most = max(up, down)
    return np.asarray(firwin(2 * HALF_WIDTH * most + 1, 1.0 / most, window=("kaiser", 5.0)))


def _filtered(values: NDArray[np.float64], up: int, down: int) -> NDArray[np.float64]:
    from scipy.signal import resample_poly

    out = resample_poly(values, up, down, axis=0, window=_taps(up, down), padtype="edge")
    return np.asarray(out)
