"""MHEALTH: chest, wrist and ankle with two ECG leads, official text files (Banos et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.table import check_codes, git_blob_note, label_runs, on_grid, read_table
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER, STEM = "mHealth_subject*.log", "mhealth"
RATE_HZ = 50.0
COLUMNS, LABEL = 24, 23

SOURCE = {
    "chest_acc": (0, "m/s^2"),
    "ecg": (3, "mV"),
    "ankle_acc": (5, "m/s^2"),
    "ankle_gyro": (8, "deg/s"),
    "ankle_mag": (11, "1"),
    "arm_acc": (14, "m/s^2"),
    "arm_gyro": (17, "deg/s"),
    "arm_mag": (20, "1"),
}
"""First column of each modality, and the unit that the official README gives its values."""

ACTIVITIES = {
    1: "standing still", 2: "sitting and relaxing", 3: "lying down", 4: "walking",
    5: "climbing stairs", 6: "waist bends forward", 7: "frontal elevation of arms",
    8: "knees bending", 9: "cycling", 10: "jogging", 11: "running", 12: "jump front and back",
}  # fmt: skip
NULL = {0: "null"}

PUBLISHED = {
    "mHealth_subject1.log": "c962a497714c2cf243a4da711bb6d2b749af3ae8",
    "mHealth_subject2.log": "07db6a2fb015a0acf759c371b431a456634d27d9",
    "mHealth_subject3.log": "27d566cbc2f184f9f23488957b01fa85f327d82d",
    "mHealth_subject4.log": "4f74459f6545995e023de04137a7cc39576b7a55",
    "mHealth_subject5.log": "082adea0e577201ec68131cb87384083bf48521f",
    "mHealth_subject6.log": "943555f4f79be2250d2004c4fb6ef113d0410a39",
    "mHealth_subject7.log": "a6483aca689470cce13526c4c5e8b9e2f26d6387",
    "mHealth_subject8.log": "26fd92ed14c473a4b6e1fc3987e861bf4d20bb7c",
    "mHealth_subject9.log": "e79d57d00c6036fd63e29b874afd035836b8b665",
    "mHealth_subject10.log": "6ce8da94ef3c979f08808317c11eb9f210fa0087",
}
"""SHA-1 of the ten published logs as git blobs."""


def _modality(name: str) -> Modality:
    device, _, sensor = name.partition("_")
    if name == "ecg":
        return Modality("ecg", ("lead_1", "lead_2"), "V", RATE_HZ, "chest")
    if sensor == "mag":
        return Modality(name, ("x", "y", "z"), "1", RATE_HZ, device)
    return motion_modality(device, sensor, RATE_HZ)


CARD = Card(
    name="mhealth",
    title="Mobile health (MHEALTH)",
    description=(
        "10 people did 12 activities outside the laboratory with Shimmer2 sensors on chest, left "
        "ankle and right lower arm, all at 50 Hz. Acceleration is in m/s^2 as in the files (factor "
        "1), rotation from deg/s (pi/180), the two ECG leads from mV (1e-3). The magnetic field is "
        "in a unit that the README calls local: it stays as it is, with unit 1."
    ),
    licence="CC BY 4.0 by its UCI page",
    citation=(
        "O. Banos, R. Garcia, J. A. Holgado-Terriza, M. Damas, H. Pomares, I. Rojas, A. Saez, C. "
        "Villalonga, mHealthDroid: a novel framework for agile development of mobile health "
        "applications, IWAAL 2014"
    ),
    url="https://archive.ics.uci.edu/dataset/319",
    modalities=tuple(_modality(name) for name in SOURCE),
    classes=tuple(ACTIVITIES.values()),
    spec=WindowSpec(window_s=2.56, stride_s=1.28),
    traps=(
        "Label 0 is all that is none of the 12 activities; the reader leaves that time unlabelled.",
        "The README gives rotation in deg/s, but the published values are about 1 in size whatever "
        "a person does, running included: their scale is not to be trusted.",
        "The magnetic field has no physical unit, and its size differs a hundredfold between "
        "activities.",
        "ECG was sampled at 50 Hz only, too slow for the shape of its waves.",
        "Files carry no timestamps: a lost sample cannot be seen.",
    ),
    size="one zip of ten logs",
    subjects=10,
    files=(RemoteFile("https://archive.ics.uci.edu/static/public/319/mhealth+dataset.zip"),),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, MARKER, STEM)


@contextmanager
def open_dataset(root: Path | None) -> Iterator[Dataset]:
    """Find the subjects' logs; a part each.

    Args:
        root: folder that holds `mHealth_subject1.log`, or the one above it, or the official
            archive.

    Raises:
        DataError: the folder does not hold the data set.
    """
    with open_root(root, marker=MARKER, stem=STEM) as folder:
        numbered = {_subject(path): path for path in folder.glob(MARKER)}
        parts = (
            Part(subject, partial(_read_log, numbered[subject], subject), (numbered[subject],))
            for subject in sorted(numbered)
        )
        yield Dataset(CARD, tuple(parts))


def _subject(path: Path) -> str:
    number = path.stem.removeprefix("mHealth_subject")
    if not number.isdecimal():
        raise DataError(f"{path}: its name has no subject number; expected mHealth_subject1.log")
    return f"subject{int(number):02d}"


def _read_log(path: Path, subject: str) -> Iterator[Recording]:
    notes = git_blob_note(path, PUBLISHED.get(path.name))
    table = read_table(path, COLUMNS, must_end_with_newline=bool(notes))
    check_codes(path, table[:, LABEL], ACTIVITIES | NULL)
    place = np.arange(len(table))
    signals = {}
    for modality in CARD.modalities:
        first, unit = SOURCE[modality.name]
        columns = table[:, first : first + len(modality.channels)]
        values = on_grid(place, columns * parse_unit(unit).factor)
        signals[modality.name] = Signal(values, RATE_HZ)
    yield Recording(
        subject=subject,
        session="1",
        modalities={m.name: m for m in CARD.modalities},
        signals=signals,
        labels=label_runs(place, table[:, LABEL], ACTIVITIES, rate_hz=RATE_HZ),
        notes=notes,
    )
