"""A stack of convolution blocks as one operation that never leaves the processor's cache.

Encoders compute nothing across windows, so a batch is worked on a few windows at a time, all
blocks one after another, and so is its gradient. Kept for backward is each convolution's output
only; activations are recomputed. The mathematics is that of the modules, to rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossl.nn.fast.convolution import TimeConvolution
from crossl.nn.fast.kernels import Block, Done, Kernels, TorchKernels, Weights
from crossl.nn.fast.native import compiled_kernels
from crossl.nn.fast.threads import on_threads

WORKSPACES = 64
"""So many pieces of memory are kept from one call to the next, of some megabytes each."""

_Kept = tuple[list[Tensor], list[Done]]

Read = tuple[Float[Tensor, "batch channel"], ...]


def run_blocks(
    x: Float[Tensor, "batch time channel"],
    blocks: Sequence[Block],
    weights: Sequence[Weights],
    *,
    kernels: Kernels | None = None,
) -> Read:
    """Apply blocks one after another, and return what they read out over time.

    Under autocast the convolutions take its type and what is read out stays float32.

    Args:
        x: windows.
        blocks: shapes.
        weights: parameters, of as many blocks.
        kernels: what follows a convolution; the fastest there are if None.

    Returns:
        (B, C) for each statistic of each block, in order.
    """
    if kernels is None:
        kernels = fastest_kernels()
    flat = [parameter for block in weights for parameter in block]
    out = _Blocks.apply(x, tuple(blocks), kernels, *flat)  # type: ignore[no-untyped-call]
    return cast("Read", out)


@cache
def fastest_kernels() -> Kernels:
    """Return the compiled kernels where a compiler is found, else those of torch."""
    return compiled_kernels() or TorchKernels()


def can_run_blocks(x: Tensor) -> bool:
    """Tell whether this way pays: on a CPU."""
    return x.device.type == "cpu"


class _Pass:
    """What one forward or backward pass needs: convolutions, and memory that its parts share."""

    def __init__(
        self, blocks: tuple[Block, ...], flat: Sequence[Tensor | None], x: Tensor, *, size: int
    ) -> None:
        self.blocks = blocks
        self.weights = [
            Weights(*cast("Any", flat[i : i + len(Weights._fields)]))
            for i in range(0, len(flat), len(Weights._fields))
        ]
        self.dtype, time = x.dtype, x.shape[1]
        self.convolutions: list[TimeConvolution] = []
        self.inputs: list[Tensor] = []
        self.times: list[int] = []
        for block, one in zip(blocks, self.weights, strict=True):
            self.convolutions.append(
                TimeConvolution(one.weight, one.bias, stride=block.stride, dtype=x.dtype)
            )
            padded = time + block.before + block.after
            shape = (size, padded, one.weight.shape[1])
            self.inputs.append(_workspace("padded", x.dtype, shape, block.before))
            time = block.length(time)
            self.times.append(time)

    def place(self, index: int, batch: int, time: int) -> Tensor:
        """Return the part of a block's padded input that is not padding."""
        before = self.blocks[index].before
        return self.inputs[index][:batch, before : before + time]

    def output(self, index: int, batch: int) -> Tensor | None:
        """Return where a block's activation goes; nowhere for the last one."""
        if index + 1 == len(self.blocks):
            return None
        return self.place(index + 1, batch, self.times[index])


class _Memory(threading.local):
    """Memory of this thread; asking the system for it anew costs more than what is done in it."""

    def __init__(self) -> None:
        self.pieces: dict[tuple[object, ...], Tensor] = {}


_memory = _Memory()


def forget_memory() -> None:
    """Give back what this thread keeps from one call to the next."""
    _memory.pieces.clear()


def _workspace(use: str, dtype: torch.dtype, shape: tuple[int, int, int], before: int) -> Tensor:
    """Return memory that starts as zeros; the same piece for the same use, so padding stays zero.

    Args:
        use: what for.
        dtype: type.
        shape: (B, T, C).
        before: rows of padding that nobody writes to.
    """
    key = (use, dtype, shape, before)
    if key not in _memory.pieces:
        if len(_memory.pieces) >= WORKSPACES:
            _memory.pieces.clear()
        with torch.inference_mode(mode=False):  # also of use to a training step that comes later
            _memory.pieces[key] = torch.zeros(shape, dtype=dtype)
    return _memory.pieces[key]


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, blocks: tuple[Block, ...], kernels: Kernels, *flat: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.was_dtype = x.dtype
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        size = _part(x, blocks, flat, kernels.part)

        def forward(windows: list[Tensor]) -> list[_Kept]:
            with torch.autocast("cpu", enabled=False):
                run = _Pass(blocks, flat, x, size=size)
                return [_forward_part(run, kernels, part) for part in windows]

        parts = [kept for done in on_threads(forward, x.split(size)) for kept in done]
        read = [
            torch.cat([done[i].pooled[k] for _, done in parts])
            for i in range(len(blocks))
            for k in range(len(parts[0][1][i].pooled))
        ]
        ctx.save_for_backward(x, *flat)
        ctx.blocks, ctx.kernels, ctx.size, ctx.parts = blocks, kernels, size, parts
        return tuple(read)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_read: Tensor) -> tuple[Tensor | None, ...]:
        """Go through the parts again, from the last block to the first."""
        x, *flat = ctx.saved_tensors
        wants_input = ctx.needs_input_grad[0]

        def backward(parts: list[Any]) -> tuple[list[Tensor | None], list[Tensor | None]]:
            with torch.autocast("cpu", enabled=False):
                run = _Pass(ctx.blocks, flat, x, size=ctx.size)
                step = _Backward(run, ctx.kernels, wants_input=wants_input)
                return [step(*part) for part in parts], step.parameter_gradients()

        reads = zip(*[z.split(ctx.size) for z in of_read], strict=True)
        parts = list(zip(x.split(ctx.size), ctx.parts, reads, strict=True))
        done = on_threads(backward, parts)
        given = [part for of_x, _ in done for part in of_x if part is not None]
        d_x = torch.cat(given).to(ctx.was_dtype) if wants_input else None
        return (d_x, None, None, *_added([gradients for _, gradients in done]))


