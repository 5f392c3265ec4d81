"""What methods share that rebuild tokens or patches in time of all modalities."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from crossl.errors import ConfigError
from crossl.methods.method import MethodConfig
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.encoders import EncoderConfig
from crossl.nn.model import CrossModalModel
from crossl.nn.patch_transformer import PatchTransformerConfig, PatchTransformerEncoder
from crossl.nn.token_transformer import TokenTransformer, TokenTransformerConfig
from crossl.nn.transformer import TransformerBlock, sinusoids

Patches = Float[Tensor, "batch place sample"]


class TokenMethodConfig(MethodConfig):
    """Settings of methods that need the tokens in time of all modalities.

    Attributes:
        decoder_dim: width of the decoders.
        decoder_depth: their blocks.
        decoder_heads: of their attention; they divide the width.
    """

    decoder_dim: int = Field(64, gt=0)
    decoder_depth: int = Field(2, ge=0)
    decoder_heads: int = Field(4, gt=0)

    @model_validator(mode="after")
    def _divides(self) -> TokenMethodConfig:
        if self.decoder_depth and self.decoder_dim % self.decoder_heads:
            raise ValueError(
                f"decoder_heads is {self.decoder_heads} of decoder_dim {self.decoder_dim}; allowed "
                f"are divisors of {self.decoder_dim}"
            )
        return self

    def refuses(self, aggregator: AggregatorConfig) -> str | None:
        """Refuse an aggregator that joins no tokens in time."""
        fits = isinstance(aggregator, TokenTransformerConfig)
        return None if fits else "aggregator.kind 'token_transformer'"

    def refuses_encoder(self, encoder: EncoderConfig, aggregator: AggregatorConfig) -> str | None:
        """Refuse an encoder whose latent is not the tokens that the aggregator joins."""
        places = getattr(aggregator, "places", None)
        fits = (
            isinstance(encoder, PatchTransformerConfig)
            and encoder.read == "tokens"
            and encoder.places == places
        )
        needed = f"encoder.kind 'patch_transformer' with read 'tokens' and places {places}"
        return None if fits else f"{needed}, as the aggregator"


def parts_of_tokens(
    method: str, model: CrossModalModel
) -> tuple[TokenTransformer, list[PatchTransformerEncoder]]:
    """Return the aggregator and the encoder of each modality, of a model that has tokens.

    Raises:
        ConfigError: it has none; names the method.
    """
    aggregator = model.aggregator
    encoders: list[PatchTransformerEncoder] = []
    for m in model.modalities:
        encoder = model.encoders.of(m.name)
        if not (isinstance(encoder, PatchTransformerEncoder) and encoder.read == "tokens"):
            raise ConfigError(
                f"method.kind '{method}': encoder of '{m.name}' is a {type(encoder).__name__}; "
                "needed is a patch_transformer with read 'tokens'"
            )
        encoders.append(encoder)
    if not isinstance(aggregator, TokenTransformer):
        raise ConfigError(
            f"method.kind '{method}': the aggregator is a {type(aggregator).__name__}; needed is a "
            "token_transformer"
        )
    if {encoder.places for encoder in encoders} != {aggregator.places}:
        raise ConfigError(
            f"method.kind '{method}': encoders give {sorted({e.places for e in encoders})} tokens "
            f"and the aggregator joins {aggregator.places}; both must be the same number"
        )
    return aggregator, encoders


def normalise_patches(patches: Patches, channels: int) -> Patches:
    """Shift and scale each channel of each patch to mean 0 and variance 1.

    Examples:
        >>> normalise_patches(torch.tensor([[[1.0, 5.0, 3.0, 5.0]]]), 2).tolist()
        [[[-0.9999995231628418, 0.0, 0.9999995231628418, 0.0]]]
    """
    samples = patches.unflatten(2, (-1, channels))
    variance, mean = torch.var_mean(samples, dim=2, correction=0, keepdim=True)
    out: Tensor = (samples - mean) * (variance + 1e-6).rsqrt()
    return out.flatten(2)


class TokenDecoder(nn.Module):
    """A transformer that predicts every token, from those that are known.

    Args:
        width: of the tokens that are given.
        places: P, tokens of a modality.
        modalities: M, whose tokens come one modality after the other.
        own: width of its own tokens.
        depth: blocks.
        heads: of the attention.
    """

    def __init__(
        self, width: int, places: int, *, modalities: int, own: int, depth: int, heads: int
    ) -> None:
        super().__init__()
        self.into = nn.Linear(width, own)
        self.unknown = nn.Parameter(torch.empty(own))
        nn.init.normal_(self.unknown, std=0.02)
        place = sinusoids(places, own).repeat(modalities, 1)
        which = torch.randn(modalities, own).repeat_interleave(places, dim=0)
        self.position = nn.Parameter(place + 0.5 * which)
        self.blocks = nn.ModuleList(TransformerBlock(own, heads=heads) for _ in range(depth))
        self.norm = nn.LayerNorm(own)

    def forward(
        self,
        tokens: Float[Tensor, "batch some width"],
        there: Bool[Tensor, "batch some"],
        index: Tensor,
    ) -> Float[Tensor, "batch token own"]:
        """Predict every token.

        Args:
            tokens: some of the tokens.
            there: which of them count.
            index: (B, some) their numbers among all.
        """
        known = torch.where(there[..., None], self.into(tokens), self.unknown)
        x = self.unknown.expand(len(tokens), *self.position.shape).to(known.dtype)
        x = x.scatter(1, index[..., None].expand_as(known), known) + self.position
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out
