"""Scores with bootstrap intervals over subjects, from what a task counts of each subject.

Such as a confusion matrix. Sums over subjects are all that any score needs, so that pooling,
resampling subjects and pairing methods never touch predictions again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from crossl.errors import DataError
from crossl.evaluate.resampling import Design, Resampling, sign_flip_p, subject_draws
from crossl.tasks import Metric, Statistics
from crossl.tasks.confusion import macro_f1

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with its 95% bootstrap interval over `n` subjects; one subject has no interval.

    `p` is of a paired difference: how likely one as far from 0 is if both methods are alike.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    p: float | None = field(default=None, compare=False)

    def told(self, sign: str = "") -> str:
        """Write the interval, or nothing where there is none.

        Examples:
            >>> Interval(0.5, 0.4, 0.61, 9).told()
            '[0.400, 0.610]'
        """
        if self.low is None or self.high is None:
            return ""
        return f"[{self.low:{sign}.3f}, {self.high:{sign}.3f}]"


def bootstrap_score(
    counts: Statistics, metric: Metric, *, design: Design | None = None, seed: int = 0
) -> Interval:
    """Score the pooled windows of all subjects, averaged over label draws and pretrainings.

    Args:
        counts: (unit, subject, ...) by label draw and pretraining, and by subject.
        metric: of the counts of one subject, or their sum over several.
        design: what varies beside people; None for nothing.
        seed: of the bootstrap.

    Raises:
        DataError: there is no subject.
    """
    subjects = counts.shape[1]
    if not subjects:
        raise DataError("score: no labelled test window; test subjects need at least one")
    samples = Resampling.of(design or Design.of_people(counts), seed=seed).scores(counts, metric)
    return interval_of(float(metric(counts.sum(axis=1)).mean()), samples[1:], subjects)


def bootstrap_scores(
    counts: Statistics, metrics: Mapping[str, Metric], *, main: str, design: Design, seed: int = 0
) -> dict[str, Interval]:
    """Score pooled windows by several metrics of the same samples; see `bootstrap_score`.

    Args:
        counts: (unit, subject, ...) by label draw and pretraining, and by subject.
        metrics: by name.
        main: the metric by which the same counts will be asked for again.
        design: what varies.
        seed: of the bootstrap.
    """
    if not counts.shape[1]:
        raise DataError("score: no labelled test window; test subjects need at least one")
    samples = Resampling.of(design, seed=seed).several(counts, metrics, remember=(main,))
    whole = counts.sum(axis=1)
    return {name: interval_of(float(metric(whole).mean()), samples[name][1:], counts.shape[1])
            for name, metric in metrics.items()}  # fmt: skip


def paired_difference(
    first: Statistics,
    second: Statistics,
    metric: Metric = macro_f1,
    *,
    designs: tuple[Design, Design] | None = None,
    seed: int = 0,
) -> Interval:
    """Difference of two methods, first minus second, paired by subject.

    The value of a subject is its score, averaged over label draws and pretrainings; the interval
    is that of the mean difference when all of these are resampled, people and label draws alike
    for both methods.

    Args:
        first: counts of one method, (unit, subject, ...).
        second: of the other; same subjects in the same order.
        metric: of the counts of one subject.
        designs: of both; None where only people vary.
        seed: of the bootstrap.
    """
    one, two = metric(first), metric(second)
    return difference_interval(one, two, designs=designs, seed=seed)


def difference_interval(
    one: Float[np.ndarray, "unit subject"],
    two: Float[np.ndarray, "unit subject"],
    *,
    designs: tuple[Design, Design] | None = None,
    seed: int = 0,
) -> Interval:
    """Average the differences of two methods' values, paired by subject, with p by sign flips.

    Args:
        one: of each unit and subject under one method.
        two: under the other; other units perhaps, the same subjects.
        designs: of both; None where only people vary.
        seed: of the bootstrap.
    """
    differences = one.mean(axis=0) - two.mean(axis=0)
    a, b = designs or (Design.of_people(one), Design.of_people(two))
    samples = Resampling.of(a, seed=seed).means(one) - Resampling.of(b, seed=seed).means(two)
    found = interval_of(float(differences.mean()), samples[1:], len(differences))
    return replace(found, p=sign_flip_p(differences))


def mean_interval(values: Float[np.ndarray, " subject"], *, seed: int = 0) -> Interval:
    """Average one value of each subject; the interval is that of the mean, subjects resampled."""
    n = len(values)
    return interval_of(float(values.mean()), subject_draws(n, seed=seed) @ values / n, n)


def score_kept(
    left: Statistics,
    whole: Statistics,
    metric: Metric = macro_f1,
    *,
    lower_is_better: bool = False,
    design: Design | None = None,
    seed: int = 0,
) -> Interval:
    """Share of a score that is left when something is taken away, on the same windows.

    Args:
        left: counts with something missing, (unit, subject, ...).
        whole: with everything, of the same windows and subjects in the same order.
        metric: of the counts of one subject.
        lower_is_better: the metric is an error; its share is the error with everything over the
            error with something missing.
        design: what varies beside people; None for nothing.
        seed: of the bootstrap; both scores are of the same samples.
    """
    samples = Resampling.of(design or Design.of_people(left), seed=seed)
    kept, full = (samples.scores(one, metric) for one in (left, whole))
    if lower_is_better:
        kept, full = full, kept
    share = np.where(full > 0, kept / np.maximum(full, 1e-12), 0.0)
    return interval_of(float(share[0]), share[1:], left.shape[1])


def interval_of(value: float, samples: NDArray[np.float64], subjects: int) -> Interval:
    """Put the interval of bootstrap samples around a value; none where there is one subject."""
    if subjects < 2:
        return Interval(value, None, None, subjects)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(value, float(low), float(high), subjects)
