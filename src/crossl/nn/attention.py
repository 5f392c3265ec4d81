"""Aggregators that weigh modalities by what they hold: gated, by learned queries, a transformer.

Each modality's latent becomes a token, by a network of its own. What is not kept is not a token: it
gets no weight, whatever stands there. Nothing here is computed across a batch.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn.functional import gelu

from crossl.nn.aggregators import (
    AggregatorConfig,
    CompletingAggregator,
    Keep,
    mixer,
    predictors,
    projections,
)
from crossl.nn.layers import apply_each
from crossl.nn.subsets import LatentStack
from crossl.registry import register

Tokens = Float[Tensor, "batch modality width"]
There = Bool[Tensor, "batch subset modality"]
Joined = Float[Tensor, "batch subset width"]


class TokenAggregator(CompletingAggregator):
    """Joins a token of each modality; a subclass says how.

    Args:
        modalities: M.
        latent_dim: K.
        shared_dim: S, the width of tokens too.
        completed: predict latents that are missing, and put them beside what is shared.
    """

    def __init__(
        self, modalities: int, *, latent_dim: int, shared_dim: int = 128, completed: bool = True
    ) -> None:
        super().__init__()
        self.shared_dim = shared_dim
        self.dim = shared_dim + completed * modalities * latent_dim
        self.project = projections(modalities, latent_dim, shared_dim)
        self.predictors = predictors(modalities * completed, latent_dim, shared_dim)

    def join(self, tokens: Tokens, there: There) -> Joined:
        """Join the tokens that are there, for every choice of them."""
        raise NotImplementedError

    def tokens(self, latent: LatentStack, keep: Keep) -> Tokens:
        """Make the token of each modality from what of its latent is kept."""
        both = torch.cat([torch.where(keep, latent, 0.0), keep.to(latent.dtype)], dim=2)
        return apply_each(self.project, both.transpose(0, 1)).transpose(0, 1)  # (B, M, S)

    def shared(self, latent: LatentStack, keep: Keep) -> Float[Tensor, "batch shared"]:
        """Join what is kept; a modality counts as soon as one entry of it is kept."""
        return self.join(self.tokens(latent, keep), keep.any(dim=2)[:, None])[:, 0]

    def shared_of_subsets(self, latent: LatentStack, keep: There) -> Joined:
        """Join whole modalities; their tokens are the same in every subset, and made once."""
        whole = torch.ones_like(latent, dtype=torch.bool)
        return self.join(self.tokens(latent, whole), keep)


class TokenConfig(AggregatorConfig):
    """What settings of aggregators of tokens have in common.

    Attributes:
        shared_dim: width of what is shared, and of tokens.
        completed: whether each modality's latent, predicted if missing, stands beside it.
    """

    shared_dim: int = Field(128, gt=0)
    completed: bool = True

    @property
    def completes(self) -> bool:
        """Whether it predicts what is missing."""
        return self.completed


def weights_of(scores: Tensor, there: Tensor) -> Tensor:
    """Normalise scores by the exponential over what is there; all are 0 where nothing is.

    Examples:
        >>> there = torch.tensor([[True, False, True], [False, False, False]])
        >>> weights_of(torch.tensor([0.0, 9.0, 0.0]), there).tolist()
        [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    # the least number, not minus infinity: where nothing is there that would be NaN
    scores = scores.masked_fill(~there, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1) * there


class GatedAggregator(TokenAggregator):
    """Gated attention pooling over modalities: Ilse et al. 2018 (arXiv 1802.04712, equation 9).

    A token h weighs by the softmax of `w . (tanh(V h) * sigmoid(U h))`. Deviations: V and U have
    biases; tokens are projected by a network for each modality, since modalities, unlike the
    instances of a bag, are not exchangeable; what is pooled is mixed by a small network, as in
    `PredictiveAggregator`, from which it differs by the weights of the mean alone.

    Args:
        modalities: M.
        latent_dim: K.
        shared_dim: S.
        hidden: rows of V and U.
        completed: predict latents that are missing.
    """

    def __init__(
        self,
        modalities: int,
        *,
        latent_dim: int,
        shared_dim: int = 128,
        hidden: int = 64,
        completed: bool = True,
    ) -> None:
        super().__init__(
            modalities, latent_dim=latent_dim, shared_dim=shared_dim, completed=completed
        )
        self.content = nn.Linear(shared_dim, hidden)
        self.gate = nn.Linear(shared_dim, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.mix = mixer(shared_dim)

    def join(self, tokens: Tokens, there: There) -> Joined:
        """Average the tokens that are there by their weights, and mix."""
        gated = self.content(tokens).tanh() * self.gate(tokens).sigmoid()
        weights = weights_of(self.score(gated)[:, None, :, 0], there)  # (B, subset, M)
        out: Tensor = self.mix(torch.bmm(weights, tokens))
        return out


class GatedConfig(TokenConfig):
    """Gated attention pooling.

    Attributes:
        hidden: rows of the two matrices that weigh a token.
    """

    kind: Literal["gated"] = "gated"
    hidden: int = Field(64, gt=0)

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return GatedAggregator(
            modalities, latent_dim=latent_dim, shared_dim=self.shared_dim, hidden=self.hidden,
            completed=self.completed,
        )  # fmt: skip


register("aggregator", GatedConfig)


class HeadedConfig(TokenConfig):
    """What settings of aggregators of several heads have in common.

    Attributes:
        heads: of attention; each reads its part of `shared_dim`, which is a multiple of them.
    """

    heads: int = Field(4, gt=0)

    @model_validator(mode="after")
    def _divides(self) -> HeadedConfig:
        if self.shared_dim % self.heads:
            raise PydanticCustomError(
                "heads",
                "{shared} numbers of shared_dim in {heads} heads; a multiple of heads is needed",
                {"shared": self.shared_dim, "heads": self.heads},
            )
        return self


class AttentionAggregator(TokenAggregator):
    """Pooling by learned queries: one seed of Lee et al. 2019 (arXiv 1810.00825, section 3.2).

    Each head has a query that is learned and asks the keys of all tokens; what heads read from
    values stands side by side. Deviations: the residual from the seed is left out, and what
    follows the pooling is the mixing network of `PredictiveAggregator`.

    Args:
        modalities: M.
        latent_dim: K.
        shared_dim: S, a multiple of heads.
        heads: H.
        completed: predict latents that are missing.
    """

    def __init__(
        self,
        modalities: int,
        *,
        latent_dim: int,
        shared_dim: int = 128,
        heads: int = 4,
        completed: bool = True,
    ) -> None:
        super().__init__(
            modalities, latent_dim=latent_dim, shared_dim=shared_dim, completed=completed
        )
        self.query = nn.Parameter(torch.randn(heads, shared_dim // heads))
        self.key = nn.Linear(shared_dim, shared_dim, bias=False)  # the softmax would not see one
        self.value = nn.Linear(shared_dim, shared_dim)
        self.mix = mixer(shared_dim)

    def join(self, tokens: Tokens, there: There) -> Joined:
        """Let every head average the values that are there by its own weights, and mix."""
        heads, width = self.query.shape
        keys, values = (f(tokens).unflatten(2, (heads, width)) for f in (self.key, self.value))
        scores = (keys * self.query).sum(dim=3).transpose(1, 2) / math.sqrt(width)  # (B, H, M)
        weights = weights_of(scores[:, :, None], there[:, None])  # (B, H, subset, M)
        read = weights @ values.transpose(1, 2)  # (B, H, subset, S / H)
        out: Tensor = self.mix(read.transpose(1, 2).flatten(2))
        return out


class AttentionConfig(HeadedConfig):
    """Pooling by learned queries."""

    kind: Literal["attention"] = "attention"

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return AttentionAggregator(
            modalities, latent_dim=latent_dim, shared_dim=self.shared_dim, heads=self.heads,
            completed=self.completed,
        )  # fmt: skip


register("aggregator", AttentionConfig)


class SubsetBlock(nn.Module):
    """Self-attention and two layers, each after normalisation and beside what went in.

    Args:
        width: of a token.
        heads: of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        self.first = nn.Linear(width, 2 * width)
        self.last = nn.Linear(2 * width, width)

    def forward(
        self,
        x: Float[Tensor, "batch choice token width"],
        there: Bool[Tensor, "batch subset token"],
        *,
        asking: int | None = None,
    ) -> Float[Tensor, "batch subset asked width"]:
        """Let tokens read what is there; before the first block one choice stands for all subsets.

        Args:
            x: of every subset, or one that all have in common.
            there: which tokens each subset has.
            asking: only so many, the first, are read for; None for all.
        """
        known = self.norm(x)
        queries, keys, values = (
            f(part).unflatten(3, (self.heads, -1)).transpose(2, 3)  # (B, c, H, T, W / H)
            for f, part in (
                (self.query, known[:, :, :asking]), (self.key, known), (self.value, known)
            )
        )  # fmt: skip
        scores = queries @ keys.transpose(3, 4) / math.sqrt(keys.shape[4])
        read = weights_of(scores, there[:, :, None, None]) @ values
        x = x[:, :, :asking] + self.out(read.transpose(2, 3).flatten(3))
        out: Tensor = x + self.last(gelu(self.first(self.norm_out(x))))
        return out


class TransformerAggregator(TokenAggregator):
    """A small transformer over modality tokens, read out at a token of its own.

    The encoder of Vaswani et al. 2017 (arXiv 1706.03762) with normalisation before each part, over
    one token per modality and a learned one that gives what is shared; over modalities with some
    missing it was used by wav2sleep (Carter and Tarassenko 2024, arXiv 2411.04644). Deviations:
    no dropout, layers of twice the width instead of four times, no bias on keys, and what tells
    modalities apart is the network that makes the token, not an embedding that is added to it.

    Args:
        modalities: M.
        latent_dim: K.
        shared_dim: S, a multiple of heads.
        heads: of attention.
        layers: blocks; in the last, only what is shared is computed.
        completed: predict latents that are missing.
    """

    def __init__(
        self,
        modalities: int,
        *,
        latent_dim: int,
        shared_dim: int = 128,
        heads: int = 4,
        layers: int = 2,
        completed: bool = True,
    ) -> None:
        super().__init__(
            modalities, latent_dim=latent_dim, shared_dim=shared_dim, completed=completed
        )
        self.summary = nn.Parameter(0.02 * torch.randn(shared_dim))
        self.blocks = nn.ModuleList(SubsetBlock(shared_dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(shared_dim)

    def join(self, tokens: Tokens, there: There) -> Joined:
        """Let tokens read each other; return what the first, which is always there, became."""
        first = self.summary.to(tokens.dtype).expand_as(tokens[:, :1])
        x = torch.cat([first, tokens], dim=1)[:, None]  # (B, 1, 1 + M, S)
        there = torch.cat([torch.ones_like(there[:, :, :1]), there], dim=2)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, there, asking=1 if number == len(self.blocks) else None)
        out: Tensor = self.norm(x[:, :, 0])
        return out


class TransformerConfig(HeadedConfig):
    """A small transformer over modality tokens.

    Attributes:
        layers: blocks of attention.
    """

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(2, gt=0)

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return TransformerAggregator(
            modalities, latent_dim=latent_dim, shared_dim=self.shared_dim, heads=self.heads,
            layers=self.layers, completed=self.completed,
        )  # fmt: skip


register("aggregator", TransformerConfig)
