"""Signal buffer: the samples of one modality that windows still need."""

from __future__ import annotations

from math import floor, inf, isfinite

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32
from crossl.data.windows import Placed, longest_reach, place_windows

NEVER = 2**62
"""More samples than any signal has."""


class SignalBuffer:
    """Holds pieces of a signal by sample number; between pieces nothing was recorded.

    Args:
        channels: of the signal.
        samples: of a window.
        gap_samples: longest run of missing samples that is filled.
        min_coverage: share of a window's samples that must have been recorded.

    Attributes:
        length: the number behind the last sample that came.
        settled: every sample below this number came, or never will.
        ended: no sample comes any more.
    """

    def __init__(
        self, channels: int, samples: int, gap_samples: float, min_coverage: float
    ) -> None:
        self.length = 0
        self.settled = 0
        self.ended = False
        self._channels, self._samples = channels, samples
        self._gap, self._coverage = gap_samples, min_coverage
        self._pieces: list[tuple[int, Float32]] = []
        self._last_recorded = -1
        self._scanned = 0

    @property
    def margin(self) -> int:
        """Samples beside a window that tell how long a gap is that reaches into it."""
        return floor(self._gap + 1e-6) + 2 if isfinite(self._gap) else NEVER

    @property
    def held(self) -> int:
        """How many samples are held."""
        return sum(len(values) for _, values in self._pieces)

    def append(self, first: int, values: Float32) -> None:
        """Put samples behind those that are here."""
        self._pieces.append((first, values))
        self.length = first + len(values)
        self.settled = max(self.settled, self.length)

    def last_decided(self) -> float:
        """Return the largest first sample of a window of which everything is known.

        That is: its last sample lies before one that was recorded, or it reaches into a gap that is
        too long already, or it begins too early to hold the signal.
        """
        if self.ended:
            return inf
        self._scan()
        closed = self._last_recorded - self._samples + 1
        too_long = self.settled - 1 - self._last_recorded > self._gap + 1e-6
        too_early = self.last_before(self._gap)
        return max(closed, too_early, self.settled - 1 if too_long else -inf)

    def _scan(self) -> None:
        for first, values in reversed(self._pieces):
            if first < self._scanned:
                break
            recorded = np.flatnonzero(~np.isnan(values).any(axis=1))
            if len(recorded):
                self._last_recorded = first + int(recorded[-1])
                break
        self._scanned = self.length

    @staticmethod
    def last_before(gap_samples: float) -> float:
        """Return the largest first sample of a window that begins too early to hold the signal.

        Counted from the earliest sample that the signal may begin with.
        """
        return -floor(longest_reach(gap_samples)) - 1.0

    def place(self, first: NDArray[np.int64]) -> Placed:
        """Place windows in the stretch of the signal that they need.

        Args:
            first: (W,) first sample of each, increasing; decided.
        """
        low, high = int(first[0]), int(first[-1]) + self._samples
        limit = self.length if self.ended else max(self.length, self.settled)
        begin = min(max(0, low - self.margin), limit)
        end = max(begin, min(limit, high + self.margin))
        values = self._stretch(begin, end)
        ended = self.ended and end == self.length
        return place_windows(
            values, first - begin, self._samples, self._gap, self._coverage, ended=ended
        )

    def place_in_all(self, first: NDArray[np.int64]) -> Placed:
        """Place windows in the whole signal."""
        values = self._stretch(0, self.length)
        return place_windows(values, first, self._samples, self._gap, self._coverage)

    def _stretch(self, begin: int, end: int) -> Float32:
        if len(self._pieces) == 1 and self._pieces[0][0] <= begin <= end <= self.length:
            first, values = self._pieces[0]
            return values[begin - first : end - first]
        stretch = np.full((end - begin, self._channels), np.nan, dtype=np.float32)
        for first, values in self._pieces:
            low, high = max(begin, first), min(end, first + len(values))
            if low < high:
                stretch[low - begin : high - begin] = values[low - first : high - first]
        return stretch

    def spans(self) -> list[tuple[int, int]]:
        """Return the stretches of samples that are held, apart by more than a window."""
        joined: list[tuple[int, int]] = []
        for first, values in self._pieces:
            if joined and first - joined[-1][1] <= self._samples:
                joined[-1] = (joined[-1][0], first + len(values))
            else:
                joined.append((first, first + len(values)))
        return joined

    def forget(self, before: int) -> None:
        """Let go of what windows that begin at sample `before` do not need."""
        keep = before - self.margin
        kept = []
        for first, values in self._pieces:
            if first + len(values) > keep:
                cut = max(0, keep - first)
                # a copy where little of a piece is left: a view would hold all of it
                rest = values[cut:].copy() if 2 * cut > len(values) else values[cut:]
                kept.append((first + cut, rest))
        self._pieces = kept
