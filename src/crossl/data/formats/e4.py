"""Empatica E4: a session, as a folder or the zip that the maker's site exports.

`ACC.csv`, `BVP.csv`, `EDA.csv`, `TEMP.csv` and `HR.csv` each begin with a line of the Unix time of
the first sample and a line of the rate. Acceleration counts in 1/64 g, skin conductance in
microsiemens, temperature in degrees Celsius, heart rate in beats a minute; the pulse wave (BVP)
has no unit. HR is computed by the device from BVP, and so is `IBI.csv`, a list of beats with gaps:
a stream of intervals, each at the time of its beat, for who asks for it. A temperature outside of
what the sensor can measure is NaN: sessions begin with a second of 382.2 degrees.

Published sets have a date where the device writes Unix time. Without a zone it is local time, which
counts as UTC until a mapping says otherwise, and `about` says so.

A press of the button (`tags.csv`) begins a label `tag 1`, `tag 2` and so on, which ends with the
next press, the last with the session.

The CSV files have no checksum: of one that ends inside a line the last line is left out, one that
was cut off behind a line or has other digits looks whole. A zip has checksums. A sensor whose file
does not begin as it should is left out and named.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

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

MAX_START_S = 1e11
"""Unix times lie before; this is the year 5138, and milliseconds of today lie beyond."""

MAX_HZ = 1e6

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
        raise DataError(f"{path}: is not an Empatica session; it holds none of {wanted}")
    notes: list[str] = []
    streams, left_out, local = _sensors(path, names, notes)
    about: dict[str, Any] = {"device": "Empatica E4", "missing": {"TEMP": IMPOSSIBLE}}
    try:
        tags = _tags(path, names, (streams, local), notes)
    except DataError as error:
        tags, about["label_fault"] = [], str(error).removeprefix(f"{path}: ")
    end_s = max(s.start_s + s.length / s.rate_hz for s in streams if s.rate_hz)
    edges = [*tags, end_s]
    labels = tuple(
        LabelInterval(begin, end, f"tag {number}")
        for number, (begin, end) in enumerate(pairwise(edges), start=1)
        if end > begin
    )
    beats = _beats(path, names, local=local, notes=notes)
    return FileContent(
        path,
        streams=(*streams, *beats),
        labels=labels,
        left_out=left_out,
        about=about | {"tags_s": tags, "local_start": local, "notes": notes},
    )


def _sensors(
    path: Path, names: dict[str, str], notes: list[str]
) -> tuple[tuple[Stream, ...], dict[str, str], bool]:
    """Return the streams, those that cannot be read and why, and whether starts have no zone."""
    streams: list[Stream] = []
    left_out: dict[str, str] = {}
    faults: list[DataError] = []
    local: dict[bool, str] = {}
    for sensor in SENSORS:
        if sensor in names:
            try:
                stream, bare = _stream(path, sensor, names[sensor], notes)
            except DataError as error:
                faults.append(error)
                left_out[sensor] = str(error).removeprefix(f"{path}: ")
                continue
            streams.append(stream)
            local.setdefault(bare, names[sensor])
    if not streams:
        raise faults[0]
    if len(local) > 1:
        raise DataError(
            f"{path}: {local[True]} begins with a date without a zone and {local[False]} with an "
            "instant; all must begin in one way"
        )
    if True in local:
        notes.append(
            f"{path.name}: sensors begin with dates without a zone, which count as UTC unless the "
            "mapping has `timezone:`"
        )
    return tuple(streams), left_out, True in local


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
        if dot + ending != ".csv" or stem not in (*SENSORS, "tags", "IBI") or "__MACOSX" in name:
            continue
        if stem in names:
            raise DataError(
                f"{path}: holds {names[stem]} and {name}; one session a zip is read, unpack it"
            )
        names[stem] = name
    return names if set(names) - {"tags", "IBI"} else {}


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        data = read_member(path, archive, name)
    # its checksum tells that the last line is whole
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _lines(data: bytes) -> bytes:
    """Return the lines that have an end."""
    return data[: data.rfind(b"\n") + 1]


def _stream(path: Path, sensor: str, name: str, notes: list[str]) -> tuple[Stream, bool]:
    """Return a sensor's stream, and whether its start is a date without a zone."""
    where = f"{path}: {name}"
    columns, unit = SENSORS[sensor]
    data = _read(path, name)
    (start_s, rate_hz), local, rows = _split(where, data, len(columns))
    if len(_lines(data)) < len(data):
        notes.append(
            f"{name} ends without a line end; its last line may be cut off and is left out"
        )
    stream = Stream(
        name=sensor,
        columns=columns,
        units=(unit,) * len(columns),
        length=rows.count(b"\n"),
        load=partial(_load, path, sensor, name),
        rate_hz=rate_hz,
        start_s=start_s,
    )
    return stream, local


