"""The 22 canonical characteristics of a series, by pycatch22 (the extra `bench`).

Lubba and others (2019, catch22, doi 10.1007/s10618-019-00647-x). Each channel of a modality is a
series, and so is the length of the vector where there are 3; mean and deviation are given beside
the 22, which do not depend on them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossl.config.schema import ContenderConfig
from crossl.contenders.boosting import needed
from crossl.contenders.features import Describe, Linear
from crossl.contenders.trees import Trees, random_forest
from crossl.data.recording import Modality
from crossl.registry import register

SHORTEST = 10
"""Samples below which most of the 22 mean nothing: mean and deviation alone are given."""
FEATURES = 24


class Catch22Config(ContenderConfig):
    """A classifier on catch22 of each modality.

    Attributes:
        classifier: logistic regression, or a random forest.
        trees: of the forest.
    """

    repeats: ClassVar = "none"
    kind: Literal["catch22"] = "catch22"
    classifier: Literal["logistic", "forest"] = "logistic"
    trees: int = Field(200, gt=0)

    def build(self, name: str) -> Linear | Trees:
        """Make the contender.

        Raises:
            PackageError: pycatch22 is not installed.
        """
        package = needed("pycatch22", "pycatch22", name)

        def fit(modality: Modality, train: NDArray[np.float32], repeat: int) -> Describe:
            del modality, train, repeat
            return partial(catch22, package)

        if self.classifier == "forest":
            return Trees(name, partial(random_forest, self.trees), fit, shared="catch22")
        return Linear(name, fit, ridge=False, shared="catch22")


def catch22(package: Any, x: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Describe windows of one modality.

    Args:
        package: pycatch22.
        x: (n, T, C).

    Returns:
        (n, 24 C) float32, or (n, 96) of 3 channels; 0 where a characteristic is not defined, as of
        a channel that does not move.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.shape[2] == 3:
        x = np.concatenate([x, np.linalg.norm(x, axis=2, keepdims=True)], axis=2)
    series = x.swapaxes(1, 2).reshape(-1, x.shape[1])
    mean, std = series.mean(axis=1), series.std(axis=1)
    found = np.zeros((len(series), FEATURES))
    found[:, 22], found[:, 23] = mean, std
    if x.shape[1] >= SHORTEST:
        for row in np.flatnonzero(std > 1e-12):
            z = (series[row] - mean[row]) / std[row]
            found[row, :22] = package.catch22_all(z.tolist())["values"]
    kept = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
    return kept.reshape(len(x), x.shape[2] * FEATURES).astype(np.float32)


register("contender", Catch22Config)
