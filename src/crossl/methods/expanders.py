"""Networks between a latent and VICReg, dropped after pretraining."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, gelu

from crossl.nn.precision import at_least_float32
from crossl.objectives.vicreg import moments


def build_expander(fan_in: int, width: int) -> nn.Sequential:
    """Make a linear layer, batch normalisation, GELU and a linear layer, with random weights."""
    # statistics of the batch in validation too: the objective stays the one that is trained
    norm = nn.BatchNorm1d(width, track_running_stats=False)
    return nn.Sequential(nn.Linear(fan_in, width), norm, nn.GELU(), nn.Linear(width, width))


def expand(
    expanders: Iterable[nn.Module],
    x: Float[Tensor, "view batch network feature"],
    rows: Float[Tensor, "network batch"] | None = None,
) -> Float[Tensor, "view network width batch"]:
    """Apply each of several expanders to its own rows of every view, all at once.

    Args:
        expanders: N, of one shape.
        x: (V, B, N, in).
        rows: 1 for samples that count in a batch's statistics, 0 for others; all count if None.

    Returns:
        (V, N, width, B): samples last, where statistics over them are cheap. What does not count
        is of no use.
    """
    views, batch = x.shape[:2]
    parts: Any = zip(*cast("Iterable[nn.Sequential]", expanders), strict=True)
    first, norm, _, last = parts
    columns = x.permute(2, 3, 0, 1).flatten(2)  # (N, in, V * B)
    hidden = _linears(first, columns).unflatten(2, (views, batch))
    hidden = gelu(_normalise(norm, hidden, rows))
    out = _linears(last, hidden.flatten(2))  # (N, width, V * B)
    return out.reshape(*out.shape[:2], views, batch).permute(2, 0, 1, 3)


def _stacked(parameters: Iterable[object]) -> Tensor:
    """Stack one parameter of each network, which stay modules of their own in a checkpoint."""
    return torch.stack([cast("Tensor", p) for p in parameters])


def _linears(layers: Sequence[nn.Linear], columns: Tensor) -> Tensor:
    """Apply each linear layer to (N, in, columns)."""
    bias = _stacked(one.bias for one in layers)[:, :, None]
    return torch.baddbmm(bias, _stacked(one.weight for one in layers), columns)


def _normalise(norms: Sequence[nn.BatchNorm1d], x: Tensor, rows: Tensor | None) -> Tensor:
    """Normalise (N, width, V, B) over the samples of each view."""
    scale, shift = _stacked(n.weight for n in norms), _stacked(n.bias for n in norms)
    if rows is None:  # what torch has a kernel for
        flat = x.reshape(1, -1, x.shape[3])
        scale, shift = (p[:, :, None].expand(x.shape[:3]).flatten() for p in (scale, shift))
        out = batch_norm(flat, None, None, scale, shift, training=True, eps=norms[0].eps)
        return out.view_as(x)
    _, variance, centred = moments(at_least_float32(x), rows[:, None, None])
    slope = scale[:, :, None] * (variance + norms[0].eps).rsqrt()
    return torch.addcmul(shift[:, :, None, None], centred, slope[..., None])
