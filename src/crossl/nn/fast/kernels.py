"""What follows a convolution: normalisation, activation and statistics, forward and backward.

This is the way of plain torch, for any floating type; `fast/native` does the same in one pass where
a compiler exists. Both write into memory that their caller gives, so that a part of a batch stays
in the processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor

aten = torch.ops.aten


@dataclass(frozen=True)
class Block:
    """The shape of one convolution and of what follows it.

    Attributes:
        kernel: samples.
        stride: samples.
        before: zeros put before the window.
        after: zeros put after it.
        pool: what is read out over time: nothing, the mean, or mean, variance and maximum.
        epsilon: of the normalisation.
    """

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    pool: Literal["", "mean", "moments"] = ""
    epsilon: float = 1e-5

    def length(self, time: int) -> int:
        """Return how many samples leave for so many that come."""
        return (time + self.before + self.after - self.kernel) // self.stride + 1


class Weights(NamedTuple):
    """Parameters of a block; no gamma: no normalisation; no alpha: GELU instead of PReLU."""

    weight: Tensor
    bias: Tensor
    gamma: Tensor | None
    beta: Tensor | None
    alpha: Tensor | None


class Done(NamedTuple):
    """What backward needs beside the convolution's output, and what was read out.

    Attributes:
        mean: (B, T) of the normalisation.
        rstd: (B, T) likewise.
        pooled: (B, C) each: nothing, mean, or mean, variance, maximum; float32 at least.
        place: (B, C) samples at which the maxima are.
        normalised: (B, T, C), from a forward that was asked for again: backward may use it.
    """

    mean: Tensor | None
    rstd: Tensor | None
    pooled: tuple[Tensor, ...]
    place: Tensor | None
    normalised: Tensor | None = None


class Kernels(Protocol):
    """A way to compute what follows a convolution.

    Attributes:
        known_as: what checkpoints and blocks of embeddings have always called it.
        part: about this many numbers of the largest activation are best worked on at a time.
    """

    known_as: str
    part: int

    def forward(
        self, block: Block, weights: Weights, y: Tensor, *, out: Tensor | None, again: Done | None
    ) -> Done:
        """Normalise, activate, read out.

        Args:
            block: its shape.
            weights: its parameters.
            y: (B, T, C) the convolution's output, contiguous.
            out: (B, T, C) gets the result, rows contiguous; None where nothing reads it.
            again: what an earlier call returned: only `out` is wanted.
        """

    def backward(
        self,
        block: Block,
        weights: Weights,
        y: Tensor,
        done: Done,
        *,
        gradient: Tensor | None,
        of_pooled: tuple[Tensor, ...],
        out: Tensor,
        sums: Tensor,
    ) -> Tensor:
        """Return the gradient of y, and add up those of the parameters.

        Args:
            block: its shape.
            weights: its parameters.
            y: (B, T, C) the convolution's output.
            done: what forward returned.
            gradient: (B, T, C) of the activation, rows contiguous; None where nothing read it.
            of_pooled: (B, C) each, of what was read out.
            out: (B, T, C) memory for the gradient of y, rows contiguous.
            sums: (4, C), to which those of gamma, beta, alpha and bias are added.
        """


class TorchKernels:
    """Plain torch."""

    known_as = "TorchEpilogue"
    part = 800_000

    def forward(
        self, block: Block, weights: Weights, y: Tensor, *, out: Tensor | None, again: Done | None
    ) -> Done:
        """See `Kernels`."""
        n, mean, rstd = _normalise(y, weights, block.epsilon)
        h = _activate(n, weights)
        if out is not None:
            out.copy_(h)  # gelu's own `out` writes elsewhere if rows lie apart
        if again is not None:
            return again._replace(normalised=n)
        if not block.pool:
            return Done(mean, rstd, (), None)
        wide = h if h.dtype == torch.float64 else h.float()
        average = wide.mean(dim=1)
        if block.pool == "mean":
            return Done(mean, rstd, (average,), None)
        variance = (wide - average[:, None]).square_().mean(dim=1)
        largest, place = wide.max(dim=1)
        return Done(mean, rstd, (average, variance, largest), place)

    def backward(
        self,
        block: Block,
        weights: Weights,
        y: Tensor,
        done: Done,
        *,
        gradient: Tensor | None,
        of_pooled: tuple[Tensor, ...],
        out: Tensor,
        sums: Tensor,
    ) -> Tensor:
        """See `Kernels`."""
        n = done.normalised
        if n is None:
            n, _, _ = _normalise(y, weights, block.epsilon)
        incoming = _incoming(n, weights, done, gradient, of_pooled)
        if weights.alpha is None:
            before = aten.gelu_backward(incoming, n)
        else:
            # aten's own gradient of PReLU takes one number at a time and is ten times as slow
            positive = aten.threshold_backward(incoming, n, 0)
            negative = torch.sub(incoming, positive, out=out)
            before = (negative * weights.alpha.to(n.dtype)).add_(positive)
            sums[2] += negative.mul_(n).sum(dim=(0, 1), dtype=sums.dtype)
        if weights.gamma is not None:
            before, d_gamma, d_beta = aten.native_layer_norm_backward(
                before, y, [y.shape[2]], done.mean, done.rstd, weights.gamma, weights.beta,
                [True, True, True],
            )  # fmt: skip
            sums[0] += d_gamma
            sums[1] += d_beta
        sums[3] += before.sum(dim=(0, 1), dtype=sums.dtype)
        return cast("Tensor", before)


def _normalise(
    y: Tensor, weights: Weights, epsilon: float
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    if weights.gamma is None:
        return y, None, None
    return torch.native_layer_norm(y, (y.shape[2],), weights.gamma, weights.beta, epsilon)


def _activate(n: Tensor, weights: Weights) -> Tensor:
    if weights.alpha is None:
        return cast("Tensor", aten.gelu(n))
    return torch._prelu_kernel(n, weights.alpha.to(n.dtype))


def _incoming(
    n: Tensor,
    weights: Weights,
    done: Done,
    gradient: Tensor | None,
    of_pooled: tuple[Tensor, ...],
) -> Tensor:
    """Join the gradient of the activation with that of what was read out of it."""
    if not of_pooled:
        assert gradient is not None  # noqa: S101 - a block that is read by nothing is not built
        return gradient
    time, dtype = n.shape[1], n.dtype
    level = of_pooled[0] / time
    if len(of_pooled) == 1:
        read = level.to(dtype)[:, None].expand_as(n)
    else:
        h = _activate(n, weights)
        slope = of_pooled[1] * (2 / time)
        level = level - slope * done.pooled[0]
        read = torch.addcmul(level.to(dtype)[:, None], h, slope.to(dtype)[:, None])
        assert done.place is not None  # noqa: S101 - forward keeps it with the maximum
        read.scatter_add_(1, done.place[:, None].long(), of_pooled[2].to(dtype)[:, None])
    return read if gradient is None else read + gradient
