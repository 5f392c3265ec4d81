"""Embeddings that are not finite are refused, and so is what is too far away to be embedded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crossl.errors import DataError
from crossl.nn.standardise import Standardiser

FARTHEST = 1e15
"""Standard deviations of training; beyond, squares leave float32 and features mean nothing."""


def check_finite(
    where: str, embedding: NDArray[np.floating[Any]], signals: Mapping[str, Tensor]
) -> None:
    """Refuse embeddings that are not finite.

    Args:
        where: names the windows in messages.
        embedding: (B, D).
        signals: {modality: (B, T, C)} that they were made of.

    Raises:
        DataError: names how many, and the modality with the largest number.
    """
    bad = ~np.isfinite(embedding).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        largest = {name: float(x[row].abs().max()) for name, x in signals.items() if x.numel()}
        raise _too_far(
            f"{where}: the embeddings of {int(bad.sum())} windows are not finite", largest
        )


def check_reach(where: str, standardiser: Standardiser, signals: Mapping[str, Tensor]) -> None:
    """Refuse numbers that are too far from those of training for any embedding to mean something.

    Args:
        where: names the windows in messages.
        standardiser: of the model.
        signals: {modality: (B, T, C)}.

    Raises:
        DataError: names the modality.
    """
    for name, x in standardiser(signals).items():
        if x.numel() and not float(x.abs().max()) < FARTHEST:
            largest = {name: float(signals[name].abs().max())}
            raise _too_far(f"{where}: lie beyond {FARTHEST:g} standard deviations", largest)


def _too_far(what: str, largest: Mapping[str, float]) -> DataError:
    name = max(largest, key=lambda one: largest[one])
    return DataError(
        f"{what} ('{name}' reaches {largest[name]:.3g}); numbers so far from those of training "
        "have no embedding, check their unit or make them missing"
    )
