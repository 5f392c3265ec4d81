"""Which windows make a batch, and reading them ahead of the step that needs them."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from crossl.data.batch import Batch, collate
from crossl.data.source import WindowSource
from crossl.train.processes import Ranks

PINNING = threading.Lock()
"""Held while memory is pinned, which must not happen while somebody records CUDA graphs."""


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


@dataclass(frozen=True)
class Part:
    """What one process gets of a batch.

    Attributes:
        batch: its own windows.
        present: (B, M) of the whole batch.
        rows: (B,) of the source, of the whole batch.
        first: place of its first window in the whole batch.
    """

    batch: Batch
    present: Bool[Tensor, "batch modality"]
    rows: NDArray[np.int64]
    first: int

    @property
    def own_rows(self) -> NDArray[np.int64]:
        """Rows of the source of its own windows."""
        return self.rows[self.first : self.first + len(self.batch)]

    def to(self, device: torch.device) -> Part:
        """Copy to a device."""
        present = self.present.to(device, non_blocking=True)
        return replace(self, batch=self.batch.to(device), present=present)

    def pinned(self) -> Part:
        """Move to memory that a GPU copies from while the processor goes on."""
        return replace(self, batch=self.batch.pinned(), present=self.present.pin_memory())


class Batches(Dataset[Part]):
    """One process's part of batches, in order; the next is read while the last is worked on."""

    def __init__(
        self, source: WindowSource, batches: list[NDArray[np.int64]], ranks: Ranks | None = None
    ) -> None:
        self.source = source
        self.batches = batches
        self.ranks = ranks or Ranks()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="crossl-read")
        self._ahead: dict[int, Future[Part]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Part:
        ready = self._ahead.pop(index, None)
        self._ahead.clear()
        if index + 1 < len(self.batches):
            self._ahead[index + 1] = self._reader.submit(self._read, self.batches[index + 1])
        return self._read(self.batches[index]) if ready is None else ready.result()

    def _read(self, rows: NDArray[np.int64]) -> Part:
        own = self.ranks.rows(len(rows))
        present = torch.from_numpy(self.source.present[rows])
        part = Part(collate(self.source, rows[own]), present, rows, own.start)
        if not torch.cuda.is_available():
            return part
        with PINNING:
            return part.pinned()
