"""A plain autoencoder of each modality, the oldest way to learn from unlabelled windows."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu

from crossl.methods.method import (
    AsRecorded,
    Drawn,
    Encoded,
    MethodConfig,
    Present,
    Signals,
    Targets,
)
from crossl.methods.one_view import refuse_weights
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.registry import register


class WindowDecoder(nn.Module):
    """A latent back to its window: a dense layer and three transposed convolutions.

    Strides are 2, 2 and 4, those of the default encoder backwards.

    Args:
        dim: K.
        samples: T.
        channels: C.
        width: filters.

    Examples:
        >>> WindowDecoder(64, samples=100, channels=3)(torch.zeros(2, 64)).shape
        torch.Size([2, 100, 3])
    """

    def __init__(self, dim: int, *, samples: int, channels: int, width: int = 32) -> None:
        super().__init__()
        self.samples, self.width = samples, width
        self.into = nn.Linear(dim, width * -(-samples // 16))
        self.up = nn.ModuleList(
            [
                nn.ConvTranspose1d(width, width, 4, stride=2, padding=1),
                nn.ConvTranspose1d(width, width, 4, stride=2, padding=1),
                nn.ConvTranspose1d(width, channels, 8, stride=4, padding=2),
            ]
        )

    def forward(self, latent: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch time channel"]:
        """Rebuild windows from latents."""
        x: Tensor = self.into(latent).unflatten(1, (self.width, -1))  # (B, width, T / 16)
        for up in self.up:
            x = up(gelu(x))
        return x[:, :, : self.samples].transpose(1, 2)  # (B, C, T') -> (B, T, C)


class AutoencoderMethod(AsRecorded):
    """Rebuild each modality's window from its own latent, which is much smaller.

    Hinton and Salakhutdinov 2006 (doi 10.1126/science.1127647); with convolutions it is what
    methods for sensor data are compared with, CroSSL's too. Widths and depth are ours: the run's
    encoders, three transposed convolutions for each modality, no noise, no mask. The mean squared
    error of standardised windows is averaged over the modalities that windows have.

    Args:
        model: any encoder, and an aggregator without weights.
        width: filters of the decoders.
    """

    def __init__(self, model: CrossModalModel, *, width: int = 32) -> None:
        super().__init__()
        self.model = model
        self.decoders = nn.ModuleList(
            WindowDecoder(
                model.latent_dim,
                samples=round(model.window_s * m.rate_hz),
                channels=len(m.channels),
                width=width,
            )
            for m in model.modalities
        )

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode and rebuild each window: `errors` (B, M), mean squares over time and channels."""
        latents = self.model.encode(signals, present)
        pairs = zip(self.model.modalities, self.decoders, strict=True)
        errors = [
            (at_least_float32(decoder(latents[:, column])) - signals[m.name])
            .square()
            .mean(dim=(1, 2))
            for column, (m, decoder) in enumerate(pairs)
        ]
        return {"errors": torch.stack(errors, dim=1)}

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the term `reconstruction`."""
        del drawn, targets
        errors = torch.where(present, encoded["errors"], 0.0)
        return {"reconstruction": errors.sum() / present.sum().clamp(min=1)}


class AutoencoderConfig(MethodConfig):
    """A plain autoencoder."""

    kind: Literal["autoencoder"] = "autoencoder"
    width: int = Field(32, gt=0)

    def build(self, model: CrossModalModel) -> AutoencoderMethod:
        """Make the method around a model."""
        return AutoencoderMethod(model, width=self.width)

    def refuses(self, aggregator: AggregatorConfig) -> str | None:
        """Refuse an aggregator with weights: they would stay random."""
        return refuse_weights(aggregator)


register("method", AutoencoderConfig)
