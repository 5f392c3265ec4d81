"""Traces: signals as a page draws them, a few numbers a second however fast a sensor is.

Of each stretch of time the lowest and the highest sample count, so that a heartbeat of a
millisecond is still seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import numpy as np

from crossl.data.recording import Float32, Modality, Signal

BUCKETS_HZ = 25.0
MOST_CHANNELS = 6
MOST_S = 20.0
"""A page that takes nothing for so long misses what is older."""


class Trace:
    """One sensor, drawn as it comes.

    Args:
        modality: the sensor.
    """

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        self.each = max(1, ceil(modality.rate_hz / BUCKETS_HZ))
        self.channels = min(MOST_CHANNELS, len(modality.channels))
        self._place = -1
        self._rest = np.zeros((0, self.channels), np.float32)
        self._found: deque[tuple[int, Any]] = deque(maxlen=ceil(MOST_S * self.step_hz))

    @property
    def step_hz(self) -> float:
        """Stretches of time a second."""
        return self.modality.rate_hz / self.each

    def take(self, signal: Signal) -> None:
        """Take a chunk; what lies before the newest sample is not drawn again."""
        place = floor(signal.start_s * self.modality.rate_hz + 0.5)
        values = signal.values[:, : self.channels]
        behind = self._place - place if self._place >= 0 else 0
        if behind >= len(values) and behind > 0:
            return
        if behind > 0:
            values, place = values[behind:], place + behind
        elif behind < 0 or self._place < 0:
            self._rest = self._rest[:0]  # a gap, or the beginning
            skip = min(-place % self.each, len(values))
            values, place = values[skip:], place + skip
        begin = place - len(self._rest)
        joined = np.concatenate([self._rest, values])
        whole = len(joined) // self.each * self.each
        self._place = place + len(values)
        self._rest = joined[whole:]
        if whole:
            self._fill(begin, joined[:whole].reshape(-1, self.each, self.channels))

    def _fill(self, begin: int, buckets: Float32) -> None:
        missing = np.isnan(buckets).all(axis=1)
        low = np.where(np.isnan(buckets), np.inf, buckets).min(axis=1)
        high = np.where(np.isnan(buckets), -np.inf, buckets).max(axis=1)
        low, high = np.where(missing, np.nan, low), np.where(missing, np.nan, high)
        for number in range(len(buckets)):
            pairs = [[_short(a), _short(b)] for a, b in zip(low[number], high[number], strict=True)]
            self._found.append((begin // self.each + number, pairs))

    def taken(self) -> list[tuple[int, Any]]:
        """Return what is new: number of a stretch, and low and high of each channel."""
        return [self._found.popleft() for _ in range(len(self._found))]  # more may come meanwhile


def _short(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")


def traces_of(modalities: Sequence[Modality]) -> dict[str, Trace]:
    """Make a trace for each sensor."""
    return {m.name: Trace(m) for m in modalities}
