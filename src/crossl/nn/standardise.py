"""Standardisation as part of the model: statistics of training subjects, kept as buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossl.data.batch import in_batches
from crossl.data.calibrated import recorded
from crossl.data.damage import Deviation
from crossl.data.recording import Modality
from crossl.data.source import WindowSource
from crossl.errors import DataError


class Standardiser(nn.Module):
    """Shift and scale every channel to mean 0 and standard deviation 1.

    Until `fit` or a loaded checkpoint says otherwise it changes nothing.

    Args:
        modalities: the streams.
    """

    def __init__(self, modalities: Sequence[Modality]) -> None:
        super().__init__()
        for modality in modalities:
            channels = len(modality.channels)
            self.register_buffer(f"mean_{modality.name}", torch.zeros(channels))
            self.register_buffer(f"std_{modality.name}", torch.ones(channels))

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Standardise {modality: (B, T, C)}."""
        buffers = cast(
            "dict[str, Tensor]", self._buffers
        )  # by name, without a walk over modules at every call
        return {
            name: (x - buffers[f"mean_{name}"]) / buffers[f"std_{name}"]
            for name, x in signals.items()
        }

    def deviation(self, name: str) -> NDArray[np.floating[Any]]:
        """Return the standard deviation of each channel of a modality in training, (C,)."""
        return np.asarray(self.get_buffer(f"std_{name}").cpu())

    @property
    def fitted(self) -> bool:
        """Whether `fit`, or a loaded checkpoint, has changed what it does."""
        return any((value != name.startswith("std_")).any() for name, value in self.named_buffers())

    def fit(self, source: WindowSource, rows: NDArray[np.int64]) -> None:
        """Take the statistics of some windows; what is not present does not count.

        Args:
            source: a store or arrays.
            rows: windows of training subjects, and of no others.

        Raises:
            DataError: a modality is present in none of them.
        """
        for name, (mean, std) in channel_statistics(source, rows).items():
            self.get_buffer(f"mean_{name}").copy_(mean)
            self.get_buffer(f"std_{name}").copy_(std)


def recorded_deviation(
    standardiser: Standardiser, source: WindowSource, rows: NDArray[np.int64]
) -> Deviation:
    """Return what tells the deviation of channels as they were recorded, when it is asked for.

    Args:
        standardiser: fitted on the source by then.
        source: windows, which may be calibrated by their own recordings.
        rows: of training subjects.
    """

    @cache
    def of_recordings() -> dict[str, tuple[Tensor, Tensor]]:
        return channel_statistics(recorded(source), rows)

    @cache
    def deviation(name: str) -> NDArray[np.floating[Any]]:
        if recorded(source) is source:
            return standardiser.deviation(name)
        return np.asarray(of_recordings()[name][1])

    return deviation


def channel_statistics(
    source: WindowSource, rows: NDArray[np.int64]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return {modality: (mean, std)}, each (C,), in one pass in float64.

    A channel that never changes gets a standard deviation of 1.

    Raises:
        DataError: a modality is present in no window.
    """
    count = {m.name: 0 for m in source.modalities}
    total = {m.name: torch.zeros(len(m.channels), dtype=torch.float64) for m in source.modalities}
    square = {name: value.clone() for name, value in total.items()}
    for batch in in_batches(source, rows):
        for column, (name, x) in enumerate(batch.signals.items()):
            recorded = x[batch.present[:, column]].double()
            count[name] += recorded.shape[0] * recorded.shape[1]
            total[name] += recorded.sum(dim=(0, 1))
            square[name] += recorded.square().sum(dim=(0, 1))
    out = {}
    for name, n in count.items():
        if n == 0:
            raise DataError(
                f"modality '{name}': is present in none of the {len(rows)} training windows; "
                "leave it out (`crossl prepare --without`), or give training subjects who have it"
            )
        mean = total[name] / n
        variance = (square[name] / n - mean.square()).clamp(min=0)
        # below float32 resolution of the mean a spread is rounding, not signal
        constant = variance.sqrt() <= 1e-6 * mean.abs()
        std = torch.where(constant, 1.0, variance.sqrt())
        out[name] = (mean.float(), std.float())
    return out
