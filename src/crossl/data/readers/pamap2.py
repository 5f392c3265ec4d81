"""PAMAP2: three IMUs and a heart rate monitor, official text files (Reiss and Stricker 2012)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile, motion_modality
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.table import (
    Published,
    Table,
    check_codes,
    grid_places,
    label_runs,
    on_grid,
    published_note,
    read_table,
    recorded_only,
)
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.timing import put_in_order, resample_to_rate
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

MARKER, STEM = "Protocol/subject*.dat", "pamap2"
RATE_HZ = 100.0
HEART_RATE_HZ = 9.0
HEART_RATE_BAND = 0.2
MAX_HEART_GAP_S = 0.5

COLUMNS = 54
TIMESTAMP, ACTIVITY, HEART_RATE = 0, 1, 2
FIRST = {"hand": 3, "chest": 20, "ankle": 37}
"""First column of each IMU, which has 17: temperature, acceleration, ..."""
SENSORS = {"acc": (1, "m/s^2"), "gyro": (7, "rad/s"), "mag": (10, "uT")}
"""First of the sensor's three columns within an IMU, and the unit in the file."""

PROTOCOL = {
    1: "lying", 2: "sitting", 3: "standing", 4: "walking", 5: "running", 6: "cycling",
    7: "Nordic walking", 12: "ascending stairs", 13: "descending stairs", 16: "vacuum cleaning",
    17: "ironing", 24: "rope jumping",
}  # fmt: skip
OPTIONAL = {
    9: "watching TV", 10: "computer work", 11: "car driving", 18: "folding laundry",
    19: "house cleaning", 20: "playing soccer",
}  # fmt: skip
TRANSIENT = {0: "transient"}

PUBLISHED = {
    "Optional/subject101.dat": Published(
        "a8b71371406001ae563acad1d7d946ceacd0afeb51b97bfb9a9cbad95c78e52c", 121246257),
    "Optional/subject105.dat": Published(
        "a7c4ccd8d7e8fe21abad8c111229649ec10ca9b353cc29fcc4986c2243301adc", 72521536),
    "Optional/subject106.dat": Published(
        "50882fc519f01e8fe200a5a4373daff443e88624d7e8a2d31d759569823fb491", 60905306),
    "Optional/subject108.dat": Published(
        "e871b2e5692867f8655b69b769e866927739aa288b9da5cc9a15dc930f154336", 85403002),
    "Optional/subject109.dat": Published(
        "a6a8f7521d63fe80bd7f203c5ee1256a2bc8b3772f028ae767256ec1d6a93930", 90594049),
    "Protocol/subject101.dat": Published(
        "80b3fffd089c236ae88098df3b906b8d3c67a858023fe4f75045d78612147266", 141698539),
    "Protocol/subject102.dat": Published(
        "468f3c6ba3e6e961f383783665265afbcddbbd33a3a84bba0386b7d0d4e3c632", 207349310),
    "Protocol/subject103.dat": Published(
        "5be64631d085e3efc700728395516da3512ff9de17dab30d253508441a98d3f0", 117863364),
    "Protocol/subject104.dat": Published(
        "7eb272213cbfe11d9e466a2163b6c9c2ed8d2542fc6f08283fd1bf222cac8994", 153227482),
    "Protocol/subject105.dat": Published(
        "7837cfede57fe45ec20d553c6c2b0c498ab324daae23bfd202c0ffea9f71a7f6", 173773599),
    "Protocol/subject106.dat": Published(
        "0da1dda3fa56d75d6413fc9198949d3ebc2102d77574cb5fe0739674687609f2", 168263273),
    "Protocol/subject107.dat": Published(
        "a02195e9599eb249f79103912d27eb4f62d8a0f59e4763b0dd8250fee5f3f020", 145823268),
    "Protocol/subject108.dat": Published(
        "81ce6b21b9c1e01dc02099c4f9387699547b08b28b387d09a56e0cb0a8af22fc", 190019653),
    "Protocol/subject109.dat": Published(
        "5109d5cd8334769566b4ae602adf3e5f4bb7b9ee8ca678f0c481d333114b07c7", 3891140),
}  # fmt: skip
"""The 14 published files below `PAMAP2_Dataset`."""

CARD = Card(
    name="pamap2",
    title="Physical activity monitoring (PAMAP2)",
    description=(
        "9 people did a protocol of 12 activities with an IMU on the wrist of the dominant arm, "
        "the chest and the ankle of that side (100 Hz), and a heart rate monitor (about 9 Hz). "
        "Acceleration is that of the +-16 g sensor, in m/s^2 as in the files (factor 1), rotation "
        "in rad/s (1), magnetic field from uT (1e-6), heart rate from beats per minute (1/60). "
        "Samples lost on the radio stay missing. Heart rate is a modality of its own: its samples, "
        "about 9.1 a second, are put on a 9 Hz grid by linear interpolation on their timestamps; "
        "steps longer than 0.5 s stay a gap."
    ),
    licence="CC BY 4.0 by its UCI page; its own readme frees it for academic research",
    citation=(
        "A. Reiss, D. Stricker, Introducing a new benchmarked dataset for activity monitoring, "
        "16th IEEE International Symposium on Wearable Computers (ISWC), 2012"
    ),
    url="https://archive.ics.uci.edu/dataset/231",
    modalities=(
        *(motion_modality(place, sensor, RATE_HZ) for place in FIRST for sensor in SENSORS),
        Modality("heart_rate", ("rate",), "Hz", HEART_RATE_HZ, "heart_monitor"),
    ),
    classes=tuple(PROTOCOL.values()),
    spec=WindowSpec(window_s=5.12, stride_s=2.56),
    traps=(
        "Label 0 is whatever happened between activities; the reader leaves that time unlabelled, "
        "and its authors say to discard it.",
        "Parts of an interrupted recording were put together within label 0, so signals jump "
        "there.",
        "Not everybody did every activity: subject 109 only jumped the rope, and only 6 people "
        "ran.",
        "The second acceleration (+-6 g) saturates and the orientation is invalid; neither is "
        "read.",
        "0.1 to 0.4% of the IMU samples were lost on the radio; they are NaN in the files and stay "
        "missing.",
    ),
    size="1.7 GB unpacked",
    subjects=9,
    files=(
        RemoteFile(
            "https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip"
        ),
    ),
)  # fmt: skip


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return holds(root, MARKER, STEM)


