"""sp-sw-har: smartphone and smartwatch, official CSV files (Matey-Sanz et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.people import BODY, read_people, units_of
from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.data.timing import Timing, put_in_order, resample_to_rate
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER, STEM = "DATA/subjects_info.csv", "sp_sw_har"
RATE_HZ = 100.0
MAX_GAP_S = 0.5
HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"
DEVICES = {"sp": "phone", "sw": "watch"}
CALENDAR_S = (946_684_800, 4_102_444_800)
"""Times since the epoch from 2000 to 2100: others tell no date."""
COMMIT = "1408d85a512a53861de7bc4729dee283fff2ea9d"

CARD = Card(
    name="sp_sw_har",
    title="Smartphone and smartwatch activities (sp-sw-har)",
    description=(
        "23 people stood up, walked, turned and sat down, 6 to 11 times each, with a phone in the "
        "left pocket and a watch on the left wrist: accelerometer and gyroscope of both. The "
        "clocks run at 102.5 Hz (phone) and 104.3 Hz (watch), with jitter: the reader puts both on "
        "one 100 Hz grid by linear interpolation on their timestamps, and cuts to the time that "
        "both recorded."
    ),
    licence="CC BY 4.0",
    citation=(
        "M. Matey-Sanz, S. Casteleyn, C. Granell, Dataset of inertial measurements of smartphones "
        "and smartwatches for human activity recognition, Data in Brief 51 (2023) 109809"
    ),
    url="https://doi.org/10.5281/zenodo.8398688",
    modalities=tuple(
        motion_modality(device, sensor, RATE_HZ)
        for device in DEVICES.values()
        for sensor in ("acc", "gyro")
    ),
    classes=("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN"),
    spec=WindowSpec(window_s=1.0, stride_s=0.5),
    traps=(
        "The nominal rate is 100 Hz, the true ones 102.5 Hz (phone) and 104.3 Hz (watch).",
        "Phone and watch start up to 1.07 s apart (median 3 ms).",
        "Labels are uneven: 44 of 100 samples of the phone are WALKING, 11 are STANDING_UP.",
        "Every execution is the same sequence of activities, so their order gives them away.",
    ),
    size="about 11 MB compressed, 73 MB unpacked",
    subjects=23,
    files=(
        # the authors' own repository at the commit this reader was written for
        RemoteFile(f"https://github.com/GeoTecINIT/sp-sw-har-dataset/archive/{COMMIT}.zip"),
    ),
    person=units_of(BODY),
)


@dataclass(frozen=True)
class _DeviceFile:
    """One CSV: times in seconds since the epoch, six columns, a label per sample."""

    time_s: NDArray[np.float64]
    values: NDArray[np.float64]
    label: NDArray[np.str_]
    timing: Timing


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, MARKER, STEM)


@contextmanager
def open_dataset(root: Path | None) -> Iterator[Dataset]:
    """Find the executions; a part each.

    Args:
        root: folder that holds `DATA`, or the official archive, or the folder it lies in.

    Raises:
        DataError: files are missing or not in the official layout.
    """
    with open_root(root, marker=MARKER, stem=STEM) as folder:
        # an execution may lack either device
        found: dict[Path, list[Path]] = {}
        for ending in DEVICES:
            for path in sorted((folder / "DATA").glob(f"s*/s*_{ending}.csv")):
                execution = path.with_name(path.stem.removesuffix(f"_{ending}"))
                found.setdefault(execution, []).append(path)
        if not found:
            raise DataError(f"{folder}/DATA: holds no file s*/s*_sp.csv or s*/s*_sw.csv")
        people = read_people(folder / MARKER, "subject_id", BODY)
        yield Dataset(CARD, tuple(_part(found[execution], people) for execution in sorted(found)))


def _part(files: list[Path], people: Mapping[str, Mapping[str, float]]) -> Part:
    name = files[0].stem[: -len("_sp")]
    person = people.get(name.partition("_")[0], {})
    return Part(name, partial(_read_execution, files, person), tuple(files))


def _read_execution(paths: list[Path], person: Mapping[str, float]) -> Iterator[Recording]:
    subject, session, _ = paths[0].stem.split("_")
    files = {DEVICES[path.stem[-2:]]: _read_csv(path) for path in paths}
    start = max(file.time_s[0] for file in files.values())
    stop = min(file.time_s[-1] for file in files.values())
    if stop - start < 1 / RATE_HZ:
        raise DataError(f"{paths[0]}: its devices never recorded at the same time")
    dated = CALENDAR_S[0] <= start <= CALENDAR_S[1]
    yield Recording(
        subject=subject,
        session=session,
        modalities={m.name: m for m in CARD.modalities},
        signals=_signals(files, start, stop),
        labels=_label_runs(next(iter(files.values())), start, stop),
        origin_unix_s=start if dated else None,
        zone="UTC" if dated else "",
        person=person,
    )


def _read_csv(path: Path) -> _DeviceFile:
    try:
        with path.open(encoding="ascii") as file:
            header = file.readline().strip()
            if header != HEADER:
                raise DataError(f"{path}: first line is '{header[:60]}'; expected '{HEADER}'")
            lines = [line for line in file if line.strip()]
        if not lines:
            raise DataError(f"{path}: holds no sample, only the first line")
        text = np.loadtxt(lines, delimiter=",", dtype="U24", ndmin=2)
        if text.shape[1] != len(HEADER.split(",")):
            raise ValueError(f"{text.shape[1]} columns")
        values = text[:, :6].astype(np.float64)
        milliseconds = text[:, 6].astype(np.int64)
        label = text[:, 7]
    except (ValueError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is not in the official format ({error})") from error
    unknown = sorted(set(label.tolist()) - set(CARD.classes))
    if unknown:
        raise DataError(f"{path}: label '{unknown[0]}'; allowed are {', '.join(CARD.classes)}")
    numbered = np.c_[values, np.arange(len(values))]
    times, kept, timing = put_in_order(
        str(path), milliseconds / 1000.0, numbered, declared_hz=RATE_HZ
    )
    return _DeviceFile(
        times, kept[:, :6].astype(np.float64), label[kept[:, 6].astype(np.int64)], timing
    )


def _signals(files: dict[str, _DeviceFile], start: float, stop: float) -> dict[str, Signal]:
    signals = {}
    for device, file in files.items():
        grid = resample_to_rate(
            file.time_s,
            file.values,
            rate_hz=RATE_HZ,
            start_s=start,
            stop_s=stop,
            max_gap_s=MAX_GAP_S,
        )
        signals[f"{device}_acc"] = Signal(grid[:, :3], RATE_HZ, timing=file.timing)
        signals[f"{device}_gyro"] = Signal(grid[:, 3:], RATE_HZ, timing=file.timing)
    return signals


def _label_runs(file: _DeviceFile, start: float, stop: float) -> tuple[LabelInterval, ...]:
    """Turn a label per sample into intervals on the recording's clock, which starts at 0."""
    changes = np.flatnonzero(file.label[1:] != file.label[:-1]) + 1
    edges = np.clip(np.r_[file.time_s[0], file.time_s[changes], stop], start, stop) - start
    names = file.label[np.r_[0, changes]]
    return tuple(
        LabelInterval(float(begin), float(end), str(name))
        for begin, end, name in zip(edges[:-1], edges[1:], names, strict=True)
        if end > begin
    )
