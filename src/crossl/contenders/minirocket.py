"""MiniRocket: 84 fixed kernels at many dilations, pooled to shares of positive values.

Dempster, Schmidt, Webb (2021, arXiv 2012.08791), from the paper. Each modality has features of its
own, so that one that is missing takes its features with it. Deviation: for every dilation the
kernels see drawn channels of the modality, as the authors' code for several channels does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossl.nn.random_kernels import (
    KERNELS,
    LENGTH,
    convolve,
    dilations,
    kernel_weights,
    quantile_shares,
)

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
        self.dilations, counts = dilations(x.shape[1], self.features // len(KERNELS))
        sample = torch.from_numpy(np.ascontiguousarray(x[rng.permutation(len(x))[:FIT_ROWS]]))
        self.weights, self.biases, drawn = [], [], 0
        for dilation, count in zip(self.dilations, counts, strict=True):
            weight = torch.from_numpy(kernel_weights(x.shape[2], rng))
            rows = sample[rng.integers(len(sample), size=len(KERNELS))]
            one_each = convolve(rows, weight, dilation)[range(len(KERNELS)), range(len(KERNELS))]
            quantiles = torch.from_numpy(quantile_shares(drawn, count)).float()
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
        found = convolve(x, self.weights[level], dilation)  # (n, 84, T)
        reach = (LENGTH // 2) * dilation
        inner = found[:, :, reach : found.shape[2] - reach]
        # as published every other feature leaves out where the kernel reaches beyond the window
        parts = []
        for number in range(biases.shape[1]):
            seen = inner if number % 2 and inner.shape[2] else found
            parts.append((seen > biases[:, number, None]).float().mean(dim=2))
        return torch.cat(parts, dim=1)
