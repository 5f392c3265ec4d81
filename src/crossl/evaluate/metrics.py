"""Scores with bootstrap intervals over subjects, from what a task counts of each subject.

Such as a confusion matrix. Sums over subjects are all that any score needs, so that pooling,
resampling subjects and pairing methods never touch predictions again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from crossl.errors import DataError
from crossl.tasks import Metric, Statistics
from crossl.tasks.confusion import macro_f1

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


def subject_draws(subjects: int, *, seed: int = 0, draws: int = DRAWS) -> NDArray[np.int64]:
    """Count how often each subject stands in each bootstrap sample, (draws, subjects)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=draws)


def bootstrap_score(counts: Statistics, metric: Metric, *, seed: int = 0) -> Interval:
    """Score the pooled windows of all subjects, averaged over label draws.

    Args:
        counts: (seed, subject, ...) by label draw and subject.
        metric: of the counts of one subject, or their sum over several.
        seed: of the bootstrap.

    Raises:
        DataError: there is no subject.
    """
    subjects = counts.shape[1]
    if not subjects:
        raise DataError("score: no labelled test window; test subjects need at least one")
    value = float(metric(counts.sum(axis=1)).mean())
    samples = resampled_scores(counts, metric, subject_draws(subjects, seed=seed))
    return interval_of(value, samples, subjects)


def resampled_scores(
    counts: Statistics,
    metric: Metric,
    draws: Int[NDArray[Any], "draw subject"],
) -> Float[NDArray[Any], " draw"]:
    """Score every bootstrap sample, averaged over label draws."""
    by_seed = [metric(np.tensordot(draws, one, axes=(1, 0))) for one in counts]
    return np.asarray(np.mean(by_seed, axis=0))


def paired_difference(
    first: Statistics,
    second: Statistics,
    metric: Metric = macro_f1,
    *,
    seed: int = 0,
) -> Interval:
    """Difference of two methods, first minus second, paired by subject.

    Each subject's score is averaged over label draws; the interval is that of the mean difference
    when subjects are resampled.

    Args:
        first: counts of one method, (seed, subject, ...).
        second: of the other; same subjects in the same order.
        metric: of the counts of one subject.
        seed: of the bootstrap.
    """
    return mean_interval(metric(first).mean(axis=0) - metric(second).mean(axis=0), seed=seed)


def mean_interval(values: Float[NDArray[Any], " subject"], *, seed: int = 0) -> Interval:
    """Average one value of each subject; the interval is that of the mean, subjects resampled."""
    n = len(values)
    return interval_of(float(values.mean()), subject_draws(n, seed=seed) @ values / n, n)


def score_kept(
    left: Statistics,
    whole: Statistics,
    metric: Metric = macro_f1,
    *,
    lower_is_better: bool = False,
    seed: int = 0,
) -> Interval:
    """Share of a score that is left when something is taken away, on the same windows.

    Args:
        left: counts with something missing, (seed, subject, ...).
        whole: with everything, of the same windows and subjects in the same order.
        metric: of the counts of one subject.
        lower_is_better: the metric is an error; its share is the error with everything over the
            error with something missing.
        seed: of the bootstrap; both scores are of the same samples of subjects.
    """
    n = left.shape[1]
    once = np.ones((1, n), dtype=np.int64)
    draws = np.concatenate([once, subject_draws(n, seed=seed)])
    kept, full = (resampled_scores(one, metric, draws) for one in (left, whole))
    if lower_is_better:
        kept, full = full, kept
    share = np.where(full > 0, kept / np.maximum(full, 1e-12), 0.0)
    return interval_of(float(share[0]), share[1:], n)


def interval_of(value: float, samples: NDArray[np.float64], subjects: int) -> Interval:
    """Put the interval of bootstrap samples around a value; none where there is one subject."""
    if subjects < 2:
        return Interval(value, None, None, subjects)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(value, float(low), float(high), subjects)
