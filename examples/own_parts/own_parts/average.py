"""An aggregator: the mean of the latents that are kept."""

from typing import Literal

import torch
from torch import Tensor, nn

from crossl.nn.aggregators import AggregatorConfig


class AverageAggregator(nn.Module):
    """Join latents (B, M, K) under keep (B, M, K) to (B, K); what is not kept does not matter."""

    def forward(self, latent: Tensor, keep: Tensor) -> Tensor:
        """Join what is kept."""
        kept = torch.where(keep, latent, 0.0)
        return kept.sum(dim=1) / keep.sum(dim=1).clamp(min=1)


class AverageConfig(AggregatorConfig):
    """It has no settings but its name."""

    kind: Literal["average"] = "average"

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return AverageAggregator()
