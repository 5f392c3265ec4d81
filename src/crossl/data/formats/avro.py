"""Avro files of the Empatica EmbracePlus; of other devices none is known.

The band's site gives one file for every quarter or half hour, with one record. Its `rawData` holds
each sensor with its start (microseconds since 1970), its rate, and its samples. Acceleration and
rotation are counts: until schema 6.4 a range in counts and one in units tell the factor, from 6.5
on `conversionFactor` does. Skin conductance is in microsiemens, temperature in degrees Celsius; the
pulse wave counts as a number without a unit, as the E4's does. A sensor without a rate or samples
was off: it is absent.

`steps`, and `systolicPeaks` (the time of each beat, with the seconds since the one before), are
computed by the device: streams for who asks for them. A press of the button begins a label `tag 1`,
`tag 2` and so on, until the next press or the end of the file; each file counts its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.formats.avro_blocks import read_records
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

XYZ = ("x", "y", "z")
SENSORS = {
    "accelerometer": (XYZ, "g"),
    "gyroscope": (XYZ, "deg/s"),
    "eda": (("eda",), "uS"),
    "temperature": (("temperature",), "degC"),
    "bvp": (("bvp",), "arbitrary"),
    "steps": (("steps",), "1"),
}
"""Columns and unit of each sensor."""

ASIDE = ("steps",)
MAX_HZ = 1e6
MAX_START_S = 1e11
"""Unix times lie before, as in `e4`."""


def open_file(path: Path) -> FileContent:
    """Read the sensors of a file.

    Args:
        path: an `.avro` file of an EmbracePlus.

    Raises:
        DataError: of another device, damaged, or without samples.
    """
    schema, records = read_records(path, 1)
    raw = records[0].get("rawData") if records and isinstance(records[0], dict) else None
    if not isinstance(raw, dict) or not set(SENSORS) & set(raw):
        name = schema.get("name", "") if isinstance(schema, dict) else ""
        raise DataError(
            f"{path}: is an Avro file of records {str(name)[:60]!a}; those of the Empatica "
            "EmbracePlus are read, which hold `rawData`; save others as CSV or Parquet"
        )
    if len(records) > 1:
        raise DataError(f"{path}: holds more than one record; a file of the EmbracePlus has one")
    streams: list[Stream] = []
    left_out: dict[str, str] = {}
    for sensor in SENSORS:
        try:
            streams += _streams(path, sensor, raw.get(sensor))
        except DataError as error:
            left_out[sensor] = str(error).removeprefix(f"{path}: ")
    if not [one for one in streams if not one.aside]:
        told = "; ".join(left_out.values())
        raise DataError(f"{path}: {told or 'no sensor has samples; some are needed'}")
    notes = [f"{path.name}: {one} is left out: {why}" for one, why in left_out.items()]
    tags = sorted(_times(path, raw, ("tags", "tagsTimeMicros"), 1e6, notes))
    end_s = max(one.start_s + one.length / one.rate_hz for one in streams if one.rate_hz)
    labels = tuple(
        LabelInterval(begin, end, f"tag {number}")
        for number, (begin, end) in enumerate(pairwise([*tags, end_s]), start=1)
        if end > begin
    )
    peaks = _times(path, raw, ("systolicPeaks", "peaksTimeNanos"), 1e9, notes)
    there = {one.name for one in streams}
    about = {
        "device": "Empatica EmbracePlus",
        "tags_s": tags,
        "notes": notes,
        "off": tuple(one for one in SENSORS if one not in there and one not in left_out),
    }
    return FileContent(path, (*streams, *_beats(peaks, notes)), labels, about, left_out)


def _streams(path: Path, sensor: str, told: Any) -> Iterator[Stream]:
    """Yield a sensor's stream; none where the sensor was off."""
    columns, unit = SENSORS[sensor]
    keys = XYZ if columns == XYZ else ("values",)
    if not isinstance(told, dict) or not any(len(told.get(key) or ()) for key in keys):
        return
    rate_hz, start_s = (_number(path, sensor, told, key) for key in (
        "samplingFrequency", "timestampStart"))  # fmt: skip
    if rate_hz == 0:
        return
    start_s /= 1e6
    if not 0 < rate_hz < MAX_HZ or not 0 < start_s < MAX_START_S:
        raise DataError(
            f"{path}: '{sensor}' has {rate_hz:g} Hz from {start_s:.10g} s; a rate and a time since "
            "1970 are needed"
        )
    values = [_values(path, sensor, told.get(key)) for key in keys]
    if len({len(one) for one in values}) > 1:
        lengths = ", ".join(str(len(one)) for one in values)
        raise DataError(
            f"{path}: '{sensor}' has {lengths} samples; all axes must have the same number"
        )
    factor = _factor(path, sensor, told.get("imuParams")) if columns == XYZ else 1.0
    yield Stream(
        name=sensor,
        columns=columns,
        units=(unit,) * len(columns),
        length=len(values[0]),
        load=partial(_load, dict(zip(columns, values, strict=True)), factor),
        rate_hz=rate_hz,
        start_s=start_s,
        aside=sensor in ASIDE,
    )


