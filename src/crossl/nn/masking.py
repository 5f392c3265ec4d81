"""Which entries of the latent a view keeps: random, spatial, column, or a stretch of time.

Always within `present`. Source: section 3 of the paper; `src/model.py:80-116` of the authors' code,
whose `coverage` is `keep_rate` here. What they call temporal masking crashes: time is pooled away
by then. `column` is what their code could have been: a mask over latent dimensions, shared by all
modalities of a sample. `temporal` hides a stretch of time, of the tokens before they are pooled.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossl.errors import ConfigError, nearest

Strategy = Literal["random", "spatial", "column"]
STRATEGIES = ("random", "spatial", "column")
"""Masks over latents (B, M, K)."""
OVER_TIME = ("temporal", "temporal_each")
"""Masks over tokens in time (B, M, P, K): a stretch of all modalities, or of some their own."""

Present = Bool[Tensor, "batch modality"]
Keep = Bool[Tensor, "batch modality dim"]
Rate = float | Tensor
"""One probability for all modalities, or (M,)."""


def _bernoulli(shape: tuple[int, ...], rate: Rate, like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, device=like.device) < rate


def draw_keep(
    present: Present,
    dim: int,
    *,
    strategy: Strategy,
    keep_rate: Rate,
    generator: torch.Generator,
    never_empty: bool = False,
) -> Keep:
    """Draw one view's mask with independent entries, as published: a sample may keep nothing.

    Args:
        present: what was recorded.
        dim: latent dimensions, K.
        strategy: `random` draws every entry, `spatial` whole modalities, `column` dimensions.
        keep_rate: probability to keep an entry that is present; (M,) where modalities have their
            own.
        generator: source of randomness.
        never_empty: a sample that lost everything gets one present modality back, whole.

    Raises:
        ConfigError: unknown strategy, or a keep_rate outside 0 < x <= 1.
    """
    if isinstance(keep_rate, Tensor):
        keep_rate = keep_rate[:, None]  # (M, 1), for entries or whole modalities
    elif not 0 < keep_rate <= 1:
        raise ConfigError(f"masking: keep_rate is {keep_rate}; allowed is 0 < keep_rate <= 1")
    batch, modality = present.shape
    shapes = {"random": (batch, modality, dim), "spatial": (batch, modality, 1),
              "column": (batch, 1, dim)}  # fmt: skip
    if strategy not in shapes:
        raise ConfigError(f"masking: strategy '{strategy}'; {nearest(strategy, STRATEGIES)}")
    drawn = _bernoulli(shapes[strategy], keep_rate, present, generator)
    keep = drawn.expand(batch, modality, dim) & present[:, :, None]
    if not never_empty:
        return keep
    back = _one_of(present, generator)[:, :, None]
    return torch.where(keep.any(dim=(1, 2))[:, None, None], keep, back)


def draw_spatial_views(
    present: Present, *, keep_rate: Rate, generator: torch.Generator, differ: bool = True
) -> tuple[Present, Present]:
    """Draw two views of whole modalities that are never empty and, where possible, differ.

    Each present modality is kept with probability keep_rate. A view that lost everything gets one
    present modality back; where both views kept the same and two modalities are present, one of
    the second view is flipped.

    Args:
        present: what was recorded.
        keep_rate: probability to keep a modality; (M,) where each has its own.
        generator: source of randomness.
        differ: flip one where both are the same; else they stay as drawn.

    Returns:
        Two (B, M) bool.
    """
    a, b = (keep_some(present, keep_rate=keep_rate, generator=generator) for _ in range(2))
    if not differ:
        return a, b
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


def keep_some(present: Present, *, keep_rate: Rate, generator: torch.Generator) -> Present:
    """Keep each present modality with some probability, and at least one.

    Args:
        present: what was recorded.
        keep_rate: probability to keep a modality; (M,) where each has its own.
        generator: source of randomness.
    """
    keep = _bernoulli(tuple(present.shape), keep_rate, present, generator) & present
    return torch.where(keep.any(dim=1, keepdim=True), keep, _one_of(present, generator))


def keep_some_twice(present: Present, *, keep_rate: Rate, generator: torch.Generator) -> Tensor:
    """Draw which modalities each of two views keeps, (2, B, M); see `keep_some`.

    Args:
        present: what was recorded.
        keep_rate: probability to keep a modality; (M,) where each has its own.
        generator: source of randomness.
    """
    return torch.stack(
        [keep_some(present, keep_rate=keep_rate, generator=generator) for _ in range(2)]
    )


class Stretches(NamedTuple):
    """A stretch of time that is hidden, of each modality, as shares of the window.

    One that reaches the window's end goes on at its start: every moment is hidden as often.

    Attributes:
        begin: where it begins, 0 to 1.
        length: how long it is; 0 hides nothing.
        back: the modality whose last token in the stretch is shown where nothing else would be.
    """

    begin: Float[Tensor, "*view batch modality"]
    length: Float[Tensor, "*view batch modality"]
    back: Bool[Tensor, "*view batch modality"]

    def keep(
        self, there: Bool[Tensor, "batch modality place"]
    ) -> Bool[Tensor, "*view batch modality place"]:
        """Return the tokens that are outside of the stretches: at least one, if any is there.

        Args:
            there: which tokens each modality has; they share the window evenly.
        """
        centre = torch.arange(there.shape[2], device=there.device) + 0.5
        centre = centre / there.sum(dim=2, keepdim=True).clamp(min=1)  # (B, M, P)
        into = (centre - self.begin[..., None]) % 1  # how far into the stretch, or after it
        keep = there & (into >= self.length[..., None])
        into = into.masked_fill(~there, -1.0)
        furthest = there & (into == into.amax(dim=-1, keepdim=True)) & self.back[..., None]
        return torch.where(keep.any(dim=(-2, -1))[..., None, None], keep, furthest)


def draw_stretches(
    present: Present, *, keep_rate: Rate, each: bool, generator: torch.Generator
) -> Stretches:
    """Draw which stretch of time one view hides.

    Either the same of all modalities, as long as what is not kept; or some modalities, each with a
    stretch of its own, and the others whole: with r = 1 - keep_rate, a share sqrt(r) of them loses
    a share sqrt(r) of its time. A token is hidden with probability r either way.

    Args:
        present: what was recorded.
        keep_rate: share of the time that is kept; (M,) where modalities have their own.
        each: draw for each modality.
        generator: source of randomness.
    """
    batch, modality = present.shape
    ratio = 1 - keep_rate * torch.ones(modality, device=present.device)
    begin = torch.rand(batch, modality if each else 1, generator=generator, device=present.device)
    length = (ratio.sqrt() if each else ratio).expand(batch, modality)
    if each:
        hit = torch.rand(batch, modality, generator=generator, device=present.device) < length
        length = torch.where(hit, length, 0.0)
    return Stretches(begin.expand(batch, modality), length, _one_of(present, generator))
