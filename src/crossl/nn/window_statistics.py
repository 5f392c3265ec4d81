"""Simple statistics of a window's channels, by operators that every exporter of torch has."""

from __future__ import annotations

from itertools import combinations, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = 5
"""Bands of the spectrum whose energy is a feature, each twice as wide as the one below it."""
OF_EACH_CHANNEL = 8 + len(QUANTILES) + BANDS
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
    ordered = x.sort(dim=1).values
    parts = [
        mean, spread, ordered[:, 0], ordered[:, -1],
        *(_quantile(ordered, q) for q in QUANTILES),
        steps.abs().sum(dim=1) / count, norm(steps, dim=1) / count**0.5,
        crossed.sum(dim=1) / count,
        *_spectrum(centred),
        _correlations(centred, spread),
    ]  # fmt: skip
    return torch.cat(parts, dim=1)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below)


def _spectrum(centred: Tensor) -> list[Tensor]:
    """Return the log-energy of each band and the place of the largest peak, (B, C) each."""
    time = centred.shape[1]
    found = torch.fft.rfft(centred, dim=1)
    power = (found.real.square() + found.imag.square()) / time
    edges = [0, *(-(-time // 2**octave) for octave in range(BANDS, 1, -1)), power.shape[1]]
    bands = [
        (power[:, low:high].sum(dim=1) + SILENT).log()
        for low, high in pairwise(min(edge, power.shape[1]) for edge in edges)
    ]
    peak = power.argmax(dim=1).to(centred.dtype) / time
    return [*bands, torch.where(power.sum(dim=1) > SILENT, peak, 0.0)]


def _correlations(centred: Tensor, spread: Tensor) -> Tensor:
    """Correlate each two channels, (B, pairs); 0 where one does not move."""
    pairs = list(combinations(range(centred.shape[2]), 2))
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    scale = spread[:, one] * spread[:, other]
    together = (centred[:, :, one] * centred[:, :, other]).mean(dim=1)
    moves = scale > SILENT
    return torch.where(moves, together / torch.where(moves, scale, 1.0), 0.0)
