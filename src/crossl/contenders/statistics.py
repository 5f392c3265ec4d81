"""Simple statistics of a window's channels, as anyone would try them first."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

Features = Float32[np.ndarray, "window feature"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = 5
"""Bands of the spectrum whose energy is a feature, each twice as wide as the one below it."""


def statistics(x: NDArray[np.floating[Any]], rate_hz: float) -> Features:
    """Describe windows of one modality.

    For each channel, and for the length of the vector where there are 3: mean, standard deviation,
    extremes, quantiles, mean absolute and root mean square step, share of mean crossings, and the
    logarithm of the energy in 5 octaves below half the rate, with the frequency of the largest
    peak; then the correlations between channels.

    Args:
        x: (n, T, C).
        rate_hz: samples per second.

    Returns:
        (n, F) float32, finite.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.shape[2] == 3:
        x = np.concatenate([x, np.linalg.norm(x, axis=2, keepdims=True)], axis=2)
    n, time, _ = x.shape
    mean, std = x.mean(axis=1), x.std(axis=1)
    steps = np.diff(x, axis=1) if time > 1 else np.zeros((n, 1, x.shape[2]))
    centred = x - mean[:, None]
    crossings = (np.diff(np.signbit(centred), axis=1) if time > 1 else np.zeros_like(steps)).mean(1)
    parts = [
        mean, std, x.min(axis=1), x.max(axis=1),
        *np.quantile(x, QUANTILES, axis=1),
        np.abs(steps).mean(axis=1), np.sqrt(np.square(steps).mean(axis=1)), crossings,
        *_spectrum(centred, rate_hz),
        _correlations(centred, std),
    ]  # fmt: skip
    return np.concatenate(parts, axis=1).astype(np.float32)


def _spectrum(centred: NDArray[np.float64], rate_hz: float) -> list[NDArray[np.float64]]:
    """Return the log-energy of each band and the frequency of the largest peak, (n, C) each."""
    power = np.square(np.abs(np.fft.rfft(centred, axis=1))) / centred.shape[1]
    hz = np.fft.rfftfreq(centred.shape[1], 1 / rate_hz)
    edges = np.r_[0.0, rate_hz / 2 ** np.arange(BANDS, 0, -1)]
    edges[-1] = np.inf
    bands = [
        np.log(power[:, (hz >= low) & (hz < high)].sum(axis=1) + 1e-12)
        for low, high in pairwise(edges)
    ]
    return [*bands, hz[power.argmax(axis=1)]]


def _correlations(centred: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate each two channels; 0 where one does not move."""
    one, other = np.triu_indices(centred.shape[2], 1)
    scale = std[:, one] * std[:, other]
    together = (centred[:, :, one] * centred[:, :, other]).mean(axis=1)
    moves = scale > 1e-12
    return np.where(moves, together / np.where(moves, scale, 1), 0.0)
