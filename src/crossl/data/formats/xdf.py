"""XDF (Lab Streaming Layer), read by pyxdf: a stream each, on one clock.

pyxdf puts the clocks of all computers on one, and smooths the timestamps of streams of a regular
rate. Streams of text are markers: each becomes a label, until the next marker of its stream, the
last until the end of the recording. The unit of a channel is what its description says.

Damage that pyxdf only warns of is refused here: it would leave out what it cannot read.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, damaged, needs
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

DAMAGE_WORDS = ("corrupt", "zero-length", "Error reading chunk")
UNREADABLE = (
    ValueError, TypeError, LookupError, ArithmeticError, EOFError, OSError, SyntaxError,
    MemoryError, AttributeError,
)  # fmt: skip
"""What pyxdf raises at files that are damaged, `struct.error` beside them."""


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
    streams, markers = [], []
    for name, one in zip(names, found, strict=True):
        _check_count(path, name, one)
        if one["info"]["channel_format"][0] == "string":
            markers.append(one)
        elif len(one["time_stamps"]):
            streams.append(_stream(name, one))
    if not streams:
        raise DataError(f"{path}: holds no stream with samples of numbers; some are needed")
    about: dict[str, Any] = {"start": _first(header.get("info", {}), "datetime")}
    unended = [name for name, one in zip(names, found, strict=True) if "footer" not in one]
    if unended:
        about["notes"] = [
            f"{path.name}: stream {', '.join(unended)} has no end mark; the recording was not "
            "closed or the file is cut off"
        ]
    return FileContent(path, tuple(streams), labels=_labels(streams, markers), about=about)


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
    from struct import error as struct_error

    with _listening() as said:
        try:
            with (gzip.open if path.suffix == ".xdfz" else open)(path, "rb") as file:
                if file.read(4) != b"XDF:":
                    raise ValueError("it does not begin with 'XDF:'")
            streams, header = pyxdf.load_xdf(str(path))
        except (*UNREADABLE, struct_error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise damaged(path, error) from error
    for message in said:
        if any(word in message for word in DAMAGE_WORDS):
            raise damaged(path, message)
    return streams, header or {}


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


def _check_count(path: Path, name: str, stream: dict[str, Any]) -> None:
    told = _first(stream.get("footer", {}).get("info", {}), "sample_count")
    if told is not None and told.isdigit() and int(told) != len(stream["time_stamps"]):
        raise DataError(
            f"{path}: stream '{name}' holds {len(stream['time_stamps'])} samples; its end mark "
            f"tells {told}, the file is damaged"
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
) -> tuple[LabelInterval, ...]:
    ends = [s.timestamps_s[-1] for s in streams if s.timestamps_s is not None]
    labels = []
    for one in markers:
        times = np.asarray(one["time_stamps"], dtype=np.float64)
        if not len(times):
            continue
        for begin, end, row in zip(times, [*times[1:], max(ends)], one["time_series"], strict=True):
            text = str(row[0]).strip()
            if text and end > begin:
                labels.append(LabelInterval(float(begin), float(end), text))
    return tuple(sorted(labels, key=lambda label: label.start_s))
