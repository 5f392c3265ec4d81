"""Non-EEG: stress of three kinds and relaxation, official WFDB files (Birjandtalab et al. 2016)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crossl.data.formats import FileContent, open_file
from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.people import person_of, read_comments, units_of
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER, STEM = "Subject*_AccTempEDA.hea", "non-eeg-dataset"
RATE_HZ = 8.0
OXIMETER_HZ = 1.0
NAME = re.compile(r"Subject(\d+)_AccTempEDA")
MARKS = 8
COPIED, COPIES = (2, 3, 4), "subjects 2 to 4, who hold the same 40 s"

WRIST = {
    "acc": (("ax", "ay", "az"), "g"),
    "temp": (("temp",), "degC"),
    "eda": (("EDA",), "uS"),
}
"""Columns of `AccTempEDA` and their units; the headers say `NU` of acceleration and EDA."""
FINGER = {"spo2": (("SpO2",), "%"), "heart_rate": (("hr",), "bpm")}
"""Columns of `SpO2HR` and their units."""

PERSON = {"age": ("age", "year"), "height": ("height/cm", "cm"), "weight": ("weight/kg", "kg")}
"""What the headers hold about a person, by what they call it, and its unit."""

CARD = Card(
    name="noneeg",
    title="Non-EEG dataset for assessment of neurological status (PhysioNet, 1.0.0)",
    description=(
        "20 students relaxed, exercised, calculated under pressure and watched a horror film, "
        "about 38 minutes each, with a wristband (acceleration, skin temperature and conductance "
        "at 8 Hz) and an oximeter on a finger (oxygen saturation and heart rate at 1 Hz). "
        "Acceleration is taken to be in g (9.80665 m/s^2) and conductance in microsiemens (1e-6), "
        "though the headers name no unit: the median size of acceleration is 0.96 to 1.19 in every "
        "subject. Temperature is from degrees Celsius, saturation from percent, heart rate from "
        "beats a minute (1/60). A state lasts from its mark to the next, the last one to the end "
        "of the wristband's record."
    ),
    licence="Open Data Commons Attribution License 1.0 (ODC-By)",
    citation=(
        "J. Birjandtalab, D. Cogan, M. B. Pouyan, M. Nourani, A non-EEG biosignals dataset for "
        "assessment and visualization of neurological status, IEEE SiPS 2016, 110-114; "
        "A. L. Goldberger et al., PhysioNet, Circulation 101 (2000) e215-e220"
    ),
    url="https://physionet.org/content/noneeg/1.0.0/",
    modalities=(
        motion_modality("wrist", "acc", RATE_HZ),
        Modality("wrist_temp", ("temp",), "K", RATE_HZ, "wrist"),
        Modality("wrist_eda", ("eda",), "S", RATE_HZ, "wrist"),
        Modality("finger_spo2", ("spo2",), "1", OXIMETER_HZ, "finger"),
        Modality("finger_heart_rate", ("rate",), "Hz", OXIMETER_HZ, "finger"),
    ),
    classes=("Relax", "PhysicalStress", "CognitiveStress", "EmotionalStress"),
    spec=WindowSpec(window_s=30.0, stride_s=15.0),
    traps=(
        "The marks in Subject*_SpO2HR.atr count samples at 8 Hz, though that record has 1 Hz: the "
        "reader takes all marks from Subject*_AccTempEDA.atr.",
        "Everyone went through the states in one order, so slow drift (temperature, skin "
        "conductance) gives the label away.",
        "The first EmotionalStress lasts 40 s and is the briefing of the cognitive task.",
        "Subjects 2, 3 and 4 hold the same 40 s in all signals: their first EmotionalStress (in "
        "Subject2 and Subject4 from 927 s, in Subject3 from 924 s). A test by subject scores what "
        "was trained on unless these three stay on one side: the reader makes them a group, which "
        "no split parts.",
        "A relaxation follows each stress: the body is still calming down while labelled Relax.",
        "Age, height and weight are in the headers and can be targets; gender is not read.",
    ),
    size="4 MB",
    subjects=20,
    files=(
        RemoteFile(
            "https://physionet.org/static/published-projects/noneeg/"
            "non-eeg-dataset-for-assessment-of-neurological-status-1.0.0.zip"
        ),
    ),
    person=units_of(PERSON),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, MARKER, STEM)


@contextmanager
def open_dataset(root: Path | None) -> Iterator[Dataset]:
    """Find the subjects; a part each.

    The headers hold a checksum of each signal, which is compared: samples that changed are
    refused. The annotation files have none.

    Args:
        root: folder that holds `Subject1_AccTempEDA.hea` and the others, or the official archive.

    Raises:
        DataError: the folder does not hold the data set.
    """
    with open_root(root, marker=MARKER, stem=STEM) as folder:
        found = {_subject(path): path for path in folder.glob(MARKER)}
        yield Dataset(CARD, tuple(_part(number, found[number]) for number in sorted(found)))


def _subject(path: Path) -> int:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: names no subject; expected a name like Subject1_AccTempEDA.hea")
    return int(match[1])


def _part(number: int, wrist: Path) -> Part:
    finger = wrist.with_name(f"Subject{number}_SpO2HR.hea")
    files = [wrist.with_suffix(ending) for ending in (".hea", ".dat", ".atr")]
    files += [finger.with_suffix(ending) for ending in (".hea", ".dat")]
    return Part(
        f"Subject{number}",
        partial(_read_subject, number, wrist, finger),
        tuple(path for path in files if path.is_file()),
    )


def _read_subject(number: int, wrist: Path, finger: Path) -> Iterator[Recording]:
    content = open_file(wrist)
    signals = _signals(content, WRIST, "wrist", RATE_HZ)
    notes = []
    if finger.is_file():
        signals |= _signals(open_file(finger), FINGER, "finger", OXIMETER_HZ)
    else:
        notes.append(f"{finger.name} is not there; its oxygen saturation and heart rate are absent")
    yield Recording(
        subject=f"Subject{number}",
        session="1",
        modalities={m.name: m for m in CARD.modalities},
        signals=signals,
        labels=_labels(wrist.with_suffix(".atr"), content),
        notes=notes,
        group=COPIES if number in COPIED else "",
        person=person_of(read_comments(content.about["comments"]), PERSON),
    )


def _signals(
    content: FileContent,
    wanted: Mapping[str, tuple[tuple[str, ...], str]],
    device: str,
    rate_hz: float,
) -> dict[str, Signal]:
    columns = tuple(column for names, _ in wanted.values() for column in names)
    (stream, *others) = content.streams
    if others or stream.rate_hz != rate_hz or set(stream.columns) != set(columns):
        told = "; ".join(f"{', '.join(s.columns)} at {s.name}" for s in content.streams)
        raise DataError(
            f"{content.path}: holds {told}; the official file has {', '.join(columns)} at "
            f"{rate_hz:g} Hz"
        )
    return {
        f"{device}_{name}": Signal(parse_unit(unit).to_si(stream.load(names)), rate_hz)
        for name, (names, unit) in wanted.items()
    }


def _labels(path: Path, content: FileContent) -> tuple[LabelInterval, ...]:
    if not path.is_file():
        raise DataError(f"{path}: does not exist; the official data set has it")
    content.check_labels()
    unknown = {one.label for one in content.labels} - set(CARD.classes)
    if unknown or len(content.labels) != MARKS:
        what = f"'{min(unknown)}'" if unknown else f"{len(content.labels)} states"
        raise DataError(
            f"{path}: marks {what}; the official file marks {MARKS} states, each one of "
            f"{', '.join(CARD.classes)}"
        )
    return content.labels
