"""Encoders in blocks on a CPU; elsewhere with channels last and few launches."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, linear, pad

from crossl.nn.encoders import StridedEncoder, TcnEncoder, Window, raw_statistics, scale_moments
from crossl.nn.fast.blocks import can_run_blocks, run_blocks
from crossl.nn.fast.kernels import Block, Weights
from crossl.nn.fast.pooling import pool_time
from crossl.nn.fast.threads import on_threads
from crossl.nn.layers import pad_same

PREPARED = 400_000
"""About this many samples of windows are prepared at a time: fewer are more calls, more are memory
that is not at hand."""


def encode_tcn(encoder: TcnEncoder, x: Window) -> Tensor:
    """Compute `TcnEncoder.forward`."""
    drops = encoder.training and encoder.dropout.p > 0
    layers = list(zip(encoder.convolutions, encoder.norms, encoder.activations, strict=True))
    if can_run_blocks(x) and not drops:
        weights = [
            Weights(*cast("Any", (c.weight, c.bias, n.weight, n.bias, a.weight)))
            for c, n, a in layers
        ]
        (latent,) = run_blocks(x, tcn_blocks(encoder.KERNELS), weights)
        return latent
    # (B, T, C) -> (B, C, 1, T) without a copy: channels stay last in memory, where a
    # two-dimensional convolution, layer normalisation and PReLU are fastest
    x = x.unsqueeze(1).permute(0, 3, 1, 2)
    for convolution, norm, activation in layers:
        x = _convolve_same(x, cast("nn.Conv1d", convolution))
        x = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = encoder.dropout(activation(x))
    return x.mean(dim=(2, 3))  # (B, K, 1, T) -> (B, K)


@cache
def tcn_blocks(kernels: tuple[int, ...]) -> list[Block]:
    """Describe convolutions that keep the length, the mean of the last one read out."""
    return [
        Block(k, before=(k - 1) // 2, after=k // 2, pool="mean" if last else "", epsilon=1e-3)
        for k, last in zip(kernels, [False] * (len(kernels) - 1) + [True], strict=True)
    ]


def _convolve_same(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Apply a convolution over time to (B, C, 1, T), keeping its length."""
    padded = pad_same(x, convolution.kernel_size[0])
    return conv2d(padded, convolution.weight.unsqueeze(2), convolution.bias)


def encode_strided(encoder: StridedEncoder, x: Window) -> Tensor:
    """Compute `StridedEncoder.forward`."""
    in_blocks = can_run_blocks(x)
    y, raw = _prepare_in_parts(x) if in_blocks and not x.requires_grad else _prepare(x)
    pooled = _levels_in_blocks(encoder, y) if in_blocks else _levels_one_by_one(encoder, y)
    return encoder.read_out(pooled, raw)


def _levels_in_blocks(encoder: StridedEncoder, y: Window) -> list[Tensor]:
    blocks = strided_blocks(encoder.KERNELS, encoder.STRIDES)
    read = run_blocks(y, blocks, strided_weights(encoder))
    return [scale_moments(*cast("Any", read[i : i + 3])) for i in range(0, len(read), 3)]


@cache
def strided_blocks(kernels: tuple[int, ...], strides: tuple[int, ...]) -> list[Block]:
    """Describe strided convolutions that are all read out."""
    return [
        Block(kernel, stride, before=kernel // 2, after=kernel // 2, pool="moments")
        for kernel, stride in zip(kernels, strides, strict=True)
    ]


def strided_weights(encoder: StridedEncoder) -> list[Weights]:
    """Return the parameters of the blocks."""
    return [
        Weights(c.weight, c.bias, getattr(n, "weight", None), getattr(n, "bias", None), None)  # type: ignore[arg-type]
        for c, n in zip(encoder.convolutions, encoder.norms, strict=True)
    ]


def _levels_one_by_one(encoder: StridedEncoder, y: Window) -> list[Tensor]:
    pooled = []
    layers = zip(encoder.convolutions, encoder.norms, strict=True)
    for level, (convolution, norm) in enumerate(layers):
        z = _convolve(y, cast("nn.Conv1d", convolution), as_product=level == 0)
        y = gelu(norm(z))  # (B, T', width)
        pooled.append(scale_moments(*pool_time(y)))
    return pooled


def _convolve(x: Tensor, convolution: nn.Conv1d, *, as_product: bool) -> Tensor:
    """Convolve (B, T, C) over time; few channels as one matrix product, which is faster."""
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    weight, bias = convolution.weight, convolution.bias
    if as_product:
        padded = pad(x, (0, 0, kernel // 2, kernel // 2))
        patches = padded.unfold(1, kernel, stride).flatten(2)  # (B, T', C * kernel)
        return linear(patches, weight.flatten(1), bias)
    y = conv2d(
        x.unsqueeze(1).permute(0, 3, 1, 2), weight.unsqueeze(2), bias,
        stride=(1, stride), padding=(0, kernel // 2),
    )  # fmt: skip
    return y.permute(0, 2, 3, 1)[:, 0]


def _prepare(x: Window) -> tuple[Tensor, Tensor]:
    """Give windows on a signed logarithmic scale, channels last all the way, and statistics."""
    return x.abs().log1p().copysign(x), raw_statistics(x)


def _prepare_in_parts(x: Window) -> tuple[Tensor, Tensor]:
    """Do so without gradient, some windows at a time, on all threads."""

    def prepare(parts: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return [(part.abs().log1p_().copysign_(part), raw_statistics(part)) for part in parts]

    each = max(1, x.shape[1] * x.shape[2])
    size = max(1, min(PREPARED // each, -(-len(x) // torch.get_num_threads())))
    done = [pair for pairs in on_threads(prepare, x.split(size)) for pair in pairs]
    scaled, raw = zip(*done, strict=True)
    return torch.cat(scaled), torch.cat(raw)
