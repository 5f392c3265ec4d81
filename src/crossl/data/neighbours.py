"""Neighbours: the windows before and behind a window, in the recording that it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError

NONE = -1
"""Stands where there is no window."""


@dataclass(frozen=True)
class Places:
    """Where windows lie in their recordings, so that one is found by a binary search.

    Attributes:
        recording: (W,) index of the recording.
        step: (W,) strides from the recording's first window.
        span: larger than every step.
        key: (W,) `recording * span + step`, increasing.
    """

    recording: NDArray[np.int64]
    step: NDArray[np.int64]
    span: int
    key: NDArray[np.int64]

    @classmethod
    def of(
        cls, recording: NDArray[np.int64], start_s: NDArray[np.float64], stride_s: float
    ) -> Places:
        """Number windows that are sorted by recording and start.

        Args:
            recording: (W,) index of the recording.
            start_s: (W,) seconds on the recording's clock.
            stride_s: seconds from one window to the next.

        Raises:
            DataError: they are not sorted, or two windows are the same.
        """
        first = np.flatnonzero(np.diff(recording, prepend=-1))
        counts = np.diff(first, append=len(recording))
        step = np.round((start_s - np.repeat(start_s[first], counts)) / stride_s).astype(np.int64)
        span = int(step.max(initial=0)) + 1
        key = recording * span + step
        if not (np.diff(key) > 0).all():
            raise DataError("windows: are not sorted by recording and time; prepare them again")
        return cls(recording, step, span, key)


class InPlaces(Protocol):
    """Windows whose places are known: of a store, or of a recording."""

    @property
    def places(self) -> Places:
        """Where windows lie in their recordings."""

    def __len__(self) -> int:
        """Count the windows."""


def neighbours(
    store: InPlaces, rows: NDArray[np.int64], offsets: Sequence[int]
) -> NDArray[np.int64]:
    """Find the windows that start some strides before or behind others.

    A window has neighbours in its own recording only. Where nothing was recorded there is no
    window, and who asks for one finds none: the windows behind a gap do not move up.

    Args:
        store: the windows.
        rows: (B,) rows of windows, or a mask of (W,) bool.
        offsets: K whole numbers of strides; negative ones lie before, 0 is the window itself.

    Returns:
        (B, K) rows of the store, -1 where there is no window.

    Raises:
        IndexError: the store has no such row.
        DataError: an offset is not a whole number.
    """
    steps = np.asarray(list(offsets))
    if len(steps) and steps.dtype.kind not in "iu":
        raise DataError(f"offsets: got {list(offsets)}; whole numbers of strides are needed")
    places = store.places
    step = places.step[rows][:, None] + steps.astype(np.int64)[None, :]
    within = (step >= 0) & (step < places.span)
    key = places.recording[rows][:, None] * places.span + np.where(within, step, 0)
    found = np.minimum(np.searchsorted(places.key, key), len(store) - 1)
    return np.where(within & (places.key[found] == key), found, NONE)
