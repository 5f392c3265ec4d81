"""The augmentation `permutation`: stretches of a window change places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from crossl.methods.augment import Augmentation, AugmentationConfig, Signal
from crossl.registry import register

Chance = Float[Tensor, "batch some"]


class Permutation(AugmentationConfig):
    """Cut a window into stretches, put them into another order, and add noise.

    Um et al. 2017 (arXiv 1706.00527), as the strong augmentation of TS-TCC (arXiv 2106.14112) has
    it: where it is cut is drawn, and into how many stretches too. Modalities of a window are cut at
    the same times and stay synchronous, as do the channels of one. (The published code of TS-TCC
    writes the first channel into all of them; this does not.)

    Attributes:
        segments: stretches at most; 1 leaves the order.
        jitter: largest standard deviation of the noise, as of `general`.
        scale: standard deviation of the logarithm of a factor per channel, as of `general`.
    """

    kind: Literal["permutation"] = "permutation"
    segments: int = Field(8, gt=0)
    jitter: float = Field(0.05, ge=0)
    scale: float = Field(0.0, ge=0)

    def build(self) -> Permutation:
        """Return itself: settings are all it has."""
        return self

    def __call__(
        self, signals: Mapping[str, Signal], generator: torch.Generator
    ) -> dict[str, Signal]:
        """Change a batch, each window by its own draw."""
        batch, device = next(iter(signals.values())).shape[0], generator.device
        chance = torch.rand(batch, 2 * self.segments, generator=generator, device=device)
        moved = {name: permute(x, chance) for name, x in signals.items()}
        return Augmentation(jitter=self.jitter, scale=self.scale)(moved, generator)


def permute(x: Signal, chance: Chance) -> Signal:
    """Put stretches of each window into another order.

    Args:
        x: windows.
        chance: (B, 2 * S) in 0 to 1: how many stretches, S - 1 places where a window is cut, and
            the order of S stretches.

    Examples:
        >>> x = torch.arange(4.0)[None, :, None]
        >>> permute(x, torch.tensor([[0.9, 0.3, 0.8, 0.2]])).flatten().tolist()
        [2.0, 3.0, 0.0, 1.0]
    """
    time = x.shape[1]
    most = chance.shape[1] // 2
    count = (chance[:, :1] * most).long() + 1
    cuts = chance[:, 1:most]
    unused = torch.arange(1, most, device=x.device) >= count  # cuts beyond the count: never reached
    cuts = torch.where(unused, 2.0, cuts)
    place = torch.arange(time, device=x.device) / time
    stretch = (place[None, :, None] >= cuts[:, None]).sum(dim=2)  # (B, T)
    rank = chance[:, most:].argsort(dim=1).gather(1, stretch)
    order = (rank + place / 2).argsort(dim=1)  # by rank, then by time
    return x.gather(1, order[:, :, None].expand_as(x))


register("augmentation", Permutation)