def _added(of_threads: list[list[Tensor | None]]) -> list[Tensor | None]:
    """Add up the gradients that threads found, in order: the same bits every time."""
    total, *rest = of_threads
    for more in rest:
        total = [None if a is None or b is None else a + b
                 for a, b in zip(total, more, strict=True)]  # fmt: skip
    return total


def _part(x: Tensor, blocks: tuple[Block, ...], flat: Sequence[Tensor | None], numbers: int) -> int:
    """Choose how many windows are worked on at a time: some for every thread."""
    time, largest = x.shape[1], 1
    for block, weight in zip(blocks, flat[:: len(Weights._fields)], strict=True):
        time = block.length(time)
        largest = max(largest, time * len(cast("Tensor", weight)))
    return max(1, min(numbers // largest, -(-len(x) // torch.get_num_threads())))


def _forward_part(run: _Pass, kernels: Kernels, x: Tensor) -> _Kept:
    """Return each convolution's output, and what followed it."""
    batch, outputs, finished = len(x), [], []
    run.place(0, batch, x.shape[1]).copy_(x)
    for i, (block, weights) in enumerate(zip(run.blocks, run.weights, strict=True)):
        y = run.convolutions[i](run.inputs[i][:batch])
        out = run.output(i, batch)
        finished.append(kernels.forward(block, weights, y, out=out, again=None))
        outputs.append(y)
    return outputs, finished


class _Backward:
    """The backward pass of parts, one after another; gradients of parameters add up."""

    def __init__(self, run: _Pass, kernels: Kernels, *, wants_input: bool) -> None:
        self.run, self.kernels, self.wants_input = run, kernels, wants_input
        size, times = len(run.inputs[0]), run.times
        self.sums = [w.bias.new_zeros(4, len(w.bias)) for w in run.weights]
        self.scratch = [
            _workspace("gradient", run.dtype, (size, time, len(w.bias)), 0)
            for time, w in zip(times, run.weights, strict=True)
        ]

    def __call__(self, x: Tensor, kept: _Kept, of_read: tuple[Tensor, ...]) -> Tensor | None:
        """Take one part; return the gradient of its windows if wanted."""
        run, batch, gradient = self.run, len(x), None
        again: Done | None = None
        remaining = list(of_read)
        for i in reversed(range(len(run.blocks))):
            y, done = kept[0][i], again or kept[1][i]
            count = len(done.pooled)
            of_pooled = tuple(z.contiguous() for z in remaining[len(remaining) - count :])
            del remaining[len(remaining) - count :]
            d_y = self.kernels.backward(
                run.blocks[i], run.weights[i], y, done,
                gradient=gradient, of_pooled=of_pooled, out=self.scratch[i][:batch],
                sums=self.sums[i],
            )  # fmt: skip
            source, again = self._input(i, x, kept)
            run.convolutions[i].add_weight_gradient(d_y, source)
            if i == 0 and not self.wants_input:
                return None
            length = x.shape[1] if i == 0 else run.times[i - 1]
            before = run.blocks[i].before
            wide = run.convolutions[i].input_gradient(d_y, source)
            gradient = wide[:, before : before + length]
        return gradient

    def _input(self, index: int, x: Tensor, kept: _Kept) -> tuple[Tensor, Done | None]:
        """Make the input of a block again, from the convolution before it."""
        run, batch, done = self.run, len(x), None
        if index == 0:
            run.place(0, batch, x.shape[1]).copy_(x)
        else:
            previous = index - 1
            done = self.kernels.forward(
                run.blocks[previous], run.weights[previous], kept[0][previous],
                out=run.output(previous, batch), again=kept[1][previous],
            )  # fmt: skip
        return run.inputs[index][:batch], done

    def parameter_gradients(self) -> list[Tensor | None]:
        """Return the gradients of all parameters, in order."""
        out: list[Tensor | None] = []
        for convolution, sums, weights in zip(
            self.run.convolutions, self.sums, self.run.weights, strict=True
        ):
            # laid out as the weight is, to the stride: processes that share gradients ask for it
            d_weight = torch.empty_like(weights.weight).copy_(convolution.weight_gradient())
            out += [d_weight, sums[3]]
            out += [sums[i] if p is not None else None for i, p in enumerate(weights[2:])]
        return out
