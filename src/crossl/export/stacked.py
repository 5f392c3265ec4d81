"""Stacked: encoders of one shape as one, for graphs in which every operator of one window counts.

Numbers stay the same, to rounding. `crossl.nn.fast.stacked` does it for torch; here weights are
parameters of plain convolutions and linear maps, which exporters keep and quantisers find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from crossl.nn.aggregators import PredictiveAggregator
from crossl.nn.encoders import StridedEncoder, join_statistics, scale_moments, signed_logarithm


class StackedStrided(nn.Module):
    """M strided encoders of as many channels and samples each.

    Args:
        encoders: of equal width, dim and channels; they are copied.
    """

    def __init__(self, encoders: Sequence[StridedEncoder]) -> None:
        super().__init__()
        every: list[Any] = list(encoders)
        self.count, self.width = len(every), every[0].width
        self.convolutions = nn.ModuleList(
            _side_by_side([e.convolutions[level] for e in every])
            for level in range(len(StridedEncoder.STRIDES))
        )
        for level in range(1, len(StridedEncoder.STRIDES)):
            norms = [e.norms[level] for e in every]
            self._keep(f"scale_{level}", [n.weight for n in norms])
            self._keep(f"shift_{level}", [n.bias for n in norms])
        # normalisation's scale and shift, and both read-outs, are one matrix
        read, shift = [], []
        for e in every:
            norm, linear = e.from_pooled
            pooled = (linear.weight * norm.weight).unflatten(1, (len(e.STRIDES), 3, self.width))
            pooled = pooled.transpose(1, 2).flatten(1)  # moments of all levels side by side
            read.append(torch.cat([pooled, e.from_raw.weight], dim=1).T)
            shift.append(linear.weight @ norm.bias + linear.bias + e.from_raw.bias)
        self._keep("read", read)
        self._keep("shift", shift)
        self._keep("scale_out", [e.norm.weight for e in every])
        self._keep("shift_out", [e.norm.bias for e in every])

    def _keep(self, name: str, parts: Sequence[Tensor]) -> None:
        self.register_buffer(name, torch.stack(list(parts)).detach().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Encode standardised windows (B, M, C, T) to (B, M, K)."""
        y = signed_logarithm(x).flatten(1, 2)  # (B, M * C, T)
        means, variances, largest = [], [], []
        for level, convolution in enumerate(self.convolutions):
            z = convolution(y).unflatten(1, (self.count, self.width))  # (B, M, W, T')
            if level:
                z = z.transpose(2, 3)
                z = layer_norm(z, (self.width,))
                scale, shift = (self.get_buffer(f"{n}_{level}") for n in ("scale", "shift"))
                z = (z * scale[:, None] + shift[:, None]).transpose(2, 3)
            z = gelu(z)
            mean = z.mean(dim=3, keepdim=True)
            centred = z - mean
            means.append(mean[..., 0])
            variances.append((centred * centred).mean(dim=3))
            largest.append(z.amax(dim=3))
            y = z.flatten(1, 2)
        joined = scale_moments(*(torch.cat(part, 2) for part in (means, variances, largest)))
        joined = torch.cat([layer_norm(joined, joined.shape[2:]), _raw(x)], dim=2)
        latent = torch.matmul(joined.transpose(0, 1), self.get_buffer("read")).transpose(0, 1)
        latent = layer_norm(latent + self.get_buffer("shift"), (latent.shape[2],))
        return latent * self.get_buffer("scale_out") + self.get_buffer("shift_out")


def _side_by_side(convolutions: Sequence[nn.Conv1d]) -> nn.Conv1d:
    one, count = convolutions[0], len(convolutions)
    joined = nn.Conv1d(
        count * one.in_channels, count * one.out_channels, one.kernel_size[0], one.stride[0],
        cast("int", one.padding[0]), groups=count,
    )  # fmt: skip
    with torch.no_grad():
        joined.weight.copy_(torch.cat([c.weight for c in convolutions]))
        assert joined.bias is not None  # noqa: S101 - as it was made
        joined.bias.copy_(torch.cat([cast("Tensor", c.bias) for c in convolutions]))
    return joined


def _raw(x: Tensor) -> Tensor:
    """Compute `raw_statistics` of (B, M, C, T): (B, M, 5 * C)."""
    mean, count = x.mean(dim=3), max(1, x.shape[3] - 1)
    centred = x - mean[..., None]
    variance = (centred * centred).mean(dim=3)
    steps = x[..., 1:] - x[..., :-1]
    drift = (x[..., -1] - x[..., 0]) / count  # the mean of all steps
    rough = ((steps * steps).sum(dim=3) / count - drift * drift).clamp(min=0)
    return join_statistics(mean, variance, rough, x.amax(dim=3), x.amin(dim=3))


class StackedPredictive(nn.Module):
    """The default aggregator, of which only some modalities may come, its networks side by side.

    Args:
        whole: the aggregator; it is copied.
        columns: modalities that may come.
    """

    some: Tensor | None

    def __init__(self, whole: PredictiveAggregator, columns: Sequence[int]) -> None:
        super().__init__()
        every_one = list(columns) == list(range(len(whole.project)))
        self.register_buffer("some", None if every_one else torch.tensor(list(columns)))
        self.mix = whole.mix
        every: Any = whole
        first, _, last = zip(*(every.project[i] for i in columns), strict=True)
        half = first[0].in_features // 2
        # what is kept is whole modalities: the half that reads it is a constant
        self._keep("into", [f.weight[:, :half].T for f in first])
        self._keep("at", [f.bias + f.weight[:, half:].sum(dim=1) for f in first])
        self._keep("on", [f.weight.T for f in last])
        self._keep("beside", [f.bias for f in last])
        first, _, last = zip(*every.predictors, strict=True)
        self.count = len(first)
        self.guess = nn.Linear(first[0].in_features, sum(f.out_features for f in first))
        with torch.no_grad():
            self.guess.weight.copy_(torch.cat([f.weight for f in first]))
            self.guess.bias.copy_(torch.cat([f.bias for f in first]))
        self._keep("guessed", [f.weight.T for f in last])
        self._keep("off", [f.bias for f in last])

    def _keep(self, name: str, parts: Sequence[Tensor]) -> None:
        self.register_buffer(name, torch.stack(list(parts)).detach().contiguous())

    def forward(self, latent: Tensor, keep: Tensor) -> Tensor:
        """Join what is kept of (B, M, K), whole modalities, and complete what is not."""
        of = self.get_buffer
        own, there = latent, keep[:, :, :1].to(latent.dtype)
        if self.some is not None:
            own, there = own.index_select(1, self.some), there.index_select(1, self.some)
        x = torch.matmul(own.transpose(0, 1), of("into")) + of("at")[:, None]
        x = (torch.matmul(gelu(x), of("on")) + of("beside")[:, None]).transpose(0, 1)
        mean = (x * there).sum(dim=1) / there.sum(dim=1).clamp(min=1e-6)
        shared = self.mix(mean)
        guess = gelu(self.guess(shared)).unflatten(1, (self.count, -1)).transpose(0, 1)
        guess = (torch.matmul(guess, of("guessed")) + of("off")[:, None]).transpose(0, 1)
        return torch.cat([shared, torch.where(keep, latent, guess).flatten(1)], dim=1)
