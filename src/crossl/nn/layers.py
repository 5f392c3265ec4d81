"""Small layers shared by encoders and aggregators."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Statistic = Float[Tensor, "batch channel"]


def pad_same(x: Tensor, kernel: int) -> Tensor:
    """Pad time so that a convolution of stride 1 keeps its length: left (k-1)//2, right k//2.

    As TensorFlow does for even kernels; torch's own `padding="same"` copies and warns.
    """
    return nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))


class _PoolTime(torch.autograd.Function):
    """Mean, variance and maximum with one backward pass for all three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(dim=1)
        variance = (x - mean[:, None]).square_().mean(dim=1)
        largest, place = x.max(dim=1)
        ctx.save_for_backward(x, mean, place)
        return mean, variance, largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean: Tensor, variance: Tensor, largest: Tensor) -> Tensor:
        """Add up the gradients of the three, of each (B, C)."""
        x, centre, place = ctx.saved_tensors
        slope = variance * (2 / x.shape[1])
        level = mean / x.shape[1] - slope * centre
        gradient = torch.addcmul(level[:, None], x, slope[:, None])
        return gradient.scatter_add_(1, place[:, None], largest[:, None])


def pool_time(
    x: Float[Tensor, "batch time channel"],
) -> tuple[Statistic, Statistic, Statistic]:
    """Mean, population variance and maximum over time.

    The same as three reductions, but the gradient is made in one pass instead of six; of equal
    maxima the first gets it.

    Examples:
        >>> [s.item() for s in pool_time(torch.tensor([[[1.0], [3.0]]]))]
        [2.0, 1.0, 3.0]
    """
    if not torch.is_grad_enabled():  # no gradient to make: what a custom function costs is spared
        mean = x.mean(dim=1)
        return mean, (x - mean[:, None]).square_().mean(dim=1), x.amax(dim=1)
    return cast("tuple[Tensor, Tensor, Tensor]", _PoolTime.apply(x))  # type: ignore[no-untyped-call]
