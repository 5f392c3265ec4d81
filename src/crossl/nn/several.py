"""Several small networks of one shape, each on its own input, at the cost of calling one.

The networks stay modules of their own, with their own names in a checkpoint; their weights are
stacked when they are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

Rows = Float[Tensor, "network row feature"]


def stacked(parameters: Iterable[object]) -> Float[Tensor, "network ..."]:
    """Stack one parameter of each network."""
    return torch.stack([cast("Tensor", p) for p in parameters])


def apply_linears(layers: Sequence[nn.Linear], x: Rows) -> Rows:
    """Apply each linear layer to its own rows.

    Args:
        layers: N, of one shape.
        x: (N, R, in).
    """
    weight = stacked(one.weight for one in layers)
    return torch.baddbmm(stacked(one.bias for one in layers)[:, None], x, weight.transpose(1, 2))


def apply_two_layers(networks: Iterable[nn.Module], x: Rows) -> Rows:
    """Apply each network (linear, GELU, linear) to its own rows.

    Args:
        networks: N, of one shape.
        x: (N, R, in).
    """
    first, _, last = zip(*cast("Iterable[nn.Sequential]", networks), strict=True)
    return apply_linears(last, gelu(apply_linears(first, x)))
