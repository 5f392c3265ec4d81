"""WESAD: stress and affect from a wristband and a chest belt, official files (Schmidt et al. 2018).

`SX.pkl` holds both devices on one clock, with a label per sample; it is read where it is there.
`SX_E4_Data.zip` holds the wristband alone, on its own clock: there labels come from the times in
`SX_quest.csv`, which count from the start of the chest belt's recording. How much earlier the
wristband started is published nowhere. The offsets below were found by searching the windowed
pulse wave of the official pickles (their standard deviation, minimum and maximum) in the raw pulse
wave of the wristband: in all 15 subjects one offset fits, equal to 0.02 s over baseline, stress
and amusement (S7: two of the three). The same comparison shows that the official labels of these
three end 20 s before the END in `SX_quest.csv` (19.5 to 20.8 s in all 45 intervals); the same is
assumed of the meditations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.boundary import reading
from crossl.data.formats import open_file
from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.people import person_of, read_comments, units_of
from crossl.data.readers.unpickle import NumpyUnpickler
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKERS = ("S[0-9]*/S[0-9]*.pkl", "S[0-9]*/S[0-9]*_E4_Data*")
STEM = "WESAD"
CHEST_HZ = 700.0
END_EARLIER_S = 20.0
"""So long before the END of the questionnaire the official labels end."""
SAME_LENGTH_S = 1.0
"""The streams of one pickle may differ in length by this much."""

OFFSET_S = {
    "S2": 1423.77, "S3": 1039.454, "S4": 1408.8, "S5": 1196.692, "S6": 1172.202,
    "S7": 1145.639, "S8": 1051.099, "S9": 928.784, "S10": 1203.706, "S11": 1130.725,
    "S13": 1202.569, "S14": 1299.578, "S15": 1152.581, "S16": 1304.438, "S17": 1188.21,
}  # fmt: skip
"""Start of the chest belt's recording, seconds after the start of the wristband's."""

CONDITIONS = {
    "Base": "baseline", "TSST": "stress", "Fun": "amusement", "Medi 1": "meditation",
    "Medi 2": "meditation", "bRead": None, "sRead": None, "fRead": None,
}  # fmt: skip
"""What `SX_quest.csv` calls the conditions; the readings of questionnaires have no label."""

CODES = {1: "baseline", 2: "stress", 3: "amusement", 4: "meditation"}
UNLABELLED = (0, 5, 6, 7)
"""Of `SX.pkl`: transient, and those that its readme says to ignore."""

WRIST = {
    "wrist_acc": (Modality("wrist_acc", ("x", "y", "z"), "m/s^2", 32.0, "wrist"), "ACC", "g/64"),
    "wrist_bvp": (Modality("wrist_bvp", ("bvp",), "1", 64.0, "wrist"), "BVP", "1"),
    "wrist_eda": (Modality("wrist_eda", ("eda",), "S", 4.0, "wrist"), "EDA", "uS"),
    "wrist_temp": (Modality("wrist_temp", ("temp",), "K", 4.0, "wrist"), "TEMP", "degC"),
}
"""Modality, name in the files, unit there."""
CHEST = {
    "chest_acc": (Modality("chest_acc", ("x", "y", "z"), "m/s^2", CHEST_HZ, "chest"), "ACC", "g"),
    "chest_ecg": (Modality("chest_ecg", ("ecg",), "V", CHEST_HZ, "chest"), "ECG", "mV"),
    "chest_emg": (Modality("chest_emg", ("emg",), "V", CHEST_HZ, "chest"), "EMG", "mV"),
    "chest_eda": (Modality("chest_eda", ("eda",), "S", CHEST_HZ, "chest"), "EDA", "uS"),
    "chest_resp": (Modality("chest_resp", ("resp",), "1", CHEST_HZ, "chest"), "Resp", "%"),
    "chest_temp": (Modality("chest_temp", ("temp",), "K", CHEST_HZ, "chest"), "Temp", "degC"),
}

PERSON = {"age": ("Age", "year"), "height": ("Height (cm)", "cm"), "weight": ("Weight (kg)", "kg")}
"""What the readme of a subject tells, by what it calls it, and its unit."""

CARD = Card(
    name="wesad",
    title="Wearable stress and affect detection (WESAD)",
    description=(
        "15 people read (baseline), were stressed (Trier social stress test), amused by films and "
        "meditated, about two hours each, with an Empatica E4 on the wrist (acceleration 32 Hz, "
        "pulse wave 64 Hz, skin conductance and temperature 4 Hz) and a RespiBAN on the chest "
        "(acceleration, ECG, EMG, skin conductance, respiration, temperature at 700 Hz). From 1/64 "
        "g and g (9.80665 m/s^2), mV (1e-3), uS (1e-6), percent (0.01) and degrees Celsius; the "
        "pulse wave has no unit. SX.pkl is read where it is there; of subjects without it the "
        "wristband alone is read from SX_E4_Data.zip, with the labels moved onto its clock."
    ),
    licence=(
        "scientific, non-commercial purposes with credit to the owners, by its authors' page; "
        "CC BY 4.0 by its UCI page"
    ),
    citation=(
        "P. Schmidt, A. Reiss, R. Duerichen, C. Marberger, K. Van Laerhoven, Introducing WESAD, a "
        "multimodal dataset for wearable stress and affect detection, ICMI 2018, 400-408"
    ),
    url="https://doi.org/10.24432/C57K5T",
    modalities=tuple(m for m, _, _ in (*WRIST.values(), *CHEST.values())),
    classes=tuple(CODES.values()),
    spec=WindowSpec(window_s=60.0, stride_s=30.0),
    traps=(
        "The wristband started 15 to 24 minutes before the protocol's clock: SX_quest.csv does not "
        "count from its start. Labels put there without the offset are wrong by that much.",
        "Times in SX_quest.csv are minutes.seconds without their trailing zero: 50.3 is 50:30.",
        "The official labels end 20 s before the END in SX_quest.csv.",
        "The four classes last 294, 166, 93 and 197 minutes; published results leave out "
        "meditation (53, 30 and 17 %).",
        "Baseline always comes first, so slow drift helps to recognise it.",
        "S5 may have slept in a meditation, S8 and S16 felt cold, S15 doubted the cover story.",
        "Heart rate and beat intervals of the wristband are computed by it, and not read.",
    ),
    size="2.5 GB, about 16 GB unpacked",
    subjects=15,
    commercial_use=False,
    person=units_of(PERSON),
    # the fragment is not sent; it names the file, as the server does
    files=(RemoteFile("https://uni-siegen.sciebo.de/s/HGdUkoNlW1Ub0Gx/download#/WESAD.zip"),),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return any(holds(root, marker, STEM) for marker in MARKERS)


@contextmanager
def open_dataset(root: Path | None, *, chest: bool = True) -> Iterator[Dataset]:
    """Find the subjects; a part each.

    The pickles have no checksum: one that was cut off is refused, changed samples go unnoticed.
    The zips have one.

    Args:
        root: folder that holds `S2` and the others, or the official archive.
        chest: read the chest belt too, where a subject's `SX.pkl` is there; if none is, the
            wristband is all there is.

    Raises:
        DataError: the folder does not hold the data set.
    """
    there = root is not None and root.exists()
    marker = next((m for m in MARKERS if there and root and holds(root, m, STEM)), MARKERS[1])
    with open_root(root, marker=marker, stem=STEM) as folder:
        subjects = sorted(
            (p for p in folder.iterdir() if p.is_dir() and re.fullmatch(r"S\d+", p.name)),
            key=lambda p: int(p.name[1:]),
        )
        chest = chest and any(_pickle(subject).is_file() for subject in subjects)
        known = WRIST | (CHEST if chest else {})
        modalities = {name: modality for name, (modality, _, _) in known.items()}
        yield Dataset(
            replace(CARD, modalities=tuple(modalities.values())),
            tuple(_part(subject, modalities) for subject in subjects),
        )


def _pickle(folder: Path) -> Path:
    return folder / f"{folder.name}.pkl"


def _part(folder: Path, modalities: Mapping[str, Modality]) -> Part:
    if _pickle(folder).is_file():
        read = partial(_read_pickle, folder, modalities)
        return Part(folder.name, read, (_pickle(folder),))
    session = next(
        (p for ending in (".zip", "") if (p := folder / f"{folder.name}_E4_Data{ending}").exists()),
        None,
    )
    if session is None:
        raise DataError(
            f"{folder}: holds neither {folder.name}.pkl nor {folder.name}_E4_Data.zip; the "
            "official data set has both"
        )
    quest = folder / f"{folder.name}_quest.csv"
    inside = sorted(session.glob("*.csv")) if session.is_dir() else [session]
    files = (*inside, *([quest] if quest.is_file() else []))
    return Part(folder.name, partial(_read_wristband, session, quest, modalities), files)


# --- the wristband alone


def _read_wristband(
    session: Path, quest: Path, modalities: Mapping[str, Modality]
) -> Iterator[Recording]:
    subject = session.parent.name
    content = open_file(session, "e4")
    signals = {}
    streams = {name: content.stream(sensor) for name, (_, sensor, _) in WRIST.items()}
    start_s = min(stream.start_s for stream in streams.values())
    for name, stream in streams.items():
        modality, _, unit = WRIST[name]
        if stream.rate_hz != modality.rate_hz:
            raise DataError(
                f"{session}: {stream.name} has {stream.rate_hz} Hz; the official files have "
                f"{modality.rate_hz:g} Hz"
            )
        values = parse_unit(unit).to_si(stream.load(stream.columns))
        signals[name] = Signal(values, modality.rate_hz, stream.start_s - start_s)
    end_s = max(signal.end_s for signal in signals.values())
    labels, notes = _wristband_labels(subject, quest, end_s)
    notes = (*notes, *_impossible(signals))
    person = _person(quest.with_name(f"{subject}_readme.txt"))
    yield Recording(subject, "1", modalities, signals, labels, notes, person=person)


def _person(readme: Path) -> dict[str, float]:
    """Return what the file of a subject says about the person, if it is there."""
    try:
        lines = readme.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return person_of(read_comments(lines), PERSON)


def _impossible(signals: Mapping[str, Signal]) -> tuple[str, ...]:
    """Report samples that the format left out because no body has such values."""
    missing = {name: int(np.isnan(s.values).any(axis=1).sum()) for name, s in signals.items()}
    return tuple(
        f"{name}: {count} samples are impossible (such as 382 degrees Celsius when the wristband "
        "starts) and count as missing"
        for name, count in missing.items()
        if count
    )


def _wristband_labels(
    subject: str, quest: Path, end_s: float
) -> tuple[tuple[LabelInterval, ...], tuple[str, ...]]:
    if subject not in OFFSET_S:
        return (), (
            f"unlabelled: how much earlier the wristband of {subject} started than the protocol "
            f"is not known, and {subject}.pkl is not there",
        )
    if not quest.is_file():
        raise DataError(f"{quest}: does not exist; the official data set has it")
    offset_s = OFFSET_S[subject]
    labels = tuple(
        LabelInterval(begin + offset_s, end + offset_s - END_EARLIER_S, label)
        for begin, end, label in read_quest(quest)
    )
    if labels and labels[-1].end_s > end_s:
        raise DataError(
            f"{quest}: its last condition ends {labels[-1].end_s:g} s after the wristband's start, "
            f"which recorded {end_s:g} s; both must be of one session"
        )
    return labels, (
        f"labels are those of {quest.name}, {offset_s:g} s later, each {END_EARLIER_S:g} s shorter "
        "(the wristband started before the protocol)",
    )


def read_quest(path: Path) -> list[tuple[float, float, str]]:
    """Read the conditions of a questionnaire: start, end, label, in seconds of the protocol.

    Raises:
        DataError: not in the official format, or conditions that overlap.
    """
    rows: dict[str, list[str]] = {}
    for line in path.read_text(encoding="latin1").splitlines():
        head, *cells = [cell.strip() for cell in line.split(";")]
        if head in ("# ORDER", "# START", "# END"):
            rows[head[2:]] = [cell for cell in cells if cell]
    if len(rows) != 3 or len({len(cells) for cells in rows.values()}) != 1:
        told = ", ".join(f"{len(cells)} {name}" for name, cells in rows.items()) or "none of them"
        raise DataError(
            f"{path}: has {told}; expected lines # ORDER, # START and # END of equally many cells"
        )
    found = []
    for name, start, end in zip(rows["ORDER"], rows["START"], rows["END"], strict=True):
        if name not in CONDITIONS:
            known = ", ".join(CONDITIONS)
            raise DataError(f"{path}: has condition '{name[:30]}'; allowed are {known}")
        label = CONDITIONS[name]
        if label is not None:
            found.append((_seconds(path, start), _seconds(path, end), label))
    found.sort()
    if any(end > begin for (_, end, _), (begin, _, _) in pairwise(found)) or any(
        end - begin <= END_EARLIER_S for begin, end, _ in found
    ):
        raise DataError(f"{path}: its conditions overlap or end before they start")
    return found


def _seconds(path: Path, text: str) -> float:
    """Read minutes.seconds, written as a number: its trailing zero is lost."""
    match = re.fullmatch(r"(\d+)(?:\.(\d{1,2}))?", text)
    seconds = int((match[2] or "0").ljust(2, "0")) if match else 60
    if match is None or seconds >= 60:
        raise DataError(f"{path}: '{text[:20]}' is not a time; expected minutes.seconds like 50.3")
    return int(match[1]) * 60.0 + seconds


# --- both devices


def _read_pickle(folder: Path, modalities: Mapping[str, Modality]) -> Iterator[Recording]:
    path = _pickle(folder)
    content = _unpickle(path)
    try:
        subject, codes, devices = content["subject"], content["label"], content["signal"]
        arrays = {
            name: _numbers(devices[device][key], np.float64)
            for device, known in (("wrist", WRIST), ("chest", CHEST))
            for name, (_, key, _) in known.items()
            if name in modalities
        }
        codes = _numbers(codes, np.int64)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: is not in the official layout ({type(error).__name__}: {str(error)[:80]})"
        ) from error
    if subject != folder.name:
        told = f"'{subject[:20]}'" if isinstance(subject, str) else f"a {type(subject).__name__}"
        raise DataError(f"{path}: is of subject {told}; expected {folder.name}")
    known = WRIST | CHEST
    signals = {}
    for name, values in arrays.items():
        modality, _, unit = known[name]
        _check_shape(path, name, values, modality, len(codes))
        signals[name] = Signal(parse_unit(unit).to_si(values), modality.rate_hz)
    person = _person(path.with_name(f"{subject}_readme.txt"))
    yield Recording(subject, "1", modalities, signals, _label_runs(path, codes), person=person)


def _numbers(value: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """Convert an array; a list of lists that name one another could be endless."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"holds a {type(value).__name__} instead of an array")
    return np.asarray(value, dtype=dtype)


