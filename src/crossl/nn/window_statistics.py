"""Simple statistics of a window's channels, by operators that every exporter of torch has."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossl.nn.attachment import is_traced

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = 5
"""Bands of the spectrum whose energy is a feature, each twice as wide as the one below it."""
OF_EACH_CHANNEL = 8 + len(QUANTILES) + BANDS
LARGEST_PRIME = 1024
"""Samples of windows without divisors up to which one transform is a product of matrices."""
PLACES = 512
"""Quantiles are those of at least so many samples of a window, evenly apart, if it has them."""
SILENT = 1e-6
"""Power of a channel that is rounding, in squares of its standard deviation in training."""


def count_statistics(channels: int) -> int:
    """Count what `window_statistics` gives."""
    described = channels + (channels == 3)
    return OF_EACH_CHANNEL * described + described * (described - 1) // 2


def window_statistics(
    x: Float[Tensor, "batch time channel"],
) -> Float[Tensor, "batch statistic"]:
    """Describe windows of one modality.

    For each channel, and for the length of the vector where there are 3: mean, standard deviation,
    extremes, quantiles, mean absolute and root mean square step, share of mean crossings, and the
    logarithm of the energy in 5 octaves below half the rate, with the frequency of the largest
    peak as a share of the rate; then the correlations between channels.

    Args:
        x: standardised windows.

    Examples:
        >>> window_statistics(torch.zeros(2, 50, 3)).shape == (2, count_statistics(3))
        True
    """
    if x.shape[2] == 3:
        x = torch.cat([x, torch.linalg.vector_norm(x, dim=2, keepdim=True)], dim=2)
    mean = x.mean(dim=1)
    centred = x - mean[:, None]
    norm = torch.linalg.vector_norm  # whose gradient at 0 is 0
    spread = norm(centred, dim=1) / x.shape[1] ** 0.5
    # against a copy shifted by one: a window of one sample has one step, 0
    steps = x - torch.cat([x[:, :1], x[:, :-1]], dim=1)
    above = (centred >= 0).to(x.dtype)
    crossed = (above - torch.cat([above[:, :1], above[:, :-1]], dim=1)).abs()
    count = max(1, x.shape[1] - 1)
    ordered = _ordered(x[:, :: max(1, x.shape[1] // PLACES)])
    parts = [
        mean, spread, x.amin(dim=1), x.amax(dim=1),
        *(_quantile(ordered, q) for q in QUANTILES),
        steps.abs().sum(dim=1) / count, norm(steps, dim=1) / count**0.5,
        crossed.sum(dim=1) / count,
        *_spectrum(centred),
        _correlations(centred, spread),
    ]  # fmt: skip
    return torch.cat(parts, dim=1)


def _ordered(x: Tensor) -> Tensor:
    """Sort samples; traced as the largest of all, which every exporter's runtime has."""
    if not is_traced():
        return x.sort(dim=1).values
    largest = x.transpose(1, 2).topk(x.shape[1], dim=2).values  # along the last, from the top
    return largest.flip(2).transpose(1, 2)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below)


def _spectrum(centred: Tensor) -> list[Tensor]:
    """Return the log-energy of each band and the place of the largest peak, (B, C) each."""
    time = centred.shape[1]
    power = _power_by_products(centred) if is_traced() else _power(centred)
    edges = [0, *(-(-time // 2**octave) for octave in range(BANDS, 1, -1)), power.shape[1]]
    bands = [
        (power[:, low:high].sum(dim=1) + SILENT).log()
        for low, high in pairwise(min(edge, power.shape[1]) for edge in edges)
    ]
    peak = power.argmax(dim=1).to(centred.dtype) / time
    return [*bands, torch.where(power.sum(dim=1) > SILENT, peak, 0.0)]


def _power(x: Tensor) -> Tensor:
    """Return the power of each frequency of (B, T, C), (B, T // 2 + 1, C)."""
    found = torch.fft.rfft(x, dim=1)
    power: Tensor = (found.real.square() + found.imag.square()) / x.shape[1]
    return power


def _power_by_products(x: Tensor) -> Tensor:
    """Compute `_power` without complex numbers, which few runtimes have, and none of them fast.

    Two small transforms in place of a large one (Cooley and Tukey 1965), as products of matrices.
    """
    time = x.shape[1]
    one = max(n for n in range(1, int(time**0.5) + 1) if time % n == 0)
    other = time // one
    if one == 1 and time > LARGEST_PRIME:
        return _power(x)
    y = x.transpose(1, 2).unflatten(2, (one, other))  # (B, C, n1, n2), sample n1 * other + n2
    real, imaginary = (part @ y for part in _turns(one, one, one, x))  # (B, C, k1, n2)
    cosine, sine = _turns(one, other, time, x)
    real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    cosine, sine = _turns(other, other, other, x)
    real, imaginary = real @ cosine - imaginary @ sine, real @ sine + imaginary @ cosine
    power = (real * real + imaginary * imaginary) / time  # (B, C, k1, k2), frequency k1 + one * k2
    out: Tensor = power.transpose(2, 3).flatten(2)[:, :, : time // 2 + 1].transpose(1, 2)
    return out


def _turns(rows: int, columns: int, period: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of -2 pi rows * columns / period, exact to rounding."""
    angle = -2 * np.pi * (np.arange(rows)[:, None] * np.arange(columns) % period) / period
    # of numpy, so that who traces finds constants
    cosine, sine = (torch.from_numpy(part) for part in (np.cos(angle), np.sin(angle)))
    return cosine.to(like), sine.to(like)


def _correlations(centred: Tensor, spread: Tensor) -> Tensor:
    """Correlate each two channels, (B, pairs); 0 where one does not move."""
    pairs = list(combinations(range(centred.shape[2]), 2))
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    scale = spread[:, one] * spread[:, other]
    together = (centred[:, :, one] * centred[:, :, other]).mean(dim=1)
    moves = scale > SILENT
    return torch.where(moves, together / torch.where(moves, scale, 1.0), 0.0)
