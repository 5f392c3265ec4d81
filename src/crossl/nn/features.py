"""Untrained features of a window, to stand beside the embedding that pretraining learns.

What pretraining gives up, these keep; a classifier that reads both is about as good as the better
of the two, with few labels and with many. They have no parameters: they are fitted on unlabelled
windows of training subjects, as standardisation is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from crossl.data.batch import in_batches
from crossl.data.recording import Modality
from crossl.data.source import WindowSource
from crossl.nn.random_kernels import (
    KERNELS,
    convolve_some,
    dilations,
    kernel_weights,
    quantile_shares,
)
from crossl.nn.standardise import Standardiser
from crossl.nn.window_statistics import count_statistics, window_statistics
from crossl.settings import Settings

Window = Float[Tensor, "batch time channel"]

FIT_ROWS = 2048
"""At most about so many training windows that have a modality fit its features."""
PLACES = 64
"""At least so many places of a window, if it has them, answer for the share that it spends above a
bias: a longer one is looked at every so many samples."""
SOFTNESS = 0.01
"""How far around a bias a value counts in part, in standard deviations of a kernel's values: what
rounding changes, on another device or in an export, then changes a share by as little."""
FARTHEST = 8.0
"""Features are clipped to so many standard deviations of training windows."""


class WindowFeatures(nn.Module):
    """Simple statistics of one modality, and random kernels if asked, as principal components.

    The statistics are those of `window_statistics`; the kernels MiniRocket's
    (`crossl.nn.random_kernels`): the share of a window in which each of 84 kernels at several
    dilations exceeds a bias. Both are standardised, have the same variance in all, and are turned
    to their first principal components, which keep their sizes relative to each other and have a
    mean variance of 1, zeros aside: what varies most counts most. Deviations from MiniRocket: a
    share is taken over 64 to 127 places of a longer window; a value that is just about the bias
    counts in part; no feature leaves out where a kernel reaches beyond the window.

    Until `fit` they are zeros.

    Args:
        channels: C of the modality.
        samples: T of its windows.
        kernels: features of each of the 84 kernels; 0 for none.
        width: P, principal components.
        seed: of the channels that kernels see, and of the windows whose quantiles are biases.

    Examples:
        >>> features = WindowFeatures(3, 100, width=4)
        >>> features.fit(torch.randn(32, 100, 3))
        >>> features(torch.randn(2, 100, 3)).shape
        torch.Size([2, 4])
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor

    def __init__(
        self, channels: int, samples: int, *, kernels: int = 0, width: int = 64, seed: int = 0
    ) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.width, self.seed, self.kept = width, seed, 0
        self.dilations, self.counts = dilations(samples, kernels) if kernels else ([], [])
        self.every = max(1, samples // PLACES)
        for level, count in enumerate(self.counts):
            weight = torch.from_numpy(kernel_weights(channels, rng))
            self.register_buffer(f"weight_{level}", weight)
            self.register_buffer(f"bias_{level}", torch.zeros(len(KERNELS), count))
        self.statistics = count_statistics(channels)
        found = self.found = self.statistics + len(KERNELS) * sum(self.counts)
        self.register_buffer("mean", torch.zeros(found))
        self.register_buffer("scale", torch.ones(found))
        self.register_buffer("directions", torch.zeros(found, width))

    def forward(self, x: Window) -> Float[Tensor, "batch feature"]:
        """Describe standardised windows."""
        out: Tensor = self._standard(self._found(x)) @ self.directions
        return out

    def fit(self, x: Window) -> None:
        """Choose biases, and find the principal components of windows.

        Args:
            x: standardised windows of training subjects.
        """
        with torch.no_grad():
            self._fit_biases(x)
            found = torch.cat([self._found(part) for part in x.split(256)])
            self.mean.copy_(found.mean(dim=0))
            spread = found.std(dim=0, correction=0)
            moves = spread > 1e-6  # what never changes in training says nothing
            self.scale.copy_(torch.where(moves, spread, 1.0))
            weight = self._weight(moves).double()
            standard = self._standard(found).double() * weight
            values, vectors = torch.linalg.eigh(standard.T @ standard / len(standard))
            count = self.kept = min(self.width, int(moves.sum()))
            largest = values.flip(0)[:count].clamp(min=0)
            size = (largest.sum() / max(1, count)).sqrt().clamp(min=1e-12)
            self.directions.zero_()
            chosen = vectors.flip(1)[:, :count] / size
            self.directions[:, :count] = (weight[:, None] * chosen).float()

    def _weight(self, moves: Tensor) -> Tensor:
        """Give statistics and kernels the same variance in all."""
        parts = moves.to(self.mean).split([self.statistics, self.found - self.statistics])
        return torch.cat([part / part.sum().clamp(min=1).sqrt() for part in parts])

    def _standard(self, found: Tensor) -> Tensor:
        return ((found - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST)

    def _found(self, x: Window) -> Tensor:
        return torch.cat([window_statistics(x), *self._shares(x)], dim=1)

    def _shares(self, x: Window) -> list[Tensor]:
        """Return the share of places above each bias, (B, 84) each."""
        parts = []
        for level, count in enumerate(self.counts):
            found, bias = self._values(x, level), self.get_buffer(f"bias_{level}")
            for number in range(count):
                above = (found - bias[:, number]).clamp_(0, 1)
                parts.append(above.mean(dim=1))
        return parts

    def _values(self, x: Window, level: int) -> Float[Tensor, "batch place kernel"]:
        weight = self.get_buffer(f"weight_{level}")
        return convolve_some(x, weight, self.dilations[level], self.every)

    def _fit_biases(self, x: Window) -> None:
        """Choose biases, and units in which a value counts in full half a unit above its bias."""
        rng, drawn, every = np.random.default_rng(self.seed + 1), 0, torch.arange(len(KERNELS))
        for level, count in enumerate(self.counts):
            rows = x[torch.from_numpy(rng.integers(len(x), size=len(KERNELS)))]
            values = self._values(rows, level)
            spread = values.flatten(0, 1).std(dim=0, correction=0)
            unit = 2 * SOFTNESS * torch.where(spread > 1e-6, spread, 1.0)
            self.get_buffer(f"weight_{level}").div_(unit[:, None, None])
            one_each = values[every, :, every] / unit[:, None]  # (84, places)
            shares = torch.from_numpy(quantile_shares(drawn, count)).to(one_each)
            biases = [torch.quantile(o, q) for o, q in zip(one_each, shares, strict=True)]
            self.get_buffer(f"bias_{level}").copy_(torch.stack(biases) - 0.5)
            drawn += count * len(KERNELS)


class ModalityFeatures(nn.ModuleDict):
    """Untrained features of each modality of a model.

    Args:
        modalities: the M streams, in order.
        window_s: length of a window, seconds.
        kernels: of each modality; see `WindowFeatures`.
        width: P.
        seed: of the first modality; the others have those that follow it.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        window_s: float,
        kernels: int = 0,
        width: int = 64,
        seed: int = 0,
    ) -> None:
        # a prefix, because torch refuses names such as `type` or `values`
        super().__init__({
            f"of_{m.name}": WindowFeatures(
                len(m.channels), round(window_s * m.rate_hz), kernels=kernels, width=width,
                seed=seed + place,
            )
            for place, m in enumerate(modalities)
        })  # fmt: skip
        self.names = tuple(m.name for m in modalities)
        self.width = width

    def of(self, name: str) -> nn.Module:
        """Return what describes a modality."""
        return self[f"of_{name}"]

    def forward(
        self, signals: Mapping[str, Tensor], present: Tensor
    ) -> Float[Tensor, "batch modality feature"]:
        """Describe standardised windows; zeros, the mean of training, where a modality is absent.

        Args:
            signals: {modality: (B, T, C)}.
            present: (B, M) bool.
        """
        found = torch.stack([self.of(name)(signals[name]) for name in self.names], dim=1)
        return torch.where(present[:, :, None], found, 0.0)

    def fit(
        self, source: WindowSource, rows: NDArray[np.int64], standardiser: Standardiser
    ) -> None:
        """Fit the features of each modality on windows that have it.

        A modality counts by its components that are not zeros; the mean variance of all columns of
        all modalities is 1.

        Args:
            source: a store or arrays.
            rows: windows of training subjects, and of no others.
            standardiser: fitted on the same.
        """
        for column, name in enumerate(self.names):
            having = rows[source.present[rows, column]]
            some = having[:: max(1, -(-len(having) // FIT_ROWS))]
            held = torch.cat([batch.signals[name] for batch in in_batches(source, some)])
            self._of(name).fit(standardiser({name: held})[name])
        kept = sum(self._of(name).kept for name in self.names)
        for name in self.names:
            self._of(name).directions.mul_((len(self.names) * self.width / max(1, kept)) ** 0.5)

    def _of(self, name: str) -> WindowFeatures:
        own = self.of(name)
        assert isinstance(own, WindowFeatures)  # noqa: S101 - made here
        return own


class FeaturesConfig(Settings):
    """Untrained features beside the embedding.

    Attributes:
        kernels: features of each of MiniRocket's 84 kernels beside simple statistics; 0 for none.
        width: principal components of both, of each modality.
        seed: of what is drawn.
    """

    kernels: int = Field(4, ge=0)
    width: int = Field(64, gt=0)
    seed: int = Field(0, ge=0)

    def build(self, modalities: Sequence[Modality], window_s: float) -> ModalityFeatures:
        """Make the features of a model's modalities, not fitted yet."""
        return ModalityFeatures(
            modalities, window_s=window_s, kernels=self.kernels, width=self.width, seed=self.seed
        )
