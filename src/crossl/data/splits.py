"""Partitions by subject, and label fractions: nothing here ever looks at a window's content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.errors import SplitError, counted

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """Row indices of one partition by subject.

    Raises:
        SplitError: a subject is in two parts, or a part is empty.
    """

    train: Rows
    validation: Rows
    test: Rows
    index: int = 0

    def check(self, subject: NDArray[np.str_], *, what: str = "subject") -> Fold:
        """Return self after proving that no subject (or group of them) is in two parts."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        owner: dict[str, str] = {}
        for part, rows in parts.items():
            if len(rows) == 0:
                raise SplitError(f"fold {self.index}: {part} has no window; every part needs some")
            for name in np.unique(subject[rows]).tolist():
                if name in owner:
                    raise SplitError(
                        f"fold {self.index}: {what} '{name}' is in {owner[name]} and in {part}; "
                        f"a {what} belongs to one part only"
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


def group_subjects(recordings: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Say for every subject with whom it stays on one side.

    Args:
        recordings: each with its `subject`, and a `group` if it has one. Who shares a group, or
            shares it with who shares it, belongs together.

    Returns:
        By subject the first name of those who belong together.

    Examples:
        >>> group_subjects([{"subject": "a"}, {"subject": "b", "group": "copies"},
        ...                 {"subject": "c", "group": "copies"}])
        {'a': 'a', 'b': 'b', 'c': 'b'}
    """
    leader: dict[str, str] = {}
    first: dict[str, str] = {}
    for recording in recordings:
        leader.setdefault(recording["subject"], recording["subject"])
        group = recording.get("group")
        if not group:
            continue
        other = leader[first.setdefault(group, recording["subject"])]
        if leader[recording["subject"]] != other:
            both = sorted((other, leader[recording["subject"]]))
            leader = {name: both[0] if one in both else one for name, one in leader.items()}
    return leader


def published_parts(recordings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """List the subjects of each part of a published split.

    Args:
        recordings: each with its `subject`, and a `split` where the publishers name one.

    Raises:
        SplitError: there is no such split, or a subject is in two parts or in none.
    """
    parts: dict[str, set[str]] = {}
    for recording in recordings:
        parts.setdefault(recording.get("split", ""), set()).add(recording["subject"])
    if "train" not in parts or "test" not in parts:
        raise SplitError(
            "evaluation.split: is 'official', but these recordings name no published train and "
            "test subjects (uci_har does, prepared by this version); allowed is 'subjects'"
        )
    for part, names in parts.items():
        for other, more in parts.items():
            twice = sorted(names & more)
            if part != other and twice:
                raise SplitError(
                    f"evaluation.split: subject '{twice[0]}' is in the published {part or 'rest'} "
                    f"and {other or 'rest'}; a subject belongs to one part only"
                )
    if parts.get(""):
        raise SplitError(
            f"evaluation.split: subject '{min(parts[''])}' is in no part of the published split; "
            "every subject needs one"
        )
    return {part: sorted(names) for part, names in parts.items()}


def official_fold(
    subject: NDArray[np.str_],
    parts: Mapping[str, Sequence[str]],
    *,
    seed: int,
    validation_share: float = 1 / 6,
    group: NDArray[np.str_] | None = None,
) -> Fold:
    """Test whom the publishers test; who validates is drawn from their training subjects.

    Args:
        subject: (W,) subject of each window.
        parts: subjects of `train`, `test` and, where the publishers name them, `validation`.
        seed: decides who validates where they do not.
        validation_share: share of the training subjects that validate, at least one.
        group: (W,) whom no split may part; None for each subject alone.

    Raises:
        SplitError: a part is empty, or a group of subjects is in two.
    """
    group = subject if group is None else group
    train, validation = list(parts["train"]), list(parts.get("validation", ()))
    if not validation:
        units = np.unique(group[np.isin(subject, train)])
        drawn = np.random.default_rng(seed).permutation(units)
        chosen = drawn[: max(1, round(len(units) * validation_share))]
        validation = np.unique(subject[np.isin(group, chosen)]).tolist()
        train = [name for name in train if name not in validation]
    known = set(subject.tolist())
    train, validation, test = (
        [name for name in names if name in known] for names in (train, validation, parts["test"])
    )
    fold = fold_from_subjects(subject, train=train, validation=validation, test=test)
    return fold.check(group, what="group of subjects")


def subject_folds(
    subject: NDArray[np.str_],
    *,
    folds: int,
    seed: int,
    validation_share: float = 1 / 6,
    group: NDArray[np.str_] | None = None,
) -> list[Fold]:
    """Partition subjects into folds; each subject is tested exactly once.

    Args:
        subject: (W,) subject of each window.
        folds: number of partitions.
        seed: decides who is tested where.
        validation_share: share of the subjects not tested that validate, at least one.
        group: (W,) whom no split may part; None for each subject alone.

    Raises:
        SplitError: too few subjects for that many folds.

    Examples:
        >>> who = np.repeat(["a", "b", "c", "d"], 2)
        >>> [fold.test.tolist() for fold in subject_folds(who, folds=2, seed=0)]
        [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    group = subject if group is None else group
    names = np.unique(group)
    if folds < 2:
        raise SplitError(f"folds: got {folds}; at least 2 are needed")
    # two folds of three subjects would test two at once and leave one for train and validation
    needed = max(folds, 4 if folds == 2 else 3)
    if len(names) < needed:
        raise SplitError(
            f"folds: {folds} folds of {_counted(names, subject)}; train, validation and test need "
            f"a subject each and every fold its own test subjects, so at least {needed}: lower "
            "evaluation.folds (2 folds need 4 subjects, 3 folds 3) or record more people"
        )
    parts = np.array_split(np.random.default_rng(seed).permutation(names), folds)
    out = []
    for i, test in enumerate(parts):
        rest = np.concatenate([parts[(i + 1 + j) % folds] for j in range(folds - 1)])
        n_validation = max(1, round(len(rest) * validation_share))
        sides = (rest[n_validation:], rest[:n_validation], test)
        rows = [np.flatnonzero(np.isin(group, side)) for side in sides]
        fold = Fold(rows[0], rows[1], rows[2], i).check(subject)
        out.append(fold.check(group, what="group of subjects"))
    return out


def _counted(units: NDArray[np.str_], subject: NDArray[np.str_]) -> str:
    subjects = len(np.unique(subject))
    told = counted(subjects, "subject")
    return told if len(units) == subjects else f"{told} in {len(units)} groups"


def check_fraction(fraction: float, *, where: str = "labels") -> None:
    """Refuse a share of labels that cannot be.

    Raises:
        SplitError: it is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise SplitError(f"{where}: fraction is {fraction}; allowed is 0 < fraction <= 1")


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
    check_fraction(fraction, where=where)
    rows = rows[label[rows] >= 0]
    found = np.unique(label[rows])
    if len(found) < 2:
        raise SplitError(
            f"{where}: {counted(len(rows), 'labelled window')} of "
            f"{counted(len(found), 'class', 'classes')}; a classifier needs "
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
