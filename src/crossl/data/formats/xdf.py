"""XDF (Lab Streaming Layer), read by pyxdf: a stream each, on one clock.

pyxdf puts the clocks of all computers on one. Its smoothing of timestamps is not used: it makes
pauses vanish. Times are those of the file, and only where they jump back and forth are they put in
order, by a median that keeps pauses. Streams of text are markers: the first column becomes a label,
until the next marker of its stream, the last until the end of the recording; other columns are
reported. The unit of a channel is what its description says.

Damage that pyxdf only warns of is refused here: it would leave out what it cannot read.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import HARMLESS_ARRAY_BYTES, gunzip
from crossl.data.formats import FileContent, Stream, damaged, needs
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

DAMAGE_WORDS = ("corrupt", "zero-length", "Error reading chunk")
HARMLESS_CHANNELS = 100_000
TAGS_OF_STREAMS = (2, 3, 4, 6)
SMOOTHED_STEPS, SMOOTHED_S = 51, 2.0
"""Stretch whose median counts where timestamps jump back and forth; at least so many steps."""


class _Listener(logging.Handler):
    """Keeps what pyxdf says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.said.append(record.getMessage())


def open_file(path: Path) -> FileContent:
    """Read all streams; pyxdf cannot read a header alone.

    Args:
        path: an `.xdf` or `.xdfz` file.

    Raises:
        DataError: damaged, cut off, or without a stream of numbers.
    """
    found, header = _read(path)
    names = _unique([_first(one["info"], "name") or "stream" for one in found])
    streams, markers, notes = [], [], []
    for name, one in zip(names, found, strict=True):
        _check_count(path, name, one)
        if one["info"]["channel_format"][0] == "string":
            markers.append(one)
            notes += _untaken(path, name, one)
        elif len(one["time_stamps"]):
            notes += _smooth(path, name, one)
            streams.append(_stream(name, one))
    if not streams:
        raise DataError(f"{path}: holds no stream with samples of numbers; some are needed")
    about: dict[str, Any] = {"start": _first(header.get("info", {}), "datetime")}
    unended = [name for name, one in zip(names, found, strict=True) if "footer" not in one]
    if unended:
        notes.append(
            f"{path.name}: stream {', '.join(unended)} has no end mark; the recording was not "
            "closed or the file is cut off"
        )
    if notes:
        about["notes"] = notes
    labels, open_ended = _labels(streams, markers)
    return FileContent(path, tuple(streams), labels, about, open_ended=open_ended)


@contextmanager
def _listening() -> Iterator[list[str]]:
    logger, listener = logging.getLogger("pyxdf"), _Listener()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield listener.said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    pyxdf = needs("pyxdf")
    packed = path.name.lower().endswith("z")
    data = gunzip(path, HARMLESS_ARRAY_BYTES) if packed else path.read_bytes()
    if data[:4] != b"XDF:":
        raise DataError(f"{path}: begins with {data[:4]!a}; an XDF file begins with b'XDF:'")
    _check_chunks(path, data)
    with _listening() as said:
        # fits of times to a rate hide pauses: the times of the file count
        streams, header = pyxdf.load_xdf(
            io.BufferedReader(io.BytesIO(data)), dejitter_timestamps=False
        )
    for message in said:
        if any(word in message for word in DAMAGE_WORDS):
            raise damaged(path, message)
    return streams, header or {}


def _check_chunks(path: Path, data: bytes) -> None:
    """Hold lengths and counts that chunks declare against what is there.

    Raises:
        DataError: the file ends inside a chunk, or a chunk cannot hold its samples.
    """
    at, channels = 4, {}
    while at < len(data):
        length, begin = _number(path, data, at)
        at = begin + length
        if length < 2 or at > len(data):
            raise damaged(path, f"a chunk ends at byte {at} of {len(data)}")
        tag = int.from_bytes(data[begin : begin + 2], "little")
        if tag not in TAGS_OF_STREAMS:
            continue
        stream = data[begin + 2 : begin + 6]
        if tag == 2:
            found = re.search(rb"<channel_count>\s*(\d{1,9})\s*</channel_count>", data[begin:at])
            channels[stream] = int(found[1]) if found else 1
            if channels[stream] > HARMLESS_CHANNELS:
                raise DataError(
                    f"{path}: a stream has {channels[stream]} channels; at most "
                    f"{HARMLESS_CHANNELS} are read"
                )
        elif tag == 3:
            count, first = _number(path, data, begin + 6)
            if count * (1 + channels.get(stream, 0)) > at - first:
                raise damaged(path, f"a chunk of {length} bytes declares {count} samples")


def _number(path: Path, data: bytes, at: int) -> tuple[int, int]:
    """Read a number that says itself how many bytes it has; return also where it ends."""
    width = data[at] if at < len(data) else 0
    if width not in (1, 4, 8):
        raise damaged(path, f"byte {at} does not give the length of a chunk")
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width


def _first(info: Any, key: str) -> str | None:
    value = (info.get(key) or [None])[0] if isinstance(info, dict) else None
    return str(value) if value is not None else None


