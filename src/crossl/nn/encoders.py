"""Encoders: one modality's window (B, T, C) to its latent (B, K)."""

from __future__ import annotations

from typing import Any, Literal, Protocol, cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.blocks import can_run_blocks, run_blocks
from crossl.nn.epilogue import Block, Weights
from crossl.nn.layers import pad_same, pool_time
from crossl.nn.shares import in_shares
from crossl.registry import register
from crossl.settings import Settings

PREPARED = 400_000
"""About this many samples of windows are prepared at a time: fewer are more calls, more are memory
that is not at hand."""

Window = Float[Tensor, "batch time channel"]
Latent = Float[Tensor, "batch dim"]


class Encoder(Protocol):
    """What the model asks of an encoder."""

    def __call__(self, x: Window) -> Latent:
        """Encode windows of one modality."""


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
        ConfigError: dim is no multiple of 4.

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
        self._blocks = _same_length_blocks(self.KERNELS, epsilon=1e-3)

    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        if can_run_blocks(x) and not (self.training and self.dropout.p > 0):
            (latent,) = run_blocks(x, self._blocks, self._weights())
            return latent
        # (B, T, C) -> (B, C, 1, T) without a copy: channels stay last in memory, where a
        # two-dimensional convolution, layer normalisation and PReLU are fastest
        x = x.unsqueeze(1).permute(0, 3, 1, 2)
        blocks = zip(self.convolutions, self.norms, self.activations, strict=True)
        for convolution, norm, activation in blocks:
            x = _convolve_time(x, cast("nn.Conv1d", convolution))
            x = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            x = self.dropout(activation(x))
        return x.mean(dim=(2, 3))  # (B, K, 1, T) -> (B, K)

    def _weights(self) -> list[Weights]:
        layers = zip(self.convolutions, self.norms, self.activations, strict=True)
        return [
            Weights(*cast("Any", (c.weight, c.bias, n.weight, n.bias, a.weight)))
            for c, n, a in layers
        ]

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


def _same_length_blocks(kernels: tuple[int, ...], *, epsilon: float) -> list[Block]:
    """Describe convolutions that keep the length, the mean of the last one read out."""
    return [
        Block(k, before=(k - 1) // 2, after=k // 2, pool="mean" if last else "", epsilon=epsilon)
        for k, last in zip(kernels, [False] * (len(kernels) - 1) + [True], strict=True)
    ]


def _convolve_time(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Apply a convolution over time to (B, C, 1, T), keeping its length."""
    padded = pad_same(x, convolution.kernel_size[0])
    return nn.functional.conv2d(padded, convolution.weight.unsqueeze(2), convolution.bias)


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
        self.dim = dim
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
        self._blocks = [
            Block(kernel, stride, before=kernel // 2, after=kernel // 2, pool="moments")
            for kernel, stride in zip(self.KERNELS, self.STRIDES, strict=True)
        ]

    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        apart = can_run_blocks(x)
        y, raw = _prepare_in_shares(x) if apart and not x.requires_grad else _prepare(x)
        pooled = self._levels(y) if apart else self._levels_one_by_one(y)
        latent = self.from_pooled(torch.cat(pooled, dim=1)) + self.from_raw(raw)
        out: Tensor = self.norm(latent)
        return out

    def _levels(self, y: Window) -> list[Tensor]:
        read = run_blocks(y, self._blocks, self._weights())
        return [scale_moments(*cast("Any", read[i : i + 3])) for i in range(0, len(read), 3)]

    def _weights(self) -> list[Weights]:
        return [
            Weights(c.weight, c.bias, getattr(n, "weight", None), getattr(n, "bias", None), None)  # type: ignore[arg-type]
            for c, n in zip(self.convolutions, self.norms, strict=True)
        ]

    def _levels_one_by_one(self, y: Window) -> list[Tensor]:
        pooled = []
        for level, norm in enumerate(self.norms):
            y = nn.functional.gelu(norm(self._convolve(level, y)))  # (B, T', width)
            pooled.append(scale_moments(*pool_time(y)))
        return pooled

    def _convolve(self, level: int, x: Tensor) -> Tensor:
        """Convolve (B, T, C) over time; few channels as one matrix product, which is faster."""
        convolution = cast("nn.Conv1d", self.convolutions[level])
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        weight, bias = convolution.weight, convolution.bias
        if level == 0:
            padded = nn.functional.pad(x, (0, 0, kernel // 2, kernel // 2))
            patches = padded.unfold(1, kernel, stride).flatten(2)  # (B, T', C * kernel)
            return nn.functional.linear(patches, weight.flatten(1), bias)
        y = nn.functional.conv2d(
            x.unsqueeze(1).permute(0, 3, 1, 2), weight.unsqueeze(2), bias,
            stride=(1, stride), padding=(0, kernel // 2),
        )  # fmt: skip
        return y.permute(0, 2, 3, 1)[:, 0]


class StridedConfig(EncoderConfig):
    """The default encoder."""

    kind: Literal["strided"] = "strided"
    width: int = Field(48, gt=0)

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        del samples
        return StridedEncoder(len(modality.channels), dim=self.dim, width=self.width)


register("encoder", StridedConfig)


def _prepare(x: Window) -> tuple[Window, Float[Tensor, "batch statistic"]]:
    """Give windows on a signed logarithmic scale, channels last all the way, and statistics."""
    return x.abs().log1p().copysign(x), raw_statistics(x)


def _prepare_in_shares(x: Window) -> tuple[Window, Float[Tensor, "batch statistic"]]:
    """Do so without gradient, some windows at a time, on all threads."""

    def share(parts: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return [(part.abs().log1p_().copysign_(part), raw_statistics(part)) for part in parts]

    each = max(1, x.shape[1] * x.shape[2])
    size = max(1, min(PREPARED // each, -(-len(x) // torch.get_num_threads())))
    done = [pair for pairs in in_shares(share, x.split(size)) for pair in pairs]
    scaled, raw = zip(*done, strict=True)
    return torch.cat(scaled), torch.cat(raw)


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
    parts = [
        mean,
        0.5 * (variance + 1e-3).log(),
        0.5 * (rough + 1e-4).log(),
        x.amax(dim=2) - mean,
        mean - x.amin(dim=2),
    ]
    return torch.cat(parts, dim=1).clamp(-5, 5)
