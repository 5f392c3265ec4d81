"""Rows made of few windows, in as few columns: the same distances, much less to compute.

A probe is trained on every window under every subset of its modalities, so a modality's columns
hold few different rows: one for each window, and one for where it is absent. Turned into a basis of
what these span, they need no more columns than there are different rows. Whatever depends on
products of rows alone, as ridge regression does, finds the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Parts:
    """What rows are made of: windows of which some modalities are shown.

    Attributes:
        latent: (w, M, K) of the windows.
        window: (n,) which of them each row is.
        shown: (n, M) bool; columns of a modality that is not shown are 0.
    """

    latent: Tensor
    window: NDArray[np.int64]
    shown: NDArray[np.bool_]


@dataclass(frozen=True)
class Rotated:
    """Standardised rows in a basis of their own.

    Attributes:
        x: (n, D') float64; products of its rows are those of the standardised rows.
        mean: (D,) that was subtracted.
        scale: (D,) that divided, 1 where a column does not vary.
        bases: for each modality (K, K'), orthonormal, or None where its columns stay as they are.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    bases: tuple[NDArray[np.float64] | None, ...]

    def turned_back(self, weight: Array) -> NDArray[np.float64]:
        """Return coefficients (R, D) of standardised columns for those of `x` (R, D')."""
        out, begin, width = [], 0, len(self.mean) // len(self.bases)
        for basis in self.bases:
            end = begin + (width if basis is None else basis.shape[1])
            own = weight[:, begin:end]
            out.append(own if basis is None else own @ basis.T)
            begin = end
        return np.concatenate(out, axis=1)


def rotated(parts: Parts) -> Rotated:
    """Standardise rows, as `StandardScaler` does, and turn them into fewer columns.

    Args:
        parts: what the rows are made of.
    """
    windows, modalities, _ = parts.latent.shape
    blocks, means, scales, bases = [], [], [], []
    for m in range(modalities):
        shown = parts.shown[:, m]
        times = np.bincount(parts.window[shown], minlength=windows)
        own = parts.latent[:, m].double().numpy()
        own = np.where((times > 0)[:, None], own, 0.0)  # nobody reads what lies there else
        mean, scale = _scaled(own, times, len(shown))
        # the last row is where the modality is absent
        every = (np.concatenate([own, np.zeros((1, own.shape[1]))]) - mean) / scale
        basis = None
        if len(every) < every.shape[1]:
            q, r = torch.linalg.qr(torch.from_numpy(every).T)
            basis, every = q.numpy(), r.T.numpy()
        blocks.append(every[np.where(shown, parts.window, windows)])
        means.append(mean)
        scales.append(scale)
        bases.append(basis)
    return Rotated(np.concatenate(blocks, axis=1), np.concatenate(means), np.concatenate(scales),
                   tuple(bases))  # fmt: skip


def _scaled(own: Array, times: NDArray[np.int64], rows: int) -> tuple[Array, Array]:
    """Return mean and deviation of columns whose row w is there so many times, else 0."""
    mean = times @ own / rows
    spread = times @ np.square(own - mean) + (rows - times.sum()) * np.square(mean)
    variance, eps = spread / rows, np.finfo(np.float64).eps
    # what rounding makes of a column that does not vary, by scikit-learn's bound
    constant = variance <= rows * eps * variance + np.square(rows * mean * eps)
    return mean, np.where(constant, 1.0, np.sqrt(variance))
