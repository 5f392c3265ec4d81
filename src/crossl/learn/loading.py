"""Which windows make a batch, and reading them ahead of the step that needs them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from crossl.data.batch import Batch, collate
from crossl.data.source import WindowSource


def training_batches(
    rows: NDArray[np.int64], size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Shuffle rows by seed and epoch; the last incomplete batch is dropped."""
    shuffled = np.random.default_rng([seed, epoch]).permutation(rows)
    return [shuffled[i * size : (i + 1) * size] for i in range(len(rows) // size)]


def validation_batches(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Mix subjects the same way every time: a batch of one subject has little variance."""
    mixed = np.random.default_rng(0).permutation(rows)
    return list(np.array_split(mixed, max(1, len(rows) // size)))


class Batches(Dataset[Batch]):
    """Batches of rows, read in order; the next one is read while the last one is worked on."""

    def __init__(self, source: WindowSource, batches: list[NDArray[np.int64]]) -> None:
        self.source = source
        self.batches = batches
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="crossl-read")
        self._ahead: dict[int, Future[Batch]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        ready = self._ahead.pop(index, None)
        self._ahead.clear()
        if index + 1 < len(self.batches):
            read = self._reader.submit(collate, self.source, self.batches[index + 1])
            self._ahead[index + 1] = read
        return collate(self.source, self.batches[index]) if ready is None else ready.result()
