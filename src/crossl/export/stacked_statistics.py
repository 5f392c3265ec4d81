"""Statistics of windows by few operators, for graphs in which every operator of one window counts.

Numbers are those of `crossl.nn.window_statistics`, to rounding, in another order: those of a
channel side by side.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossl.nn.window_statistics import (
    BANDS,
    LARGEST_PRIME,
    OF_EACH_CHANNEL,
    PLACES,
    QUANTILES,
    SILENT,
)

WHOLE_TRANSFORM = 128
"""Samples of windows up to which one product is faster than two smaller ones."""


class StackedStatistics(nn.Module):
    """Statistics of M modalities of as many channels and samples each.

    Args:
        channels: C of each.
        samples: T.

    Attributes:
        order: which number of `window_statistics` each one here is.
    """

    between: Tensor

    def __init__(self, channels: int, samples: int) -> None:
        super().__init__()
        self.vector = channels == 3
        count = channels + self.vector
        self.step = max(1, samples // PLACES)
        ranks, weights = _quantiles(len(range(0, samples, self.step)))
        self.register_buffer("between", weights)
        pairs = list(combinations(range(count), 2))
        self.spectrum = Spectrum(samples)
        for name, places in (
            ("ranks", ranks),
            ("one", [a for a, _ in pairs]),
            ("other", [b for _, b in pairs]),
            ("own", [a * (count + 1) for a in range(count)]),
            ("both", [a * count + b for a, b in pairs]),
        ):
            self.register_buffer(name, torch.tensor(places, dtype=torch.int64))
        self.pairs = len(pairs)
        each = np.arange(OF_EACH_CHANNEL * count).reshape(OF_EACH_CHANNEL, count).T
        self.order = torch.from_numpy(
            np.concatenate([each.ravel(), OF_EACH_CHANNEL * count + np.arange(self.pairs)])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Describe standardised windows (B, M, C, T): (B, M, F)."""
        if self.vector:
            x = torch.cat([x, torch.linalg.vector_norm(x, dim=2, keepdim=True)], dim=2)
        time = x.shape[3]
        mean = x.mean(dim=3, keepdim=True)
        centred = x - mean
        together = (torch.matmul(centred, centred.transpose(2, 3)) / time).flatten(2)
        spread = together.index_select(2, self.get_buffer("own")).sqrt()
        count = max(1, time - 1)
        above = centred >= 0
        if time > 1:
            steps, crossed = x[..., 1:] - x[..., :-1], above[..., 1:] ^ above[..., :-1]
        else:  # a window of one sample has one step, 0
            steps, crossed = torch.zeros_like(x), above & ~above
        norm = torch.linalg.vector_norm
        parts = [
            mean, spread[..., None], *self._order_statistics(x),
            norm(steps, ord=1, dim=3, keepdim=True) / count,
            norm(steps, dim=3, keepdim=True) / count**0.5,
            crossed.to(x.dtype).sum(dim=3, keepdim=True) / count,
            *self.spectrum(centred),
        ]  # fmt: skip
        found = torch.cat(parts, dim=3).flatten(2)
        if not self.pairs:
            return found
        one, other = (spread.index_select(2, self.get_buffer(name)) for name in ("one", "other"))
        scale = one * other
        moves = scale > SILENT
        shared = together.index_select(2, self.get_buffer("both"))
        return torch.cat(
            [found, torch.where(moves, shared / torch.where(moves, scale, 1.0), 0.0)], dim=2
        )

    def _order_statistics(self, x: Tensor) -> list[Tensor]:
        """Return smallest, largest and quantiles, along the last axis."""
        some = x[..., :: self.step] if self.step > 1 else x
        ordered = some.topk(some.shape[3], dim=3).values  # from the top
        found = torch.matmul(ordered.index_select(3, self.get_buffer("ranks")), self.between)
        if self.step == 1:
            return [found]
        extremes = [x.amin(dim=3, keepdim=True), x.amax(dim=3, keepdim=True)]
        return [*extremes, found[..., 2:]]


