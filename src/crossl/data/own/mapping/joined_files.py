"""Files that follow each other as one: the parts of a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.own.mapping.opening import open_rows
from crossl.data.own.mapping.sources import Source
from crossl.data.own.mapping.times import clock_seconds, started
from crossl.data.own.mapping.zones import Zones
from crossl.data.timing import MAX_EMPTY
from crossl.errors import DataError

Times = NDArray[np.float64]


def open_source(source: Source, zones: Zones) -> FileContent:
    """Open the file of a source, or its parts as one.

    Args:
        source: of a recording's plan.
        zones: collects what the times of the files are.

    Raises:
        DataError: a file cannot be read, or parts do not follow each other.
    """
    held = []
    for path in source.paths:
        content = open_rows(path, source.entry, source.subject, source.session)
        if content.streams or not _parted(source):
            held.append(started(replace(source, path=path, more=()), content, zones))
    if not held:
        who = ", ".join(one for one in (source.subject, source.session) if one)
        raise DataError(f"{source.path}: has no row of {who}")
    if len(held) == 1 and not source.more:
        return held[0]
    return _join(source, held, zones)


def _parted(source: Source) -> bool:
    """Tell whether a file's rows may all be of others."""
    return source.subject is not None or source.session is not None


@dataclass(frozen=True)
class _Piece:
    """A stream in one part, and the times of its samples if it has any."""

    content: FileContent
    stream: Stream
    times: Times | None

    @property
    def begin_s(self) -> float:
        """Time of the first sample."""
        return self.stream.start_s if self.times is None else float(self.times[0])

    def end_s(self, rate_hz: float) -> float:
        """Time just after the last sample."""
        if self.times is None:
            return self.stream.start_s + self.stream.length / rate_hz
        return float(self.times[-1]) + _step(self)


def _step(piece: _Piece) -> float:
    """Return the usual time between samples, by their times."""
    if piece.times is None or len(piece.times) < 2:
        return 0.0
    return float(np.median(np.diff(piece.times)))


def _join(source: Source, contents: Sequence[FileContent], zones: Zones) -> FileContent:
    names = dict.fromkeys(stream.name for content in contents for stream in content.streams)
    pieces = {name: _pieces(source, contents, name, zones) for name in names}
    shifts = [0.0] * len(contents)
    if source.entry.parts == "follow":
        shifts = _follow(contents, [one for group in pieces.values() for one in group])
    shift_of = {id(content): shift for content, shift in zip(contents, shifts, strict=True)}
    streams = tuple(
        _joined(source, [_moved(one, shift_of[id(one.content)]) for one in group])
        for group in pieces.values()
    )
    labels = tuple(
        replace(one, start_s=one.start_s + shift, end_s=one.end_s + shift)
        for content, shift in zip(contents, shifts, strict=True)
        for one in content.labels
    )
    return FileContent(
        source.path,
        streams,
        labels,
        _about(contents),
        left_out={name: f"in {content.path.name}, {why}"
                  for content in contents for name, why in content.left_out.items()},
        open_ended=_open_ended(contents),
    )  # fmt: skip


def _about(contents: Sequence[FileContent]) -> dict[str, Any]:
    about = dict(contents[0].about)
    for key in ("notes", "label_notes"):
        about[key] = tuple(dict.fromkeys(told for c in contents for told in c.about.get(key, ())))
    faults = [str(c.about["label_fault"]) for c in contents if c.about.get("label_fault")]
    return about | ({"label_fault": faults[0]} if faults else {})


def _open_ended(contents: Sequence[FileContent]) -> dict[int, str]:
    """Number the labels without an end; those of a part end with it at the latest."""
    found: dict[int, str] = {}
    before = 0
    for part, content in enumerate(contents, start=1):
        found |= {before + n: f"{where} {part}" for n, where in content.open_ended.items()}
        before += len(content.labels)
    return found


def _pieces(
    source: Source, contents: Sequence[FileContent], name: str, zones: Zones
) -> list[_Piece]:
    pieces = []
    for content in contents:
        for stream in content.streams:
            if stream.name == name:
                times = None
                if not source.entry.intervals:
                    here = replace(source, path=content.path, more=())
                    times = clock_seconds(here, content, stream, zones)
                pieces.append(_Piece(content, stream, times))
    return pieces


def _moved(piece: _Piece, by_s: float) -> _Piece:
    times = None if piece.times is None else piece.times + by_s
    stream = replace(piece.stream, start_s=piece.stream.start_s + by_s)
    return replace(piece, times=times, stream=stream)


