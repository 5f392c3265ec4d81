"""Encoders: one modality's window (B, T, C) to its latent (B, K)."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.attachment import replaceable
from crossl.nn.layers import pad_same, pool_stretches, pool_time
from crossl.registry import register
from crossl.settings import Settings

Window = Float[Tensor, "batch time channel"]
Latent = Float[Tensor, "batch dim"]
Tokens = Float[Tensor, "batch place dim"]


class Encoder(Protocol):
    """What the model asks of an encoder."""

    def __call__(self, x: Window) -> Latent:
        """Encode windows of one modality."""


@runtime_checkable
class GivesTokens(Protocol):
    """An encoder that can keep time, for methods that ask for tokens."""

    def tokens(self, x: Window) -> Tokens:
        """Encode windows to P tokens in time each, of K numbers."""


class EncoderConfig(Settings):
    """Settings of an encoder; a subclass has a `kind`, its settings and `build`.

    Attributes:
        dim: K, alike for all modalities of a model.
    """

    dim: int = Field(64, gt=0)

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality, with random weights.

        Args:
            modality: what it encodes: channels, unit, rate, device.
            samples: T of its windows.

        Returns:
            A module from (B, T, C) to (B, K); nothing in it is computed across a batch.
        """
        raise NotImplementedError


class TcnEncoder(nn.Module):
    """The authors' encoder: three convolutions, normalised, averaged over time.

    Called TCN by its authors, but a plain convolutional network: kernels 24, 16, 8 with K/4,
    K/2, K filters, each followed by layer normalisation over channels (epsilon 1e-3), PReLU with
    one slope per channel (initially 0) and dropout (`src/model_utils/encoders.py:7-45`). Their
    initialisation gives encoders of one input shape identical weights; here they differ.

    Args:
        channels: C of the modality.
        dim: K; a multiple of 4.
        dropout: probability, after each block.

    Raises:
        ConfigError: dim is not a multiple of 4.

    Examples:
        >>> import torch
        >>> TcnEncoder(3)(torch.zeros(2, 512, 3)).shape
        torch.Size([2, 96])
    """

    KERNELS = (24, 16, 8)

    def __init__(self, channels: int, *, dim: int = 96, dropout: float = 0.1) -> None:
        super().__init__()
        if dim < 1 or dim % 4:
            raise ConfigError(f"tcn: dim is {dim}; allowed is a positive multiple of 4")
        self.dim = dim
        widths = (channels, dim // 4, dim // 2, dim)
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.activations = nn.ModuleList()
        self.dropout = nn.Dropout(dropout)
        for kernel, fan_in, fan_out in zip(self.KERNELS, widths, widths[1:], strict=False):
            convolution = nn.Conv1d(fan_in, fan_out, kernel)
            nn.init.normal_(convolution.weight, std=0.05)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # Conv1d has a bias here
            self.convolutions.append(convolution)
            self.norms.append(nn.LayerNorm(fan_out, eps=1e-3))
            self.activations.append(nn.PReLU(fan_out, init=0.0))

    @replaceable
    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        return self.tokens(x).mean(dim=1)  # (B, T, K) -> (B, K)

    def tokens(self, x: Window) -> Tokens:
        """Encode windows to a token for each sample, whose mean is the latent."""
        x = x.transpose(1, 2)  # (B, T, C) -> (B, C, T)
        blocks = zip(self.convolutions, self.norms, self.activations, strict=True)
        for kernel, (convolution, norm, activation) in zip(self.KERNELS, blocks, strict=True):
            x = convolution(pad_same(x, kernel))
            x = norm(x.transpose(1, 2)).transpose(1, 2)
            x = self.dropout(activation(x))
        return x.transpose(1, 2)  # (B, K, T) -> (B, T, K)

    def kernels(self) -> list[nn.Parameter]:
        """Return the convolution kernels, which the `paper` recipe decays."""
        return [convolution.weight for convolution in self.convolutions]  # type: ignore[misc]


class TcnConfig(EncoderConfig):
    """The authors' encoder."""

    kind: Literal["tcn"] = "tcn"
    dim: int = Field(96, gt=0, multiple_of=4)
    dropout: float = Field(0.1, ge=0, lt=1)

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        del samples
        return TcnEncoder(len(modality.channels), dim=self.dim, dropout=self.dropout)


register("encoder", TcnConfig)


class StridedEncoder(nn.Module):
    """The default encoder: strided convolutions, read out by statistics at every level.

    A window costs about a hundredth of `TcnEncoder`'s multiplications. Three convolutions (the
    first of stride 4, the others of stride 2) see the signal on a signed logarithmic scale; each
    level is pooled over time to mean, log-variance and maximum, so that what is short and strong
    counts beside what lasts. Statistics of the raw window (level, spread, spread of the
    differences, extremes) join them: normalisation would lose posture and intensity.

    Args:
        channels: C of the modality.
        dim: K.
        width: filters of each convolution.

    Examples:
        >>> StridedEncoder(3)(torch.zeros(2, 100, 3)).shape
        torch.Size([2, 64])
    """

    KERNELS, STRIDES = (8, 5, 5), (4, 2, 2)
    RAW_STATISTICS = 5

    def __init__(self, channels: int, *, dim: int = 64, width: int = 48) -> None:
        super().__init__()
        self.dim, self.width = dim, width
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for level, (kernel, stride) in enumerate(zip(self.KERNELS, self.STRIDES, strict=True)):
            fan_in = width if level else channels
            self.convolutions.append(nn.Conv1d(fan_in, width, kernel, stride, kernel // 2))
            # the first level keeps amplitudes: it is not normalised
            self.norms.append(nn.LayerNorm(width) if level else nn.Identity())
        pooled = 3 * width * len(self.KERNELS)
        self.from_pooled = nn.Sequential(nn.LayerNorm(pooled), nn.Linear(pooled, dim))
        self.from_raw = nn.Linear(self.RAW_STATISTICS * channels, dim)
        self.norm = nn.LayerNorm(dim)

    @replaceable
    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        pooled = [scale_moments(*pool_time(y)) for y in self._levels(x)]  # 3 of (B, 3 * width)
        return self.read_out(pooled, raw_statistics(x))

    def _levels(self, x: Window) -> list[Tensor]:
        """Return the activations of each level, (B, T', width)."""
        y, levels = signed_logarithm(x), []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y = convolution(y.transpose(1, 2)).transpose(1, 2)  # (B, T, C) -> (B, T', width)
            y = nn.functional.gelu(norm(y))
            levels.append(y)
        return levels

    def tokens(self, x: Window, count: int | None = None) -> Tokens:
        """Encode windows to tokens in time: the read-out of one stretch after another.

        Every level, and the raw window, is pooled over each stretch instead of the whole; a single
        stretch gives the latent.

        Args:
            x: windows.
            count: P, stretches of a window; None for as many as the last level has samples, one
                for about 16 of the window.
        """
        levels = self._levels(x)
        count = count or levels[-1].shape[1]
        pooled = [scale_moments(*pool_stretches(y, count)) for y in levels]
        return self.read_out(pooled, raw_statistics_of_stretches(x, count))

    def read_out(self, pooled: list[Tensor], raw: Tensor) -> Tensor:
        """Join what was pooled at each level with the statistics of the raw window."""
        latent = self.from_pooled(torch.cat(pooled, dim=-1)) + self.from_raw(raw)
        out: Tensor = self.norm(latent)
        return out


class StridedConfig(EncoderConfig):
    """The default encoder."""

    kind: Literal["strided"] = "strided"
    width: int = Field(48, gt=0)

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        del samples
        return StridedEncoder(len(modality.channels), dim=self.dim, width=self.width)


register("encoder", StridedConfig)


def signed_logarithm(x: Tensor) -> Tensor:
    """Give log(1 + |x|) with the sign of x, by operators that every exporter has.

    Examples:
        >>> signed_logarithm(torch.tensor([-1.0, 0.0])).tolist()
        [-0.6931471824645996, 0.0]
    """
    return x.abs().log1p() * x.sign()


def scale_moments(mean: Tensor, variance: Tensor, largest: Tensor) -> Float[Tensor, "batch pooled"]:
    """Mean, log-variance and maximum side by side, the log-variance scaled to the others' size."""
    return torch.cat([mean, 0.25 * (variance + 1e-4).log(), largest], dim=-1)


def raw_statistics(x: Float[Tensor, "batch time channel"]) -> Float[Tensor, "batch statistic"]:
    """Level, spread, spread of differences and extremes of each channel, clipped to +-5."""
    x = x.transpose(1, 2).contiguous()  # (B, C, T): reductions along memory are the fast ones
    mean = x.mean(dim=2)
    variance = (x - mean[:, :, None]).square().mean(dim=2)
    # against a copy shifted by one: as long as the window, which compilers need to join reductions
    steps = x - torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
    count = max(1, x.shape[2] - 1)
    drift = (x[:, :, -1] - x[:, :, 0]) / count  # the mean of all steps
    rough = (steps.square().sum(dim=2) / count - drift.square()).clamp(min=0)
    return join_statistics(mean, variance, rough, x.amax(dim=2), x.amin(dim=2))


def raw_statistics_of_stretches(
    x: Float[Tensor, "batch time channel"], count: int
) -> Float[Tensor, "batch place statistic"]:
    """Compute the same of each of some stretches of a window; of a single one the same numbers."""
    mean, variance, largest = pool_stretches(x, count)
    steps = x[:, 1:] - x[:, :-1] if x.shape[1] > 1 else torch.zeros_like(x)
    _, rough, _ = pool_stretches(steps, count)
    smallest = -pool_stretches(-x, count)[2]
    return join_statistics(mean, variance, rough, largest, smallest)


def join_statistics(
    mean: Tensor, variance: Tensor, rough: Tensor, largest: Tensor, smallest: Tensor
) -> Tensor:
    """Put the raw statistics of channels side by side, each scaled, clipped to +-5."""
    parts = [
        mean,
        0.5 * (variance + 1e-3).log(),
        0.5 * (rough + 1e-4).log(),
        largest - mean,
        mean - smallest,
    ]
    return torch.cat(parts, dim=-1).clamp(-5, 5)