def _quantiles(count: int) -> tuple[list[int], Tensor]:
    """Return which of so many samples, from the top, are read, and what they are multiplied by.

    Columns are the smallest, the largest and the quantiles.
    """
    weight = np.zeros((count, 2 + len(QUANTILES)))
    weight[0, 0] = weight[-1, 1] = 1
    for column, share in enumerate(QUANTILES, start=2):
        place = share * (count - 1)
        below = int(place)
        weight[below, column] += 1 - (place - below)
        weight[min(below + 1, count - 1), column] += place - below
    read = np.flatnonzero(weight.any(axis=1))
    return (count - 1 - read).tolist(), torch.from_numpy(weight[read].astype(np.float32))


class Spectrum(nn.Module):
    """Energy in octaves, and the largest peak, of centred windows.

    A window's transform is one product of matrices, or two small ones (Cooley and Tukey 1965).

    Args:
        samples: T.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        time = self.samples = samples
        self.one = max(n for n in range(1, int(time**0.5) + 1) if time % n == 0)
        self.whole = time <= WHOLE_TRANSFORM or self.one == 1
        self.transformed = self.one == 1 and time > LARGEST_PRIME
        frequencies = np.arange(time // 2 + 1)
        if self.transformed:
            pass
        elif self.whole:
            self._keep("turn", np.concatenate(_turns(time, time // 2 + 1, time), axis=1))
        else:
            frequencies = self._keep_two(self.one, time // self.one)
        half = time // 2
        edges = [0, *(-(-time // 2**octave) for octave in range(BANDS, 1, -1)), half + 1]
        bands = [
            (low <= frequencies) & (frequencies < high)
            for low, high in pairwise(min(edge, half + 1) for edge in edges)
        ]
        self._keep("bands", np.stack([*bands, frequencies <= half], axis=1) / time)
        # beyond half the rate stands what is at its mirror image
        self._keep("peaks", np.minimum(frequencies, time - frequencies) / time)

    def _keep(self, name: str, values: NDArray[np.float64]) -> None:
        self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))

    def _keep_two(self, one: int, other: int) -> NDArray[np.int64]:
        """Keep what two products take; return the frequency of each place."""
        cosine, sine = _turns(one, one, one)
        parts = [np.stack(two, axis=1).reshape(2 * one, one) for two in
                 ((cosine, sine), (-sine, cosine))]  # fmt: skip
        self._keep("first", np.concatenate(parts))
        for name, part in zip(("cosine", "sine"), _turns(one, other, one * other), strict=True):
            self._keep(name, np.repeat(part, 2, axis=0))
        cosine, sine = _turns(other, other // 2 + 1, other)
        self._keep("last", np.block([[cosine, sine], [-sine, cosine]]))
        found = np.arange(one)[:, None] + one * np.arange(other // 2 + 1)
        return np.asarray(found.ravel())

    def _power(self, x: Tensor) -> Tensor:
        """Return T times the power at each place of (B, M, C, T)."""
        of = self.get_buffer
        if self.transformed:
            found = torch.fft.rfft(x, dim=3)
            transformed: Tensor = found.real.square() + found.imag.square()
            return transformed
        if self.whole:
            y = torch.matmul(x, of("turn"))
        else:
            y = torch.matmul(of("first"), x.unflatten(3, (self.one, -1)))
            plain, turned = y.chunk(2, dim=3)
            y = plain * of("cosine") + turned * of("sine")
            y = torch.matmul(y.unflatten(3, (self.one, 2)).flatten(4), of("last"))
        real, imaginary = (y * y).chunk(2, dim=-1)
        return (real + imaginary).flatten(3)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return log-energies and the largest peak of (B, M, C, T), along the last axis."""
        power = self._power(x)
        energy = torch.matmul(power, self.get_buffer("bands"))
        peak = self.get_buffer("peaks")[power.argmax(dim=3, keepdim=True)]
        heard = energy[..., BANDS:] > SILENT
        return [(energy[..., :BANDS] + SILENT).log(), torch.where(heard, peak, 0.0)]


def _turns(rows: int, columns: int, period: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cosine and sine of -2 pi rows * columns / period."""
    angle = -2 * np.pi * (np.arange(rows)[:, None] * np.arange(columns) % period) / period
    return np.cos(angle), np.sin(angle)
