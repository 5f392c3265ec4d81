"""Arrivals: the chunks of one signal, put in order; what comes twice or too late is dropped."""

from __future__ import annotations

from math import ceil, inf, isfinite

import numpy as np

from crossl.data.recording import Float32, Signal
from crossl.errors import DataError


class Arrivals:
    """Places chunks on the grid of one signal, whose sample 0 is the earliest that came in time.

    A chunk is placed at the sample of the grid that is nearest to its start. A place at which
    nothing came stays open until nothing that early can come any more; where chunks come in order,
    until the next one.

    Args:
        name: of the signal, for messages.
        in_order: no chunk comes behind a later one.

    Attributes:
        start_s: time of sample 0; None until it cannot change any more.
        rate_hz: samples per second, as the first chunk says; 0 before.
        upto: every sample below this number was handed on, or never came.
        dropped: samples that came twice, or for a time that was settled.
    """

    def __init__(self, name: str, *, in_order: bool = False) -> None:
        self.start_s: float | None = None
        self.rate_hz = 0.0
        self.upto = 0
        self.dropped = 0
        self._name = name
        self._in_order = in_order
        self._early: list[Signal] = []
        self._queue: list[tuple[int, Float32]] = []

    @property
    def earliest_s(self) -> float:
        """Time of the first sample that came so far; infinite where none did."""
        if self.start_s is not None:
            return self.start_s
        return min((chunk.start_s for chunk in self._early), default=inf)

    @property
    def waiting(self) -> int:
        """How many samples wait for what lies before them."""
        early = sum(len(chunk.values) for chunk in self._early)
        return early + sum(len(values) for _, values in self._queue)

    def add(self, chunk: Signal, settled_s: float) -> None:
        """Take a chunk in.

        Args:
            chunk: consecutive samples.
            settled_s: what lies before this time is decided.

        Raises:
            DataError: its rate is not that of the chunks before.
        """
        if self.rate_hz and chunk.rate_hz != self.rate_hz:
            raise DataError(
                f"signal '{self._name}': a chunk has {chunk.rate_hz:g} Hz, those before had "
                f"{self.rate_hz:g} Hz; one signal has one rate"
            )
        self.rate_hz = chunk.rate_hz
        if not len(chunk.values):
            return
        if self.start_s is not None:
            self._queue.append((self._number(chunk.start_s), chunk.values))
            return
        late = (settled_s - chunk.start_s) * chunk.rate_hz
        if late > 0:
            skipped = min(ceil(late), len(chunk.values)) if isfinite(late) else len(chunk.values)
            self.dropped += skipped
            start_s = chunk.start_s + skipped / chunk.rate_hz
            chunk = Signal(chunk.values[skipped:], chunk.rate_hz, start_s)
        if len(chunk.values):
            self._early.append(chunk)

    def _number(self, time_s: float) -> int:
        assert self.start_s is not None  # noqa: S101 - who asks has settled it
        return int(np.round((time_s - self.start_s) * self.rate_hz))

    def release(self, settled_s: float) -> list[tuple[int, Float32]]:
        """Hand on what is in order now.

        Args:
            settled_s: nothing that is earlier comes any more; infinite at the end.

        Returns:
            Sample number and (time, channel) values of each piece, in order, none overlapping.
        """
        if self.start_s is None:
            if not self._early or (self.earliest_s > settled_s and not self._in_order):
                return []
            self.start_s = self.earliest_s
            self._queue = [(self._number(chunk.start_s), chunk.values) for chunk in self._early]
            self._early = []
        settled = (settled_s - self.start_s) * self.rate_hz
        self._queue.sort(key=lambda piece: piece[0])
        pieces = []
        waiting = []
        for first, values in self._queue:
            if first > self.upto and first > settled and not self._in_order:
                waiting.append((first, values))
                continue
            known = min(max(0, self.upto - first), len(values))
            self.dropped += known
            if known < len(values):
                pieces.append((first + known, values[known:] if known else values))
                self.upto = first + len(values)
        self._queue = waiting
        if isfinite(settled):
            self.upto = max(self.upto, ceil(settled))
        return pieces
