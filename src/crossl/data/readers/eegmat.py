"""EEGMAT: rest and mental arithmetic, EEG and ECG, official EDF+ files (Zyma et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from crossl.data.formats import Stream, open_file
from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.people import read_people, units_of
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER, STEM = "Subject[0-9][0-9]_[12].edf", "eeg-during-mental-arithmetic"
RATE_HZ = 500.0
NAME = re.compile(r"Subject(\d\d)_([12])")
STATES = {"1": "rest", "2": "arithmetic"}
"""Label by the number behind the subject's."""

REGIONS = {
    "eeg_frontal": ("Fp1", "Fp2", "F3", "F4", "F7", "F8", "Fz"),
    "eeg_central": ("T3", "T4", "C3", "C4", "Cz"),
    "eeg_posterior": ("T5", "T6", "P3", "P4", "O1", "O2", "Pz"),
}
"""The 19 electrodes of the 10-20 system, front to back."""


def modalities(*, regions: bool) -> dict[str, Modality]:
    """Describe the streams, with the EEG as one or as three.

    Examples:
        >>> list(modalities(regions=False))
        ['eeg', 'ecg']
    """
    whole = {"eeg": tuple(name for names in REGIONS.values() for name in names)}
    eeg = REGIONS if regions else whole
    found = [Modality(name, channels, "V", RATE_HZ, "head") for name, channels in eeg.items()]
    found.append(Modality("ecg", ("ecg",), "V", RATE_HZ, "chest"))
    return {m.name: m for m in found}


PERSON = {"age": ("Age", "year")}

CARD = Card(
    name="eegmat",
    title="EEG during mental arithmetic tasks (PhysioNet, 1.0.0)",
    description=(
        "36 people rested for three minutes, then subtracted two-digit from four-digit numbers in "
        "their heads for one: 19 EEG channels of the 10-20 system and one ECG lead at 500 Hz, from "
        "microvolt (EEG, factor 1e-6) and millivolt (ECG, 1e-3), by the unit in each header. The "
        "derivation A2-A1 is left out. A file is a recording and has one label."
    ),
    licence="Open Data Commons Attribution License 1.0 (ODC-By)",
    citation=(
        "I. Zyma, S. Tukaev, I. Seleznov, K. Kiyono, A. Popov, M. Chernykh, O. Shpenkov, "
        "Electroencephalograms during mental arithmetic task performance, Data 4 (2019) 14; "
        "A. L. Goldberger et al., PhysioNet, Circulation 101 (2000) e215-e220"
    ),
    url="https://physionet.org/content/eegmat/1.0.0/",
    modalities=tuple(modalities(regions=False).values()),
    classes=tuple(STATES.values()),
    spec=WindowSpec(window_s=4.0, stride_s=2.0),
    traps=(
        "Rest always comes before the task and each is one file: whatever drifts between two "
        "recordings (electrodes, filters, scale) predicts the label as well as the brain does.",
        "Three times as much rest as arithmetic was published (about 182 s and 62 s).",
        "The publishers band-passed the signals and removed artefacts by independent components, "
        "so amplitudes are smaller than raw ones.",
        "subject-info.csv says who counted badly (count quality 0); the reader takes only the age "
        "from it, which can be a target.",
    ),
    size="180 MB",
    subjects=36,
    files=(
        RemoteFile(
            "https://physionet.org/static/published-projects/eegmat/"
            "eeg-during-mental-arithmetic-tasks-1.0.0.zip"
        ),
    ),
    person=units_of(PERSON),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, MARKER, STEM)


@contextmanager
def open_dataset(root: Path | None, *, regions: bool = False) -> Iterator[Dataset]:
    """Find the files of whichever subjects are there; a part each.

    EDF has no checksum: a file that was cut off is refused, changed samples go unnoticed.

    Args:
        root: folder that holds `Subject00_1.edf` and the others, or the official archive.
        regions: make frontal, central and posterior EEG modalities of their own.

    Raises:
        DataError: the folder does not hold the data set.
    """
    streams = modalities(regions=regions)
    with open_root(root, marker=MARKER, stem=STEM) as folder:
        paths = sorted(folder.glob(MARKER))
        people = read_people(folder / "subject-info.csv", "Subject", PERSON)
        yield Dataset(
            replace(CARD, modalities=tuple(streams.values())),
            tuple(Part(p.stem, partial(_read_file, p, streams, people), (p,)) for p in paths),
        )


def _read_file(
    path: Path, streams: Mapping[str, Modality], people: Mapping[str, Mapping[str, float]]
) -> Iterator[Recording]:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: names no subject; expected a name like Subject00_1.edf")
    content = open_file(path)
    for column in content.left_out:
        content.check_readable(column)
    found = content.streams
    if len(found) != 1 or found[0].rate_hz != RATE_HZ:
        told = ", ".join(stream.name for stream in found) or "no rate"
        raise DataError(f"{path}: has signals of {told}; the official file has {RATE_HZ:g} Hz only")
    yield Recording(
        subject=f"Subject{match[1]}",
        session=match[2],
        modalities=streams,
        signals={name: _signal(path, found[0], modality) for name, modality in streams.items()},
        labels=(LabelInterval(0.0, found[0].length / RATE_HZ, STATES[match[2]]),),
        person=people.get(f"Subject{match[1]}", {}),
    )


def _signal(path: Path, stream: Stream, modality: Modality) -> Signal:
    prefix = "ECG" if modality.name == "ecg" else "EEG"
    columns = ["ECG ECG"] if prefix == "ECG" else [f"EEG {name}" for name in modality.channels]
    units = dict(zip(stream.columns, stream.units, strict=True))
    missing = [column for column in columns if column not in units]
    if missing:
        raise DataError(
            f"{path}: has no signal '{missing[0]}'; the official file has 19 of EEG and one of ECG"
        )
    scales = [parse_unit(units[c], where=f"{path}: unit of '{c}'") for c in columns]
    for column, scale in zip(columns, scales, strict=True):
        if scale.si != modality.unit or scale != scales[0]:
            raise DataError(
                f"{path}: '{column}' is in '{units[column]}'; volts are needed, of one kind for "
                f"all of {prefix}"
            )
    return Signal(scales[0].to_si(stream.load(columns)), RATE_HZ)
