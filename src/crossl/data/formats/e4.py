"""Empatica E4: a session, as a folder or the zip that the maker's site exports.

`ACC.csv`, `BVP.csv`, `EDA.csv`, `TEMP.csv` and `HR.csv` each begin with a line of the Unix time of
the first sample and a line of the rate. Acceleration counts in 1/64 g, skin conductance in
microsiemens, temperature in degrees Celsius, heart rate in beats a minute; the pulse wave (BVP)
has no unit. HR is computed by the device from BVP, and so is `IBI.csv`, which is left out: it is a
list of beats with gaps, no signal. A temperature outside of what the sensor can measure is NaN:
sessions begin with a second of 382.2 degrees.

A press of the button (`tags.csv`) begins a label `tag 1`, `tag 2` and so on, which ends with the
next press, the last with the session.

The CSV files have no checksum: one that ends inside a line is refused, one that was cut off behind
a line or has other digits looks whole. A zip has checksums.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import read_member
from crossl.data.formats import FileContent, Stream
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

SENSORS = {
    "ACC": (("x", "y", "z"), "g/64"),
    "BVP": (("bvp",), "arbitrary"),
    "EDA": (("eda",), "uS"),
    "TEMP": (("temp",), "degC"),
    "HR": (("hr",), "bpm"),
}
"""Columns and unit of each file."""

TEMPERATURE_RANGE = (-40.0, 115.0)
IMPOSSIBLE = "samples outside -40 to 115 degrees Celsius count as missing"
"""What the sensor can measure, degrees Celsius."""


def open_file(path: Path) -> FileContent:
    """Find the sensors of a session.

    Args:
        path: folder with `ACC.csv` and the others, or a zip of them.

    Raises:
        DataError: no file of a sensor, or one that is damaged.
    """
    names = _names(path)
    if not names:
        wanted = ", ".join(f"{name}.csv" for name in SENSORS)
        raise DataError(f"{path}: is no Empatica session; it holds none of {wanted}")
    streams = tuple(_stream(path, sensor, names[sensor]) for sensor in SENSORS if sensor in names)
    tags = _tags(path, names)
    end_s = max(s.start_s + s.length / s.rate_hz for s in streams if s.rate_hz)
    edges = [*tags, end_s]
    labels = tuple(
        LabelInterval(begin, end, f"tag {number}")
        for number, (begin, end) in enumerate(pairwise(edges), start=1)
        if end > begin
    )
    return FileContent(
        path,
        streams=streams,
        labels=labels,
        open_ended=dict.fromkeys(range(len(labels)), "tags"),
        about={"device": "Empatica E4", "tags_s": tags, "missing": {"TEMP": IMPOSSIBLE}},
    )


def _names(path: Path) -> dict[str, str]:
    """Return where each sensor's file is: in the folder, or in the zip at any depth."""
    if path.is_dir():
        inside = [p.name for p in sorted(path.iterdir()) if p.is_file()]
    else:
        with zipfile.ZipFile(path) as archive:
            inside = archive.namelist()
    names: dict[str, str] = {}
    for name in inside:
        stem, dot, ending = name.rsplit("/", 1)[-1].partition(".")
        if dot + ending != ".csv" or stem not in (*SENSORS, "tags") or "__MACOSX" in name:
            continue
        if stem in names:
            raise DataError(
                f"{path}: holds {names[stem]} and {name}; one session a zip is read, unpack it"
            )
        names[stem] = name
    return names if set(names) - {"tags"} else {}


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        return read_member(path, archive, name)


def _stream(path: Path, sensor: str, name: str) -> Stream:
    where = f"{path}: {name}"
    columns, unit = SENSORS[sensor]
    start_s, rate_hz, rows = _split(where, _read(path, name), len(columns))
    return Stream(
        name=sensor,
        columns=columns,
        units=(unit,) * len(columns),
        length=rows.count(b"\n"),
        load=partial(_load, path, sensor, name),
        rate_hz=rate_hz,
        start_s=start_s,
    )


def _split(where: str, data: bytes, columns: int) -> tuple[float, float, bytes]:
    """Return start, rate and the lines behind them."""
    head, _, rest = data.partition(b"\n")
    rate, newline, rows = rest.partition(b"\n")
    values = []
    for number, line in enumerate((head, rate), start=1):
        cells = [_number(cell) for cell in line.split(b",")]
        if len(cells) != columns or len(set(cells)) != 1 or not 0 < cells[0] < np.inf:
            raise DataError(
                f"{where}: line {number} is {line[:60].decode('latin1')!a}; expected "
                f"{columns} times the {'Unix time' if number == 1 else 'rate'}"
            )
        values.append(cells[0])
    if not newline or not data.endswith(b"\n"):
        raise DataError(f"{where}: ends inside a line; it is cut off, fetch it again")
    return values[0], values[1], rows


def _number(cell: bytes) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _load(path: Path, sensor: str, name: str, columns: Sequence[str]) -> NDArray[np.float64]:
    known = SENSORS[sensor][0]
    where = f"{path}: {name}"
    _, _, rows = _split(where, _read(path, name), len(known))
    picked = [known.index(column) for column in columns]
    values = parse_rows(where, rows, len(known))[:, picked]
    if sensor == "TEMP":
        low, high = TEMPERATURE_RANGE
        values[(values < low) | (values > high)] = np.nan
    return values


def parse_rows(
    where: str, rows: bytes, columns: int, *, first_line: int = 3
) -> NDArray[np.float64]:
    r"""Parse lines of numbers.

    Args:
        where: names the file in messages.
        rows: whole lines.
        columns: numbers a line.
        first_line: number of the first of the lines in its file.

    Raises:
        DataError: a line has other columns, or something that is no finite number.

    Examples:
        >>> parse_rows("ACC.csv", b"-61,25,6\n-62,24,11\n", 3).shape
        (2, 3)
    """
    lines = rows.decode("latin1").split("\n")[:-1]
    if not lines:
        return np.zeros((0, columns))
    try:
        values = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2, dtype=np.float64)
    except ValueError:
        values = np.zeros((0, 0))
    # blank lines are skipped by numpy
    if values.shape != (len(lines), columns) or not np.isfinite(values).all():
        raise _bad_line(where, lines, columns, first_line)
    return values


def _bad_line(where: str, lines: Sequence[str], columns: int, first_line: int) -> DataError:
    number, line = next(
        (number, line)
        for number, line in enumerate(lines, start=first_line)
        if line.count(",") != columns - 1
        or not np.isfinite([_number(cell.encode("latin1")) for cell in line.split(",")]).all()
    )
    return DataError(
        f"{where}: line {number} is {line[:60]!a}; expected {columns} "
        f"{'number' if columns == 1 else 'numbers'}"
    )


def _tags(path: Path, names: dict[str, str]) -> list[float]:
    """Return the Unix times of presses, in order; the file is empty where there were none."""
    if "tags" not in names:
        return []
    data = _read(path, names["tags"])
    if data and not data.endswith(b"\n"):
        raise DataError(f"{path}: {names['tags']}: ends inside a line; it is cut off")
    rows = parse_rows(f"{path}: {names['tags']}", data, 1, first_line=1)
    return sorted(float(time) for time in rows[:, 0])
