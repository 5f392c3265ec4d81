"""The aggregator `token_transformer`: one transformer over the tokens in time of all modalities."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from crossl.errors import ConfigError
from crossl.nn.aggregators import AggregatorConfig, Embedding, Keep
from crossl.nn.subsets import Bias, Choices, LatentStack, Present, Readings, Weight
from crossl.nn.transformer import TransformerBlock
from crossl.registry import register

Joined = Float[Tensor, "batch token width"]
There = Bool[Tensor, "batch token"]
ReadTokens = Literal["mean", "modalities"]


class TokenTransformer(nn.Module):
    """Tokens of all modalities attend to each other; the embedding is the mean of those there.

    For encoders whose latent is all tokens one after the other (`patch_transformer` with `read`
    `tokens`). Each token gets a learnt vector of its modality. A token of which nothing is kept is
    not there: nothing attends to it and it is in no mean. One that is kept in part has zeros in
    place of the rest.

    Args:
        modalities: M.
        latent_dim: K, places times the width of a token.
        places: P, tokens of a modality.
        depth: blocks.
        heads: of the attention.
        read: one `mean` of all tokens, or the means of `modalities` side by side, zeros for those
            that are not there.

    Raises:
        ConfigError: places do not divide latent_dim, or heads not the width of a token.
    """

    def __init__(
        self,
        modalities: int,
        *,
        latent_dim: int,
        places: int = 8,
        depth: int = 4,
        heads: int = 4,
        read: ReadTokens = "mean",
    ) -> None:
        super().__init__()
        if latent_dim % places:
            raise ConfigError(
                f"aggregator: latents of {latent_dim} numbers and {places} places; allowed is a "
                "multiple of places (encoder 'patch_transformer' with read 'tokens')"
            )
        self.places, self.read, self.width = places, read, latent_dim // places
        self.dim = self.width * (modalities if read == "modalities" else 1)
        self.modality = nn.Parameter(torch.empty(modalities, 1, self.width))
        nn.init.normal_(self.modality, std=0.5)
        self.blocks = nn.ModuleList(TransformerBlock(self.width, heads=heads) for _ in range(depth))
        self.norm = nn.LayerNorm(self.width)

    def forward(self, latent: LatentStack, keep: Keep) -> Embedding:
        """Join what is kept."""
        values = torch.where(keep, latent, 0.0).unflatten(2, (self.places, self.width))
        there = keep.unflatten(2, (self.places, self.width)).any(dim=3)  # (B, M, P)
        return self._embed(values + self.modality, there)

    def tokens(self, latent: LatentStack) -> Joined:
        """Return the tokens that are joined, those of one modality after the other's, (B, M*P, W).

        Args:
            latent: zeros where nothing is present.
        """
        values: Tensor = latent.unflatten(2, (self.places, self.width)) + self.modality
        return values.flatten(1, 2)

    def join(self, tokens: Joined, there: There) -> Joined:
        """Let tokens attend to each other.

        Args:
            tokens: all or some of `tokens`, in any order.
            there: which of them count; those of others are of no use.
        """
        for block in self.blocks:
            tokens = block(tokens, there)
        out: Tensor = self.norm(tokens)
        return out

    def read_subsets(
        self, latent: LatentStack, present: Present, choices: Choices, weight: Weight, bias: Bias
    ) -> Readings:
        """Read the embedding under each subset; tokens outside a subset are not computed."""
        values = latent.unflatten(2, (self.places, self.width)) + self.modality
        there = present[:, :, None].expand(-1, -1, self.places)
        found = []
        for chosen in choices:
            columns = chosen.nonzero()[:, 0]
            part = self._embed(values[:, columns], there[:, columns])
            if self.read == "modalities":
                whole = part.new_zeros(len(part), len(chosen), self.width)
                part = whole.index_copy(1, columns, part.unflatten(1, (-1, self.width))).flatten(1)
            found.append(linear(part, weight, bias))
        return torch.stack(found, dim=1)

    def _embed(
        self,
        values: Float[Tensor, "batch modality place width"],
        there: Bool[Tensor, "batch modality place"],
    ) -> Embedding:
        joined = self.join(values.flatten(1, 2), there.flatten(1)).view_as(values)
        weight = there.to(joined.dtype)[..., None]
        axes = (2,) if self.read == "modalities" else (1, 2)
        mean = (joined * weight).sum(dim=axes) / weight.sum(dim=axes).clamp(min=1)
        out: Tensor = mean.flatten(1)
        return out


class TokenTransformerConfig(AggregatorConfig):
    """A transformer over the tokens of all modalities."""

    kind: Literal["token_transformer"] = "token_transformer"
    places: int = Field(8, gt=0)
    depth: int = Field(4, ge=0)
    heads: int = Field(4, gt=0)
    read: ReadTokens = "mean"

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        settings: dict[str, Any] = self.model_dump(exclude={"kind"})
        return TokenTransformer(modalities, latent_dim=latent_dim, **settings)


register("aggregator", TokenTransformerConfig)
