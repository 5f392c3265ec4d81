"""Which entries of the latent a view keeps: random, spatial or column; always within `present`.

Source: section 3 of the paper; `src/model.py:80-116` of the authors' code, whose `coverage` is
`keep_rate` here. What they call temporal masking crashes; `column` is what it could have been: a
mask over latent dimensions, shared by all modalities of a sample.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from crossl.errors import ConfigError, nearest

Strategy = Literal["random", "spatial", "column"]
STRATEGIES = ("random", "spatial", "column")

Present = Bool[Tensor, "batch modality"]
Keep = Bool[Tensor, "batch modality dim"]


def _bernoulli(
    shape: tuple[int, ...], rate: float | Tensor, like: Tensor, rng: torch.Generator
) -> Tensor:
    return torch.rand(shape, generator=rng, device=like.device) < rate


def draw_keep(
    present: Present,
    dim: int,
    *,
    strategy: Strategy,
    keep_rate: float,
    generator: torch.Generator,
) -> Keep:
    """Draw one view's mask with independent entries, as published: a sample may keep nothing.

    Args:
        present: what was recorded.
        dim: latent dimensions, K.
        strategy: `random` draws every entry, `spatial` whole modalities, `column` dimensions.
        keep_rate: probability to keep an entry that is present.
        generator: source of randomness.

    Raises:
        ConfigError: unknown strategy, or a keep_rate outside 0 < x <= 1.
    """
    if not 0 < keep_rate <= 1:
        raise ConfigError(f"masking: keep_rate is {keep_rate}; allowed is 0 < keep_rate <= 1")
    batch, modality = present.shape
    shapes = {"random": (batch, modality, dim), "spatial": (batch, modality, 1),
              "column": (batch, 1, dim)}  # fmt: skip
    if strategy not in shapes:
        raise ConfigError(f"masking: strategy '{strategy}'; {nearest(strategy, STRATEGIES)}")
    drawn = _bernoulli(shapes[strategy], keep_rate, present, generator)
    return drawn.expand(batch, modality, dim) & present[:, :, None]


def draw_spatial_views(
    present: Present, *, keep_rate: float, generator: torch.Generator
) -> tuple[Present, Present]:
    """Draw two views of whole modalities that are never empty and, where possible, differ.

    Each present modality is kept with probability keep_rate. A view that lost everything gets one
    present modality back; where both views kept the same and two modalities are present, one of
    the second view is flipped.

    Args:
        present: what was recorded.
        keep_rate: probability to keep a modality.
        generator: source of randomness.

    Returns:
        Two (B, M) bool.
    """
    a, b = (keep_some(present, keep_rate=keep_rate, generator=generator) for _ in range(2))
    pick = _one_of(present, generator)
    flipped = b ^ pick
    # taking away the only modality would leave nothing: take another one in instead
    other = _one_of(present & ~pick, generator)
    flipped = torch.where(flipped.any(dim=1, keepdim=True), flipped, other)
    same = (a == b).all(dim=1, keepdim=True) & (present.sum(dim=1, keepdim=True) > 1)
    return a, torch.where(same, flipped, b)


def _one_of(allowed: Present, generator: torch.Generator) -> Present:
    """Pick one allowed modality per sample; none where nothing is allowed."""
    score = torch.rand(allowed.shape, generator=generator, device=allowed.device)
    score = score.masked_fill(~allowed, -1)
    best = torch.zeros_like(allowed).scatter_(1, score.argmax(dim=1, keepdim=True), value=True)
    return best & allowed


def keep_some(
    present: Present, *, keep_rate: float | Tensor, generator: torch.Generator
) -> Present:
    """Keep each present modality with some probability, and at least one.

    Args:
        present: what was recorded.
        keep_rate: probability to keep a modality; (M,) where each has its own.
        generator: source of randomness.
    """
    keep = _bernoulli(tuple(present.shape), keep_rate, present, generator) & present
    return torch.where(keep.any(dim=1, keepdim=True), keep, _one_of(present, generator))