def _number(path: Path, sensor: str, told: Mapping[str, Any], key: str) -> float:
    value = told.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise DataError(f"{path}: '{sensor}' has {key} {str(value)[:40]!a}; a number is needed")
    return float(value)


def _values(path: Path, sensor: str, told: Any) -> NDArray[np.floating[Any]]:
    """Make an array of samples, of 32 bits where those hold them all."""
    found = np.asarray(told if told is not None else [])
    if found.ndim != 1 or (len(found) and found.dtype.kind not in "iuf"):
        raise DataError(f"{path}: '{sensor}' holds samples that are not numbers")
    wide = found.astype(np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow, wide, equal_nan=True) else wide


def _factor(path: Path, sensor: str, told: Any) -> float:
    """Return the units of a count."""
    told = told if isinstance(told, dict) else {}
    if told.get("conversionFactor"):
        return _number(path, sensor, told, "conversionFactor")
    low, high, least, most = (
        _number(path, sensor, told, key)
        for key in ("physicalMin", "physicalMax", "digitalMin", "digitalMax")
    )
    if not (high > low and most > least):
        raise DataError(
            f"{path}: '{sensor}' maps counts {least:g} to {most:g} onto {low:g} to {high:g}; "
            "nothing says which unit a count has"
        )
    return (high - low) / (most - least)


def _load(
    values: Mapping[str, NDArray[np.floating[Any]]], factor: float, columns: Sequence[str]
) -> NDArray[np.float64]:
    return np.stack([values[one].astype(np.float64) for one in columns], axis=1) * factor


def _times(
    path: Path, raw: Mapping[str, Any], keys: tuple[str, str], per_s: float, notes: list[str]
) -> list[float]:
    """Return a list of instants in seconds; what is no such list is left out with a note."""
    group = raw.get(keys[0])
    told = group.get(keys[1]) if isinstance(group, dict) else None
    times = np.asarray(told if told is not None else [])
    if not len(times):
        return []
    if times.ndim != 1 or times.dtype.kind not in "iuf":
        notes.append(f"{path.name}: {keys[0]} is left out: it holds no times")
        return []
    found = (times / per_s).tolist()
    if not all(0 < time < MAX_START_S for time in found):
        notes.append(f"{path.name}: {keys[0]} is left out: times lie beyond any recording")
        return []
    return [float(time) for time in found]


def _beats(peaks: Sequence[float], notes: list[str]) -> Iterator[Stream]:
    """Yield the seconds between peaks, each at the time of the later one."""
    times = np.array(peaks)
    if len(times) < 3:
        return
    steps = np.diff(times)
    if not (steps > 0).all():
        notes.append("systolicPeaks is left out: its times do not increase")
        return
    yield Stream(
        name="systolicPeaks",
        columns=("ibi",),
        units=("s",),
        length=len(steps),
        load=partial(_load, {"ibi": steps}, 1.0),
        start_s=float(times[1]),
        timestamps_s=times[1:],
        aside=True,
    )
