"""Track: one modality on its way from chunks to windows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from crossl.data.arrivals import Arrivals
from crossl.data.rate_change import RateChange, ratio_of_rates
from crossl.data.recording import Modality
from crossl.data.signal_buffer import SignalBuffer
from crossl.data.timing import RATE_TOLERANCE
from crossl.data.windows import WindowSpec, first_samples


class Track:
    """What the windower knows of one modality.

    Args:
        modality: as windows hold it.
        spec: how windows are cut.
        in_order: no chunk comes behind a later one.

    Attributes:
        modality: as windows hold it.
        samples: of a window.
        arrivals: its chunks.
        buffer: its samples in order; None before the first.
        ended: no chunk comes any more.
    """

    def __init__(self, modality: Modality, spec: WindowSpec, *, in_order: bool = False) -> None:
        self.modality = modality
        self.samples = spec.samples(modality)
        self.gap_s = spec.gap_s(modality.name)
        self.coverage = spec.min_coverage
        self.arrivals = Arrivals(modality.name, in_order=in_order)
        self.ended = False
        self.buffer: SignalBuffer | None = None
        self._change: RateChange | None = None
        self._ratio: Fraction | None = None
        self._changing = False
        self._recorded_hz: float | None = modality.rate_hz

    def let_change(self, rate_hz: float | None) -> None:
        """Let chunks have another rate, which is changed to that of windows.

        Args:
            rate_hz: of chunks; None for any.

        Raises:
            DataError: the rates differ more than 1000 times.
        """
        self._changing, self._recorded_hz = True, rate_hz
        if rate_hz is not None:
            ratio_of_rates(rate_hz, self.modality.rate_hz)

    @property
    def comes_as(self) -> Modality | None:
        """The modality as chunks must hold it; None where they may have any rate."""
        if self._recorded_hz is None:
            return None
        return replace(self.modality, rate_hz=self._recorded_hz)

    def expected(self, rate_hz: float) -> Modality:
        """Return the modality as chunks must hold it; `rate_hz` is what one tells."""
        if self._recorded_hz is None:
            ratio_of_rates(rate_hz, self.modality.rate_hz)
        known_hz = rate_hz if self._recorded_hz is None else self._recorded_hz
        return replace(self.modality, rate_hz=known_hz)

    @property
    def ratio(self) -> Fraction:
        """New rate over the rate of chunks; 1 where the rate stays, or no chunk came yet."""
        if self._ratio is None:
            came_hz, wanted_hz = self.arrivals.rate_hz, self.modality.rate_hz
            if not (self._changing and came_hz):
                return Fraction(1)
            near = abs(came_hz - wanted_hz) <= RATE_TOLERANCE * wanted_hz
            stays = self._recorded_hz is None and near  # as in a mapping
            self._ratio = Fraction(1) if stays else ratio_of_rates(came_hz, wanted_hz)
        return self._ratio

    @property
    def start_s(self) -> float | None:
        """Time of the first sample; None while an earlier one may come."""
        return self.arrivals.start_s

    @property
    def rate_hz(self) -> float:
        """Samples per second of the buffer."""
        came_hz = self.arrivals.rate_hz or self.modality.rate_hz
        return float(came_hz * self.ratio) if self._changing else came_hz

    @property
    def held(self) -> int:
        """How many samples are held."""
        parts = [part.held for part in (self.buffer, self._change) if part is not None]
        return self.arrivals.waiting + sum(parts)

    @property
    def end_s(self) -> float:
        """Time just behind the last sample that is in order; before any, the infinite past."""
        if self.buffer is None or self.start_s is None:
            return -inf
        return self.start_s + self.buffer.length / self.rate_hz

    def release(self, settled_s: float) -> None:
        """Take what is in order now."""
        pieces = self.arrivals.release(inf if self.ended else settled_s)
        if self.start_s is None:
            return
        if self.buffer is None:
            channels, gap = len(self.modality.channels), self.gap_s * self.rate_hz
            self.buffer = SignalBuffer(channels, self.samples, gap, self.coverage)
            if self.ratio != 1:
                gap = self.gap_s * self.arrivals.rate_hz
                self._change = RateChange(self.ratio, channels, gap)
        settled = self.arrivals.upto
        if self._change is not None:
            pieces, settled = self._change.push(pieces, settled, ended=self.ended)
        for first, values in pieces:
            self.buffer.append(first, values)
        self.buffer.settled = max(self.buffer.settled, settled)
        self.buffer.ended = self.ended

    def last_decided(self, origin_s: float, settled_s: float, spec: WindowSpec) -> float:
        """Return the number of the last window that is decided here, in order."""
        if self.buffer is None:
            if self.ended:
                return inf
            # it may begin where nothing is settled yet, at the earliest
            limit = SignalBuffer.last_before(self.gap_s * self.rate_hz)
            return _number_before(limit, settled_s, self.rate_hz, origin_s, spec)
        assert self.start_s is not None  # noqa: S101 - there is a buffer
        return _number_before(
            self.buffer.last_decided(), self.start_s, self.rate_hz, origin_s, spec
        )

    def spans_s(self) -> list[tuple[float, float]]:
        """Return when what is held was recorded."""
        if self.buffer is None or self.start_s is None:
            return []
        start_s, rate_hz = self.start_s, self.rate_hz
        return [(start_s + a / rate_hz, start_s + b / rate_hz) for a, b in self.buffer.spans()]

    def first(self, start_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the sample that each window begins with."""
        assert self.start_s is not None  # noqa: S101 - asked only where there is a buffer
        return first_samples(start_s, self.start_s, self.rate_hz)


def _number_before(
    limit: float, signal_start_s: float, rate_hz: float, origin_s: float, spec: WindowSpec
) -> float:
    """Return the last window whose first sample in a signal is `limit` or one before it."""
    if not (isfinite(limit) and isfinite(signal_start_s)):
        return inf if limit + signal_start_s > 0 else -inf
    number = np.floor(((limit + 0.5) / rate_hz + signal_start_s - origin_s) / spec.stride_s)
    # rounding of large times may have missed it by little
    near = number + np.arange(-2.0, 3.0)
    start_s = near * spec.stride_s + origin_s
    first = np.round((start_s - signal_start_s) * rate_hz)
    inside = np.flatnonzero(first <= limit)
    return float(near[inside[-1]]) if len(inside) else float(near[0] - 1)