@contextmanager
def open_dataset(
    root: Path | None, *, heart_rate: bool = True, optional: bool = False
) -> Iterator[Dataset]:
    """Find the sessions; a part each.

    Args:
        root: folder that holds `Protocol`, or the one above it, or the official archive.
        heart_rate: have the heart rate among the modalities.
        optional: read the files of `Optional` too, as further sessions with 6 more classes.

    Raises:
        DataError: the folder does not hold the data set.
    """
    card = CARD
    if not heart_rate:
        card = replace(card, modalities=card.modalities[:-1])
    if optional:
        card = replace(card, classes=(*PROTOCOL.values(), *OPTIONAL.values()))
    with open_root(root, marker=MARKER, stem=STEM) as folder:
        found = [*folder.glob("Protocol/subject*.dat")]
        if optional:
            found += folder.glob("Optional/subject*.dat")
        parts = (_part(path, card) for path in sorted(found, key=lambda p: (p.stem, p.parent.name)))
        yield Dataset(card, tuple(parts))


def _part(path: Path, card: Card) -> Part:
    name = f"{path.stem}-{path.parent.name.lower()}"
    return Part(name, partial(_read_session, path, card), (path,))


def _read_session(path: Path, card: Card) -> Iterator[Recording]:
    published = PUBLISHED.get(f"{path.parent.name}/{path.name}")
    notes = published_note(path, published)
    table = read_table(path, COLUMNS, must_end_with_newline=bool(notes))
    known = PROTOCOL | OPTIONAL
    check_codes(path, table[:, ACTIVITY], known | TRANSIENT)
    names = {code: name for code, name in known.items() if name in card.classes}
    place = grid_places(str(path), table[:, TIMESTAMP], RATE_HZ)
    start_s = float(table[0, TIMESTAMP])
    signals = _imu_signals(table, place, start_s)
    if card.modalities[-1].name == "heart_rate":
        signals |= _heart_rate(path, table[:, TIMESTAMP], table[:, HEART_RATE])
    signals, missing = recorded_only(signals)
    yield Recording(
        subject=path.stem,
        session=path.parent.name.lower(),
        modalities={m.name: m for m in card.modalities},
        signals=signals,
        labels=label_runs(
            place, table[:, ACTIVITY], names, rate_hz=RATE_HZ, start_s=start_s
        ),
        notes=(*notes, *missing),
    )  # fmt: skip


def _imu_signals(table: Table, place: NDArray[np.int64], start_s: float) -> dict[str, Signal]:
    signals = {}
    for device, first in FIRST.items():
        for sensor, (offset, unit) in SENSORS.items():
            columns = table[:, first + offset : first + offset + 3]
            values = on_grid(place, columns * parse_unit(unit).factor)
            signals[f"{device}_{sensor}"] = Signal(values, RATE_HZ, start_s)
    return signals


def _heart_rate(
    path: Path, timestamps_s: NDArray[np.float64], rate_bpm: NDArray[np.float64]
) -> dict[str, Signal]:
    """Put heart rate on a 9 Hz grid of its own, which starts at its first sample.

    The rows between its samples hold NaN. Interpolation as for a clock that runs 1.5% fast:
    no filter, so that a jump from one beat rate to another stays one.
    """
    known = np.isfinite(rate_bpm)
    if known.sum() < 2:
        row = int(np.argmax(known))
        alone = np.array([[rate_bpm[row] * parse_unit("bpm").factor]], dtype=np.float32)
        return {"heart_rate": Signal(alone, HEART_RATE_HZ, float(timestamps_s[row]))}
    times, values, timing = put_in_order(
        f"{path}: heart rate", timestamps_s[known], rate_bpm[known, None],
        declared_hz=HEART_RATE_HZ,
    )  # fmt: skip
    if abs(timing.estimated_hz - HEART_RATE_HZ) > HEART_RATE_BAND * HEART_RATE_HZ:
        raise DataError(
            f"{path}: has {timing.estimated_hz:.3g} heart rates a second; the published files "
            f"have about {HEART_RATE_HZ:g}, with NaN in the rows between"
        )
    grid = resample_to_rate(
        times, values * parse_unit("bpm").factor, rate_hz=HEART_RATE_HZ, start_s=float(times[0]),
        stop_s=float(times[-1]) + 1 / HEART_RATE_HZ, max_gap_s=MAX_HEART_GAP_S,
    )  # fmt: skip
    return {"heart_rate": Signal(grid, HEART_RATE_HZ, float(times[0]), timing)}
