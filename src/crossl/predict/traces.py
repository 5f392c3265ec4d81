"""Traces: the lowest and highest sample of each sensor in pieces of a recording, for a picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality
from crossl.predict.sight import RecordingWindows, Seen
from crossl.report.timelines import Trace

PIECES = 900
"""Pieces of time that a picture tells apart."""
ROWS = 512
"""Windows that are in memory at once."""


def traces_of(seen: Seen, *, pieces: int = PIECES) -> list[Trace]:
    """Return the range of each channel in each piece of a recording, by its windows.

    Args:
        seen: the recording.
        pieces: of equal length.

    Returns:
        A trace for each modality that was recorded; NaN where it was not.
    """
    length_s = max(seen.end_s - seen.begin_s, 1e-9)
    count = max(1, pieces)
    edges = seen.begin_s + np.arange(count + 1) * length_s / count
    out = []
    for column, modality in enumerate(seen.windows.modalities):
        if not seen.windows.present[:, column].any():
            continue
        shape = (count, len(modality.channels))
        low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
        for time_s, values in _samples(seen.windows, column, modality):
            place = np.floor((time_s - seen.begin_s) / length_s * count).astype(np.int64)
            place = place.clip(0, count - 1)
            np.minimum.at(low, place, values)
            np.maximum.at(high, place, values)
        empty = ~np.isfinite(low)
        low[empty], high[empty] = np.nan, np.nan
        out.append(Trace(modality.name, modality.unit, modality.channels, edges, low, high))
    return out


def _samples(
    windows: RecordingWindows, column: int, modality: Modality
) -> Iterator[tuple[NDArray[np.float64], Float32]]:
    """Yield times and values of the samples in windows, most of them once."""
    rows = np.flatnonzero(windows.present[:, column])
    start_s = windows.start_s
    spec = windows.spec
    samples = spec.samples(modality)
    own = min(samples, int(np.ceil(spec.stride_s * modality.rate_hz)))
    last = np.r_[np.diff(start_s[rows]) > 1.5 * spec.stride_s, True]  # nothing follows
    for some, count in ((rows, own), (rows[last], samples)):
        at = np.arange(count) / modality.rate_hz
        for begin in range(0, len(some), ROWS):
            chunk = some[begin : begin + ROWS]
            values = windows.gather_zeroed(chunk)[modality.name][:, :count]
            times = start_s[chunk][:, None] + at
            yield times.ravel(), values.reshape(-1, values.shape[2])
