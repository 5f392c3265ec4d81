"""Missing sensors: the score of every subset, and what each sensor is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.evaluate.latents import LatentTable, Subset
from crossl.evaluate.probe import Classifier, decide_subsets, read_subsets


def predict_subsets(
    classifiers: Sequence[Classifier], table: LatentTable, choices: Sequence[Subset]
) -> list[dict[Subset, NDArray[Any]]]:
    """Predict every window as if only some modalities had been recorded.

    Latents are in the table already, and what subsets have in common is computed once.

    Args:
        classifiers: of one head, each trained once; nothing is retrained.
        table: latents of test windows.
        choices: subsets of modality columns.

    Returns:
        For each classifier {subset: (n, ...) what it says}.
    """
    parts = list(decide_subsets(classifiers, table, choices))
    out = []
    for i, classifier in enumerate(classifiers):
        if parts:
            said = np.concatenate([part[i] for part in parts])
        else:
            width = len(classifier.affine()[1])
            said = classifier.decide(np.empty((0, len(choices), width), np.float32))
        out.append(dict(zip(choices, np.moveaxis(said, 1, 0), strict=True)))
    return out


def probability_subsets(
    classifiers: Sequence[Classifier], table: LatentTable, choices: Sequence[Subset]
) -> list[dict[Subset, NDArray[np.float32]] | None]:
    """Return the probabilities behind `predict_subsets`, by the task of each classifier.

    Those of ridge regression are a softmax of its outputs, which were not fitted for it.

    Returns:
        For each classifier {subset: (n, R) float32}, or None where its task has no probability.
    """
    parts = list(read_subsets(classifiers, table, choices))
    out: list[dict[Subset, NDArray[np.float32]] | None] = []
    for i, classifier in enumerate(classifiers):
        task = getattr(classifier, "task", None)
        # a classifier of several layers says what follows from the first one's readings
        outputs = getattr(classifier, "outputs", np.asarray)
        found = [] if task is None else [task.probabilities(outputs(part[i])) for part in parts]
        if not found or found[0] is None:
            out.append(None)
            continue
        by_subset = np.moveaxis(np.concatenate(found).astype(np.float32), 1, 0)
        out.append(dict(zip(choices, by_subset, strict=True)))
    return out


def shapley_values(worth: Mapping[Subset, Any], modalities: int) -> list[Any]:
    """Compute the exact Shapley value of each modality.

    Args:
        worth: score of every subset of columns, the empty one included: a number, or an array
            of scores under several bootstrap samples.
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
        value = worth[()] * 0
        for size in range(modalities):
            share = 1 / (modalities * comb(modalities - 1, size))
            for rest in combinations(others, size):
                value = value + share * (worth[tuple(sorted((*rest, one)))] - worth[rest])
        out.append(value)
    return out
