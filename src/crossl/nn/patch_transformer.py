"""The encoder `patch_transformer`: stretches of a window as tokens, a transformer over them."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.encoders import EncoderConfig, Latent, Tokens, Window
from crossl.nn.transformer import TransformerBlock, sinusoids
from crossl.registry import register

Read = Literal["mean", "tokens"]
Patches = Float[Tensor, "batch place sample"]


class PatchTransformerEncoder(nn.Module):
    """Patches of a window become tokens by one linear map; a transformer joins them.

    Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) for time, as in PatchTST (Nie et
    al. 2023, arXiv 2211.14730), but all channels of a modality share a patch. Every modality has as
    many patches as the others, whatever its rate, so that those of one place are of one time.

    Args:
        channels: C of the modality.
        samples: T of its windows; windows of any other length are refused.
        dim: K. Of `read` `tokens` it is places times the width of a token.
        places: P, patches of a window. Where they do not divide it, neighbours overlap.
        depth: blocks; 0 leaves tokens that know their own patch only.
        heads: of the attention.
        read: latents are the `mean` of the tokens, or all `tokens` one after the other.

    Raises:
        ConfigError: dim, places and heads do not fit together.

    Examples:
        >>> encoder = PatchTransformerEncoder(3, 100)
        >>> encoder(torch.zeros(2, 100, 3)).shape, encoder.tokens(torch.zeros(2, 100, 3)).shape
        (torch.Size([2, 64]), torch.Size([2, 8, 64]))
    """

    def __init__(
        self,
        channels: int,
        samples: int,
        *,
        dim: int = 64,
        places: int = 8,
        depth: int = 2,
        heads: int = 4,
        read: Read = "mean",
    ) -> None:
        super().__init__()
        if read == "tokens" and dim % places:
            raise ConfigError(
                f"patch_transformer: dim is {dim} with read 'tokens'; allowed is a multiple of "
                f"places, {places}"
            )
        self.dim, self.places, self.samples, self.read = dim, places, samples, read
        self.width = dim // places if read == "tokens" else dim
        self.length = -(-samples // places)
        index = patch_index(samples, places)
        self.register_buffer("index", index.flatten(), persistent=False)
        self.embed = nn.Linear(self.length * channels, self.width)
        self.position = nn.Parameter(sinusoids(places, self.width))
        self.blocks = nn.ModuleList(TransformerBlock(self.width, heads=heads) for _ in range(depth))
        self.norm: nn.Module = nn.LayerNorm(self.width) if depth else nn.Identity()

    def extra_repr(self) -> str:
        """Say what is not a layer."""
        return f"places={self.places}, length={self.length}, read={self.read}"

    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        tokens = self.tokens(x)
        return tokens.flatten(1) if self.read == "tokens" else tokens.mean(dim=1)

    def tokens(self, x: Window) -> Tokens:
        """Encode windows to a token for each patch."""
        return self.join(self.embedded(self.patches(x)))

    def embedded(self, patches: Patches) -> Tokens:
        """Make a token of each patch, which knows its place and no other patch."""
        out: Tensor = self.embed(patches) + self.position
        return out

    def join(self, tokens: Tokens) -> Tokens:
        """Let the tokens of patches, all or some of them, attend to each other."""
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(tokens)
        return out

    def patches(self, x: Window) -> Patches:
        """Cut windows into patches, the channels of a sample side by side: (B, P, L * C).

        Raises:
            ConfigError: windows of another length.
        """
        if x.shape[1] != self.samples:
            raise ConfigError(
                f"patch_transformer: a window has {x.shape[1]} samples; it was made for "
                f"{self.samples}"
            )
        found = x.index_select(1, cast("Tensor", self.index))  # (B, P * L, C)
        return found.reshape(x.shape[0], self.places, self.length * x.shape[2])


def patch_index(samples: int, places: int) -> torch.Tensor:
    """Return which samples each patch holds, (P, L): as few as possible, together all.

    Examples:
        >>> patch_index(6, 3).tolist(), patch_index(5, 2).tolist()
        ([[0, 1], [2, 3], [4, 5]], [[0, 1, 2], [2, 3, 4]])
    """
    length = -(-samples // places)
    starts = torch.arange(places) * (samples - length) // max(1, places - 1)
    return starts[:, None] + torch.arange(length)


class PatchTransformerConfig(EncoderConfig):
    """A transformer over patches of a window."""

    kind: Literal["patch_transformer"] = "patch_transformer"
    places: int = Field(8, gt=0)
    depth: int = Field(2, ge=0)
    heads: int = Field(4, gt=0)
    read: Read = "mean"

    @model_validator(mode="after")
    def _fits(self) -> PatchTransformerConfig:
        if self.read == "tokens" and self.dim % self.places:
            raise ValueError(
                f"dim is {self.dim} with read 'tokens'; allowed is a multiple of places, "
                f"{self.places}"
            )
        if self.depth and self.width % self.heads:
            raise ValueError(
                f"heads is {self.heads} and a token has {self.width} numbers; allowed are "
                f"divisors of {self.width}"
            )
        return self

    @property
    def width(self) -> int:
        """Numbers of a token."""
        return self.dim // self.places if self.read == "tokens" else self.dim

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        settings: dict[str, Any] = self.model_dump(exclude={"kind"})
        return PatchTransformerEncoder(len(modality.channels), samples, **settings)


register("encoder", PatchTransformerConfig)
