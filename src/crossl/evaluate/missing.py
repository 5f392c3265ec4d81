"""Missing sensors: the score of every subset, and what each sensor is worth."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import comb
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossl.learn.finetune import Classifier
from crossl.learn.probe import LatentTable, Subset

Worth = TypeVar("Worth", float, NDArray[np.float64])


def predict_subsets(
    classifier: Classifier, table: LatentTable, choices: list[Subset]
) -> dict[Subset, NDArray[np.int64]]:
    """Predict every window as if only some modalities had been recorded.

    Latents are in the table already: each subset re-runs the aggregator and the classifier only.

    Args:
        classifier: trained once; nothing is retrained.
        table: latents of test windows.
        choices: subsets of modality columns.
    """
    return {s: classifier.predict(table.embed(classifier.head, s)) for s in choices}


def shapley_values(worth: Mapping[Subset, Worth], modalities: int) -> list[Worth]:
    """Compute the exact Shapley value of each modality.

    Args:
        worth: score of every subset of columns, the empty one included.
        modalities: M.

    Returns:
        M values that add up to the score of all minus the score of none.

    Examples:
        >>> shapley_values({(): 0.0, (0,): 0.5, (1,): 0.5, (0, 1): 0.8}, 2)
        [0.4, 0.4]
    """
    out = []
    for one in range(modalities):
        others = [m for m in range(modalities) if m != one]
        gains = [
            (worth[tuple(sorted((*rest, one)))] - worth[rest])
            / (modalities * comb(modalities - 1, size))
            for size in range(modalities)
            for rest in combinations(others, size)
        ]
        out.append(sum(gains[1:], start=gains[0]))
    return out
