"""OPPORTUNITY: seven inertial units on the body in a kitchen, official text files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from crossl.data.readers.archive import find_folder, holds, open_root
from crossl.data.readers.card import STANDARD_GRAVITY, Card, RemoteFile
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.table import (
    Published,
    check_codes,
    grid_places,
    label_runs,
    on_grid,
    published_note,
    read_table,
    recorded_only,
)
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.errors import ConfigError, DataError, nearest

MARKERS, STEM = ("dataset/S*-*.dat", "S*-*.dat"), "opportunity"
RATE_HZ = 30.0
COLUMNS, MILLISEC = 250, 0
NAME = re.compile(r"(S\d+)-(ADL\d+|Drill)")

IMU_ACC = ("m/s^2", 9.8 / 1000)
"""Undoes the documented `round(original_value / 9.8 * 1000)`."""
IMU_UNKNOWN = ("1", 1 / 1000)
"""Undoes `round(original_value * 1000)`; the documentation calls the unit unknown."""
WIRELESS_ACC = ("m/s^2", STANDARD_GRAVITY / 1000)
"""Of the wireless accelerometers, in milli g."""

IMUS = {"back": 37, "rua": 50, "rla": 63, "lua": 76, "lla": 89}
"""First column, from 0, of InertialMeasurementUnit BACK, RUA, RLA, LUA, LLA."""
IMU_SENSORS = {"acc": (0, IMU_ACC), "gyro": (3, IMU_UNKNOWN), "mag": (6, IMU_UNKNOWN)}
SHOES = {"l_shoe": 102, "r_shoe": 118}
SHOE_SENSORS = {"acc": (6, IMU_ACC), "gyro": (9, IMU_UNKNOWN)}
"""Body_A and AngVelBodyFrame: in the shoe's own axes."""
WIRELESS = {
    "rkn_upper": 1, "hip": 4, "lua_upper": 7, "rua_lower": 10, "lh": 13, "back": 16,
    "rkn_lower": 19, "rwr": 22, "rua_upper": 25, "lua_lower": 28, "lwr": 31, "rh": 34,
}  # fmt: skip
"""Accelerometers; `^` and `_` behind a name in the documentation are upper and lower."""

SOURCE = {
    f"{device}_{sensor}": (first + offset, unit, device)
    for devices, sensors in ((IMUS, IMU_SENSORS), (SHOES, SHOE_SENSORS))
    for device, first in devices.items()
    for sensor, (offset, unit) in sensors.items()
} | {
    f"wireless_{name}": (first, WIRELESS_ACC, f"wireless_{name}")
    for name, first in WIRELESS.items()
}  # fmt: skip
"""First column of each modality, its unit with factor, and its device."""

LOCOMOTION = {1: "Stand", 2: "Walk", 4: "Sit", 5: "Lie"}
GESTURES = {
    406516: "Open Door 1", 406517: "Open Door 2", 404516: "Close Door 1", 404517: "Close Door 2",
    406520: "Open Fridge", 404520: "Close Fridge", 406505: "Open Dishwasher",
    404505: "Close Dishwasher", 406519: "Open Drawer 1", 404519: "Close Drawer 1",
    406511: "Open Drawer 2", 404511: "Close Drawer 2", 406508: "Open Drawer 3",
    404508: "Close Drawer 3", 408512: "Clean Table", 407521: "Drink from Cup",
    405506: "Toggle Switch",
}  # fmt: skip
NULL = {0: "null"}
LABELS = {"locomotion": (243, LOCOMOTION), "gestures": (249, GESTURES)}
"""Column of each choice of `labels`, and what its numbers mean."""

