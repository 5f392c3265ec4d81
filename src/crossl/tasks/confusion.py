"""Scores from confusion matrices, which may be of one subject or sums over many."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Int, Num
from numpy.typing import NDArray

from crossl.tasks.task import Metric

Confusion = Num[np.ndarray, "*lead true predicted"]


def macro_f1(confusion: Num[np.ndarray, "*lead true predicted"]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur among true or predicted ones, as scikit-learn has it.

    Examples:
        >>> float(macro_f1(np.array([[2, 0], [1, 1]])).round(4))
        0.7333
    """
    hit, total = _sums(confusion, "hit", "either")  # either: 2 TP + FP + FN
    f1 = 2 * hit / np.maximum(total, 1e-12)
    return np.asarray(f1.sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1))


def balanced_accuracy(confusion: Confusion) -> NDArray[np.float64]:
    """Mean recall of the classes that occur."""
    hit, support = _sums(confusion, "hit", "true")
    recall = hit / np.maximum(support, 1e-12)
    return np.asarray(recall.sum(axis=-1) / np.maximum((support > 0).sum(axis=-1), 1))


def cohen_kappa(confusion: Confusion) -> NDArray[np.float64]:
    """Agreement beyond chance; 0 where chance alone explains everything."""
    true, predicted = _sums(confusion, "true", "predicted")
    n = true.sum(axis=-1)
    observed = np.einsum("...cc->...", confusion) / np.maximum(n, 1e-12)
    expected = np.einsum("...c,...c->...", true, predicted) / np.maximum(n**2, 1e-12)
    return np.asarray((observed - expected) / np.maximum(1 - expected, 1e-12))


def _sums(confusion: Confusion, *wanted: str) -> list[NDArray[np.float64]]:
    """Return some of each class's `hit`, `true`, `predicted` and `either` windows: (..., classes).

    One product of whole numbers, exact, is several times as fast as sums over short axes.
    """
    classes = confusion.shape[-1]
    flat = confusion.reshape(*confusion.shape[:-2], classes**2)
    found = flat @ _adding(classes, wanted)
    return [found[..., i * classes : (i + 1) * classes] for i in range(len(wanted))]


@cache
def _adding(classes: int, wanted: tuple[str, ...]) -> NDArray[np.float64]:
    """Return what makes sums of a flat confusion matrix: (classes * classes, wanted * classes)."""
    one = np.eye(classes)
    rows, columns = np.repeat(one, classes, axis=0), np.tile(one, (classes, 1))
    every = {"hit": rows * columns, "true": rows, "predicted": columns, "either": rows + columns}
    return np.concatenate([every[name] for name in wanted], axis=1)


METRICS: dict[str, Metric] = {
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "cohen_kappa": cohen_kappa,
}


def confusion_by_subject(
    label: NDArray[np.int64],
    predicted: NDArray[np.int64],
    subject: NDArray[np.str_],
    *,
    classes: int,
) -> tuple[NDArray[np.str_], Int[np.ndarray, "subject true predicted"]]:
    """Count predictions by subject, true and predicted class.

    Args:
        label: (n,) true labels; rows below 0 are left out.
        predicted: (n,) predicted labels.
        subject: (n,) names.
        classes: number of classes.

    Returns:
        The subjects, sorted, and their confusion matrices.
    """
    known = label >= 0
    names, index = np.unique(subject[known], return_inverse=True)
    counts = np.zeros((len(names), classes, classes), dtype=np.int64)
    np.add.at(counts, (index, label[known], predicted[known]), 1)
    return names, counts
