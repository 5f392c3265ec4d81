"""Which tokens in time are hidden from a network that has to tell them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Present = Bool[Tensor, "batch modality"]
Hidden = Bool[Tensor, "batch modality place"]


def hidden_of(count: int, rate: float) -> int:
    """Return how many of some are hidden: the share, rounded, but never all.

    Examples:
        >>> hidden_of(10, 0.8), hidden_of(3, 0.5), hidden_of(1, 0.5)
        (8, 2, 0)
    """
    return max(0, min(math.floor(rate * count + 0.5 + 1e-6), count - 1))


def hide_tokens(present: Present, places: int, *, rate: float, rng: torch.Generator) -> Hidden:
    """Hide a share of the tokens of each window that are present, wherever they are."""
    score = torch.rand((*present.shape, places), generator=rng, device=present.device)
    there = present[:, :, None].expand_as(score)
    lowest = _lowest(torch.where(there, score, 2.0).flatten(1), there.flatten(1), rate)
    return lowest.view_as(there)


def hide_each(present: Present, places: int, *, rate: float, rng: torch.Generator) -> Hidden:
    """Hide a share of the tokens of each modality that is present, as many of each."""
    score = torch.rand((*present.shape, places), generator=rng, device=present.device)
    lowest = _lowest(
        score.flatten(0, 1), torch.ones_like(score, dtype=torch.bool).flatten(0, 1), rate
    )
    return lowest.view_as(score) & present[:, :, None]


def hide_places(present: Present, places: int, *, rate: float, rng: torch.Generator) -> Hidden:
    """Hide a share of the places in time of each window, from all modalities."""
    score = torch.rand((len(present), places), generator=rng, device=present.device)
    lowest = _lowest(score, torch.ones_like(score, dtype=torch.bool), rate)
    return lowest[:, None] & present[:, :, None]


def hide_modalities(present: Present, places: int, *, rate: float, rng: torch.Generator) -> Hidden:
    """Hide a share of the modalities of each window that are present, as a whole."""
    score = torch.rand(present.shape, generator=rng, device=present.device)
    lowest = _lowest(torch.where(present, score, 2.0), present, rate)
    return lowest[:, :, None].expand(-1, -1, places)


def _lowest(
    score: Float[Tensor, "batch one"], there: Bool[Tensor, "batch one"], rate: float
) -> Bool[Tensor, "batch one"]:
    """Pick those of the lowest scores, `hidden_of` as many as are there."""
    count = there.sum(dim=1, keepdim=True)
    hidden = torch.minimum(torch.floor(rate * count + 0.5 + 1e-6), count - 1).clamp(min=0)
    rank = score.argsort(dim=1).argsort(dim=1)
    return (rank < hidden) & there


def shown_first(shown: Bool[Tensor, "batch token"]) -> Int[Tensor, "batch token"]:
    """Return the places of the tokens of each window, those that are shown before the others.

    Examples:
        >>> shown_first(torch.tensor([[False, True, False, True]])).tolist()
        [[1, 3, 0, 2]]
    """
    return (~shown).to(torch.uint8).argsort(dim=1, stable=True)
