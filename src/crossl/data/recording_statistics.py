"""Mean and deviation of each recording of a store, at the end of every window or of all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.calibration import Calibration, Float64, Moments, without_rounding
from crossl.data.recording import Float32
from crossl.data.segment_reader import SegmentReader
from crossl.data.store import Store

BLOCK_NUMBERS = 1 << 18
"""Samples times channels that are read at once."""

IN_MEMORY_BYTES = 64 << 20
"""Statistics of a modality that are larger lie in an unnamed file."""


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of every window of one modality.

    Attributes:
        index: (W,) which of the K statistics is a window's; 0 where the modality is absent.
        mean: (K, C).
        deviation: (K, C); 0 where a channel is constant.
    """

    index: NDArray[np.int32]
    mean: Float32
    deviation: Float32

    @classmethod
    def empty(cls, windows: int, count: int, channels: int) -> Statistics:
        """Make room for so many statistics."""
        both = _room((2, count, channels))
        both[:, 0] = 0
        return cls(np.zeros(windows, dtype=np.int32), both[0], both[1])


@dataclass(frozen=True)
class Covered:
    """What the windows of a recording cover of one modality.

    Attributes:
        segment: in which it lies.
        rows: (n,) windows that have the modality, in order; numbers within the store.
        local: the first of them within the segment.
        first: (n,) first sample of each that no window before covers.
        last: (n,) the sample behind its last.
        count: (n,) samples that count at the end of each.
    """

    segment: SegmentReader
    rows: NDArray[np.int64]
    local: int
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    count: NDArray[np.int64]

    def blocks(self, size: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield stretches of samples, in order, up to so many in all, none longer than `size`."""
        breaks = np.flatnonzero(self.first[1:] > self.last[:-1])
        begins = self.first[np.r_[0, breaks + 1]].tolist()
        ends = self.last[np.r_[breaks, len(self.last) - 1]].tolist()
        for begin, end in zip(begins, ends, strict=True):
            stop = min(end, begin + count)
            for start in range(begin, stop, size):
                yield start, min(start + size, stop)
            count -= stop - begin


class RecordingStatistics:
    """The statistics that a calibration asks for of the recordings of a store.

    Those of a modality are made when they are first asked for, in one pass over what counts of it,
    a block at a time.

    Args:
        store: as it was prepared.
        calibration: which samples count.
    """

    def __init__(self, store: Store, calibration: Calibration) -> None:
        self.store, self.calibration = store, calibration
        self._made: dict[int, Statistics] = {}
        self._lock = Lock()

    def of(self, column: int) -> Statistics:
        """Return mean and deviation of every window of a modality."""
        with self._lock:  # several threads may read windows
            if column not in self._made:
                recordings = list(self._recordings(column))
                make = self._up_to_each if self.calibration.causal else self._of_whole
                self._made[column] = make(column, recordings)
                self.store.let_go()
            return self._made[column]

    def typical(self, train: NDArray[np.int64]) -> dict[str, list[float]]:
        """Return the median deviation of each channel over the recordings of some windows.

        Args:
            train: windows of training subjects, and of no others.
        """
        found: dict[str, list[float]] = {}
        for column, modality in enumerate(self.store.modalities):
            held = train[self.store.present[train, column]]
            if not len(held):
                continue
            # the last window of a recording has seen all of it that counts
            order = np.lexsort((self.store.start_s[held], self.store.recording[held]))
            held = held[order]
            own = self.store.recording[held]
            last = held[np.r_[np.flatnonzero(np.diff(own)), len(own) - 1]]
            made = self.of(column)
            found[modality.name] = np.median(made.deviation[made.index[last]], axis=0).tolist()
        return found

    def _up_to_each(self, column: int, recordings: list[Covered]) -> Statistics:
        counts = [np.unique(one.count, return_inverse=True) for one in recordings]
        made = self._empty(column, sum(len(count) for count, _ in counts))
        end = 1
        for one, (count, place) in zip(recordings, counts, strict=True):
            begin, end = end, end + len(count)
            made.index[one.rows] = begin + place
            made.mean[begin:end], made.deviation[begin:end] = self._read(column, one, count)
        return made

    def _of_whole(self, column: int, recordings: list[Covered]) -> Statistics:
        """Make statistics of whole recordings, or of all recordings of a subject."""
        keys = [self._whose(one) for one in recordings]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys), start=1)}
        made = self._empty(column, len(numbers))
        count = np.zeros(len(made.mean))
        mean = np.zeros(made.mean.shape)
        square = np.zeros(made.mean.shape)
        for key, one in zip(keys, recordings, strict=True):
            number, n = numbers[key], float(one.count[-1])
            made.index[one.rows] = number
            own_mean, own_deviation = (part[0] for part in self._read(column, one, one.count[-1:]))
            # group joined to group (Chan, Golub and LeVeque 1979)
            moved, total = own_mean - mean[number], count[number] + n
            square[number] += n * own_deviation**2 + moved**2 * (count[number] * n / total)
            mean[number] += moved * (n / total)
            count[number] = total
        deviation = np.sqrt(square[1:] / count[1:, None])
        made.mean[1:], made.deviation[1:] = mean[1:], without_rounding(mean[1:], deviation)
        return made

    def _empty(self, column: int, count: int) -> Statistics:
        channels = len(self.store.modalities[column].channels)
        return Statistics.empty(len(self.store), 1 + count, channels)

    def _whose(self, one: Covered) -> Any:
        number = int(self.store.recording[one.rows[0]])
        by_subject = self.calibration.by == "subject"
        return self.store.manifest["recordings"][number]["subject"] if by_subject else number

    def _recordings(self, column: int) -> Iterator[Covered]:
        """Yield what the windows of each recording cover, of those that have the modality."""
        modality = self.store.modalities[column]
        samples = self.store.spec.samples(modality)
        most = self.calibration.most_samples(modality)
        for base, segment in self.store.segments:
            recording = np.array(segment.rows["recording"])
            offset = np.array(segment.offsets[:, column])
            held = np.flatnonzero(offset >= 0)
            held = held[np.lexsort((offset[held], recording[held]))]
            edges = np.flatnonzero(np.diff(recording[held])) + 1
            for rows in np.split(held, edges) if len(held) else ():
                last = offset[rows] + samples
                first = np.maximum(offset[rows], np.r_[offset[rows[:1]], last[:-1]])
                count = np.minimum(np.cumsum(last - first), most)
                yield Covered(segment, base + rows, int(rows[0]), first, last, count)

    def _read(self, column: int, one: Covered, count: NDArray[np.int64]) -> tuple[Float64, Float64]:
        """Return mean and deviation, each (n, C), of the first so many samples of a recording."""
        modality, local = self.store.modalities[column], np.array([one.local])
        channels = len(modality.channels)
        moments, sums = Moments(channels), np.empty((len(count), 2 * channels))
        for begin, end in one.blocks(max(1, BLOCK_NUMBERS // channels), int(count[-1])):
            before, start = moments.count, np.array([begin])
            (values,) = one.segment.windows(modality.name, end - begin, start, local)
            found = moments.add(values)
            here = np.flatnonzero((count > before) & (count <= moments.count))
            sums[here] = found[count[here] - before - 1]
        return moments.read(sums, count)


def _room(shape: tuple[int, ...]) -> Float32:
    """Make an array, in an unnamed file where it is large."""
    if 4 * int(np.prod(shape, dtype=np.int64)) <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile() as file:  # its disk space is free once the array is gone
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
