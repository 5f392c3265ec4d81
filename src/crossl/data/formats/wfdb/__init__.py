"""WFDB (PhysioNet): `.hea` and its `.dat`, one stream per rate, read by code of our own.

Signals with equally many samples per frame form a stream named after its rate, such as `480 Hz`.
Samples that the format marks as invalid are NaN. The checksum that the header has of each signal
(the sum of its samples, 16 bits) is compared when its samples are read. A signal that cannot be
read is left out and named; the others are read. Segments of a record lie one behind the other, with
NaN in gaps.

Where an annotation file `.atr` lies beside the header, annotations with text become labels, each
until the next; the last ends with the record. Of several kinds the first of these are the states,
and the others are points in time, which end nothing: changes of rhythm, comments, all else. Where
one lies behind the end of the record, its sample numbers count at some other rate: then there are
no labels, and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.formats.wfdb.annotations import COMMENT, RHYTHM, Mark, Marks, read_marks
from crossl.data.formats.wfdb.header import Header, read_header
from crossl.data.formats.wfdb.record import Record, find_signals
from crossl.data.formats.wfdb.segments import Joined, join
from crossl.data.recording import LabelInterval
from crossl.errors import DataError, counted


def open_file(path: Path) -> FileContent:
    """Read header and annotations of a record.

    Args:
        path: the `.hea` file.

    Raises:
        DataError: not in the format, or without its sample files.
    """
    header = read_header(path)
    record = join(path, header) if header.parts else find_signals(path, header)
    try:
        labels, told = _labels(path, header, record.frames)
    except DataError as error:
        labels, told = (), {"label_fault": str(error)}
    about: dict[str, Any] = {
        "record": header.name,
        "start": header.start,
        "comments": list(header.comments),
        "notes": list(record.notes),
    }
    return FileContent(
        path,
        streams=_streams(header, record),
        labels=labels,
        about=about | told,
        left_out=dict(record.left_out),
        open_ended=dict.fromkeys(range(len(labels)), "atr"),
    )


def _streams(header: Header, record: Record | Joined) -> tuple[Stream, ...]:
    if isinstance(record, Joined):
        columns = {name: (one.per_frame, one.unit) for name, one in record.columns.items()}
    else:
        lines = {name: place.line for name, place in record.places.items()}
        columns = {name: (line.per_frame, line.unit) for name, line in lines.items()}
    streams = []
    for per_frame in dict.fromkeys(per_frame for per_frame, _ in columns.values()):
        names = [name for name, (width, _) in columns.items() if width == per_frame]
        rate_hz = header.rate_hz * per_frame
        streams.append(
            Stream(
                name=f"{rate_hz:.10g} Hz",
                columns=tuple(names),
                units=tuple(columns[name][1] for name in names),
                length=record.frames * per_frame,
                load=partial(_load, record),
                rate_hz=rate_hz,
            )
        )
    return tuple(streams)


def _load(record: Record | Joined, names: Sequence[str]) -> NDArray[np.float64]:
    return record.load(names)


# --- annotations


def _labels(
    path: Path, header: Header, frames: int
) -> tuple[tuple[LabelInterval, ...], dict[str, Any]]:
    if not path.with_suffix(".atr").is_file():
        return (), {}
    found = read_marks(path.with_suffix(".atr"))
    rate_hz, end_s = found.rate_hz or header.rate_hz, frames / header.rate_hz
    states, points = _states(found)
    about: dict[str, Any] = {"annotations": len(found.marks), "label_notes": []}
    if not found.ended:
        about["label_notes"].append(f"{path.stem}.atr has no mark of its end; it may be cut off")
    marks = sorted(((mark.sample / rate_hz, mark.note) for mark in states), key=lambda m: m[0])
    if marks and marks[-1][0] >= end_s:
        why = f"{marks[-1][0]:g} s lies behind the end of the record at {end_s:g} s"
        about["labels"] = f"left out: an annotation at {why}"
        about["label_notes"].append(f"labels of {path.stem}.atr are {about['labels']}")
        return (), about
    if points:
        texts = list(dict.fromkeys(mark.note for mark in points))
        more = f" and {len(texts) - 5} others" if len(texts) > 5 else ""
        about["label_notes"].append(
            f"{counted(len(points), 'annotation')} of {path.stem}.atr with text: points in time, "
            f"no labels, and they end none: {', '.join(texts[:5])}{more}"
        )
    labels = tuple(
        LabelInterval(begin, end, text)
        for (begin, text), (end, _) in pairwise([*marks, (end_s, "")])
        if end > begin
    )
    return labels, about


def _states(found: Marks) -> tuple[list[Mark], list[Mark]]:
    """Part annotations with text into states, which last until the next, and points in time."""
    noted = [mark for mark in found.marks if mark.note]
    codes = {mark.code for mark in noted}
    for code in (RHYTHM, COMMENT):
        if code in codes:
            return ([mark for mark in noted if mark.code == code],
                    [mark for mark in noted if mark.code != code])  # fmt: skip
    return noted, []
