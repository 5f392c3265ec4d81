"""Batch: windows as tensors; here numpy ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.source import WindowSource


@dataclass(frozen=True)
class Batch:
    """B windows, ready for the model.

    Attributes:
        signals: {modality: (B, T, C)} float32 in SI units, zeros where not present.
        present: (B, M) bool; M in the order of `signals`.
        label: (B,) int64, -1 unlabelled; None when there are no labels.
    """

    signals: Mapping[str, Float[Tensor, "batch time channel"]]
    present: Bool[Tensor, "batch modality"]
    label: Int[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.present)

    def to(self, device: torch.device | str) -> Batch:
        """Copy to a device."""
        return Batch(
            {name: signal.to(device, non_blocking=True) for name, signal in self.signals.items()},
            self.present.to(device, non_blocking=True),
            None if self.label is None else self.label.to(device, non_blocking=True),
        )

    def pinned(self) -> Batch:
        """Copy to memory that a GPU copies from while the processor goes on."""
        return Batch(
            {name: signal.pin_memory() for name, signal in self.signals.items()},
            self.present.pin_memory(),
            None if self.label is None else self.label.pin_memory(),
        )


def collate(
    source: WindowSource, rows: NDArray[np.int64], label: NDArray[np.int64] | None = None
) -> Batch:
    """Read rows of a source into a Batch.

    Args:
        source: a store, or arrays.
        rows: which windows.
        label: (W,) labels of the whole source.
    """
    signals = {name: torch.from_numpy(x) for name, x in source.gather_zeroed(rows).items()}
    chosen = None if label is None else torch.from_numpy(label[rows])
    return Batch(signals, torch.from_numpy(source.present[rows]), chosen)


def in_batches(
    source: WindowSource, rows: NDArray[np.int64], *, size: int = 1024
) -> Iterator[Batch]:
    """Read rows in order, a batch at a time, the last one smaller."""
    for begin in range(0, len(rows), size):
        yield collate(source, rows[begin : begin + size])
