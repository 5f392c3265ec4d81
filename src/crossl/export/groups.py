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
        stacked: whether untrained features are computed by fewer operators.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: CrossModalModel, names: Sequence[str], *, stacked: bool = True
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        for part in ("mean", "std"):
            told = [model.standardiser.get_buffer(f"{part}_{name}") for name in names]
            self.register_buffer(part, torch.stack(told)[..., None].clone())  # (M, C, 1)
        encoders = [model.encoders.of(name) for name in names]
        self.encoder: nn.Module = encoders[0]
        self.features: nn.Module | None = None
        if len(names) > 1:
            self.encoder = StackedStrided(cast("list[StridedEncoder]", encoders))
        if model.features is not None:
            beside = [model.features.of(name) for name in names]
            self.features = beside[0]
            if stacked:
                m = next(m for m in model.modalities if m.name == names[0])
                self.features = StackedFeatures(
                    cast("list[WindowFeatures]", beside), len(m.channels),
                    round(model.window_s * m.rate_hz),
                )  # fmt: skip

    def forward(self, signals: Sequence[Tensor], present: Tensor) -> Tensor:
        """Compute the columns of `CrossModalModel.latent`.

        Args:
            signals: M times (B, T, C).
            present: (B, M).

        Returns:
            (B, M, K), with P more columns of untrained features; zeros where absent.
        """
        if len(self.names) == 1:
            return self._alone(signals[0], present)
        x = torch.cat(list(signals), dim=2).transpose(1, 2).unflatten(1, (len(self.names), -1))
        x = (torch.where(present[:, :, None, None], x, 0.0) - self.mean) / self.std
        latent = self.encoder(x)
        if self.features is not None:
            latent = torch.cat([latent, self.features(x)], dim=-1)
        return torch.where(present[:, :, None], latent, 0.0)

    def _alone(self, x: Tensor, present: Tensor) -> Tensor:
        """Compute the same of a single one, whose encoder takes (B, T, C)."""
        x = (torch.where(present[:, :, None], x, 0.0) - self.mean[0, :, 0]) / self.std[0, :, 0]
        latent = self.encoder(x)[:, None]
        if isinstance(self.features, StackedFeatures):
            beside = self.features(x.transpose(1, 2)[:, None])
            latent = torch.cat([latent, beside], dim=-1)
        elif self.features is not None:  # without axes that some runtimes refuse
            latent = torch.cat([latent, self.features(x)[:, None]], dim=-1)
        return torch.where(present[:, :, None], latent, 0.0)
