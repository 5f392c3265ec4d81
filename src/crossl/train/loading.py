"""Which windows make which batch, and reading them ahead of the step that needs them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.batch import Batch, collate
from crossl.data.damaged import DamagedSource
from crossl.data.source import WindowSource
from crossl.train.processes import Ranks

Rows = NDArray[np.int64]
TargetArray = NDArray[Any]
"""(W, ...) of a whole source."""

PINNING = threading.Lock()
"""Held while memory is pinned, which must not happen while CUDA graphs are recorded."""


def training_batches(
    rows: NDArray[np.int64], size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Shuffle rows by seed and epoch; the last incomplete batch is dropped."""
    shuffled = np.random.default_rng([seed, epoch]).permutation(rows)
    return [shuffled[i * size : (i + 1) * size] for i in range(len(rows) // size)]


class Plan(Protocol):
    """Which windows make which batch.

    Attributes:
        rows: to learn from.
        size: windows of a batch.
        per_epoch: batches between two validations.
        epochs: how many times as many.
    """

    rows: Rows
    size: int
    per_epoch: int
    epochs: int

    def batches(self, epoch: int) -> list[Rows]:
        """Return the rows of each batch of an epoch, the same however often it is asked."""


class Passes:
    """Every epoch is a pass over all windows in another order.

    Args:
        rows: to learn from.
        size: windows of a batch; the last incomplete one of a pass is dropped.
        steps: in all, rounded up to whole passes, if `epochs` is None.
        epochs: how many passes.
        seed: of the order.
    """

    def __init__(self, rows: Rows, size: int, *, steps: int, epochs: int | None, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.per_epoch = max(1, len(rows) // size)
        self.epochs = epochs or math.ceil(steps / self.per_epoch)
        self.size = min(size, len(rows))

    def batches(self, epoch: int) -> list[Rows]:
        """Shuffle by seed and epoch."""
        return training_batches(self.rows, self.size, seed=self.seed, epoch=epoch)


class Rounds:
    """Few windows, again and again: batches follow each other across the ends of passes.

    Args:
        rows: to learn from.
        size: windows of a batch.
        steps: of which those are left out that no validation would follow.
        evaluations: how often validation subjects are asked.
        seed: of the order.
    """

    def __init__(self, rows: Rows, size: int, *, steps: int, evaluations: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.size = min(size, len(rows))
        self.per_epoch = max(1, steps // evaluations)
        self.epochs = steps // self.per_epoch

    def batches(self, epoch: int) -> list[Rows]:
        """Cut batches from one shuffled pass after the other, each seeded by its number."""
        first = epoch * self.per_epoch * self.size
        end = first + self.per_epoch * self.size
        passes = range(first // len(self.rows), -(-end // len(self.rows)))
        order = np.concatenate(
            [np.random.default_rng([self.seed, number]).permutation(self.rows) for number in passes]
        )
        begin = first - passes.start * len(self.rows)
        return list(order[begin : begin + end - first].reshape(self.per_epoch, self.size))


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
        targets: (B, ...) of the whole batch, if the method sees them.
    """

    batch: Batch
    present: Bool[Tensor, "batch modality"]
    rows: NDArray[np.int64]
    first: int
    targets: Tensor | None = None

    @property
    def own_rows(self) -> NDArray[np.int64]:
        """Rows of the source of its own windows."""
        return self.rows[self.first : self.first + len(self.batch)]

    def to(self, device: torch.device) -> Part:
        """Copy to a device."""
        present = self.present.to(device, non_blocking=True)
        targets = self.targets
        if targets is not None:
            targets = targets.to(device, non_blocking=True)
        return replace(self, batch=self.batch.to(device), present=present, targets=targets)

    def pinned(self) -> Part:
        """Move to memory that a GPU copies from while the processor goes on."""
        targets = None if self.targets is None else self.targets.pin_memory()
        present = self.present.pin_memory()
        return replace(self, batch=self.batch.pinned(), present=present, targets=targets)


def at_step(source: WindowSource, step: int) -> WindowSource:
    """Return windows as they are learned from in a step: damaged ones each time in another way."""
    return source.at(step) if isinstance(source, DamagedSource) else source


class Batches:
    """One process's part of batches, in order; the next is read while the last is worked on.

    Args:
        source: windows.
        batches: rows of each.
        ranks: the processes that share them; None for this one alone.
        targets: of the source.
        first: step of the first batch, in which a damaged source damages it.
    """

    def __init__(
        self,
        source: WindowSource,
        batches: list[Rows],
        ranks: Ranks | None = None,
        targets: TargetArray | None = None,
        *,
        first: int = 0,
    ) -> None:
        self.source, self.targets, self.first = source, targets, first
        self.batches = batches
        self.ranks = ranks or Ranks()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="crossl-read")
        self._ahead: dict[int, Future[Part]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Part]:
        """Yield each batch's part in order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Part:
        ready = self._ahead.pop(index, None)
        self._ahead.clear()
        if index + 1 < len(self.batches):
            self._ahead[index + 1] = self._reader.submit(self._read, index + 1)
        return self._read(index) if ready is None else ready.result()

    def _read(self, index: int) -> Part:
        rows = self.batches[index]
        own = self.ranks.rows(len(rows))
        source = at_step(self.source, self.first + index)
        present = torch.from_numpy(self.source.present[rows])
        targets = None if self.targets is None else torch.from_numpy(self.targets[rows])
        part = Part(collate(source, rows[own]), present, rows, own.start, targets)
        if not torch.cuda.is_available():
            return part
        with PINNING:
            return part.pinned()
