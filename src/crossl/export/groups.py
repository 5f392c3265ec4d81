"""Groups: encoders of one shape run as one, each other by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.export.stacked import StackedStrided
from crossl.export.stacked_features import StackedFeatures
from crossl.nn.encoders import StridedEncoder
from crossl.nn.features import WindowFeatures
from crossl.nn.model import CrossModalModel


def groups_of(
    model: CrossModalModel, modalities: Sequence[Modality], *, stacked: bool = True
) -> list[list[str]]:
    """Group modalities whose encoders can be stacked.

    Args:
        model: whose encoders they are.
        modalities: some of its own.
        stacked: whether any may be; else each runs by itself.

    Returns:
        Names; those of default encoders of one shape, which nobody shares, side by side.
    """
    keys = list(model.encoders.key_of.values())
    found: dict[object, list[str]] = {}
    for m in modalities:
        encoder = model.encoders.of(m.name)
        key: object = m.name
        if (
            stacked
            and type(encoder) is StridedEncoder
            and keys.count(model.encoders.key_of[m.name]) == 1
        ):
            key = (len(m.channels), round(model.window_s * m.rate_hz), encoder.width)
        found.setdefault(key, []).append(m.name)
    return list(found.values())


class GroupEncoder(nn.Module):
    """Blanks what is absent, standardises, encodes and describes modalities of one shape.

    Args:
        model: whose encoders; nothing of it is changed.
        names: modalities.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: CrossModalModel, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        for part in ("mean", "std"):
            told = [model.standardiser.get_buffer(f"{part}_{name}") for name in names]
            self.register_buffer(part, torch.stack(told)[:, None].clone())  # (M, 1, C)
        encoders = [model.encoders.of(name) for name in names]
        self.encoder: nn.Module = encoders[0]
        self.features: nn.Module | None = None
        if len(names) > 1:
            self.encoder = StackedStrided(cast("list[StridedEncoder]", encoders))
        if model.features is not None:
            beside = [model.features.of(name) for name in names]
            self.features = beside[0]
            if len(names) > 1:
                self.features = StackedFeatures(cast("list[WindowFeatures]", beside))

    def forward(self, signals: Sequence[Tensor], present: Tensor) -> Tensor:
        """Compute the columns of `CrossModalModel.latent`.

        Args:
            signals: M times (B, T, C).
            present: (B, M).

        Returns:
            (B, M, K), with P more columns of untrained features; zeros where absent.
        """
        if len(self.names) == 1:  # without axes that no encoder has, which some runtimes refuse
            x = (torch.where(present[:, :, None], signals[0], 0.0) - self.mean[0]) / self.std[0]
        else:
            x = torch.stack(list(signals), dim=1)
            x = (torch.where(present[:, :, None, None], x, 0.0) - self.mean) / self.std
        latent = self.encoder(x)
        if self.features is not None:
            latent = torch.cat([latent, self.features(x)], dim=-1)
        if len(self.names) == 1:
            latent = latent[:, None]
        return torch.where(present[:, :, None], latent, 0.0)
