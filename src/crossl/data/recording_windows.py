"""Windows of one recording: cut from it in memory, or rows of a store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossl.data.calibrated import CalibratedStore
from crossl.data.cutting import CutRecording
from crossl.data.neighbours import Places
from crossl.data.recording import Float32, Modality
from crossl.data.store import Store
from crossl.data.targets import Target
from crossl.data.windows import WindowSpec


class CutWindows:
    """Windows that were cut from a recording; the same numbers as in a store of float32.

    Args:
        cut: the recording's signals and windows.
        modalities: the columns of `cut.present`, in order.
        spec: how they were cut.
    """

    def __init__(self, cut: CutRecording, modalities: Sequence[Modality], spec: WindowSpec) -> None:
        self.modalities = tuple(modalities)
        self.targets: tuple[Target, ...] = ()
        self.spec = spec
        self.window_s = spec.window_s
        self.present = cut.present
        self.start_s = cut.start_s
        self._cut = cut

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.start_s)

    @cached_property
    def places(self) -> Places:
        """Where windows lie in the recording."""
        return places_of(self.start_s, self.spec)

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not present."""
        out = {}
        for column, modality in enumerate(self.modalities):
            samples = self.spec.samples(modality)
            windows = np.zeros((len(rows), samples, len(modality.channels)), dtype=np.float32)
            first = self._cut.offsets[rows, column]
            found = first >= 0
            if found.any():
                at = first[found, None] + np.arange(samples)
                windows[found] = self._cut.signals[modality.name][at]
            out[modality.name] = windows
        return out


class StoredWindows:
    """The windows that a store has of one recording.

    Args:
        store: as a model sees it.
        rows: of the recording, in order.
    """

    def __init__(self, store: Store, rows: NDArray[np.int64]) -> None:
        self.modalities = store.modalities
        self.targets: tuple[Target, ...] = ()
        self.spec = store.spec
        self.window_s = store.window_s
        self.rows = rows
        begin, end = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        table = store.stretch(begin, end)
        self.present = table["present"]
        self.start_s = table["start_s"]
        self.label = table["label"]
        self.store = store

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.rows)

    @cached_property
    def places(self) -> Places:
        """Where windows lie in the recording."""
        return places_of(self.start_s, self.spec)

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not present."""
        return self.store.gather_zeroed(self.rows[rows])


class SomePresent:
    """Windows of which some sensors are not read.

    Args:
        windows: of one recording.
        present: (W, M), what is read.
    """

    def __init__(self, windows: CutWindows | StoredWindows, present: NDArray[np.bool_]) -> None:
        self.modalities = windows.modalities
        self.targets: tuple[Target, ...] = ()
        self.spec = windows.spec
        self.window_s = windows.window_s
        self.present = present
        self.start_s = windows.start_s
        self.places = windows.places
        self._windows = windows

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.start_s)

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not read."""
        out = self._windows.gather_zeroed(rows)
        for column, modality in enumerate(self.modalities):
            unread = ~self.present[rows, column]
            if unread.any():
                out[modality.name] = out[modality.name].copy()
                out[modality.name][unread] = 0
        return out


def as_recorded(windows: CutWindows | StoredWindows) -> CutWindows | StoredWindows:
    """Return windows as they were recorded, of such as may be calibrated."""
    if isinstance(windows, StoredWindows) and isinstance(windows.store, CalibratedStore):
        return StoredWindows(windows.store.prepared, windows.rows)
    return windows


def places_of(start_s: NDArray[np.float64], spec: WindowSpec) -> Places:
    """Number the windows of one recording by when they start."""
    return Places.of(np.zeros(len(start_s), dtype=np.int64), start_s, spec.stride_s)