PUBLISHED = {
    "S1-ADL1.dat": Published(
        "2b247432acbe4d3970f052c1e3e7ff8d2fc98ba5c49f95e2a0d63a32c553aab8", 51803164),
    "S1-ADL2.dat": Published(
        "cb7951936acb4637e27b3c8c95480341354a93ba90a5cce232526279d2f127ba", 32761206),
    "S1-ADL3.dat": Published(
        "118378e10af6bf042a65f7d14234993b9e1229ef12b4dc75afff1a79760f7132", 33899243),
    "S1-ADL4.dat": Published(
        "283cf48e4114b4fb05a7def13c29b5497a0e02947ca5855d831fc68b72eec1c8", 34242592),
    "S1-ADL5.dat": Published(
        "8519f3a4c09ee10c67215aef53520152355ddadf0d70b5b708998478b0c53a1c", 30729238),
    "S1-Drill.dat": Published(
        "26b5e4d9f40243cc64471592bf86a5a282b0bde864b1efcdd5699d5a7f00bf42", 56321443),
    "S2-ADL1.dat": Published(
        "38d76a30b49b6fff3dcc77cec676a19de5c252ed14c10b7400b4666997fa7f1f", 43165447),
    "S2-ADL2.dat": Published(
        "b30f15e8a1927cd19427e2b1028bc787df06810466fd548523fc6a11e2d01aed", 30710584),
    "S2-ADL3.dat": Published(
        "64eca28aa6cefc38e6362510f95d2a770d3a4e6c8b2326fd6608d7c10707240e", 34808274),
    "S2-ADL4.dat": Published(
        "25cd0d6eb7e0fd9a9786d213ffdac131f06a5279e24d78ff50b1621a3fa205d1", 33124185),
    "S2-ADL5.dat": Published(
        "2300842180e2640aa9512d602c0a7ba6ee1a4ef1999889b34bceb110dc5c5c0d", 32398053),
    "S2-Drill.dat": Published(
        "98e7ed170e860457198fd1346f4b284d7ae5983e5de78d3924273ec47fa8e78f", 54381079),
    "S3-ADL1.dat": Published(
        "1b15fc4766ba9a79f8ec97c15bb4cb128e7a2fd2c08f8dcb60dec65ca543e699", 37810795),
    "S3-ADL2.dat": Published(
        "a61b0418486f07114719d30ea6bf119e530f233d36d8eee7da542946b0358f4a", 28329759),
    "S3-ADL3.dat": Published(
        "ad976087c3c428f75d5a83df82640935323b3923eb8256466c99e7d2c556590a", 27222179),
    "S3-ADL4.dat": Published(
        "e2502620983c38ecb78b21ca232516decc64753ad476ea242d3cbebcba20e637", 27972830),
    "S3-ADL5.dat": Published(
        "8c66c65e561c4b2a8fb36d40cbca36cee246d6fad6072b097fcb3ee0ed8620fa", 27048082),
    "S3-Drill.dat": Published(
        "3f5c13d4e52ea96f218040480e68bdf279818e7ea99d7dba7a78c12f2e21f7f1", 72116889),
    "S4-ADL1.dat": Published(
        "9a9a6fedd1889f9210ff3ecc0d9ee9da602bd11a3a86f629ac06273a9b8bb98a", 42129019),
    "S4-ADL2.dat": Published(
        "022be538306b443096667f37909d2a4a6f69222ddd2381a63160efc6ef146a04", 28272896),
    "S4-ADL3.dat": Published(
        "f81f5d19cf3f76e531e2af5aab2333f6a776d82202869c740ee7791c1095fd7f", 26254876),
    "S4-ADL4.dat": Published(
        "d2f5bd0e2f770ef8cbc0e1b11cab1ea9fe537d1bef3586dc92c395fd47b1426d", 22661204),
    "S4-ADL5.dat": Published(
        "1ace7199f8a5285691a58326ded0a2932ea56d8f43da537ff23db0ad359e7ef6", 31116303),
    "S4-Drill.dat": Published(
        "9076c861d9b5ad94345abf61659064f8e7b94e73d29518ab30e156a30555a3bd", 46154259),
}  # fmt: skip
"""The 24 published files below `OpportunityUCIDataset/dataset`."""


def _modality(name: str) -> Modality:
    _, (unit, _), device = SOURCE[name]
    return Modality(name, ("x", "y", "z"), unit, RATE_HZ, device)


