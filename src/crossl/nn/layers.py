"""Small layers shared by encoders and aggregators."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossl.nn.attachment import replaceable

Statistic = Float[Tensor, "batch channel"]
Places = Float[Tensor, "batch place channel"]


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


def pool_stretches(
    x: Float[Tensor, "batch time channel"], count: int
) -> tuple[Places, Places, Places]:
    """Mean, population variance and maximum over each of some stretches of time, which may overlap.

    Examples:
        >>> [s[0, :, 0].tolist() for s in pool_stretches(torch.tensor([[[1.0], [3.0], [4.0]]]), 3)]
        [[1.0, 3.0, 4.0], [0.0, 0.0, 0.0], [1.0, 3.0, 4.0]]
    """
    x = x.transpose(1, 2)  # (B, C, T)
    centre = x.mean(dim=2, keepdim=True)  # squares about it keep their digits
    level = nn.functional.adaptive_avg_pool1d(x - centre, count)
    squares = nn.functional.adaptive_avg_pool1d((x - centre).square(), count)
    variance = (squares - level.square()).clamp(min=0)
    largest = nn.functional.adaptive_max_pool1d(x, count)
    mean, variance, largest = (part.transpose(1, 2) for part in (level + centre, variance, largest))
    return mean, variance, largest


@replaceable
def apply_each(
    networks: Iterable[nn.Module], x: Float[Tensor, "network row feature"]
) -> Float[Tensor, "network row out"]:
    """Apply each of several networks of one shape to its own rows."""
    return torch.stack([network(rows) for network, rows in zip(networks, x, strict=True)])
