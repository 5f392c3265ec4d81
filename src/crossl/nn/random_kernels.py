"""The fixed kernels of MiniRocket: 84 patterns at many dilations, each on drawn channels.

Dempster, Schmidt, Webb (2021, arXiv 2012.08791), from the paper.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d, pad

LENGTH, TAPS = 9, 3
KERNELS = tuple(combinations(range(LENGTH), TAPS))
"""The 84 kernels: -1 everywhere but at three taps of 2."""
MAX_DILATIONS = 32
GOLDEN = (np.sqrt(5) + 1) / 2


def dilations(time: int, per_kernel: int) -> tuple[list[int], list[int]]:
    """Spread the features of a kernel over dilations, exponentially, as far as windows reach.

    Args:
        time: samples of a window.
        per_kernel: features of each kernel.

    Returns:
        Dilations, and how many features of a kernel each has.

    Examples:
        >>> dilations(100, 6)
        ([1, 2, 4, 7, 12], [2, 1, 1, 1, 1])
    """
    most = np.log2(max(1.0, (time - 1) / (LENGTH - 1)))
    spread = np.logspace(0, most, min(per_kernel, MAX_DILATIONS), base=2).astype(int)
    found, counts = np.unique(spread, return_counts=True)
    counts = counts * per_kernel // counts.sum()
    counts[: per_kernel - counts.sum()] += 1
    return found.tolist(), counts.tolist()


def kernel_weights(channels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make (84, C, 9) kernels, each on some of the channels."""
    weight = np.full((len(KERNELS), channels, LENGTH), -1, dtype=np.float32)
    for kernel, taps in enumerate(KERNELS):
        weight[kernel][:, list(taps)] = 2
        count = int(2 ** rng.uniform(0, np.log2(min(channels, LENGTH) + 1)))
        chosen = rng.choice(channels, count, replace=False)
        weight[kernel][np.setdiff1d(np.arange(channels), chosen)] = 0
    return weight


def quantile_shares(drawn: int, count: int) -> NDArray[np.float64]:
    """Spread the quantiles that are biases, (84, count), evenly after those drawn before."""
    share = (np.arange(drawn + 1, drawn + count * len(KERNELS) + 1) * GOLDEN) % 1
    return np.asarray(share.reshape(len(KERNELS), count))


def convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Convolve (n, T, C) to (n, 84, T), zeros beyond the window."""
    padding = (LENGTH // 2) * dilation
    return conv1d(x.transpose(1, 2), weight, padding=padding, dilation=dilation)


def convolve_some(x: Tensor, weight: Tensor, dilation: int, every: int) -> Tensor:
    """Convolve (n, T, C) at every so many samples, to (n, T / every, 84), as one product.

    Args:
        x: windows; zeros stand beyond them.
        weight: (84, C, 9).
        dilation: of the kernels, samples.
        every: samples from one place to the next.

    Examples:
        >>> x, weight = torch.randn(2, 40, 3), torch.randn(84, 3, 9)
        >>> wanted = convolve(x, weight, 2)[:, :, ::4].transpose(1, 2)
        >>> bool(torch.allclose(convolve_some(x, weight, 2, 4), wanted, atol=1e-4))
        True
    """
    reach = (LENGTH // 2) * dilation
    wide = pad(x, (0, 0, reach, reach))
    places = torch.arange(0, x.shape[1], every, device=x.device)
    taps = torch.arange(LENGTH, device=x.device) * dilation
    seen = wide[:, places[:, None] + taps].flatten(2)  # (n, places, 9 * C)
    return seen @ weight.permute(2, 1, 0).flatten(0, 1)
