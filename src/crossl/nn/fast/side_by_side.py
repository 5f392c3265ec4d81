"""Small networks of one shape side by side, each on its own input, at the cost of calling one.

The networks stay modules of their own, with their own names in a checkpoint; their weights are
stacked when they are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from crossl.nn.fast.unchanged import Unchanged

Rows = Float[Tensor, "network row feature"]


def stacked(parameters: Iterable[object]) -> Float[Tensor, "network ..."]:
    """Stack one parameter of each network."""
    return torch.stack([cast("Tensor", p) for p in parameters])


@dataclass(frozen=True)
class Linears:
    """Linear layers of one shape, their weights stacked.

    Attributes:
        weight: (N, in, out).
        bias: (N, 1, out).
    """

    weight: Float[Tensor, "network in out"]
    bias: Float[Tensor, "network one out"]

    @classmethod
    def of(cls, layers: Iterable[nn.Linear]) -> Linears:
        """Stack layers."""
        layers = list(layers)
        weight = stacked(one.weight for one in layers).transpose(1, 2)
        return cls(weight, stacked(one.bias for one in layers)[:, None])

    def __call__(self, x: Rows) -> Rows:
        """Apply each layer to its own rows: (N, R, in) to (N, R, out)."""
        return torch.baddbmm(self.bias, x, self.weight)


@dataclass(frozen=True)
class TwoLayers:
    """Networks of one shape (linear, GELU, linear), their weights stacked."""

    first: Linears
    last: Linears

    @classmethod
    def of(cls, networks: Iterable[nn.Module]) -> TwoLayers:
        """Stack networks."""
        first, _, last = zip(*cast("Iterable[nn.Sequential]", networks), strict=True)
        return cls(Linears.of(first), Linears.of(last))

    def __call__(self, x: Rows) -> Rows:
        """Apply each network to its own rows: (N, R, in) to (N, R, out)."""
        return self.last(gelu(self.first(x)))


_kept: WeakKeyDictionary[nn.Module, tuple[Unchanged, TwoLayers]] = WeakKeyDictionary()


def keep_stacked(networks: nn.ModuleList) -> None:
    """Stack weights once instead of at every call, as long as they don't change; without gradient.

    Args:
        networks: of one shape: linear, GELU, linear.
    """
    with torch.no_grad():
        _kept[networks] = Unchanged(networks), TwoLayers.of(networks)


def apply_each(networks: nn.ModuleList, x: Rows) -> Rows:
    """Compute `crossl.nn.layers.apply_each`, for networks of linear, GELU, linear."""
    if networks in _kept and not torch.is_grad_enabled():
        unchanged, both = _kept[networks]
        if unchanged.holds():
            return both(x)
        _kept.pop(networks, None)
    return TwoLayers.of(networks)(x)
