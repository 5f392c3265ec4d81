"""Annotations of EDF+ and BDF+: text in signals of that name, with times in seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats.edf.header import Header, cut_off
from crossl.data.recording import LabelInterval
from crossl.errors import DataError, counted

_LIST = re.compile(rb"([+-]\d{1,15}(?:\.\d*)?)(?:\x15(\d{0,15}(?:\.\d*)?))?\x14(.*)", re.DOTALL)
"""Onset, duration and texts, each text ended by 0x14; the list itself is ended by 0x00."""


@dataclass(frozen=True)
class Annotation:
    """One text of the file.

    Attributes:
        onset_s: seconds behind the start of the file.
        duration_s: None where not stated.
        text: never empty.
    """

    onset_s: float
    duration_s: float | None
    text: str


@dataclass(frozen=True)
class Annotations:
    """What the signals of annotations hold.

    Attributes:
        found: by onset, then in the file's order.
        onsets_s: (records,) when each data record starts; NaN where none is stated. Empty where the
            file has no such signal.
        unread: lists that do not follow the format.
    """

    found: tuple[Annotation, ...]
    onsets_s: NDArray[np.float64]
    unread: int


def record_table(path: Path, header: Header) -> NDArray[np.uint8]:
    """Map the data records into memory: (record, byte), nothing is read yet.

    Raises:
        DataError: the file has become shorter than it was.
    """
    shape = (header.records, header.places[-1])
    if not header.records:
        return np.zeros(shape, dtype=np.uint8)
    size = path.stat().st_size
    if size < header.begin + shape[0] * shape[1]:
        raise cut_off(path, header.begin + shape[0] * shape[1], size)
    return np.memmap(path, np.uint8, "r", header.begin, shape)


def read_annotations(path: Path, header: Header) -> Annotations:
    """Read all annotations of a file.

    Raises:
        DataError: a data record has no time, in a recording with interruptions.
    """
    table, places = record_table(path, header), header.places
    found: list[Annotation] = []
    onsets: list[float] = []
    unread = 0
    numbers = [n for n, signal in enumerate(header.signals) if signal.is_annotations]
    for rank, number in enumerate(numbers):
        for row in range(header.records):
            data = table[row, places[number] : places[number + 1]].tobytes()
            first = np.nan
            for place, match in enumerate(_lists(data)):
                if match is None:
                    unread += 1
                    continue
                if place == 0:
                    first = float(match[1])
                found += _texts(match)
            if rank == 0:
                onsets.append(first)
    if header.is_interrupted:
        _refuse_timeless(path, onsets)
    found.sort(key=lambda one: one.onset_s)
    return Annotations(tuple(found), np.array(onsets), unread)


def _refuse_timeless(path: Path, onsets: list[float]) -> None:
    timeless = np.flatnonzero(np.isnan(onsets))
    if len(timeless) or not onsets:
        which = f"data record {timeless[0] + 1} has" if len(timeless) else "its data records have"
        raise DataError(f"{path}: {which} no time; EDF+D needs one in each")


def _lists(data: bytes) -> Iterator[re.Match[bytes] | None]:
    for one in data.split(b"\0"):
        if one.strip(b" "):
            yield _LIST.fullmatch(one)


def _texts(match: re.Match[bytes]) -> Iterator[Annotation]:
    duration = float(match[2]) if match[2] and match[2] != b"." else None
    for text in match[3].split(b"\x14"):
        clean = _decoded(text)
        if clean:
            yield Annotation(float(match[1]), duration, clean)


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8").strip()
    except UnicodeDecodeError:
        return text.decode("latin1").strip()


# --- to labels


def as_labels(
    name: str, annotations: Annotations, end_s: float
) -> tuple[tuple[LabelInterval, ...], dict[int, str], list[str]]:
    """Make labels of annotations.

    One without a duration lasts until the next. It is a point in time, and no label, where it lies
    within one that has a duration, if those fill more than half of the recording; likewise one
    whose duration is 0, where others have one.

    Args:
        name: of the file, for notes.
        annotations: of the file; onsets counted from the first data record.
        end_s: of the recording, where the last one without a duration ends.

    Returns:
        Labels by onset; which of them have no end of their own; notes.
    """
    points = _points(annotations.found, end_s)
    notes = []
    if annotations.unread:
        notes.append(f"{counted(annotations.unread, 'annotation')} of {name} outside of the format")
    if points:
        count = sum(_is_point(one, points) for one in annotations.found)
        some = sorted(points)
        more = f" and {len(some) - 5} others" if len(some) > 5 else ""
        notes.append(
            f"{counted(count, 'annotation')} of {name} without a duration: points in time, no "
            f"labels: {', '.join(some[:5])}{more}"
        )
    found = [one for one in annotations.found if not _is_point(one, points)]
    onsets = np.array([one.onset_s for one in found])
    labels: list[LabelInterval] = []
    open_ended = {}
    for one in found:
        end = one.onset_s + (one.duration_s or 0.0)
        if not one.duration_s:
            later = int(np.searchsorted(onsets, one.onset_s, side="right"))
            end = float(onsets[later]) if later < len(onsets) else end_s
        if end > one.onset_s:
            if not one.duration_s:
                open_ended[len(labels)] = "annotations"
            labels.append(LabelInterval(float(one.onset_s), float(end), one.text))
    if open_ended:
        notes.append(
            f"{counted(len(open_ended), 'annotation')} of {name} without a duration: each lasts "
            "until the next one that is among the classes"
        )
    return tuple(labels), open_ended, notes


def _is_point(one: Annotation, points: set[str]) -> bool:
    return not one.duration_s and one.text in points


def _points(found: tuple[Annotation, ...], end_s: float) -> set[str]:
    """Return the texts that stand for points in time."""
    timed = [one for one in found if one.duration_s]
    points = {one.text for one in found if one.duration_s == 0} if timed else set()
    begin = np.array([one.onset_s for one in timed])
    end = begin + np.array([one.duration_s or 0.0 for one in timed])
    if not timed or float((end - begin).sum()) <= 0.5 * min(end_s, float(end.max())):
        return points
    latest: Any = np.maximum.accumulate(end)
    for one in found:
        if not one.duration_s:
            before = int(np.searchsorted(begin, one.onset_s, side="left"))
            if before and latest[before - 1] > one.onset_s:
                points.add(one.text)
    return points
