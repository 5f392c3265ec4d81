"""Latents of windows, computed once; heads and subsets of modalities read from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.recording import Float32
from crossl.nn.model import CrossModalModel
from crossl.nn.subsets import read_side_by_side, read_subsets
from crossl.tasks import UNNAMED_CLASSES, Task

Head = Literal["aggregator", "encoders"]
HEADS = ("aggregator", "encoders")
Subset = tuple[int, ...]
Array = NDArray[np.floating[Any]]

EMBED_ROWS = 8192
READ_ROWS, MAX_READ_ROWS = 128, 512
"""Windows that a thread, and all threads, read under all subsets in one go: what caches hold."""


def subsets(modalities: int) -> list[Subset]:
    """List all non-empty subsets of modalities, the largest first.

    Examples:
        >>> subsets(2)
        [(0, 1), (0,), (1,)]
    """
    every = range(modalities)
    return [chosen for size in range(modalities, 0, -1) for chosen in combinations(every, size)]


def comparable(present: NDArray[np.bool_], subset: Subset) -> NDArray[np.bool_]:
    """Tell which windows lose something when only a subset is left, and keep something.

    They have every modality outside the subset, and at least one in it: on these the score with
    the others missing can be compared with the score of the same windows as they are.

    Args:
        present: (n, M).
        subset: columns that are left.
    """
    left = np.isin(np.arange(present.shape[1]), subset)
    return np.asarray(present[:, ~left].all(axis=1) & present[:, left].any(axis=1))


@dataclass(frozen=True)
class LatentTable:
    """Latents of some windows, ready for any head and any subset of modalities.

    Attributes:
        model: whose latents; only its aggregator runs here.
        latent: (n, M, K).
        present: (n, M) bool.
        label: (n, ...) the target of each window, such as its class; -1 or NaN where it
            is unknown.
        subject: (n,) names.
        task: what is predicted for each window.
        around: (n, O) rows of `pool` at the task's offsets, -1 where there is none; None where the
            task reads each window alone.
        pool: the windows and all their neighbours.
        rows: (n,) of the store that the windows are of; None where nobody asks.
        encoder: makes latents (b, K) of other samples (b, T, C) of the modality of a column, where
            the model's encoders do not.
        copies: how often each window is in the table, to be learned from in several ways.
    """

    model: CrossModalModel
    latent: Tensor
    present: Tensor
    label: NDArray[Any]
    subject: NDArray[np.str_]
    task: Task = UNNAMED_CLASSES
    around: NDArray[np.int64] | None = None
    pool: LatentTable | None = None
    rows: NDArray[np.int64] | None = None
    encoder: Callable[[int, Float32], Tensor] | None = None
    copies: int = 1

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.latent)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> LatentTable:
        """Return some of the windows."""
        index = torch.from_numpy(rows)
        return replace(
            self,
            latent=self.latent[index],
            present=self.present[index],
            label=self.label[rows],
            subject=self.subject[rows],
            around=None if self.around is None else self.around[rows],
            rows=None if self.rows is None else self.rows[rows],
        )

    def encode(self, column: int, x: Float32) -> Tensor:
        """Make latents of other samples of a modality.

        Args:
            column: of the modality.
            x: (b, T, C).

        Returns:
            (b, K) on the CPU.
        """
        if self.encoder is not None:
            return self.encoder(column, x)
        name = self.model.modalities[column].name
        with torch.inference_mode():
            found = self.model.latent_of(name, torch.from_numpy(x).to(self._device))
        return found.cpu().clone()

    def within(self, subset: Subset | None) -> LatentTable:
        """Return the windows as if only some modalities had been recorded; None means all."""
        if subset is None:
            return self
        return replace(self, present=self.present & self._allowed([subset]))

    def embed(self, head: Head, subset: Subset | None = None) -> Array:
        """Embed every window as if only some modalities had been recorded.

        Args:
            head: `aggregator` for the global embedding, `encoders` for latents side by side, with
                zeros where a modality is absent.
            subset: columns that may be used; None for all that are present.

        Returns:
            (n, D) or (n, M * K) float32. A window that has none of the subset is embedded from
            nothing; `usable` tells which.
        """
        present = self.within(subset).present
        if head == "encoders":
            return np.asarray(torch.where(present[:, :, None], self.latent, 0.0).flatten(1))
        device = self._device
        with torch.inference_mode():
            parts = [
                self.model.aggregate(z.to(device), p.to(device)).cpu()
                for z, p in zip(
                    self.latent.split(EMBED_ROWS), present.split(EMBED_ROWS), strict=True
                )
            ]
        return np.asarray(torch.cat(parts))

    def read(
        self, head: Head, choices: Sequence[Subset], weight: Array, bias: Array
    ) -> Iterator[Array]:
        """Read every window under every subset through `embedding @ weight.T + bias`.

        The same numbers as from `embed`, for much less than an embedding of each subset.

        Args:
            head: which embedding is read.
            choices: S subsets of columns.
            weight: (R, D).
            bias: (R,).

        Yields:
            (b, S, R) of some windows after the other, in order.
        """
        device = self._device if head == "aggregator" else torch.device("cpu")
        weights = [torch.from_numpy(np.asarray(a, np.float32)).to(device) for a in (weight, bias)]
        allowed = self._allowed(choices).to(device)
        rows = min(READ_ROWS * torch.get_num_threads(), MAX_READ_ROWS)
        beside = self.untrained(head) is not None
        parts = zip(self.latent.split(rows), self.present.split(rows), strict=True)
        for latent, present in parts:
            z, p = latent.to(device), present.to(device)
            with torch.inference_mode():
                if head == "encoders":
                    z = torch.where(p[:, :, None], z, 0.0)
                    read = read_side_by_side(z, p[:, None] & allowed, *weights)
                elif beside:
                    read = self.model.read_subsets(z, p, allowed, *weights)
                else:
                    read = read_subsets(self.model.aggregator, z, p, allowed, *weights)
            yield np.asarray(read.cpu())

    def untrained(self, head: Head) -> NDArray[np.bool_] | None:
        """Tell which columns of an embedding are untrained features of the model, if it has any."""
        if not isinstance(self.model, CrossModalModel):
            return None
        return self.model.untrained_columns(aggregated=head == "aggregator")

    def usable(self, subset: Subset | None = None) -> NDArray[np.bool_]:
        """Tell which windows have at least one modality of a subset."""
        return np.asarray(self.within(subset).present.any(dim=1))

    def comparable(self, subset: Subset) -> NDArray[np.bool_]:
        """Tell which windows lose something when only a subset is left, and keep something.

        They have every modality outside the subset, and at least one in it: on these the score
        with the others missing can be compared with the score of the same windows as they are.
        """
        return comparable(np.asarray(self.present), subset)

    def _allowed(self, choices: Sequence[Subset]) -> Tensor:
        allowed = torch.zeros(len(choices), self.present.shape[1], dtype=torch.bool)
        for row, subset in zip(allowed, choices, strict=True):
            row[list(subset)] = True
        return allowed

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device
