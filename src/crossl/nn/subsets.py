"""Affine read-outs of the embedding under many subsets of modalities at once.

A linear classifier needs no embedding of each subset, only what it reads from it. Most of that does
not depend on the subset, so an aggregator that knows how can read all subsets for little more than
one (`read_subsets`); of any other the embeddings are computed one subset after another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import linear

LatentStack = Float[Tensor, "batch modality dim"]
Present = Bool[Tensor, "batch modality"]
Choices = Bool[Tensor, "subset modality"]
Weight = Float[Tensor, "output embedding"]
Bias = Float[Tensor, " output"]
Readings = Float[Tensor, "batch subset output"]


@runtime_checkable
class ReadsSubsets(Protocol):
    """An aggregator that reads many subsets cheaper than one after another."""

    def read_subsets(
        self, latent: LatentStack, present: Present, choices: Choices, weight: Weight, bias: Bias
    ) -> Readings:
        """Read the embedding of each window under each subset."""


def read_subsets(
    aggregator: Callable[[Tensor, Tensor], Tensor],
    latent: LatentStack,
    present: Present,
    choices: Choices,
    weight: Weight,
    bias: Bias,
) -> Readings:
    """Read every window's embedding under every subset of its modalities: `embedding @ W.T + b`.

    Args:
        aggregator: joins what is kept.
        latent: of some windows; what stands where nothing is present does not matter.
        present: which modalities each window has.
        choices: the modalities that each subset allows.
        weight: of the read-out.
        bias: of the read-out.
    """
    latent = torch.where(present[:, :, None], latent, 0.0)
    if isinstance(aggregator, ReadsSubsets):
        return aggregator.read_subsets(latent, present, choices, weight, bias)
    keeps = [(present & chosen)[:, :, None].expand_as(latent) for chosen in choices]
    return torch.stack([linear(aggregator(latent, k), weight, bias) for k in keeps], dim=1)


def read_side_by_side(
    latent: LatentStack, keep: Bool[Tensor, "batch subset modality"], weight: Weight, bias: Bias
) -> Readings:
    """Read latents side by side, zeros where not kept: what each modality adds is computed once.

    Examples:
        >>> keep = torch.tensor([[[True, True], [True, False]]])
        >>> weight, bias = torch.tensor([[1.0, 10.0]]), torch.zeros(1)
        >>> read_side_by_side(torch.tensor([[[2.0], [3.0]]]), keep, weight, bias).flatten()
        tensor([32.,  2.])
    """
    by_modality = weight.unflatten(1, latent.shape[1:])  # (R, M, K)
    added = torch.einsum("bmk,rmk->bmr", latent, by_modality)
    return torch.bmm(keep.to(latent.dtype), added).add_(bias)  # (B, S, M) @ (B, M, R)
