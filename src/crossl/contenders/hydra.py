"""Hydra: random kernels in groups that compete at every time step; counts of who wins.

Dempster, Schmidt, Webb (2023, arXiv 2203.13652), from the paper. Each modality has features of its
own, so that one that is missing takes its features with it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import conv1d

from crossl.config.schema import ContenderConfig
from crossl.contenders.features import Describe, Linear
from crossl.data.recording import Modality
from crossl.registry import register

LENGTH, KERNELS, MAX_CHANNELS = 9, 8, 8
FIT_ROWS, PART = 2048, 128


class HydraConfig(ContenderConfig):
    """Ridge regression on Hydra's features of each modality.

    Attributes:
        groups: of 8 kernels at every dilation, half on the signal and half on its differences.
        seed: of kernels and channels.
    """

    kind: Literal["hydra"] = "hydra"
    groups: int = Field(64, ge=2, multiple_of=2)
    seed: int = Field(0, ge=0)

    def build(self, name: str) -> Linear:
        """Make the contender."""

        def fit(modality: Modality, train: NDArray[np.float32], repeat: int) -> Describe:
            del modality
            return Hydra(self.groups, seed=self.seed + repeat).fit(train).transform

        return Linear(name, fit, ridge=True, scaled=True)


class Hydra:
    """Fitted on training windows of one modality; `transform` needs no labels.

    Args:
        groups: of 8 kernels at every dilation; half see the signal, half its differences.
        seed: of kernels and channels.
    """

    def __init__(self, groups: int = 64, *, seed: int = 0) -> None:
        self.groups, self.seed = groups, seed

    def fit(self, x: NDArray[np.floating]) -> Hydra:
        """Draw kernels for the shape of windows, and learn how counts are scaled.

        Args:
            x: (n, T, C) standardised windows of training subjects.
        """
        rng = np.random.default_rng(self.seed)
        levels = max(1, int(np.log2(max(1.0, (x.shape[1] - 1) / (LENGTH - 1)))) + 1)
        self.dilations = [2**level for level in range(levels)]
        self.weights = [
            [_kernels(self.groups // 2, x.shape[2], rng) for _ in ("signal", "differences")]
            for _ in self.dilations
        ]
        counts = self._counts(x[rng.permutation(len(x))[:FIT_ROWS]])
        self.mean, spread = counts.mean(dim=0), counts.std(dim=0, correction=0)
        # rare winners get a small weight: their spread is uncertain
        self.scale = spread + (counts == 0).float().mean(dim=0) ** 4 + 1e-8
        return self

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return scaled counts of how often, and how strongly, each kernel wins its group.

        Args:
            x: (n, T, C).

        Returns:
            (n, F), zero where a kernel never wins.
        """
        counts = self._counts(x)
        return np.asarray((counts - self.mean) * (counts != 0) / self.scale)

    def _counts(self, x: NDArray[np.floating]) -> Tensor:
        """Count (n, F), square roots of the sums."""
        whole = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).transpose(1, 2)
        pieces = []
        for part in whole.split(PART):
            found = [
                _winners(conv1d(seen, weight, padding=LENGTH // 2 * dilation, dilation=dilation))
                for dilation, weights in zip(self.dilations, self.weights, strict=True)
                for seen, weight in zip((part, _differences(part)), weights, strict=True)
            ]
            pieces.append(torch.cat(found, dim=1))
        return torch.cat(pieces).clamp(min=0).sqrt()


def _kernels(groups: int, channels: int, rng: np.random.Generator) -> Tensor:
    """Draw (groups * 8, C, 9) kernels, centred, of absolute sum 1; a group sees few channels."""
    weight = rng.normal(size=(groups * KERNELS, 1, LENGTH)).astype(np.float32)
    weight -= weight.mean(axis=2, keepdims=True)
    weight /= np.abs(weight).sum(axis=2, keepdims=True)
    out = np.zeros((groups, KERNELS, channels, LENGTH), dtype=np.float32)
    for group, kernels in enumerate(weight.reshape(groups, KERNELS, LENGTH)):
        chosen = rng.choice(channels, min(channels, MAX_CHANNELS), replace=False)
        out[group][:, chosen] = kernels[:, None]
    return torch.from_numpy(out.reshape(groups * KERNELS, channels, LENGTH))


def _differences(x: Tensor) -> Tensor:
    """Subtract each sample from the next; a window of one sample has one difference, 0."""
    return x.diff(dim=2) if x.shape[2] > 1 else torch.zeros_like(x)


def _winners(found: Tensor) -> Tensor:
    """Count by kernel: the sum of its values where it is largest, how often it is least.

    Args:
        found: (n, groups * 8, T).

    Returns:
        (n, groups * 16).
    """
    n, width, time = found.shape
    grouped = found.view(n, width // KERNELS, KERNELS, time)
    most, highest = grouped.max(dim=2)
    soft = torch.zeros(n, width // KERNELS, KERNELS).scatter_add_(2, highest, most)
    lowest = grouped.argmin(dim=2)
    hard = torch.zeros_like(soft).scatter_add_(2, lowest, torch.ones_like(most))
    return torch.cat([soft, hard], dim=2).flatten(1)


register("contender", HydraConfig)
