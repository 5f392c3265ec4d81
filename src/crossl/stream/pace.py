"""Pace: chunks whose times jitter, put behind one another at an even rate."""

from __future__ import annotations

from dataclasses import replace

from crossl.data.recording import Signal

FOLLOW_S = 1.0
"""Seconds over which times are averaged."""
APART = 0.75
"""Samples that their average may lie beside the place of samples before they move."""


class Pace:
    """Places the chunks of one sensor.

    One that begins near where the last one ended is taken to follow it. Where times keep telling
    otherwise, as of a clock that drifts, it moves by whole samples; one that begins elsewhere is
    placed as it says, as behind a hole.

    Args:
        jitter_s: how near, seconds.

    Examples:
        >>> import numpy as np
        >>> pace, second = Pace(0.05), np.zeros((10, 1), dtype=np.float32)
        >>> [pace.place(Signal(second, 10.0, t)).start_s for t in (0.0, 1.02, 1.98, 7.0)]
        [0.0, 1.0, 2.0, 7.0]
    """

    def __init__(self, jitter_s: float) -> None:
        self._jitter_s = jitter_s
        self._next_s: float | None = None
        self._off_s = 0.0

    def place(self, chunk: Signal) -> Signal:
        """Return a chunk with the time of its first sample as it is taken to be."""
        length_s = len(chunk.values) / chunk.rate_hz
        start_s = chunk.start_s
        if self._next_s is None or abs(start_s - self._next_s) > self._jitter_s:
            self._off_s = 0.0
        else:
            off_s, start_s = start_s - self._next_s, self._next_s
            self._off_s += (off_s - self._off_s) * min(1.0, length_s / FOLLOW_S)
            if abs(self._off_s) * chunk.rate_hz > APART:
                moved_s = round(self._off_s * chunk.rate_hz) / chunk.rate_hz
                start_s, self._off_s = start_s + moved_s, self._off_s - moved_s
        self._next_s = start_s + length_s
        return replace(chunk, start_s=start_s)
