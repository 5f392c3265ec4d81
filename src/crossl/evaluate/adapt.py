"""A classifier for one new person: refitted with that person's labelled windows weighed in.

The person's windows together get a share of all weight; which, validation subjects choose, each
in the place of the new person: as many of the first windows of each class as the new person
labelled are weighed in, and the rest is scored, but for windows that reach into those. The share of
the best mean score is taken, the smaller of equals; 0 if nothing helps. The network stays what it
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossl.data.neighbours import Places
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import Probe, fit_strengths
from crossl.evaluate.probe_rows import probe_subsets, rows_of_subsets

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of all weight that are tried for the new person's windows."""
TRYING_ROWS = 3000
"""Embeddings that each trial is fitted on."""


@dataclass(frozen=True)
class Chosen:
    """What validation subjects say of shares.

    Attributes:
        share: the best.
        scores: (P, S) main score of each one who could take part, under each of `SHARES`.
    """

    share: float
    scores: NDArray[np.float64]

    @property
    def gain(self) -> float:
        """What the mean score rises by."""
        if not len(self.scores):
            return float("nan")
        means = self.scores.mean(axis=0)
        return float(means[SHARES.index(self.share)] - means[0])


def fit_adapted(
    probe: Probe, train: LatentTable, person: LatentTable, share: float, *,
    seed: int = 0, max_rows: int = 12000,
) -> Probe:  # fmt: skip
    """Fit a probe again, with the windows of one person weighed in.

    Args:
        probe: whose head, strength and task are kept.
        train: labelled windows that it was fitted on.
        person: labelled windows of the person.
        share: of all weight, that the person's windows get; below 1.
        seed: of the draw of subsets.
        max_rows: at most about this many embeddings of training windows are used.
    """
    choices = probe_subsets(train.present.shape[1], None, missing=True, seed=seed)
    rows = rows_of_subsets(train, probe.head, choices, max_rows, seed)
    if share > 0:
        own = rows_of_subsets(person, probe.head, choices, max_rows, seed)
        total = rows.weight.sum() + own.weight.sum()
        weight = [(1 - share) * total / rows.weight.sum() * rows.weight,
                  share * total / own.weight.sum() * own.weight]  # fmt: skip
        rows = replace(
            rows, embedding=np.concatenate([rows.embedding, own.embedding]),
            label=np.concatenate([rows.label, own.label]), weight=np.concatenate(weight),
        )  # fmt: skip
    (found,) = fit_strengths(rows, probe.head, [probe.strength], task=probe.task)
    return replace(found, validation_score=probe.validation_score)


def choose_share(
    probe: Probe, train: LatentTable, validation: LatentTable, places: Places,
    counts: Mapping[int, int], overlap: int, *, seed: int = 0,
) -> Chosen:  # fmt: skip
    """Let validation subjects say which share is best for a person who labelled so much.

    Args:
        probe: fitted on `train`.
        train: labelled windows of training subjects.
        validation: windows of validation subjects, rows in order.
        places: of the windows of both.
        counts: windows that the new person labelled, by class.
        overlap: strides over which a window reaches into the next ones.
        seed: of the draws of subsets.
    """
    scores = []
    for name in np.unique(validation.subject):
        mine = validation.take((validation.subject == name) & (validation.label >= 0))
        given, rest = split_person(mine, places, counts, overlap)
        if not given.any() or not rest.any():
            continue
        own, scored = mine.take(given), mine.take(rest)
        scores.append([score_of(fit_adapted(probe, train, own, share, seed=seed,
                                            max_rows=TRYING_ROWS), scored)
                       for share in SHARES])  # fmt: skip
    every = np.array(scores).reshape(-1, len(SHARES))
    best = int(np.round(every.mean(axis=0), 9).argmax()) if len(every) else 0
    return Chosen(SHARES[best], every)


def split_person(
    table: LatentTable, places: Places, counts: Mapping[int, int], overlap: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Divide labelled windows of one person: the first of each class, and what is apart from them.

    No more than half of the windows of a class are among the first.

    Args:
        table: windows, rows in order.
        places: of all windows.
        counts: how many of each class.
        overlap: strides over which a window reaches into the next ones.

    Returns:
        Which are the first, (n,), and which are scored, (n,).
    """
    assert table.rows is not None  # noqa: S101 - tables of stores have them
    given = np.zeros(len(table), dtype=np.bool_)
    for label, count in counts.items():
        own = np.flatnonzero(table.label == label)
        given[own[: min(count, len(own) // 2)]] = True
    key = places.recording[table.rows] * (places.span + overlap) + places.step[table.rows]
    reached = np.zeros(len(table), dtype=np.bool_)
    for apart in range(-overlap, overlap + 1):
        reached |= np.isin(key, key[given] + apart)
    return given, ~reached


def score_of(probe: Probe, table: LatentTable) -> float:
    """Score windows of one person, with the sensors that they have."""
    said = probe.predict(table.embed(probe.head))
    _, counts = probe.task.by_subject(table.label, said, table.subject)
    return float(probe.task.gain(probe.task.metric(counts))[0])


def class_counts(label: NDArray[np.int64], classes: Sequence[int]) -> dict[int, int]:
    """Count the windows of each class that has some.

    Examples:
        >>> class_counts(np.array([2, 0, 2]), [0, 1, 2])
        {0: 1, 2: 2}
    """
    return {one: int((label == one).sum()) for one in classes if (label == one).any()}