def _follow(contents: Sequence[FileContent], pieces: Sequence[_Piece]) -> list[float]:
    """Move each part to where the one before ends."""
    shifts, end_s = [], None
    for content in contents:
        here = [one for one in pieces if one.content is content]
        begin = min(one.begin_s for one in here)
        shift = 0.0 if end_s is None else end_s - begin
        end_s = max(one.end_s(one.stream.rate_hz or np.inf) for one in here) + shift
        shifts.append(shift)
    return shifts


def _timed_where_rates_differ(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Give samples times where parts tell slightly different rates: none holds for all of them."""
    rates = [one.stream.rate_hz for one in pieces if one.times is None]
    if len(set(rates)) < 2:
        return list(pieces)
    return [
        replace(one, times=one.stream.start_s + np.arange(one.stream.length) / rate_hz)
        if one.times is None and (rate_hz := one.stream.rate_hz)
        else one
        for one in pieces
    ]


def _joined(source: Source, pieces: Sequence[_Piece]) -> Stream:
    first = pieces[0].stream
    columns = tuple(dict.fromkeys(c for one in pieces for c in one.stream.columns))
    beside = tuple(dict.fromkeys(c for one in pieces for c in one.stream.beside))
    units: dict[str, str] = {}
    for one in pieces:
        if one.stream.units:
            units |= dict(zip(one.stream.columns, one.stream.units, strict=True))
    pieces = _timed_where_rates_differ(pieces)
    timed = [one.times is not None for one in pieces]
    if any(timed) and not all(timed):
        raise DataError(f"{source.path}: some of its parts have times and some have none")
    gaps = [0] * len(pieces) if source.entry.intervals else _gaps(source, pieces)
    length = sum(one.stream.length for one in pieces) + sum(gaps)
    texts = [one.stream.load_text for one in pieces if one.stream.load_text is not None]
    return replace(
        first,
        columns=columns,
        units=tuple(units.get(c, "") for c in columns) if units else (),
        length=length,
        load=partial(_load, [(one.content.path, one.stream) for one in pieces], gaps),
        load_text=partial(_load_text, texts, gaps) if len(texts) == len(pieces) else None,
        timestamps_s=np.concatenate([one.times for one in pieces if one.times is not None])
        if all(timed)
        else None,
        beside=beside,
        zoneless=tuple(dict.fromkeys(c for one in pieces for c in one.stream.zoneless)),
    )


def _gaps(source: Source, pieces: Sequence[_Piece]) -> list[int]:
    """Count the samples that lack before each part; with times they stay as they are.

    Raises:
        DataError: a part begins before the one before it ends, or nothing tells when it does.
    """
    gaps, follow = [0], source.entry.parts == "follow"
    for before, one in pairwise(pieces):
        rate_hz = one.stream.rate_hz
        if one.times is None and rate_hz is None:
            if not follow:
                raise DataError(
                    f"{one.content.path}: is a part without a clock, so nothing says what lies "
                    "between it and the part before; name its `clock`, or say `parts: follow` if "
                    "nothing does"
                )
            gaps.append(0)
            continue
        end_s = before.end_s(rate_hz or np.inf)
        step_s = 1 / rate_hz if rate_hz else _step(before)
        if one.begin_s - end_s < -0.5 * step_s - 1e-6 and not follow:
            raise DataError(
                f"{one.content.path}: begins at {one.begin_s:.10g} s, before the part "
                f"{before.content.path.name} ends at {end_s:.10g} s; parts follow each other in "
                "the order of their names, `parts: follow` where each counts from its own start"
            )
        wait_s = one.begin_s - end_s
        gaps.append(max(0, round(wait_s * rate_hz)) if one.times is None and rate_hz else 0)
    recorded = sum(one.stream.length for one in pieces)
    if sum(gaps) > MAX_EMPTY * recorded:
        raise DataError(
            f"{source.path}: its parts lie {sum(gaps) / recorded:.0f} times as long apart as they "
            "last; one of them has a wrong start"
        )
    return gaps


def _load(
    streams: Sequence[tuple[Path, Stream]], gaps: Sequence[int], columns: Sequence[str]
) -> NDArray[np.float64]:
    tables = []
    for (path, stream), gap in zip(streams, gaps, strict=True):
        tables += [np.full((gap, len(columns)), np.nan)] if gap else []
        for column in columns:
            if column not in (*stream.columns, *stream.beside):
                raise DataError(f"{path}: has no column '{column}', other parts have it")
        tables.append(stream.load(columns))
    return np.concatenate(tables)


def _load_text(
    loads: Sequence[Callable[[str], NDArray[np.str_]]], gaps: Sequence[int], column: str
) -> NDArray[np.str_]:
    texts: list[NDArray[np.str_]] = []
    for load, gap in zip(loads, gaps, strict=True):
        texts += [np.full(gap, "", dtype=np.str_)] if gap else []
        texts.append(load(column))
    return np.concatenate(texts)