def _split(where: str, data: bytes, columns: int) -> tuple[tuple[float, float], bool, bytes]:
    """Return start and rate, whether the start has no zone, and whole lines behind them."""
    head, _, rest = data.partition(b"\n")
    rate, _, rows = rest.partition(b"\n")
    values, local = [], False
    for number, line in enumerate((head, rate), start=1):
        cells = [_number(cell) for cell in line.split(b",")]
        if number == 1 and np.isnan(cells).all():
            times = [parse_time(cell) for cell in line.split(b",")]
            cells, local = [time for time, _ in times], times[0][1]
        most = MAX_START_S if number == 1 else MAX_HZ
        if len(cells) != columns or len(set(cells)) != 1 or not 0 < cells[0] < most:
            what = "Unix time, or a date" if number == 1 else "rate"
            raise DataError(
                f"{where}: line {number} is {line[:60].decode('latin1')!a}; expected "
                f"{columns} times the {what}"
            )
        values.append(cells[0])
    return (values[0], values[1]), local, _lines(rows)


def parse_time(cell: bytes) -> tuple[float, bool]:
    """Read a date with a time; NaN where it is none.

    Args:
        cell: ISO 8601, such as `2020-07-16 10:00:00`.

    Returns:
        Seconds since 1970, and whether it has no zone and counts as if it were UTC.

    Examples:
        >>> parse_time(b"1970-01-02 00:00:01"), parse_time(b"1970-01-01T01:00:00+01:00")
        ((86401.0, True), (0.0, False))
    """
    try:
        time = datetime.fromisoformat(cell.decode("ascii").strip().strip('"'))
        bare = time.tzinfo is None
        return (time.replace(tzinfo=UTC) if bare else time).timestamp(), bare
    except (ValueError, OverflowError):
        return float("nan"), False


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
        DataError: a line has other columns, or something that is not a finite number.

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


def _tags(
    path: Path,
    names: dict[str, str],
    session: tuple[Sequence[Stream], bool],
    notes: list[str],
) -> list[float]:
    """Return the times of presses, in order; the file is empty where there were none."""
    if "tags" not in names:
        return []
    streams, local = session
    where = f"{path}: {names['tags']}"
    begin_s = min(stream.start_s for stream in streams)
    end_s = max(s.start_s + s.length / s.rate_hz for s in streams if s.rate_hz)
    data = _read(path, names["tags"])
    tags = []
    for number, line in enumerate(data.splitlines(), start=1):
        time, bare = _number(line), False
        if np.isnan(time):
            time, bare = parse_time(line)
        inside = begin_s <= time <= end_s
        if number == len(data.splitlines()) and not data.endswith(b"\n") and not inside:
            notes.append(f"{names['tags']} ends inside a line, which is left out")
            break
        if np.isnan(time) or bare != local:
            raise DataError(
                f"{where}: line {number} is {line[:60].decode('latin1')!a}; expected the time of "
                "a press, written as the sensors write their start"
            )
        tags.append(time)
    return sorted(tags)


def _beats(path: Path, names: dict[str, str], *, local: bool, notes: list[str]) -> Iterator[Stream]:
    """Yield the intervals between beats, where there are some."""
    if "IBI" not in names:
        return
    head, _, rows = _lines(_read(path, names["IBI"])).partition(b"\n")
    first = head.split(b",")[0]
    start_s, bare = _number(first), False
    if np.isnan(start_s):
        start_s, bare = parse_time(first)
    try:
        table = parse_rows(f"{path}: {names['IBI']}", rows, 2, first_line=2)
    except DataError as error:
        notes.append(f"beats are left out: {str(error).removeprefix(f'{path}: ')}")
        return
    if not 0 < start_s < MAX_START_S or len(table) < 2 or bare != local:
        return
    yield Stream(
        name="IBI",
        columns=("ibi",),
        units=("s",),
        length=len(table),
        load=partial(_load_beats, table[:, 1:]),
        start_s=start_s,
        timestamps_s=start_s + table[:, 0],
        aside=True,
    )


def _load_beats(values: NDArray[np.float64], columns: Sequence[str]) -> NDArray[np.float64]:
    return np.repeat(values, len(columns), axis=1)
