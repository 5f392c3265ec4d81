"""Small layers shared by encoders and aggregators."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossl.nn.attachment import replaceable

Statistic = Float[Tensor, "batch channel"]


def pad_same(x: Tensor, kernel: int) -> Tensor:
    """Pad time so that a convolution of stride 1 keeps its length: left (k-1)//2, right k//2.

    As TensorFlow does for even kernels; torch's own `padding="same"` copies and warns.
    """
    return nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))


def pool_time(
    x: Float[Tensor, "batch time channel"],
) -> tuple[Statistic, Statistic, Statistic]:
    """Mean, population variance and maximum over time; of equal maxima the first gets the gradient.

    Examples:
        >>> [s.item() for s in pool_time(torch.tensor([[[1.0], [3.0]]]))]
        [2.0, 1.0, 3.0]
    """
    mean = x.mean(dim=1)
    return mean, (x - mean[:, None]).square().mean(dim=1), x.max(dim=1).values


@replaceable
def apply_each(
    networks: Iterable[nn.Module], x: Float[Tensor, "network row feature"]
) -> Float[Tensor, "network row out"]:
    """Apply each of several networks of one shape to its own rows."""
    return torch.stack([network(rows) for network, rows in zip(networks, x, strict=True)])
