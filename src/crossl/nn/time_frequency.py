"""The encoder `time_frequency`: patches of a window and its spectrum, joined by a transformer."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.encoders import EncoderConfig, Latent, Tokens, Window
from crossl.nn.patch_transformer import patch_index
from crossl.nn.precision import at_least_float32
from crossl.nn.transformer import TransformerBlock
from crossl.registry import register

Patches = Float[Tensor, "batch patch number"]


class Domains(NamedTuple):
    """Patches of a window in time, and of the magnitudes and phases of its spectrum."""

    time: Patches
    magnitude: Patches
    phase: Patches


class TimeFrequencyEncoder(nn.Module):
    """Patches of time, magnitude and phase become tokens; a transformer joins them all.

    The encoder of the Cross Reconstruction Transformer (Zhang et al. 2023, arXiv 2205.09928), for
    one modality. Deviations: one linear map makes a token of a patch, not a residual network; the
    latent is the mean of the tokens of each domain, side by side, where theirs is the mean of three
    tokens of no patch (a linear probe on frozen encoders reads more from these); magnitudes are
    logarithms, and phases are cosines and sines, which do not jump at a half turn; two narrow
    blocks, not six of eight heads; no dropout. (In the published code the embedding that tells the
    domains apart is added along the batch when the encoder is used; here it is along the tokens.)

    Args:
        channels: C of the modality.
        samples: T of its windows; windows of any other length are refused.
        dim: K, three times the width of a token, which heads divide.
        places: patches in time. Where they do not divide it, neighbours overlap.
        bands: patches of the magnitudes, and of the phases.
        depth: blocks.
        heads: of the attention.

    Examples:
        >>> encoder = TimeFrequencyEncoder(3, 100)
        >>> encoder(torch.zeros(2, 100, 3)).shape, encoder.tokens(torch.zeros(2, 100, 3)).shape
        (torch.Size([2, 192]), torch.Size([2, 8, 192]))
    """

    def __init__(
        self,
        channels: int,
        samples: int,
        *,
        dim: int = 192,
        places: int = 8,
        bands: int = 4,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.dim, self.samples, self.places, self.bands = dim, samples, places, bands
        self.width = width = dim // 3
        in_time, in_bands = patch_index(samples, places), patch_index(samples // 2 + 1, bands)
        self.register_buffer("in_time", in_time, persistent=False)
        self.register_buffer("in_bands", in_bands, persistent=False)
        short, wide = in_time.shape[1] * channels, in_bands.shape[1] * channels
        self.sizes = Domains(short, wide, 2 * wide)  # type: ignore[arg-type]  # numbers of a patch
        self.embed_domain = nn.ModuleList(nn.Linear(size, width) for size in self.sizes)  # type: ignore[arg-type]
        self.position = nn.Parameter(torch.empty(self.count, width))
        nn.init.normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads=heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @property
    def count(self) -> int:
        """Tokens of a window: those in time, then magnitudes, then phases."""
        return self.places + 2 * self.bands

    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        return self.tokens(x).mean(dim=1)

    def tokens(self, x: Window) -> Tokens:
        """Encode windows to a token for each patch in time, the mean of each spectrum beside it."""
        joined = self.join(self.embed(self.patches(x)) + self.position)
        in_time, *spectra = joined.split([self.places, self.bands, self.bands], dim=1)
        means = [y.mean(dim=1, keepdim=True).expand_as(in_time) for y in spectra]
        return torch.cat([in_time, *means], dim=2)  # (B, places, K)

    def embed(self, patches: Domains) -> Tokens:
        """Make a token of each patch, of that patch alone."""
        parts = zip(self.embed_domain, patches, strict=True)
        return torch.cat([embed(some) for embed, some in parts], dim=1)

    def join(self, tokens: Tokens) -> Tokens:
        """Let some tokens, all or a part of them, know each other."""
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(tokens)
        return out

    def patches(self, x: Window) -> Domains:
        """Cut windows, and their spectra, into patches.

        Raises:
            ConfigError: windows of another length.
        """
        if x.shape[1] != self.samples:
            raise ConfigError(
                f"time_frequency: a window has {x.shape[1]} samples; it was made for {self.samples}"
            )
        some = x if x.shape[0] else x.new_zeros(1, *x.shape[1:])  # MKL transforms no empty batch
        spectrum = torch.fft.rfft(at_least_float32(some), dim=1, norm="ortho")[: x.shape[0]]
        size = spectrum.abs()
        turn = torch.view_as_real(spectrum) / size.clamp(min=1e-6)[..., None]  # cosine and sine
        bands = cast("Tensor", self.in_bands)
        return Domains(
            _cut(x, cast("Tensor", self.in_time)),
            _cut(size.log1p().to(x.dtype), bands),
            _cut(turn.flatten(2).to(x.dtype), bands),
        )


def _cut(x: Float[Tensor, "batch time number"], index: Tensor) -> Patches:
    """Take the rows that each patch holds, side by side."""
    taken = x.index_select(1, index.flatten())  # (B, P * L, n)
    return taken.reshape(x.shape[0], index.shape[0], index.shape[1] * x.shape[2])


class TimeFrequencyConfig(EncoderConfig):
    """A transformer over patches of time, magnitudes and phases."""

    kind: Literal["time_frequency"] = "time_frequency"
    dim: int = Field(192, gt=0, multiple_of=3)
    places: int = Field(8, gt=0)
    bands: int = Field(4, gt=0)
    depth: int = Field(2, gt=0)
    heads: int = Field(4, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> TimeFrequencyConfig:
        width = self.dim // 3
        if width % self.heads:
            raise ValueError(
                f"heads is {self.heads} and a token has {width} numbers; allowed are divisors of "
                f"{width}"
            )
        return self

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        return TimeFrequencyEncoder(
            len(modality.channels), samples, dim=self.dim, places=self.places, bands=self.bands,
            depth=self.depth, heads=self.heads,
        )  # fmt: skip


register("encoder", TimeFrequencyConfig)
