"""UCI HAR: a smartphone on the waist, official text files of overlapping windows.

The official windows overlap by half. Where the second half of a window equals the first half of
the next in every channel, both were cut from one recording and are put together again; window
and stride of the card then give back exactly the official windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import STANDARD_GRAVITY, Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.table import read_table
from crossl.data.recording import Float32, LabelInterval, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER, STEM = "train/Inertial Signals", "UCI_HAR"
RATE_HZ = 50.0
WINDOW, HOP = 128, 64

CARD = Card(
    name="uci_har",
    title="Human activity recognition using smartphones (UCI HAR)",
    description=(
        "30 people did 6 activities with a phone on the waist: total acceleration (recorded in g) "
        "and rotation at 50 Hz, published as windows of 128 samples that overlap by half. The "
        "reader puts overlapping windows of one activity together again. The official split is "
        "part of the session's name, and is used by --set evaluation.split=official."
    ),
    licence="CC BY 4.0 by its UCI page; its own README prohibits commercial use",
    citation=(
        "D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz, A public domain dataset for "
        "human activity recognition using smartphones, ESANN 2013"
    ),
    url="https://archive.ics.uci.edu/dataset/240",
    modalities=(
        motion_modality("waist", "acc", RATE_HZ, "total_acc"),
        motion_modality("waist", "gyro", RATE_HZ, "gyro"),
    ),
    classes=("WALKING", "UPSTAIRS", "DOWNSTAIRS", "SITTING", "STANDING", "LAYING"),
    spec=WindowSpec(window_s=WINDOW / RATE_HZ, stride_s=HOP / RATE_HZ),
    traps=(
        "Official windows overlap by half: split them by subject, never by window.",
        "The acceleration is in g in the files; it includes gravity.",
        "Text columns are fixed at 16 characters with a 3-digit exponent; lines end in CRLF.",
        "Its README forbids commercial use, whatever the licence on its page says.",
    ),
    size="190 MB unpacked, without the hand-made features",
    subjects=30,
    commercial_use=False,
    files=(
        RemoteFile(
            "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+"
            "smartphones.zip"
        ),
    ),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, MARKER, STEM)


@contextmanager
def open_dataset(root: Path | None) -> Iterator[Dataset]:
    """Find the official training and test part; within, stretches of overlapping windows.

    Args:
        root: folder that holds `train` and `test`, or the official archive.

    Raises:
        DataError: the folder does not hold the data set.
    """
    with open_root(root, marker=MARKER, stem=STEM) as folder:
        yield Dataset(CARD, tuple(_part(folder, part) for part in ("train", "test")))


def _part(folder: Path, part: str) -> Part:
    inertial = folder / part / "Inertial Signals"
    files = [folder / part / f"{what}_{part}.txt" for what in ("subject", "y")]
    files += [inertial / f"{s}_{a}_{part}.txt" for s in ("total_acc", "body_gyro") for a in "xyz"]
    return Part(part, partial(_read_part, folder, part), tuple(files))


def _read_part(folder: Path, part: str) -> Iterator[Recording]:
    subject = _read_numbers(folder / part / f"subject_{part}.txt")
    activity = _read_numbers(folder / part / f"y_{part}.txt") - 1
    windows = np.concatenate(
        [_read_signal(folder, part, "total_acc", STANDARD_GRAVITY),
         _read_signal(folder, part, "body_gyro", 1.0)],
        axis=2,
    )  # fmt: skip
    if not len(windows) == len(subject) == len(activity):
        raise DataError(
            f"{folder / part}: {len(windows)} windows, {len(subject)} subjects and "
            f"{len(activity)} activities; these must be equally many"
        )
    if activity.min() < 0 or activity.max() >= len(CARD.classes):
        raise DataError(f"{folder / part}: activities must be 1 to {len(CARD.classes)}")
    joined = np.zeros(len(windows), dtype=np.bool_)
    joined[1:] = (windows[:-1, HOP:] == windows[1:, :HOP]).all(axis=(1, 2))
    joined[1:] &= (subject[1:] == subject[:-1]) & (activity[1:] == activity[:-1])
    starts = np.flatnonzero(~joined)
    for begin, end in zip(starts, np.r_[starts[1:], len(windows)], strict=True):
        name = f"{part}-{begin:05d}"
        label = CARD.classes[activity[begin]]
        yield _stitch(windows[begin:end], f"S{subject[begin]:02d}", name, label)


def _read_signal(folder: Path, part: str, name: str, factor: float) -> Float32:
    root = folder / part / "Inertial Signals"
    axes = [read_table(root / f"{name}_{axis}_{part}.txt") for axis in "xyz"]
    if any(axis.shape != axes[0].shape or axis.shape[1] != WINDOW for axis in axes):
        shapes = ", ".join(str(axis.shape) for axis in axes)
        raise DataError(f"{root}: {name} has shapes {shapes}; expected three of (n, {WINDOW})")
    return (np.stack(axes, axis=2) * factor).astype(np.float32)


def _read_numbers(path: Path) -> NDArray[np.int64]:
    values = read_table(path)
    if values.shape[1] != 1 or not (values == np.round(values)).all():
        raise DataError(f"{path}: is not in the official format; one whole number per line")
    return values[:, 0].astype(np.int64)


def _stitch(windows: Float32, subject: str, session: str, label: str) -> Recording:
    signal = np.concatenate([windows[0], *windows[1:, HOP:]])
    return Recording(
        subject=subject,
        session=session,
        split=session.partition("-")[0],
        modalities={m.name: m for m in CARD.modalities},
        signals={
            "total_acc": Signal(signal[:, :3], RATE_HZ),
            "gyro": Signal(signal[:, 3:], RATE_HZ),
        },
        labels=(LabelInterval(0.0, len(signal) / RATE_HZ, label),),
    )
