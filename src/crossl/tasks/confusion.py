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
    classes = confusion.shape[-1]
    found = confusion.reshape(*confusion.shape[:-2], classes**2) @ _hits_and_totals(classes)
    hit, total = found[..., :classes], found[..., classes:]  # total: 2 TP + FP + FN
    f1 = 2 * hit / np.maximum(total, 1e-12)
    return np.asarray(f1.sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1))


@cache
def _hits_and_totals(classes: int) -> NDArray[np.float64]:
    """Return what makes hits of each class, and row and column sums, of a flat confusion matrix.

    One product of whole numbers, exact, is several times as fast as sums over short axes.

    Returns:
        (classes * classes, 2 * classes).
    """
    one = np.eye(classes)
    hit = np.einsum("tc,pc->tpc", one, one).reshape(-1, classes)
    rows, columns = np.repeat(one, classes, axis=0), np.tile(one, (classes, 1))
    return np.concatenate([hit, rows + columns], axis=1)


def balanced_accuracy(confusion: Confusion) -> NDArray[np.float64]:
    """Mean recall of the classes that occur."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    support = confusion.sum(axis=-1)
    recall = hit / np.maximum(support, 1e-12)
    return np.asarray(recall.sum(axis=-1) / np.maximum((support > 0).sum(axis=-1), 1))


def cohen_kappa(confusion: Confusion) -> NDArray[np.float64]:
    """Agreement beyond chance; 0 where chance alone explains everything."""
    n = confusion.sum(axis=(-2, -1)).astype(np.float64)
    observed = np.trace(confusion, axis1=-2, axis2=-1) / np.maximum(n, 1e-12)
    by_true, by_predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    expected = (by_true * by_predicted).sum(axis=-1) / np.maximum(n**2, 1e-12)
    return np.asarray((observed - expected) / np.maximum(1 - expected, 1e-12))


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
