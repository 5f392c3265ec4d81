"""Small layers shared by encoders and aggregators."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, T), at each time step."""

    def __init__(self, channels: int, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(
        self, x: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel time"]:
        """Normalise."""
        # in steps: torch's var_mean takes several times as long on a CPU
        centred = x - x.mean(dim=1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + self.epsilon)
        return torch.addcmul(self.bias[:, None], centred * scale, self.weight[:, None])


def pad_same(x: Tensor, kernel: int) -> Tensor:
    """Pad time so that a convolution of stride 1 keeps its length: left (k-1)//2, right k//2.

    As TensorFlow does for even kernels; torch's own `padding="same"` copies and warns.
    """
    return nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