def _unpickle(path: Path) -> Any:
    try:
        with reading(path, "a pickle of arrays"), path.open("rb") as file:
            return NumpyUnpickler(file, encoding="latin1").load()
    except DataError as error:
        told = str(error)
        raise DataError(told if told.startswith(str(path)) else f"{path}: {told}") from error


def _check_shape(
    path: Path, name: str, values: NDArray[np.float64], modality: Modality, labels: int
) -> None:
    if values.ndim != 2 or values.shape[1] != len(modality.channels):
        raise DataError(
            f"{path}: {name} has shape {values.shape}; expected (n, {len(modality.channels)})"
        )
    length_s, wanted_s = len(values) / modality.rate_hz, labels / CHEST_HZ
    if abs(length_s - wanted_s) > SAME_LENGTH_S:
        raise DataError(
            f"{path}: {name} lasts {length_s:g} s but the labels {wanted_s:g} s; they must agree "
            f"to {SAME_LENGTH_S:g} s"
        )


def _label_runs(path: Path, codes: NDArray[np.int64]) -> tuple[LabelInterval, ...]:
    unknown = np.setdiff1d(codes, [*CODES, *UNLABELLED])
    if codes.ndim != 1 or len(unknown):
        raise DataError(
            f"{path}: labels have shape {codes.shape} and codes {unknown[:5].tolist()} that are "
            "unknown; allowed are 0 to 7, one a sample"
        )
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    return tuple(
        LabelInterval(begin / CHEST_HZ, end / CHEST_HZ, CODES[int(codes[begin])])
        for begin, end in pairwise(edges)
        if begin < end and int(codes[begin]) in CODES
    )
