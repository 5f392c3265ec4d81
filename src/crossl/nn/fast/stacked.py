"""The `StridedEncoder`s of all modalities as one, for a caller who embeds a window at a time.

One window keeps a processor busy for so little that calling operators costs more than what they
compute; stacked, M encoders cost the calls of one. Weights are copied: it is for inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, pad

from crossl.nn.encoders import StridedEncoder, raw_statistics, scale_moments


class StackedEncoder:
    """M strided encoders of as many channels each.

    Args:
        encoders: of equal width, dim and channels.
    """

    def __init__(self, encoders: Sequence[StridedEncoder]) -> None:
        every: list[Any] = list(encoders)
        self.kernels, self.strides = StridedEncoder.KERNELS, StridedEncoder.STRIDES
        self.first = _stack([e.convolutions[0].weight.flatten(1).T for e in every])
        self.first_bias = _stack([e.convolutions[0].bias for e in every])[:, None]
        self.levels = [self._level(every, i) for i in range(1, len(self.strides))]
        # normalisation's scale and shift, and both read-outs, are one matrix
        read, shift = [], []
        for e in every:
            norm, linear = e.from_pooled
            read.append(torch.cat([linear.weight * norm.weight, e.from_raw.weight], dim=1).T)
            shift.append(linear.weight @ norm.bias + linear.bias + e.from_raw.bias)
        self.read, self.shift = _stack(read), _stack(shift)
        self.scale_out = _stack([e.norm.weight for e in every])
        self.shift_out = _stack([e.norm.bias for e in every])

    @staticmethod
    def _level(every: list[Any], index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        convolutions = [e.convolutions[index] for e in every]
        norms = [e.norms[index] for e in every]
        return (
            _stack([c.weight.flatten(1).T for c in convolutions]),
            _stack([c.bias for c in convolutions])[:, None],
            _stack([n.weight for n in norms])[:, None],
            _stack([n.bias for n in norms])[:, None],
        )

    def __call__(
        self, x: Float[Tensor, "modality batch time channel"]
    ) -> Float[Tensor, "batch modality dim"]:
        """Encode windows of all modalities."""
        batch = x.shape[1]
        y = x.abs().log1p().copysign(x)
        patches = _patches(y, self.kernels[0], self.strides[0])
        y = gelu(torch.baddbmm(self.first_bias, patches, self.first)).unflatten(1, (batch, -1))
        pooled = [_pool(y)]
        for kernel, stride, level in zip(
            self.kernels[1:], self.strides[1:], self.levels, strict=True
        ):
            weight, bias, scale, shift = level
            z = torch.baddbmm(bias, _patches(y, kernel, stride), weight)
            z = gelu(torch.addcmul(shift, layer_norm(z, z.shape[2:]), scale))
            y = z.unflatten(1, (batch, -1))
            pooled.append(_pool(y))
        joined = torch.cat(pooled, dim=2)
        joined = torch.cat([layer_norm(joined, joined.shape[2:]), _raw_statistics(x)], dim=2)
        latent = torch.bmm(joined, self.read).transpose(0, 1) + self.shift  # (B, M, K)
        return layer_norm(latent, latent.shape[2:]) * self.scale_out + self.shift_out


def _stack(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).detach().contiguous()


def _patches(y: Tensor, kernel: int, stride: int) -> Tensor:
    """Copy what each output of a convolution reads: (M, B, T, C) to (M, B * T', C * kernel).

    As one product of matrices a convolution of one window is faster than the library's grouped one.
    """
    padded = pad(y, (0, 0, kernel // 2, kernel // 2))
    return padded.unfold(2, kernel, stride).flatten(3).flatten(1, 2)


def _pool(y: Tensor) -> Tensor:
    """Statistics over time of (M, B, T, W): (M, B, 3 * W)."""
    mean = y.mean(dim=2)
    variance = (y - mean[:, :, None]).square_().mean(dim=2)
    return scale_moments(mean, variance, y.amax(dim=2))


def _raw_statistics(x: Tensor) -> Tensor:
    flat = raw_statistics(x.flatten(0, 1))
    out: Tensor = flat.unflatten(0, x.shape[:2])
    return out
