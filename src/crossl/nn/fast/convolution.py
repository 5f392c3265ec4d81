"""Convolution over time with channels last, and its two gradients, each the way that is fastest.

One mathematical operation, several ways to hand it to the library: few input channels make the
library's weight gradient slow (a tenth of the machine's rate), so that one is asked for on groups
of neighbouring samples, which look like more channels; a strided convolution of few channels is
one matrix product.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, linear, pad

Padded = Float[Tensor, "batch padded_time channel"]
Output = Float[Tensor, "batch time filter"]

PRODUCT_SIZE = 64
"""A strided convolution whose kernel has at most this many weights a filter is one product."""


class TimeConvolution:
    """A convolution over the time of (B, T, C) whose input was padded by the caller.

    Made anew for each pass, with weights of that pass; gradients of the weights of several calls
    add up until `weight_gradient` gives them.

    Args:
        weight: (filter, channel, kernel).
        bias: (filter,).
        stride: of time.
        dtype: in which to compute.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int, dtype: torch.dtype) -> None:
        self.filters, self.channels, self.kernel = weight.shape
        self.stride = stride
        self.bias = bias.to(dtype)
        self.is_product = stride > 1 and self.channels * self.kernel <= PRODUCT_SIZE
        self.group = _group(self.channels, stride)
        flat = weight.detach().to(dtype)
        self.weight = (
            flat.permute(0, 2, 1).flatten(1) if self.is_product
            else flat.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        )  # fmt: skip
        self._total: Tensor | None = None

    def __call__(self, x: Padded) -> Output:
        """Convolve."""
        if self.is_product:
            return linear(self._patches(x), self.weight, self.bias)
        y = conv2d(_as_image(x), self.weight, self.bias, stride=(1, self.stride))
        return y.permute(0, 2, 3, 1)[:, 0]

    def input_gradient(self, gradient: Output, x: Padded) -> Padded:
        """Return the gradient of the padded input."""
        if self.is_product:
            return _spread(gradient @ self.weight, x, self.kernel, self.stride)
        return _backward(gradient, x, self.weight, self.stride, of_input=True)

    def add_weight_gradient(self, gradient: Output, x: Padded) -> None:
        """Add to the gradient of the weights."""
        # in bfloat16 the library's own waits a hundred milliseconds for its threads at times
        if self.is_product or (self.group > 1 and x.dtype == torch.bfloat16):
            found = gradient.flatten(0, 1).T @ self._patches(x).flatten(0, 1)
        elif self.group > 1:
            found = self._grouped_gradient(gradient, x)
        else:
            found = _backward(gradient, x, self.weight, self.stride, of_input=False)
        # reduced precision is summed in float32
        found = found.float() if found.dtype == torch.bfloat16 else found
        self._total = found if self._total is None else self._total.add_(found)

    def weight_gradient(self) -> Float[Tensor, "filter channel kernel"]:
        """Return the sum of what was added."""
        if self._total is None:
            return torch.zeros(self.filters, self.channels, self.kernel)
        if self._total.ndim == 2:
            by_sample = self._total.view(self.filters, self.kernel, self.channels)
            return by_sample.permute(0, 2, 1).contiguous()
        if self.group == 1:
            return self._total.reshape(self.filters, self.channels, self.kernel)
        return self._ungrouped(self._total)

    def _patches(self, x: Padded) -> Tensor:
        """Copy what each output reads: (B, T', kernel * C), each a stretch of memory as it lies."""
        batch, time, channels = x.shape
        count = (time - self.kernel) // self.stride + 1
        size = (batch, count, self.kernel * channels)
        return x.as_strided(size, (x.stride(0), self.stride * channels, 1)).contiguous()

    @property
    def _taps(self) -> int:
        """Taps of the kernel in groups of samples."""
        return (self.kernel - 2 + self.group) // self.group + 1

    def _grouped_gradient(self, gradient: Output, x: Padded) -> Tensor:
        """Give the gradient for groups of samples: (group * filter, group * channel, 1, taps)."""
        group, batch = self.group, len(x)
        groups = -(-gradient.shape[1] // group)
        gradient = _pad_time(gradient, groups * group)
        x = _pad_time(x, (groups + self._taps - 1) * group)
        wide = x.new_empty(group * self.filters, group * self.channels, 1, self._taps)
        return _backward(
            gradient.reshape(batch, groups, -1),
            x.reshape(batch, groups + self._taps - 1, -1),
            wide.contiguous(memory_format=torch.channels_last),
            1,
            of_input=False,
        )

    def _ungrouped(self, total: Tensor) -> Tensor:
        """Add up what each sample of a group says of the same weight."""
        split = total.view(self.group, self.filters, self.group, self.channels, self._taps)
        # sample p of a group meets weight j at place p + j of its neighbourhood
        along = split.permute(0, 1, 3, 4, 2).flatten(3)  # (group, filter, channel, place)
        parts = [along[p, :, :, p : p + self.kernel] for p in range(self.group)]
        return torch.stack(parts).sum(dim=0)


def _group(channels: int, stride: int) -> int:
    if stride > 1 or channels >= 32:
        return 1
    return 2 if channels >= 12 else 4


def _as_image(x: Tensor) -> Tensor:
    """See (B, T, C) as (B, C, 1, T) with channels last in memory, without a copy."""
    return x.unsqueeze(1).permute(0, 3, 1, 2)


def _pad_time(x: Tensor, length: int) -> Tensor:
    return pad(x, (0, 0, 0, length - x.shape[1])) if length > x.shape[1] else x[:, :length]


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, *, of_input: bool
) -> Tensor:
    found = torch.ops.aten.convolution_backward(
        _as_image(gradient), _as_image(x), weight, None, [1, stride], [0, 0], [1, 1],
        False, [0, 0], 1, [of_input, not of_input, False],
    )  # fmt: skip
    of_x, of_weight = found[0], found[1]
    out: Tensor = of_x.permute(0, 2, 3, 1)[:, 0] if of_input else of_weight
    return out


def _spread(patches: Tensor, x: Tensor, kernel: int, stride: int) -> Tensor:
    """Add patches (B, T', kernel * C) up where they came from."""
    out = torch.zeros_like(x)
    split = patches.unflatten(2, (kernel, x.shape[2]))
    for k in range(kernel):
        out[:, k : k + stride * (patches.shape[1] - 1) + 1 : stride] += split[:, :, k]
    return out
