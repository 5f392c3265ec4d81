"""Scores from confusion matrices by subject, with bootstrap intervals over subjects.

A confusion matrix per subject is all that any score here needs, so that pooling, resampling
subjects and pairing methods never touch predictions again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num
from numpy.typing import NDArray

from crossl.errors import DataError

Confusion = Num[NDArray[Any], "*lead true predicted"]
Metric = Callable[[Confusion], NDArray[np.float64]]

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with its 95% bootstrap interval over `n` subjects; one subject has no interval."""

    value: float
    low: float | None
    high: float | None
    n: int

    def told(self, sign: str = "") -> str:
        """Write the interval, or nothing where there is none.

        Examples:
            >>> Interval(0.5, 0.4, 0.61, 9).told()
            '[0.400, 0.610]'
        """
        if self.low is None or self.high is None:
            return ""
        return f"[{self.low:{sign}.3f}, {self.high:{sign}.3f}]"


def macro_f1(confusion: Num[NDArray[Any], "*lead true predicted"]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur among true or predicted ones, as scikit-learn has it.

    Examples:
        >>> float(macro_f1(np.array([[2, 0], [1, 1]])).round(4))
        0.7333
    """
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)  # 2 TP + FP + FN
    f1 = 2 * hit / np.maximum(total, 1e-12)
    return np.asarray(f1.sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1))


def confusion_by_subject(
    label: NDArray[np.int64],
    predicted: NDArray[np.int64],
    subject: NDArray[np.str_],
    *,
    classes: int,
) -> tuple[NDArray[np.str_], Int[NDArray[Any], "subject true predicted"]]:
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


def subject_draws(subjects: int, *, seed: int = 0, draws: int = DRAWS) -> NDArray[np.int64]:
    """Count how often each subject stands in each bootstrap sample, (draws, subjects)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=draws)


def bootstrap_score(
    confusions: Int[NDArray[Any], "seed subject true predicted"], metric: Metric, *, seed: int = 0
) -> Interval:
    """Score the pooled windows of all subjects, averaged over label draws.

    Args:
        confusions: by label draw and subject.
        metric: of one confusion matrix.
        seed: of the bootstrap.

    Raises:
        DataError: there is no subject.
    """
    subjects = confusions.shape[1]
    if not subjects:
        raise DataError("score: no labelled test window; test subjects need at least one")
    value = float(metric(confusions.sum(axis=1)).mean())
    samples = resampled_scores(confusions, metric, subject_draws(subjects, seed=seed))
    return interval_of(value, samples, subjects)


def resampled_scores(
    confusions: Int[NDArray[Any], "seed subject true predicted"],
    metric: Metric,
    draws: Int[NDArray[Any], "draw subject"],
) -> Float[NDArray[Any], " draw"]:
    """Score every bootstrap sample, averaged over label draws."""
    by_seed = [metric(np.tensordot(draws, one, axes=(1, 0))) for one in confusions]
    return np.asarray(np.mean(by_seed, axis=0))


def paired_difference(
    first: Int[NDArray[Any], "seed subject true predicted"],
    second: Int[NDArray[Any], "seed subject true predicted"],
    metric: Metric = macro_f1,
    *,
    seed: int = 0,
) -> Interval:
    """Difference of two methods, first minus second, paired by subject.

    Each subject's score is averaged over label draws; the interval is that of the mean difference
    when subjects are resampled.

    Args:
        first: confusions of one method by label draw and subject.
        second: of the other; same subjects in the same order.
        metric: of one confusion matrix.
        seed: of the bootstrap.
    """
    return mean_interval(metric(first).mean(axis=0) - metric(second).mean(axis=0), seed=seed)


def mean_interval(values: Float[NDArray[Any], " subject"], *, seed: int = 0) -> Interval:
    """Average one value of each subject; the interval is that of the mean, subjects resampled."""
    n = len(values)
    return interval_of(float(values.mean()), subject_draws(n, seed=seed) @ values / n, n)


def score_kept(
    left: Int[NDArray[Any], "seed subject true predicted"],
    whole: Int[NDArray[Any], "seed subject true predicted"],
    metric: Metric = macro_f1,
    *,
    seed: int = 0,
) -> Interval:
    """Share of a score that is left when something is taken away, on the same windows.

    Args:
        left: confusions with something missing, by label draw and subject.
        whole: with everything, of the same windows and subjects in the same order.
        metric: of one confusion matrix.
        seed: of the bootstrap; both scores are of the same samples of subjects.
    """
    n = left.shape[1]
    once = np.ones((1, n), dtype=np.int64)
    draws = np.concatenate([once, subject_draws(n, seed=seed)])
    kept, full = (resampled_scores(one, metric, draws) for one in (left, whole))
    share = np.where(full > 0, kept / np.maximum(full, 1e-12), 0.0)
    return interval_of(float(share[0]), share[1:], n)


def interval_of(value: float, samples: NDArray[np.float64], subjects: int) -> Interval:
    """Put the interval of bootstrap samples around a value; none where there is one subject."""
    if subjects < 2:
        return Interval(value, None, None, subjects)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(value, float(low), float(high), subjects)
