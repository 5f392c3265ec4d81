"""An encoder: the logarithmic spectrum of a window, and a linear layer."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossl import Modality
from crossl.nn.encoders import EncoderConfig


class SpectrumEncoder(nn.Module):
    """Encode (B, T, C) windows to (B, K); each window for itself."""

    def __init__(self, samples: int, channels: int, *, dim: int, bins: int) -> None:
        super().__init__()
        self.bins = min(bins, samples // 2 + 1)
        self.linear = nn.Linear(self.bins * channels, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Encode windows of one modality; augmentations may have made them shorter."""
        spectrum = torch.fft.rfft(x, n=2 * self.bins, dim=1).abs()[:, : self.bins]  # (B, bins, C)
        out: Tensor = self.linear(spectrum.log1p().flatten(1))
        return out


class SpectrumConfig(EncoderConfig):
    """Settings of `SpectrumEncoder`."""

    kind: Literal["spectrum"] = "spectrum"
    bins: int = Field(16, gt=0)

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        return SpectrumEncoder(samples, len(modality.channels), dim=self.dim, bins=self.bins)
