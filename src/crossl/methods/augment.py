"""Augmentations of standardised signals; made for any sensor, not for motion alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from crossl.methods.views import Augment
from crossl.registry import register
from crossl.settings import Settings

Signal = Float[Tensor, "batch time channel"]


class AugmentationConfig(Settings):
    """Settings of an augmentation; a subclass has a `kind`, its settings and `build`."""

    def build(self) -> Augment:
        """Make the augmentation.

        Returns:
            A function of standardised signals, {modality: (B, T, C)}, and a generator, which
            returns the same shapes, or shorter T, changed; each window for itself.
        """
        raise NotImplementedError


class Augmentation(AugmentationConfig):
    """How strongly a view of a window is changed; 0 (crop: 1) leaves it alone.

    Where a crop or a time mask lies is drawn once per window and shared by its modalities, which
    stay synchronous.

    Attributes:
        jitter: largest standard deviation of the noise that is added; it is drawn per window and
            modality between 0 and this.
        scale: standard deviation of the logarithm of a factor per channel.
        crop: share of the window that is used, at a random place.
        time_mask: longest share of the window that is replaced by its mean.
    """

    kind: Literal["general"] = "general"
    jitter: float = Field(0.05, ge=0)
    scale: float = Field(0.1, ge=0)
    crop: float = Field(1.0, gt=0, le=1)
    time_mask: float = Field(0.0, ge=0, lt=1)

    def build(self) -> Augmentation:
        """Return itself: settings are all it has."""
        return self

    def __call__(
        self, signals: Mapping[str, Signal], generator: torch.Generator
    ) -> dict[str, Signal]:
        """Change a batch, each window by its own draw."""
        batch, device = next(iter(signals.values())).shape[0], generator.device
        place = torch.rand(batch, 3, generator=generator, device=device)
        return {name: self._change(x, place, generator) for name, x in signals.items()}

    def _change(self, x: Signal, place: Tensor, generator: torch.Generator) -> Signal:
        batch, _, channels = x.shape
        if self.crop < 1:
            x = _crop(x, self.crop, place[:, 0])
        if self.scale > 0:
            x = x * (self.scale * _normal((batch, 1, channels), x, generator)).exp()
        if self.jitter > 0:
            strength = torch.rand(batch, 1, 1, generator=generator, device=x.device)
            x = x + self.jitter * strength * _normal(tuple(x.shape), x, generator)
        if self.time_mask > 0:
            x = _mask_time(x, self.time_mask, place[:, 1:])
        return x


def _normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device)


def _crop(x: Signal, share: float, place: Float[Tensor, " batch"]) -> Signal:
    """Cut a stretch of the window; `place` in 0 to 1 says where."""
    batch, time, _ = x.shape
    length = max(1, round(share * time))
    start = (place * (time - length + 1)).long().clamp(max=time - length)
    index = start[:, None] + torch.arange(length, device=x.device)
    return x[torch.arange(batch, device=x.device)[:, None], index]


def _mask_time(x: Signal, share: float, place: Float[Tensor, "batch 2"]) -> Signal:
    """Replace a stretch by the window's mean; `place` says where and how long."""
    time = torch.arange(x.shape[1], device=x.device) / x.shape[1]  # (T,)
    start = place[:, :1] * (1 - share)
    hidden = (time >= start) & (time < start + share * place[:, 1:])  # (B, T)
    return torch.where(hidden[:, :, None], x.mean(dim=1, keepdim=True), x)


register("augmentation", Augmentation)
