"""A record of several segments, one behind the other, with gaps (`~`) where nothing was recorded.

Source: G. B. Moody, WFDB Applications Guide, header(5). In a record of fixed layout all segments
have the signals of the first; in one of variable layout a first segment of length 0 names all
signals, and each other segment has some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import unique_names
from crossl.data.formats.wfdb.header import Header, read_header
from crossl.data.formats.wfdb.record import Record, find_signals
from crossl.errors import DataError

GAP = "~"

MAX_EMPTY = 100
"""Gaps may last so many times as long as what was recorded."""


@dataclass(frozen=True)
class Column:
    """A signal over all segments.

    Attributes:
        per_frame: samples in a frame.
        unit: physical.
        names: what each segment calls it; None where it does not have it.
    """

    per_frame: int
    unit: str
    names: tuple[str | None, ...]


@dataclass(frozen=True)
class Joined:
    """The segments of a record.

    Attributes:
        path: of the header that lists them.
        pieces: each with its length in frames; None for a gap.
        columns: by the name of the signal.
        left_out: signals that cannot be read, and why.
        frames: length of all.
        notes: what was assumed, a sentence each.
    """

    path: Path
    pieces: tuple[tuple[Record | None, int], ...]
    columns: dict[str, Column]
    left_out: dict[str, str]
    frames: int
    notes: tuple[str, ...]

    def load(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Read signals of one rate: (frames * samples in a frame, signals), NaN in gaps.

        Raises:
            DataError: a file of samples is cut off, or does not have its checksum.
        """
        chosen = [self.columns[name] for name in names]
        per_frame = chosen[0].per_frame
        out = np.full((self.frames * per_frame, len(names)), np.nan)
        begin = 0
        for at, (record, frames) in enumerate(self.pieces):
            end = begin + frames * per_frame
            there = {n: name for n, one in enumerate(chosen) if (name := one.names[at]) is not None}
            if record is not None and there:
                out[begin:end, list(there)] = record.load(list(there.values()))
            begin = end
        return out


def join(path: Path, header: Header) -> Joined:
    """Find the segments of a record, and the signals in them.

    Args:
        path: of the header that lists them.
        header: of a record of several segments.

    Raises:
        DataError: a segment is missing or does not fit, or gaps are far longer than the rest.
    """
    notes = list(header.notes)
    opened = {part: _segment(path, header, *part) for part in dict.fromkeys(header.parts)}
    pieces = [(opened[part], part[1]) for part in header.parts]
    layout = None
    if header.parts[0][1] == 0 and header.parts[0][0] != GAP:
        layout = read_header(path.with_name(f"{header.parts[0][0]}.hea"))
    records = [record for record in opened.values() if record is not None]
    if not records:
        raise DataError(f"{path}: none of its segments holds samples; some are needed")
    lines = layout.signals if layout is not None else records[0].header.signals
    names = unique_names([line.name for line in lines])
    columns: dict[str, Column] = {}
    left_out: dict[str, str] = {}
    for number, name in enumerate(names):
        held = [_held(record, number, name, fixed=layout is None) for record, _ in pieces]
        fault = _add(columns, name, pieces, held)
        if fault:
            left_out[name] = fault
    if not columns:
        raise DataError(f"{path}: {next(iter(left_out.values()))}")
    frames = sum(length for _, length in pieces)
    recorded = sum(record.frames for record in records)
    if frames > MAX_EMPTY * recorded:
        raise DataError(
            f"{path}: holds {recorded} frames within {frames}; at most {MAX_EMPTY} times what was "
            "recorded is laid out, read the segments one by one"
        )
    if header.frames not in (None, frames):
        notes.append(f"{path.name} states {header.frames} frames; its segments have {frames}")
    notes += [note for record in records for note in record.notes]
    return Joined(path, tuple(pieces), columns, left_out, frames, tuple(dict.fromkeys(notes)))


def _segment(path: Path, header: Header, name: str, frames: int) -> Record | None:
    if name == GAP or not frames:
        return None
    place = path.with_name(f"{name}.hea")
    if not place.is_file():
        raise DataError(f"{path}: its segment {place.name} is not beside it")
    inner = read_header(place)
    if inner.parts:
        raise DataError(f"{place}: is a segment made of segments; only one level is read")
    if inner.rate_hz != header.rate_hz:
        raise DataError(
            f"{place}: has {inner.rate_hz:g} frames a second and {path.name} {header.rate_hz:g}; "
            "all segments must agree"
        )
    record = find_signals(place, inner)
    if record.frames != frames:
        raise DataError(
            f"{place}: has {record.frames} frames; {path.name} states {frames} for this segment"
        )
    return record


def _held(record: Record | None, number: int, name: str, *, fixed: bool) -> str | None:
    """Return what a segment calls a signal; None where it does not have it, or cannot be read."""
    if record is None:
        return None
    if fixed:
        own = unique_names([line.name for line in record.header.signals])
        name = own[number] if number < len(own) else ""
    return name if name in record.places else None


def _add(
    columns: dict[str, Column],
    name: str,
    pieces: Sequence[tuple[Record | None, int]],
    held: Sequence[str | None],
) -> str:
    """Add a signal; where that cannot be return why."""
    found = [
        record.places[own].line
        for (record, _), own in zip(pieces, held, strict=True)
        if record is not None and own is not None
    ]
    if not found:
        reasons = [record.left_out[name] for record, _ in pieces
                   if record is not None and name in record.left_out]  # fmt: skip
        return reasons[0] if reasons else "no segment has it"
    kinds = {(line.per_frame, line.unit) for line in found}
    if len(kinds) > 1:
        told = ", ".join(f"{per_frame} a frame in {unit}" for per_frame, unit in sorted(kinds))
        return f"its segments do not agree on its rate and unit ({told})"
    columns[name] = Column(found[0].per_frame, found[0].unit, tuple(held))
    return ""
