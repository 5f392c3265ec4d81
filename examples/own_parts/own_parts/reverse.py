"""An augmentation: some windows run backwards."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from crossl.methods.augment import AugmentationConfig


class ReverseConfig(AugmentationConfig):
    """All modalities of a window are reversed together, with a probability."""

    kind: Literal["reverse"] = "reverse"
    share: float = Field(0.5, ge=0, le=1)

    def build(self) -> "ReverseConfig":
        """Return itself: it can be called."""
        return self

    def __call__(
        self, signals: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Change {modality: (B, T, C)}, each window by its own draw."""
        batch = len(next(iter(signals.values())))
        turned = torch.rand(batch, generator=generator, device=generator.device) < self.share
        return {
            name: torch.where(turned[:, None, None], x.flip(1), x) for name, x in signals.items()
        }
