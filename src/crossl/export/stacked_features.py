"""Untrained features of modalities of one shape as one; see `crossl.export.stacked`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from crossl.nn.features import FARTHEST, WindowFeatures
from crossl.nn.random_kernels import LENGTH
from crossl.nn.window_statistics import window_statistics


class StackedFeatures(nn.Module):
    """Features of M modalities of as many channels and samples each.

    Args:
        features: of equal kernels and width; they are copied.
    """

    def __init__(self, features: Sequence[WindowFeatures]) -> None:
        super().__init__()
        one = features[0]
        self.dilations, self.counts, self.every = one.dilations, one.counts, one.every
        for level in range(len(self.counts)):
            weights = [f.get_buffer(f"weight_{level}") for f in features]  # M times (84, C, 9)
            self._keep(f"weight_{level}", [w.permute(2, 1, 0).flatten(0, 1) for w in weights])
            self._keep(f"bias_{level}", [f.get_buffer(f"bias_{level}").T for f in features])
        for name in ("mean", "scale", "directions"):
            self._keep(name, [f.get_buffer(name) for f in features])

    def _keep(self, name: str, parts: Sequence[Tensor]) -> None:
        self.register_buffer(name, torch.stack(list(parts)).detach().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Describe standardised windows (B, M, T, C): (B, M, P)."""
        of = self.get_buffer
        modalities = x.shape[1]
        found = window_statistics(x.flatten(0, 1)).unflatten(0, (-1, modalities))
        found = torch.cat([found, *self._shares(x)], dim=2)
        standard = ((found - of("mean")) / of("scale")).clamp(-FARTHEST, FARTHEST)
        return torch.matmul(standard.transpose(0, 1), of("directions")).transpose(0, 1)

    def _shares(self, x: Tensor) -> list[Tensor]:
        """Compute `WindowFeatures._shares`: (B, M, 84) each."""
        parts = []
        for level, count in enumerate(self.counts):
            dilation = self.dilations[level]
            reach = (LENGTH // 2) * dilation
            wide = pad(x, (0, 0, reach, reach))
            places = torch.arange(0, x.shape[2], self.every)[:, None]
            seen = wide[:, :, places + torch.arange(LENGTH) * dilation]  # (B, M, places, 9, C)
            values = torch.matmul(seen.flatten(3), self.get_buffer(f"weight_{level}"))
            bias = self.get_buffer(f"bias_{level}")  # (M, count, 84)
            for number in range(count):
                parts.append((values - bias[:, None, number]).clamp(0, 1).mean(dim=2))
        return parts
