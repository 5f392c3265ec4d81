"""Partitions by subject, and label fractions: nothing here ever looks at a window's content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossl.errors import SplitError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row indices of one partition by subject.

    Raises:
        SplitError: a subject stands in two parts, or a part is empty.
    """

    train: Rows
    validation: Rows
    test: Rows
    index: int = 0

    def check(self, subject: NDArray[np.str_]) -> Fold:
        """Return self after proving that no subject stands in two parts."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        owner: dict[str, str] = {}
        for part, rows in parts.items():
            if len(rows) == 0:
                raise SplitError(f"fold {self.index}: {part} has no window; every part needs some")
            for name in np.unique(subject[rows]).tolist():
                if name in owner:
                    raise SplitError(
                        f"fold {self.index}: subject '{name}' is in {owner[name]} and in {part}; "
                        "a subject belongs to one part only"
                    )
                owner[name] = part
        return self


def fold_from_subjects(
    subject: NDArray[np.str_],
    *,
    train: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    index: int = 0,
) -> Fold:
    """Build a fold from named subjects.

    Args:
        subject: (W,) subject of each window.
        train: subjects whose windows are learned from.
        validation: subjects that choose hyper-parameters and stop the training.
        test: subjects that only the final score sees.
        index: number of the fold.

    Raises:
        SplitError: a subject is unknown, or in two parts, or a part is empty.
    """
    known = set(subject.tolist())
    for part, names in (("train", train), ("validation", validation), ("test", test)):
        unknown = sorted(set(names) - known)
        if unknown:
            raise SplitError(
                f"fold {index}: {part} names subject '{unknown[0]}', who has no window"
            )
    rows = [np.flatnonzero(np.isin(subject, list(names))) for names in (train, validation, test)]
    return Fold(rows[0], rows[1], rows[2], index).check(subject)


def subject_folds(
    subject: NDArray[np.str_], *, folds: int, seed: int, validation_share: float = 1 / 6
) -> list[Fold]:
    """Partition subjects into folds; each subject is tested exactly once.

    Args:
        subject: (W,) subject of each window.
        folds: number of partitions.
        seed: decides who is tested where.
        validation_share: share of the subjects not tested that validate, at least one.

    Raises:
        SplitError: too few subjects for that many folds.

    Examples:
        >>> who = np.repeat(["a", "b", "c", "d"], 2)
        >>> [fold.test.tolist() for fold in subject_folds(who, folds=2, seed=0)]
        [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    names = np.unique(subject)
    if folds < 2:
        raise SplitError(f"folds: got {folds}; at least 2 are needed")
    # two folds of three subjects would test two at once and leave one for train and validation
    needed = max(folds, 4 if folds == 2 else 3)
    if len(names) < needed:
        raise SplitError(
            f"folds: {folds} folds of {len(names)} subject(s); train, validation and test need a "
            f"subject each and every fold its own test subjects, so at least {needed}: lower "
            "evaluation.folds (2 folds need 4 subjects, 3 folds 3) or record more people"
        )
    parts = np.array_split(np.random.default_rng(seed).permutation(names), folds)
    out = []
    for i, test in enumerate(parts):
        rest = np.concatenate([parts[(i + 1 + j) % folds] for j in range(folds - 1)])
        n_validation = max(1, round(len(rest) * validation_share))
        fold = fold_from_subjects(
            subject,
            train=rest[n_validation:].tolist(),
            validation=rest[:n_validation].tolist(),
            test=test.tolist(),
            index=i,
        )
        out.append(fold)
    return out


def draw_labels(
    label: NDArray[np.int64],
    rows: Rows,
    *,
    fraction: float,
    seed: int,
    classes: int = 2,
    where: str = "labels",
) -> Rows:
    """Draw the windows whose labels may be used: stratified, at least one of each class.

    Args:
        label: (W,) label of each window; -1 unlabelled.
        rows: windows to draw from; unlabelled ones are left out.
        fraction: share of the labelled windows of each class, 0 < fraction <= 1.
        seed: decides which.
        classes: number of classes of the task; fewer labelled windows than these are refused.
        where: names the draw in a message.

    Returns:
        Sorted row indices.

    Raises:
        SplitError: no or one class only, fewer labelled windows than classes, or a fraction that
            cannot be.
    """
    if not 0 < fraction <= 1:
        raise SplitError(f"{where}: fraction is {fraction}; allowed is 0 < fraction <= 1")
    rows = rows[label[rows] >= 0]
    found = np.unique(label[rows])
    if len(found) < 2:
        raise SplitError(
            f"{where}: {len(rows)} labelled windows of {len(found)} class(es); a classifier needs "
            "at least 2 classes"
        )
    if len(rows) < classes:
        raise SplitError(
            f"{where}: {len(rows)} labelled training windows for {classes} classes; at least one "
            "window of each class is needed"
        )
    if fraction == 1:
        return np.sort(rows)
    generator = np.random.default_rng(seed)
    drawn = []
    for one in found:
        of_class = generator.permutation(rows[label[rows] == one])
        drawn.append(of_class[: max(1, round(fraction * len(of_class)))])
    return np.sort(np.concatenate(drawn))
