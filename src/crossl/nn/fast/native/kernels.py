"""The compiled way to compute what follows a convolution."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from crossl.nn.fast.kernels import Block, Done, TorchKernels, Weights
from crossl.nn.fast.native.build import load_library

_Pointer = ctypes.c_void_p


class _Settings(ctypes.Structure):
    """Mirrors `Settings` in kernels.cpp, field by field."""

    _fields_ = (
        ("windows", ctypes.c_long), ("time", ctypes.c_long), ("channels", ctypes.c_long),
        ("gamma", _Pointer), ("beta", _Pointer), ("alpha", _Pointer),
        ("epsilon", ctypes.c_float), ("mean", _Pointer), ("rstd", _Pointer),
        ("known", ctypes.c_long),
    )  # fmt: skip


def compiled_kernels() -> CompiledKernels | None:
    """Return the compiled kernels, or None where they cannot be built."""
    library = load_library()
    return None if library is None else CompiledKernels(library)


class CompiledKernels:
    """One pass forward and one backward; what it does not know goes to plain torch.

    Args:
        library: from `load_library`.
    """

    known_as = "NativeEpilogue"
    part = 1_600_000

    def __init__(self, library: ctypes.CDLL) -> None:
        p, n = _Pointer, ctypes.c_long
        self._forward = library.crossl_blocks_forward
        self._forward.argtypes = [p, n, p, p, n, p, p, p, p, ctypes.c_int]
        self._forward.restype = None
        self._backward = library.crossl_blocks_backward
        self._backward.argtypes = [p, n, p, p, n, p, n, p, p, p, p, p, p, ctypes.c_int]
        self._backward.restype = None
        library.crossl_max_channels.restype = n
        self._max_channels: int = library.crossl_max_channels()
        self._other = TorchKernels()

    def forward(
        self, block: Block, weights: Weights, y: Tensor, *, out: Tensor | None, again: Done | None
    ) -> Done:
        """See `crossl.nn.fast.kernels.Kernels`."""
        if not self._knows(y, weights):
            return self._other.forward(block, weights, y, out=out, again=again)
        y = y.contiguous()
        batch, _, channels = y.shape
        settings, mean, rstd = _settings(block, weights, y, again)
        count = 0 if again is not None else {"": 0, "mean": 1, "moments": 3}[block.pool]
        pooled = tuple(torch.empty(batch, channels) for _ in range(count))
        place = torch.empty(batch, channels, dtype=torch.int32) if count == 3 else None
        stride = 0 if out is None else out.stride(0)
        largest = [*map(_pointer, pooled), None, None, None][:3]
        self._forward(
            ctypes.addressof(settings), y.dtype == torch.bfloat16, y.data_ptr(), _pointer(out),
            stride, *largest, _pointer(place), torch.get_num_threads(),
        )  # fmt: skip
        return again or Done(mean, rstd, pooled, place)

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
        """See `crossl.nn.fast.kernels.Kernels`."""
        if not self._knows(y, weights):
            return self._other.backward(
                block, weights, y, done,
                gradient=gradient, of_pooled=of_pooled, out=out, sums=sums,
            )  # fmt: skip
        y = y.contiguous()
        settings, *_ = _settings(block, weights, y, done)
        centre = done.pooled[0] if done.pooled else None
        gradients = [*map(_pointer, of_pooled), None, None, None][:3]
        self._backward(
            ctypes.addressof(settings), y.dtype == torch.bfloat16, y.data_ptr(),
            _pointer(gradient), 0 if gradient is None else gradient.stride(0), out.data_ptr(),
            out.stride(0), *gradients, _pointer(centre), _pointer(done.place), sums.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        return out

    def _knows(self, y: Tensor, weights: Weights) -> bool:
        return (
            y.dtype in (torch.float32, torch.bfloat16)
            and weights.bias.dtype == torch.float32
            and y.shape[2] <= self._max_channels
        )


def _settings(
    block: Block, weights: Weights, y: Tensor, known: Done | None
) -> tuple[_Settings, Tensor | None, Tensor | None]:
    mean = rstd = None
    if weights.gamma is not None:
        mean = torch.empty(y.shape[:2]) if known is None else known.mean
        rstd = torch.empty(y.shape[:2]) if known is None else known.rstd
    pointers: list[Any] = [_pointer(p) for p in weights[2:]]
    settings = _Settings(
        *y.shape, *pointers, block.epsilon, _pointer(mean), _pointer(rstd), known is not None
    )
    return settings, mean, rstd


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
