"""HAPT: a phone on the waist, with transitions between postures, official raw text files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import STANDARD_GRAVITY, Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.table import ends_with_newline, read_table
from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER = "RawData/labels.txt"
STEMS = ("HAPT", "smartphone+based")
"""How the archive's name begins: as first published, and as UCI names it now."""
RATE_HZ = 50.0
NAME = re.compile(r"acc_exp(\d+)_user(\d+)")

ACTIVITIES = (
    "WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING",
    "STAND_TO_SIT", "SIT_TO_STAND", "SIT_TO_LIE", "LIE_TO_SIT", "STAND_TO_LIE", "LIE_TO_STAND",
)  # fmt: skip
"""Activities 1 to 12; from 7 on, transitions between postures."""

CARD = Card(
    name="hapt",
    title="Smartphone-based recognition of human activities and postural transitions (HAPT)",
    description=(
        "30 people did 6 activities and the 6 transitions between their postures, in 61 "
        "experiments, with a phone on the waist: the raw, unfiltered signals of UCI HAR at 50 Hz, "
        "whole. Acceleration is from g (9.80665 m/s^2), rotation in rad/s as in the files (factor "
        "1). Labels are the official intervals, first and last sample included."
    ),
    licence="CC BY 4.0 by its UCI page; its own README prohibits commercial use",
    citation=(
        "J. L. Reyes-Ortiz, L. Oneto, A. Sama, X. Parra, D. Anguita, Transition-aware human "
        "activity recognition using smartphones, Neurocomputing 171 (2016) 754-767"
    ),
    url="https://archive.ics.uci.edu/dataset/341",
    modalities=(
        motion_modality("waist", "acc", RATE_HZ, "acc"),
        motion_modality("waist", "gyro", RATE_HZ, "gyro"),
    ),
    classes=ACTIVITIES,
    spec=WindowSpec(window_s=2.56, stride_s=1.28),
    traps=(
        "The people are those of UCI HAR: the two sets are not independent.",
        "Transitions last a few seconds and are rare; few windows carry their label.",
        "Between labelled intervals something happened that nobody named.",
    ),
    size="80 MB",
    subjects=30,
    commercial_use=False,
    files=(
        RemoteFile(
            "https://archive.ics.uci.edu/static/public/341/smartphone+based+recognition+of+human+"
            "activities+and+postural+transitions.zip"
        ),
    ),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return any(holds(root, MARKER, stem) for stem in STEMS)


@contextmanager
def open_dataset(root: Path | None) -> Iterator[Dataset]:
    """Find the experiments; a part each.

    Args:
        root: folder that holds `RawData`, or the one above it, or the official archive.

    Raises:
        DataError: the folder does not hold the data set.
    """
    there = root is not None and root.exists()
    stem = next((s for s in STEMS if there and root and holds(root, MARKER, s)), STEMS[0])
    with open_root(root, marker=MARKER, stem=stem) as folder:
        _check_names(folder / "activity_labels.txt")
        raw = folder / "RawData"
        found = {_key(path): path for path in raw.glob("acc_*.txt")}
        if not found:
            raise DataError(f"{raw}: holds no file acc_exp01_user01.txt")
        yield Dataset(CARD, tuple(_part(key, found[key]) for key in sorted(found)))


def _check_names(path: Path) -> None:
    """Refuse a list of activities in another order than the one that the reader knows."""
    if not path.is_file():
        return
    words = path.read_text(encoding="latin1").split()
    if words != [w for i, name in enumerate(ACTIVITIES, 1) for w in (str(i), name)]:
        raise DataError(
            f"{path}: lists {' '.join(words)[:60]!a}; expected the official 12 activities, "
            f"1 {ACTIVITIES[0]} to 12 {ACTIVITIES[-1]}"
        )


def _key(path: Path) -> tuple[int, int]:
    """Return user and experiment."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: names no experiment; expected a name like acc_exp01_user01.txt")
    return int(match[2]), int(match[1])


def _part(key: tuple[int, int], acc: Path) -> Part:
    gyro = acc.with_name(acc.name.replace("acc_", "gyro_", 1))
    labels = acc.with_name("labels.txt")
    files = tuple(path for path in (acc, gyro, labels) if path.is_file())
    return Part(f"exp{key[1]:02d}", partial(_read_experiment, *key, acc, gyro, labels), files)


def _read_experiment(
    user: int, experiment: int, acc: Path, gyro: Path, labels: Path
) -> Iterator[Recording]:
    acceleration, rotation = read_table(acc, 3), read_table(gyro, 3)
    if len(acceleration) != len(rotation):
        raise DataError(
            f"{acc}: has {len(acceleration)} lines but {gyro.name} has {len(rotation)}; both "
            "hold the same samples"
        )
    yield Recording(
        subject=f"user{user:02d}",
        session=f"exp{experiment:02d}",
        modalities={m.name: m for m in CARD.modalities},
        signals={
            "acc": Signal((acceleration * STANDARD_GRAVITY).astype(np.float32), RATE_HZ),
            "gyro": Signal(rotation.astype(np.float32), RATE_HZ),
        },
        labels=_read_labels(labels, user, experiment, len(acceleration)),
        notes=tuple(
            f"{path.name} ends without a line break: if it was cut off, its last number is wrong"
            for path in (acc, gyro, labels)
            if not ends_with_newline(path)
        ),
    )


def _read_labels(path: Path, user: int, experiment: int, samples: int) -> tuple[LabelInterval, ...]:
    """Return the intervals of one experiment, by time."""
    rows = read_table(path, 5)
    row_number = np.flatnonzero(rows[:, 0] == experiment)
    other = row_number[rows[row_number, 1] != user]
    if len(other):
        raise DataError(
            f"{path}: line {other[0] + 1} gives experiment {experiment} to user "
            f"{rows[other[0], 1]:g}; its files are of user {user}"
        )
    row_number = row_number[np.argsort(rows[row_number, 3], kind="stable")]
    intervals = []
    last = 0
    for row in row_number:
        activity, first, end = _whole(path, int(row), rows[row, 2:])
        if not 1 <= activity <= len(ACTIVITIES):
            raise DataError(f"{path}: line {row + 1} has activity {activity}; allowed are 1 to 12")
        if not last < first <= end <= samples:
            raise DataError(
                f"{path}: line {row + 1} labels samples {first} to {end} of {samples}, after "
                f"{last}; intervals lie within the recording and do not overlap"
            )
        last = end
        # from one: sample `first` covers the time from (first - 1) / RATE_HZ on
        intervals.append(
            LabelInterval((first - 1) / RATE_HZ, end / RATE_HZ, ACTIVITIES[activity - 1])
        )
    return tuple(intervals)


def _whole(path: Path, row: int, values: NDArray[np.float64]) -> tuple[int, int, int]:
    if not (values == np.round(values)).all():
        raise DataError(f"{path}: line {row + 1} holds {values.tolist()}; whole numbers are needed")
    activity, first, end = (int(value) for value in values)
    return activity, first, end
