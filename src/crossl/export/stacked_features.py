"""Untrained features of modalities of one shape as one; see `crossl.export.stacked`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from crossl.export.stacked_statistics import StackedStatistics
from crossl.nn.features import FARTHEST, WindowFeatures
from crossl.nn.random_kernels import LENGTH


class StackedFeatures(nn.Module):
    """Features of M modalities of as many channels and samples each.

    Args:
        features: of equal kernels and width; they are copied.
        channels: C.
        samples: T.
    """

    def __init__(self, features: Sequence[WindowFeatures], channels: int, samples: int) -> None:
        super().__init__()
        one = features[0]
        self.count = len(features)
        self.dilations, self.counts, self.every = one.dilations, one.counts, one.every
        self.statistics = StackedStatistics(channels, samples)
        for level in range(len(self.counts)):
            weights = [f.get_buffer(f"weight_{level}") for f in features]  # M times (84, C, 9)
            biases = [f.get_buffer(f"bias_{level}") for f in features]  # (84, count)
            self.register_buffer(f"weight_{level}", torch.cat(weights).clone())
            self.register_buffer(f"bias_{level}", -torch.cat(biases).T.contiguous())
        kept = one.get_buffer("mean").shape[0] - len(self.statistics.order)
        order = torch.cat([self.statistics.order, len(self.statistics.order) + torch.arange(kept)])
        for name in ("mean", "scale", "directions"):
            told = [f.get_buffer(name)[order] for f in features]
            self.register_buffer(name, torch.stack(told).detach().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Describe standardised windows (B, M, C, T): (B, M, P)."""
        of = self.get_buffer
        found = torch.cat([self.statistics(x), *self._shares(x)], dim=2)
        standard = ((found - of("mean")) / of("scale")).clamp(-FARTHEST, FARTHEST)
        return torch.matmul(standard.transpose(0, 1), of("directions")).transpose(0, 1)

    def _shares(self, x: Tensor) -> list[Tensor]:
        """Compute `WindowFeatures._shares`: (B, M, 84) each."""
        parts, side_by_side = [], x.flatten(1, 2)
        for level, count in enumerate(self.counts):
            dilation, bias = self.dilations[level], self.get_buffer(f"bias_{level}")
            values = conv1d(
                side_by_side, self.get_buffer(f"weight_{level}"), bias[0], stride=self.every,
                padding=(LENGTH // 2) * dilation, dilation=dilation, groups=self.count,
            )  # fmt: skip
            for number in range(count):
                off = values if not number else values + (bias[number] - bias[0])[:, None]
                parts.append(off.clamp(0, 1).mean(dim=2).unflatten(1, (self.count, -1)))
        return parts
