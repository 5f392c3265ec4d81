"""Mean ranks of methods over data sets, and which of them differ (Demšar 2006, JMLR 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, studentized_range

Scores = Mapping[str, Mapping[str, float]]
"""By data set, each method's score."""


@dataclass(frozen=True)
class Ranks:
    """Mean ranks, 1 the best.

    Attributes:
        methods: best mean rank first.
        mean: of each.
        critical: mean ranks that lie less than this apart are not significantly different, by
            Nemenyi's test at 5%; None of fewer than 2 data sets.
        sets: data sets that were averaged.
        groups: methods, from the first to the last, between which no difference is significant.
    """

    methods: tuple[str, ...]
    mean: tuple[float, ...]
    critical: float | None
    sets: int
    groups: tuple[tuple[int, int], ...]


def mean_ranks(cells: Sequence[Scores], *, lower_is_better: bool = False) -> Ranks | None:
    """Rank methods in each cell and data set, average over cells, then over data sets.

    Cells of one data set, such as its label fractions, are not independent: the critical
    difference counts data sets. Methods that lack a score anywhere are left out.

    Args:
        cells: such as a label fraction each, with the same data sets.
        lower_is_better: scores are errors.

    Returns:
        None where fewer than two methods were scored everywhere.
    """
    every = [set(scores) for cell in cells for scores in cell.values()]
    methods = sorted(set.intersection(*every)) if every else []
    if len(methods) < 2:
        return None
    sign = 1 if lower_is_better else -1
    by_set: dict[str, list[np.ndarray]] = {}
    for cell in cells:
        for name, scores in cell.items():
            ranks = rankdata([sign * round(scores[m], 6) for m in methods])
            by_set.setdefault(name, []).append(ranks)
    mean = np.mean([np.mean(found, axis=0) for found in by_set.values()], axis=0)
    order = np.argsort(mean, kind="stable")
    ordered = [float(mean[i]) for i in order]
    critical = critical_difference(len(methods), len(by_set))
    return Ranks(tuple(methods[i] for i in order), tuple(ordered), critical, len(by_set),
                 _groups(ordered, critical))  # fmt: skip


def critical_difference(methods: int, sets: int) -> float | None:
    """Return how far mean ranks must lie apart to differ at 5%, by Nemenyi's test.

    Examples:
        >>> round(critical_difference(5, 30), 2)  # Demšar 2006: q = 2.728
        1.11
    """
    if sets < 2:
        return None
    q = float(studentized_range.ppf(0.95, methods, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * sets)))


def _groups(mean: Sequence[float], critical: float | None) -> tuple[tuple[int, int], ...]:
    """List the longest runs of neighbours that do not differ, of two methods at least."""
    if critical is None:
        return ()
    runs: list[tuple[int, int]] = []
    for first in range(len(mean)):
        last = max(i for i in range(first, len(mean)) if mean[i] - mean[first] < critical)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return tuple(runs)
