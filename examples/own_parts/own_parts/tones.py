"""A reader: `SUBJECT_LABEL.txt` files of two columns, left and right, 20 samples a second, in g."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from crossl import LabelInterval, Modality, Recording, Signal, WindowSpec
from crossl.data.readers.card import STANDARD_GRAVITY, Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.errors import DataError

RATE_HZ = 20.0
CARD = Card(
    name="tones",
    title="Tones",
    description="Two sensors that shake slowly or quickly; made up.",
    licence="CC0",
    citation="none",
    url="examples/own_parts",
    modalities=(
        Modality("left", ("x",), "m/s^2", RATE_HZ, "left"),
        Modality("right", ("x",), "m/s^2", RATE_HZ, "right"),
    ),
    classes=("slow", "quick"),
    spec=WindowSpec(window_s=2.0, stride_s=1.0),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder holds such files."""
    return root.is_dir() and bool(list(root.glob("*_slow.txt")) or list(root.glob("*_quick.txt")))


@contextmanager
def open_dataset(root: Path | None) -> Iterator[Dataset]:
    """Find the files; a part each, which other processes may read."""
    files = sorted(root.glob("*_*.txt")) if root else []
    if not files:
        raise DataError(f"{root}: holds no SUBJECT_LABEL.txt")
    yield Dataset(CARD, tuple(Part(file.stem, partial(read_file, file), (file,)) for file in files))


def read_file(file: Path) -> Iterator[Recording]:
    """Read one recording, in SI units; NaN stands for what was not recorded."""
    subject, label = file.stem.split("_")
    values = np.loadtxt(file, dtype=np.float32) * np.float32(STANDARD_GRAVITY)
    yield Recording(
        subject=subject,
        session=label,
        modalities={m.name: m for m in CARD.modalities},
        signals={m.name: Signal(values[:, [i]], RATE_HZ) for i, m in enumerate(CARD.modalities)},
        labels=(LabelInterval(0.0, len(values) / RATE_HZ, label),),
    )
