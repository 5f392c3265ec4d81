"""MotionSense: a phone in the front pocket, official CSV files (Malekzadeh et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import STANDARD_GRAVITY, Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.people import BODY, read_people, units_of
from crossl.data.readers.table import Table, read_table
from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.errors import ConfigError, DataError, nearest

RATE_HZ = 50.0
AXES = ("x", "y", "z")
FUSED, ACCELEROMETER, GYROSCOPE = (
    "A_DeviceMotion_data", "B_Accelerometer_data", "C_Gyroscope_data",
)  # fmt: skip
SOURCES = {"device_motion": (FUSED,), "raw": (ACCELEROMETER, GYROSCOPE)}
"""Folders (or zips) that each choice of `source` reads."""

ACTIVITIES = {
    "dws": "downstairs", "ups": "upstairs", "wlk": "walking", "jog": "jogging", "std": "standing",
    "sit": "sitting",
}  # fmt: skip

COMMIT = "261cb0d60611a049ab38127738e42cc510ed50f4"
DATA = f"https://raw.githubusercontent.com/mmalekzadeh/motion-sense/{COMMIT}/data"

PEOPLE = "data_subjects_info.csv"

CARD = Card(
    name="motion_sense",
    title="MotionSense",
    description=(
        "24 people did 6 activities in 15 trials with an iPhone 6s in the trousers' front pocket, "
        "50 Hz. Acceleration is the sum of the files' gravity and userAcceleration, from g "
        "(9.80665 m/s^2), which is what an accelerometer measures; rotation is in rad/s as in the "
        "files (factor 1). Attitude is left out. The option source=raw reads the sensors' own "
        "readings instead, before the phone fused them."
    ),
    licence="MIT, by the licence file of its repository",
    citation=(
        "M. Malekzadeh, R. G. Clegg, A. Cavallaro, H. Haddadi, Mobile sensor data anonymization, "
        "Proceedings of the International Conference on Internet of Things Design and "
        "Implementation (IoTDI), 2019, 49-58"
    ),
    url="https://github.com/mmalekzadeh/motion-sense",
    modalities=(
        motion_modality("pocket", "acc", RATE_HZ, "acc"),
        motion_modality("pocket", "gyro", RATE_HZ, "gyro"),
    ),
    classes=tuple(ACTIVITIES.values()),
    spec=WindowSpec(window_s=2.56, stride_s=1.28),
    traps=(
        "A trial holds one activity only, and is 30 s to 3 minutes long.",
        "Gravity and userAcceleration are in g and were separated by the phone; either alone is "
        "not what an accelerometer measures.",
        "The raw accelerometer and gyroscope were logged apart, without timestamps: source=raw "
        "starts both at once, so they may be shifted against each other.",
        "Trials are numbered 1 to 9 and 11 to 16; there is no trial 10.",
        "Age, height and weight are in data_subjects_info.csv of the authors' repository; put it "
        "beside the archives to have them as targets.",
    ),
    size="three zip files, of which A suffices",
    subjects=24,
    files=tuple(RemoteFile(f"{DATA}/{name}.zip") for name in (FUSED, ACCELEROMETER, GYROSCOPE)),
    person=units_of(BODY),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, FUSED, FUSED)


@contextmanager
def open_dataset(root: Path | None, *, source: str = "device_motion") -> Iterator[Dataset]:
    """Find the trials; a part each.

    Args:
        root: folder that holds `A_DeviceMotion_data` (or its zip), or that zip; people are known
            where `data_subjects_info.csv` lies in the folder.
        source: `device_motion` reads folder A; `raw` reads B and C, of which a trial may lack one.

    Raises:
        ConfigError: no such source.
        DataError: the folder does not hold the data set.
    """
    if source not in SOURCES:
        raise ConfigError(
            f"option 'source' of motion_sense: '{source}'; {nearest(source, SOURCES)}"
        )
    with ExitStack() as stack:
        folders = [
            stack.enter_context(open_root(root, marker=name, stem=name)) / name
            for name in SOURCES[source]
        ]
        trials: dict[tuple[str, str], tuple[Path, ...]] = {}
        for folder in folders:
            for path in folder.glob("*_*/sub_*.csv"):
                key = _key(path)
                trials[key] = (*trials.get(key, ()), path)
        if not trials:
            raise DataError(f"{folders[0]}: holds no file such as dws_1/sub_1.csv")
        people = read_people((root or folders[0]) / PEOPLE, "code", BODY)
        parts = (
            Part(f"{key[0]}-{key[1]}",
                 partial(_read_trial, *key, trials[key], _person(key[0], people)), trials[key])
            for key in sorted(trials)
        )  # fmt: skip
        yield Dataset(CARD, tuple(parts))


def _key(path: Path) -> tuple[str, str]:
    """Return subject and session of a file, as `dws_1/sub_3.csv` spells them."""
    activity, _, trial = path.parent.name.partition("_")
    number = path.stem.removeprefix("sub_")
    if activity not in ACTIVITIES or not (trial.isdecimal() and number.isdecimal()):
        raise DataError(
            f"{path}: names no activity, trial and subject; expected a name like dws_1/sub_1.csv "
            f"with one of {', '.join(ACTIVITIES)}"
        )
    return f"sub_{int(number):02d}", f"{activity}_{int(trial):02d}"


def _person(subject: str, people: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    return people.get(str(int(subject.removeprefix("sub_"))), {})


def _read_trial(
    subject: str, session: str, files: tuple[Path, ...], person: Mapping[str, float]
) -> Iterator[Recording]:
    signals: dict[str, Signal] = {}
    for path in files:
        kind = path.parent.parent.name
        if kind == FUSED:
            signals |= _read_fused(path)
        elif kind == ACCELEROMETER:
            values = _read_csv(path, [AXES])[0] * STANDARD_GRAVITY
            signals["acc"] = Signal(values.astype(np.float32), RATE_HZ)
        else:
            signals["gyro"] = Signal(_read_csv(path, [AXES])[0].astype(np.float32), RATE_HZ)
    end_s = max(signal.end_s for signal in signals.values())
    activity = ACTIVITIES[session.partition("_")[0]]
    yield Recording(
        subject=subject,
        session=session,
        modalities={m.name: m for m in CARD.modalities},
        signals=signals,
        labels=(LabelInterval(0.0, end_s, activity),),
        person=person,
    )


def _read_fused(path: Path) -> dict[str, Signal]:
    groups = [tuple(f"{group}.{axis}" for axis in AXES)
              for group in ("gravity", "userAcceleration", "rotationRate")]  # fmt: skip
    gravity, user, rotation = _read_csv(path, groups)
    acceleration = ((gravity + user) * STANDARD_GRAVITY).astype(np.float32)
    return {
        "acc": Signal(acceleration, RATE_HZ),
        "gyro": Signal(rotation.astype(np.float32), RATE_HZ),
    }


def _read_csv(path: Path, groups: list[tuple[str, ...]]) -> list[Table]:
    """Return groups of named columns; the first column, a row number, must count up by one."""
    with path.open("rb") as file:
        header = [cell.strip('"') for cell in file.readline().decode("latin1").strip().split(",")]
    missing = [name for group in groups for name in group if name not in header]
    if missing:
        raise DataError(
            f"{path}: has no column '{missing[0]}' in its first line, which reads "
            f"{','.join(header)[:80]!a}; expected the official header"
        )
    table = read_table(
        path, len(header), delimiter=",", header_lines=1, must_end_with_newline=True
    )  # fmt: skip
    jumps = np.flatnonzero(np.diff(table[:, 0]) != 1)
    if header[0] == "" and len(jumps):
        raise DataError(
            f"{path}: line {jumps[0] + 3} has row number {table[jumps[0] + 1, 0]:g} after "
            f"{table[jumps[0], 0]:g}; rows are numbered without a gap"
        )
    return [table[:, [header.index(name) for name in group]] for group in groups]
