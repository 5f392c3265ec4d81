"""MiniRocket: 84 fixed kernels at many dilations, pooled to shares of positive values.

Dempster, Schmidt, Webb (2021, arXiv 2012.08791), from the paper. Each modality has features of its
own, so that one that is missing takes its features with it. Deviation: for every dilation the
kernels see drawn channels of the modality, as the authors' code for several channels does.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d

LENGTH, TAPS = 9, 3
KERNELS = tuple(combinations(range(LENGTH), TAPS))
"""The 84 kernels: -1 everywhere but at three taps of 2."""
MAX_DILATIONS = 32
GOLDEN = (np.sqrt(5) + 1) / 2
FIT_ROWS, PART = 2048, 256


class Minirocket:
    """Fitted on training windows of one modality; `transform` needs no labels.

    Args:
        features: about how many; rounded down to a multiple of 84.
        seed: of the channels and of the windows whose quantiles are biases.
    """

    def __init__(self, features: int = 2436, *, seed: int = 0) -> None:
        self.features, self.seed = features, seed

    def fit(self, x: NDArray[np.floating[Any]]) -> Minirocket:
        """Choose dilations, channels and biases.

        Args:
            x: (n, T, C) standardised windows of training subjects.
        """
        rng = np.random.default_rng(self.seed)
        self.dilations, counts = _dilations(x.shape[1], self.features // len(KERNELS))
        sample = torch.from_numpy(np.ascontiguousarray(x[rng.permutation(len(x))[:FIT_ROWS]]))
        self.weights, self.biases, drawn = [], [], 0
        for dilation, count in zip(self.dilations, counts, strict=True):
            weight = torch.from_numpy(_weights(x.shape[2], rng))
            rows = sample[rng.integers(len(sample), size=len(KERNELS))]
            one_each = _convolve(rows, weight, dilation)[range(len(KERNELS)), range(len(KERNELS))]
            share = (np.arange(drawn + 1, drawn + count * len(KERNELS) + 1) * GOLDEN) % 1
            quantiles = torch.from_numpy(share.reshape(len(KERNELS), count)).float()
            biases = [torch.quantile(o, q) for o, q in zip(one_each, quantiles, strict=True)]
            self.weights.append(weight)
            self.biases.append(torch.stack(biases))  # (84, count)
            drawn += count * len(KERNELS)
        return self

    def transform(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the share of positive values of every kernel, dilation and bias.

        Args:
            x: (n, T, C).

        Returns:
            (n, F) between 0 and 1.
        """
        out = [
            torch.cat([self._pool(part, level) for level in range(len(self.dilations))], dim=1)
            for part in torch.from_numpy(np.ascontiguousarray(x)).split(PART)
        ]
        return np.asarray(torch.cat(out))

    def _pool(self, x: Tensor, level: int) -> Tensor:
        dilation, biases = self.dilations[level], self.biases[level]
        found = _convolve(x, self.weights[level], dilation)  # (n, 84, T)
        reach = (LENGTH // 2) * dilation
        inner = found[:, :, reach : found.shape[2] - reach]
        # as published every other feature leaves out where the kernel reaches beyond the window
        parts = []
        for number in range(biases.shape[1]):
            seen = inner if number % 2 and inner.shape[2] else found
            parts.append((seen > biases[:, number, None]).float().mean(dim=2))
        return torch.cat(parts, dim=1)


def _dilations(time: int, per_kernel: int) -> tuple[list[int], list[int]]:
    """Spread the features of a kernel over dilations, exponentially, as far as windows reach."""
    most = np.log2(max(1.0, (time - 1) / (LENGTH - 1)))
    spread = np.logspace(0, most, min(per_kernel, MAX_DILATIONS), base=2).astype(int)
    dilations, counts = np.unique(spread, return_counts=True)
    counts = counts * per_kernel // counts.sum()
    counts[: per_kernel - counts.sum()] += 1
    return dilations.tolist(), counts.tolist()


def _weights(channels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make (84, C, 9) kernels, each on some of the channels."""
    weight = np.full((len(KERNELS), channels, LENGTH), -1, dtype=np.float32)
    for kernel, taps in enumerate(KERNELS):
        weight[kernel][:, list(taps)] = 2
        count = int(2 ** rng.uniform(0, np.log2(min(channels, LENGTH) + 1)))
        chosen = rng.choice(channels, count, replace=False)
        weight[kernel][np.setdiff1d(np.arange(channels), chosen)] = 0
    return weight


def _convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Convolve (n, T, C) to (n, 84, T), zeros beyond the window."""
    padding = (LENGTH // 2) * dilation
    return conv1d(x.transpose(1, 2), weight, padding=padding, dilation=dilation)
