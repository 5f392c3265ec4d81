"""Apple Health: `export.xml`, or the zip that the app shares (in a mapping: `format: apple`).

Records of quantities with a start and a number become streams at the times of their starts, one
for each kind and source: `HeartRate`, or `HeartRate of NAME` where several devices or apps wrote
it. Only heart rate is taken unasked. Others stand for a span (steps, distance) or are rare, and are
there for who names them. A percentage is a share in these files, so its unit is `1`.

The file is read as it comes, whatever its size; it declares the form of its elements itself, and
one that declares entities as well is refused. Records within others are copies, and are left out.
"""

from __future__ import annotations

import zipfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import check_unpacked
from crossl.data.formats import FileContent, Stream, damaged
from crossl.errors import DataError

PREFIX = "HKQuantityTypeIdentifier"
UNITS = {"count/min": "bpm", "%": "1", "count": "1"}
HEART_RATE = "HeartRate"
COLUMN = "value"
MAX_STREAMS = 1000
CUT_OFF = (3, 5)
"""What expat calls a document that ends too early."""


@dataclass
class _Series:
    times_s: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class _Records:
    """What the records seen so far hold."""

    path: Path
    series: dict[tuple[str, str, str], _Series] = field(default_factory=dict)
    depth: int = 0
    bad: int = 0

    def start(self, name: str, told: dict[str, str]) -> None:
        """Take an element."""
        if self.depth == 0 and name != "HealthData":
            raise DataError(
                f"{self.path}: is XML of {name[:40]!a}; of XML only Apple Health's export is read, "
                "which is of 'HealthData'; save others as CSV"
            )
        self.depth += 1
        kind = told.get("type", "")
        if name != "Record" or self.depth != 2 or not kind.startswith(PREFIX):
            return
        try:
            start, value = told["startDate"], float(told["value"])
            time = datetime.fromisoformat(start[:19] + start[19:].strip())
        except (KeyError, ValueError):
            self.bad += 1
            return
        if time.tzinfo is None or not np.isfinite(value):
            self.bad += 1
            return
        key = (kind.removeprefix(PREFIX), told.get("unit", ""), told.get("sourceName", ""))
        if key not in self.series and len(self.series) == MAX_STREAMS:
            raise DataError(f"{self.path}: holds more than {MAX_STREAMS} kinds of records")
        series = self.series.setdefault(key, _Series())
        series.times_s.append(time.timestamp())
        series.values.append(value)

    def end(self, _: str) -> None:
        """Leave an element."""
        self.depth -= 1

    def entity(self, name: str, *_: object) -> None:
        """Refuse a declaration of an entity."""
        raise DataError(f"{self.path}: declares the entity {name[:40]!a}, which no export does")


def open_file(path: Path) -> FileContent:
    """Read the records.

    Args:
        path: `export.xml`, or a zip with it.

    Raises:
        DataError: no export, damaged, or without a number.
    """
    records = _Records(path)
    parser = expat.ParserCreate()
    parser.specified_attributes = True
    parser.StartElementHandler = records.start
    parser.EndElementHandler = records.end
    parser.EntityDeclHandler = records.entity
    with _opened(path) as file:
        try:
            parser.ParseFile(file)
        except expat.ExpatError as error:
            if error.code in CUT_OFF:
                raise damaged(path, error) from error
            raise
    if not records.series:
        raise DataError(f"{path}: holds no record of a quantity with a start and a number")
    notes = [f"{path.name}: {records.bad} records without a start with a zone, or a number, are "
             "left out"] if records.bad else []  # fmt: skip
    about = {"device": "Apple Health", "notes": notes, "irregular": True}
    return FileContent(path, tuple(_streams(records)), about=about)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix.lower() != ".zip":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        names = [
            name for name in archive.namelist()
            if name.lower().endswith(".xml") and not name.lower().endswith("_cda.xml")
            and "__MACOSX" not in name
        ]  # fmt: skip
        named = [name for name in names if PurePosixPath(name).name == "export.xml"] or names
        if len(named) != 1:
            raise DataError(f"{path}: holds {len(named)} files .xml; Apple Health's holds one")
        check_unpacked(path, archive.getinfo(named[0]).file_size)
        with archive.open(named[0]) as member:
            yield member


def _streams(records: _Records) -> Iterator[Stream]:
    """Yield a stream for each kind, unit and source, by name."""
    keys = sorted(records.series)
    for key in keys:
        kind, unit, source = key
        alike = [one for one in keys if one[0] == kind]
        name = kind
        if len({one[2] for one in alike}) > 1:
            name += f" of {source}"
        if len({one[1] for one in alike}) > 1:
            name += f" in {unit}"
        times = np.array(records.series[key].times_s)
        values = np.array(records.series[key].values)
        order = np.argsort(times, kind="stable")
        yield Stream(
            name=name,
            columns=(COLUMN,),
            units=(UNITS.get(unit, unit),),
            length=len(times),
            load=partial(_load, values[order]),
            start_s=float(times[order[0]]),
            timestamps_s=times[order],
            aside=kind != HEART_RATE,
        )


def _load(values: NDArray[np.float64], columns: Sequence[str]) -> NDArray[np.float64]:
    return np.stack([values for _ in columns], axis=1)