CARD = Card(
    name="opportunity",
    title="OPPORTUNITY activity recognition",
    description=(
        "4 people went through a breakfast scenario 5 times (ADL) and once through a drill, in a "
        "room like a studio flat. Read are the 5 inertial units of the jacket (acceleration, "
        "rotation, magnetic field) and the 2 of the shoes (acceleration, rotation, both in the "
        "shoe's axes), all on one 30 Hz grid. Acceleration is from milli g, where 1 g was 9.8 "
        "m/s^2 for these units (9.8e-3); rotation and magnetic field are divided by 1000, which "
        "the files multiplied them by, and have unit 1, since the documentation calls theirs "
        "unknown. The option accelerometers=yes adds the 12 wireless ones (milli g, 9.80665e-3). "
        "Lost samples stay missing."
    ),
    licence="CC BY 4.0 by its UCI page; its own README asks to cite in every publication",
    citation=(
        "R. Chavarriaga, H. Sagha, A. Calatroni, S. T. Digumarti, G. Troester, J. del R. Millan, "
        "D. Roggen, The Opportunity challenge: a benchmark database for on-body sensor-based "
        "activity recognition, Pattern Recognition Letters 34 (2013) 2033-2042"
    ),
    url="https://archive.ics.uci.edu/dataset/226",
    modalities=tuple(_modality(name) for name in SOURCE if not name.startswith("wireless_")),
    classes=tuple(LOCOMOTION.values()),
    spec=WindowSpec(window_s=1.0, stride_s=0.5),
    traps=(
        "Most time has no gesture: with labels=gestures, most windows are unlabelled.",
        "The shoes' rotation is documented in mm/s, not a unit of rotation; it has unit 1.",
        "Sensors of different systems were aligned by hand: they may be shifted by about 100 ms.",
        "Labels are off by a few hundred milliseconds, and gestures are short.",
        "The wireless accelerometers lost many samples; objects, switches and locations, which the "
        "files hold too, are not read.",
        "4 subjects are few for tests across people.",
    ),
    size="885 MB unpacked",
    subjects=4,
    files=(
        RemoteFile(
            "https://archive.ics.uci.edu/static/public/226/opportunity+activity+recognition.zip"
        ),
    ),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return any(holds(root, marker, STEM) for marker in MARKERS)


@contextmanager
def open_dataset(
    root: Path | None, *, labels: str = "locomotion", accelerometers: bool = False
) -> Iterator[Dataset]:
    """Find the runs; a part each.

    Args:
        root: folder that holds `dataset`, or the one above it, or `dataset`, or the official
            archive.
        labels: `locomotion` (4 classes), or `gestures` of both arms (17 classes).
        accelerometers: have the 12 wireless accelerometers among the modalities.

    Raises:
        ConfigError: no such labels.
        DataError: the folder does not hold the data set.
    """
    if labels not in LABELS:
        raise ConfigError(f"option 'labels' of opportunity: '{labels}'; {nearest(labels, LABELS)}")
    card = replace(CARD, classes=tuple(LABELS[labels][1].values()))
    if accelerometers:
        card = replace(card, modalities=tuple(_modality(name) for name in SOURCE))
    marker = MARKERS[0]
    if root is not None and find_folder(root, marker) is None and find_folder(root, MARKERS[1]):
        marker = MARKERS[1]
    with open_root(root, marker=marker, stem=STEM) as folder:
        found = sorted(folder.glob(marker))
        parts = (Part(path.stem, partial(_read_run, path, card, labels), (path,)) for path in found)
        yield Dataset(card, tuple(parts))


def _read_run(path: Path, card: Card, labels: str) -> Iterator[Recording]:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path}: names no subject and run; expected a name like S1-ADL1.dat")
    notes = published_note(path, PUBLISHED.get(path.name))
    table = read_table(path, COLUMNS, must_end_with_newline=bool(notes))
    column, names = LABELS[labels]
    codes = table[:, column]
    check_codes(path, codes, names | NULL)
    times_s = table[:, MILLISEC] / 1000
    place = grid_places(str(path), times_s, RATE_HZ)
    start_s = float(times_s[0])
    signals = {}
    for modality in card.modalities:
        first, (_, factor), _ = SOURCE[modality.name]
        values = on_grid(place, table[:, first : first + 3] * factor)
        signals[modality.name] = Signal(values, RATE_HZ, start_s)
    signals, missing = recorded_only(signals)
    yield Recording(
        subject=match[1],
        session=match[2],
        modalities={m.name: m for m in card.modalities},
        signals=signals,
        labels=label_runs(place, codes, names, rate_hz=RATE_HZ, start_s=start_s),
        notes=(*notes, *missing),
    )