def _unique(names: Sequence[str]) -> list[str]:
    """Number names that were there before.

    Examples:
        >>> _unique(["EEG", "EEG"])
        ['EEG', 'EEG (2)']
    """
    out: list[str] = []
    for name in names:
        fresh, count = name, 2
        while fresh in out:
            fresh, count = f"{name} ({count})", count + 1
        out.append(fresh)
    return out


def _untaken(path: Path, name: str, stream: dict[str, Any]) -> list[str]:
    """Report the columns of markers that no label is made of."""
    count = len(stream["time_series"][0]) if len(stream["time_series"]) else 1
    if count == 1:
        return []
    columns, _ = _channels(stream["info"], count)
    others = (
        f"{column} ({', '.join(sorted({row[at] for row in stream['time_series']})[:3])})"
        for at, column in enumerate(columns)
        if at
    )
    return [
        f"{path.name}: markers '{name}' have {count} columns; labels are made of the first, "
        f"'{columns[0]}', left out: {'; '.join(others)}"
    ]


def _smooth(path: Path, name: str, stream: dict[str, Any]) -> list[str]:
    """Put times in order that jump back and forth by more than a step, keeping every pause.

    How far each sample is ahead of a regular clock becomes the median over its neighbours: a pause,
    which moves all that follows, stays where it is. Times that increase are left as they are.
    """
    times = np.asarray(stream["time_stamps"], dtype=np.float64)
    rate_hz = float(stream["info"]["nominal_srate"][0])
    back = int((np.diff(times) < 0).sum())
    if not rate_hz > 0 or back <= 0.01 * len(times) or not np.isfinite(times).all():
        return []
    from scipy.ndimage import median_filter  # slow to import, seldom needed

    regular = np.arange(len(times)) / rate_hz
    width = max(SMOOTHED_STEPS, 2 * int(SMOOTHED_S * rate_hz / 2) + 1)
    smooth = median_filter(times - regular, width, mode="nearest") + regular
    stream["time_stamps"] = smooth
    return [
        f"{path.name}: {back} of {len(times)} timestamps of stream '{name}' are before the one "
        "before; each was moved by as much as its neighbours are ahead of a regular clock (median "
        f"of {width}), at most {np.abs(smooth - times).max():.3g} s; pauses are kept"
    ]


def _check_count(path: Path, name: str, stream: dict[str, Any]) -> None:
    told = _first(stream.get("footer", {}).get("info", {}), "sample_count")
    if told is not None and told.isdigit() and int(told) != len(stream["time_stamps"]):
        raise DataError(
            f"{path}: stream '{name}' holds {len(stream['time_stamps'])} samples; its end mark "
            f"says {told}, the file is damaged"
        )


def _stream(name: str, stream: dict[str, Any]) -> Stream:
    info = stream["info"]
    values = np.asarray(stream["time_series"], dtype=np.float64)
    columns, units = _channels(info, values.shape[1])
    rate_hz = float(info["nominal_srate"][0])
    times = np.asarray(stream["time_stamps"], dtype=np.float64)
    return Stream(
        name=name,
        columns=columns,
        units=units,
        length=len(values),
        load=partial(_load, values, columns),
        rate_hz=rate_hz or None,
        start_s=float(times[0]),
        timestamps_s=times,
    )


def _channels(info: dict[str, Any], count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return labels and units from the description, which each recorder writes its own way."""
    description = (info.get("desc") or [None])[0]
    found: list[Any] = []
    if isinstance(description, dict) and isinstance(description.get("channels", [None])[0], dict):
        found = description["channels"][0].get("channel") or []
    if len(found) != count:
        return tuple(str(number) for number in range(count)), ()
    labels = [_first(one, "label") or str(number) for number, one in enumerate(found)]
    return tuple(_unique(labels)), tuple(_first(one, "unit") or "" for one in found)


def _load(
    values: NDArray[np.float64], columns: tuple[str, ...], names: Sequence[str]
) -> NDArray[np.float64]:
    return values[:, [columns.index(name) for name in names]]


def _labels(
    streams: Sequence[Stream], markers: Sequence[dict[str, Any]]
) -> tuple[tuple[LabelInterval, ...], dict[int, str]]:
    """Return labels, each until the next marker of its stream, an empty one too.

    And in which list each stands: an empty marker ends one, so that nothing lasts beyond it.
    """
    ends = [s.timestamps_s[-1] for s in streams if s.timestamps_s is not None]
    found: list[tuple[LabelInterval, str]] = []
    for number, one in enumerate(markers):
        times = np.asarray(one["time_stamps"], dtype=np.float64)
        if not len(times):
            continue
        part = 0
        for begin, end, row in zip(times, [*times[1:], max(ends)], one["time_series"], strict=True):
            text = str(row[0]).strip()
            part += not text
            if text and end > begin:
                found.append((LabelInterval(float(begin), float(end), text), f"{number}.{part}"))
    found.sort(key=lambda pair: pair[0].start_s)
    return tuple(label for label, _ in found), {n: part for n, (_, part) in enumerate(found)}
