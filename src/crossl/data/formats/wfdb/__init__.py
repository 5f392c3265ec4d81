"""WFDB (PhysioNet): `.hea` and its `.dat`, one stream per rate, read by code of our own.

Signals with equally many samples per frame form a stream named after its rate, such as `480 Hz`.
Samples that the format marks as invalid are NaN. The checksum that the header has of each signal
(the sum of its samples, 16 bits) is compared when its samples are read. A signal that cannot be
read is left out and named; the others are read.

Where an annotation file `.atr` lies beside the header, annotations with text become labels, each
until the next; the last ends with the record. Of several kinds the first of these are the states,
and the others are points in time, which end nothing: changes of rhythm, comments, all else. Where
one lies behind the end of the record, its sample numbers count at some other rate: then there are
no labels, and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, unique_names
from crossl.data.formats.wfdb.annotations import COMMENT, RHYTHM, Mark, Marks, read_marks
from crossl.data.formats.wfdb.header import DEFAULT_GAIN, Header, SignalLine, read_header
from crossl.data.formats.wfdb.samples import (
    BLOCKS,
    COMPRESSED,
    INVALID,
    read_frames,
    samples_in,
)
from crossl.data.recording import LabelInterval
from crossl.errors import DataError


@dataclass(frozen=True)
class _Group:
    """The signals of one file of samples.

    Attributes:
        path: the file.
        members: numbers of its signals in the header, in order.
        lines: what the header says of each.
    """

    path: Path
    members: tuple[int, ...]
    lines: tuple[SignalLine, ...]

    @property
    def code(self) -> int:
        """Format of its samples."""
        return self.lines[0].code

    @property
    def offset(self) -> int:
        """Bytes before its first frame."""
        return self.lines[0].offset

    @property
    def width(self) -> int:
        """Samples in a frame."""
        return sum(line.per_frame for line in self.lines)

    def fault(self) -> str:
        """Tell why it cannot be read; empty where it can."""
        name, codes = self.lines[0].file, {line.code for line in self.lines}
        if Path(name).name != name or not self.path.is_file():
            return f"its samples are in {name[:80]}, which is not beside it"
        if len(codes) > 1:
            told = ", ".join(map(str, sorted(codes)))
            return f"{name} has several formats ({told}); the samples of a file have one"
        if self.code in COMPRESSED:
            return (
                f"the samples in {name} are compressed (format {self.code}, FLAC), which crossl "
                "does not read; convert the record to format 16, for example with `xform`"
            )
        if self.code not in BLOCKS:
            known = ", ".join(map(str, BLOCKS))
            return f"{name} is of format {self.code}; crossl reads {known}"
        return ""

    def frames(self) -> int:
        """Count the whole frames that the file holds."""
        return samples_in(self.code, max(0, self.path.stat().st_size - self.offset)) // self.width


@dataclass(frozen=True)
class _Place:
    """Where a column is.

    Attributes:
        group: the file of its samples.
        at: its number among the signals there.
    """

    group: _Group
    at: int

    @property
    def line(self) -> SignalLine:
        """What the header says of it."""
        return self.group.lines[self.at]


def open_file(path: Path) -> FileContent:
    """Read header and annotations of a record.

    Args:
        path: the `.hea` file.

    Raises:
        DataError: not in the format, of several segments, or without its sample files.
    """
    header = read_header(path)
    if header.segments != 1:
        raise DataError(
            f"{path}: is made of several segments; open the header of each segment instead"
        )
    if not header.signals:
        raise DataError(f"{path}: has no signals; a record with signals is needed")
    notes = list(header.notes)
    names = _names(path, header, notes)
    places, left_out = _places(path, header, names)
    frames = _length(path, header, places, notes)
    if any(place.line.gain is None for place in places.values()):
        notes.append(
            f"{path.name} does not tell the gain of every signal; {DEFAULT_GAIN:g} steps per unit "
            "count, as the format says: values are no measured ones"
        )
    try:
        labels, told = _labels(path, header, frames)
    except DataError as error:
        labels, told = (), {"label_fault": str(error)}
    about: dict[str, Any] = {
        "record": header.name,
        "start": header.start,
        "comments": list(header.comments),
        "notes": notes,
    }
    return FileContent(
        path,
        streams=_streams(header, places, frames),
        labels=labels,
        about=about | told,
        left_out=left_out,
        open_ended=dict.fromkeys(range(len(labels)), "atr"),
    )


def _names(path: Path, header: Header, notes: list[str]) -> list[str]:
    told = [line.name for line in header.signals]
    names = unique_names(told)
    if names != told:
        changed = [f"'{new}'" for new, old in zip(names, told, strict=True) if new != old]
        notes.append(
            f"{path.name} gives some signals no name of their own; they are called "
            f"{', '.join(changed[:8])}{' and so on' if len(changed) > 8 else ''}"
        )
    return names


def _places(
    path: Path, header: Header, names: Sequence[str]
) -> tuple[dict[str, _Place], dict[str, str]]:
    """Find each signal in its file; say why of those that cannot be read."""
    files: dict[str, list[int]] = {}
    for number, line in enumerate(header.signals):
        files.setdefault(line.file, []).append(number)
    places: dict[str, _Place] = {}
    left_out: dict[str, str] = {}
    for name, members in files.items():
        lines = tuple(header.signals[n] for n in members)
        group = _Group(path.parent / name if name else path, tuple(members), lines)
        fault = group.fault()
        for at, number in enumerate(members):
            if fault:
                left_out[names[number]] = fault
            else:
                places[names[number]] = _Place(group, at)
    if not places:
        raise DataError(f"{path}: {next(iter(left_out.values()))}")
    # as the header has them
    return {name: places[name] for name in names if name in places}, left_out


def _length(path: Path, header: Header, places: dict[str, _Place], notes: list[str]) -> int:
    """Return the frames of the record; by its files where the header does not tell."""
    frames = header.frames
    held = {place.group.path.name: place.group.frames() for place in places.values()}
    if frames is None:
        frames = min(held.values())
        if not frames:
            raise DataError(f"{path}: tells no length, and its files hold no whole frame")
        notes.append(f"{path.name} tells no length; its files hold {frames} frames")
    more = [name for name, count in held.items() if count > frames]
    if more:
        notes.append(f"{more[0]} holds {held[more[0]]} frames; the header tells {frames}, read")
    return frames


def _streams(header: Header, places: dict[str, _Place], frames: int) -> tuple[Stream, ...]:
    groups: dict[int, dict[str, _Place]] = {}
    for name, place in places.items():
        groups.setdefault(place.line.per_frame, {})[name] = place
    streams = []
    for per_frame, columns in groups.items():
        rate_hz = header.rate_hz * per_frame
        streams.append(
            Stream(
                name=f"{rate_hz:.10g} Hz",
                columns=tuple(columns),
                units=tuple(place.line.unit for place in columns.values()),
                length=frames * per_frame,
                load=partial(_load, columns, frames),
                rate_hz=rate_hz,
            )
        )
    return tuple(streams)


def _load(columns: dict[str, _Place], frames: int, names: Sequence[str]) -> NDArray[np.float64]:
    wanted: dict[Path, list[str]] = {}
    for name in names:
        wanted.setdefault(columns[name].group.path, []).append(name)
    values = {}
    for members in wanted.values():
        group = columns[members[0]].group
        held = group.frames()
        if held < frames:
            raise DataError(
                f"{group.path}: is cut off: it holds {held} frames and the header tells {frames}; "
                "fetch it again"
            )
        widths = [line.per_frame for line in group.lines]
        numbers = sorted({columns[name].at for name in members})
        raw = read_frames(group.path, group.code, offset=group.offset, frames=frames,
                          widths=widths, wanted=numbers)  # fmt: skip
        for name in members:
            values[name] = _physical(name, columns[name], raw[columns[name].at])
    return np.stack([values[name] for name in names], axis=1)


def _physical(name: str, place: _Place, raw: NDArray[np.int64]) -> NDArray[np.float64]:
    line = place.line
    if line.code == 8:  # differences, the first one to the first value
        raw = np.cumsum(raw) + (line.first or 0)
    _check_sum(name, place, raw)
    out = (raw - line.baseline) / (line.gain or DEFAULT_GAIN)
    if line.code in INVALID:
        out[raw == INVALID[line.code]] = np.nan
    if line.skew:
        late = min(line.skew * line.per_frame, len(out))
        out = np.concatenate([out[late:], np.full(late, np.nan)])
    return out


def _check_sum(name: str, place: _Place, raw: NDArray[np.int64]) -> None:
    line = place.line
    if line.checksum is None or not (line.checksum or line.first):
        return  # two zeros are what writers put that do not count
    if (int(raw.sum()) - line.checksum) % 65536:
        raise DataError(
            f"{place.group.path}: the checksum of '{name}' is {int(raw.sum()) % 65536}; the "
            f"header tells {line.checksum % 65536}, the file is damaged"
        )


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
            f"{len(points)} annotations of {path.stem}.atr with text are points in time, no "
            f"labels, and end none: {', '.join(texts[:5])}{more}"
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
