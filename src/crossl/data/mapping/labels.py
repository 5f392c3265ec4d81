"""Labels from files: a column, a table of intervals, what a file carries itself, or its path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, open_file
from crossl.data.mapping.columns import clock_seconds, locate, locate_signal, seconds
from crossl.data.mapping.plan import Source
from crossl.data.mapping.schema import SECONDS, IntervalsEntry, ModalityEntry
from crossl.data.recording import LabelInterval, Signal
from crossl.data.timing import put_in_order
from crossl.errors import DataError

NO_LABEL = {"", "nan", "na", "n/a", "null", "none"}


def source_labels(
    source: Source,
    content: FileContent,
    modalities: Mapping[str, ModalityEntry],
    signals: Mapping[str, Signal],
) -> list[LabelInterval]:
    """Return the labels that one file gives, on the clock of its signals.

    Args:
        source: the file.
        content: opened.
        modalities: whose rate counts where there is no clock.
        signals: that were read from it.

    Raises:
        DataError: overlapping labels, or a column of labels without times.
    """
    entry = source.entry
    if source.label is not None:
        begin = min((s.start_s for s in signals.values()), default=0.0)
        end = max((s.end_s for s in signals.values()), default=0.0)
        return [LabelInterval(begin, end, source.label)] if signals else []
    if entry.intervals is not None:
        found = _table(source, content, entry.intervals)
    elif entry.annotations:
        found = [
            LabelInterval(one.start_s + source.offset_s, one.end_s + source.offset_s, one.label)
            for one in content.labels
        ]
    elif entry.label is not None:
        found = _per_sample(source, content, modalities)
    else:
        return []
    check_overlap(str(source.path), found)
    return found


def check_overlap(where: str, labels: Iterable[LabelInterval]) -> None:
    """Refuse labels that share time.

    Raises:
        DataError: two of them do.
    """
    last: LabelInterval | None = None
    for one in sorted(labels, key=lambda label: label.start_s):
        if last is not None and one.start_s < last.end_s - 1e-6:
            raise DataError(
                f"{where}: label '{one.label}' from {one.start_s:g} s overlaps '{last.label}', "
                f"which lasts until {last.end_s:g} s; a time has one label"
            )
        last = one


def label_names(source: Source) -> set[str]:
    """Return the labels of one file, reading nothing else of it.

    Raises:
        DataError: the column does not exist.
    """
    entry = source.entry
    if source.label is not None:
        return {source.label}
    column = entry.intervals.label if entry.intervals else entry.label
    if column is None and not entry.annotations:
        return set()
    content = open_file(source.path, entry.format)
    if column is None:
        return {one.label for one in content.labels}
    return set(_texts(*locate(content, column))) - {""}


def _texts(stream: Stream, column: str) -> list[str]:
    """Read a column as labels; empty where there is none."""
    if stream.load_text is not None:
        cells: list[str] = stream.load_text(column).tolist()
    else:
        numbers = stream.load([column])[:, 0]
        cells = ["" if np.isnan(value) else f"{value:g}" for value in numbers]
    names = {cell: _name(cell) for cell in set(cells)}
    return [names[cell] for cell in cells]


def _name(cell: str) -> str:
    """Clean a label: codes written as 3.0 are 3.

    Examples:
        >>> _name(" 3.0"), _name("walk"), _name("NaN")
        ('3', 'walk', '')
    """
    cell = cell.strip()
    if cell.lower() in NO_LABEL:
        return ""
    return cell.split(".")[0] if re.fullmatch(r"[-+]?\d+\.0+", cell) else cell


def _table(source: Source, content: FileContent, entry: IntervalsEntry) -> list[LabelInterval]:
    begin_s = seconds(content, *locate(content, entry.start), entry.unit)
    if entry.end is not None:
        end_s = seconds(content, *locate(content, entry.end), entry.unit)
    else:
        stream, column = locate(content, str(entry.duration))
        # a length is never a date
        end_s = begin_s + stream.load([column])[:, 0] * SECONDS.get(entry.unit, 1.0)
    names = _texts(*locate(content, entry.label))
    out = []
    for row, (begin, end, name) in enumerate(
        zip(begin_s.tolist(), end_s.tolist(), names, strict=True), start=1
    ):
        if not begin < end < np.inf:
            raise DataError(
                f"{source.path}: interval {row} ('{name}') runs from {begin:g} to {end:g} s; it "
                "must end after it starts"
            )
        if name:
            out.append(LabelInterval(begin + source.offset_s, end + source.offset_s, name))
    return out


def _per_sample(
    source: Source, content: FileContent, modalities: Mapping[str, ModalityEntry]
) -> list[LabelInterval]:
    stream, column = locate(content, str(source.entry.label))
    names = np.array(_texts(stream, column))
    times = clock_seconds(source, content, stream)
    where = f"{source.path}: label '{column}'"
    if times is None:
        rate_hz = _rate(where, source, content, stream, modalities)
        return runs(np.arange(len(names)) / rate_hz + stream.start_s + source.offset_s, names,
                    step_s=1 / rate_hz)  # fmt: skip
    index = np.arange(len(names), dtype=np.float64)[:, None]
    times, kept, timing = put_in_order(where, times + source.offset_s, index)
    return runs(times, names[kept[:, 0].astype(np.int64)], step_s=1 / timing.estimated_hz)


def _rate(
    where: str,
    source: Source,
    content: FileContent,
    stream: Stream,
    modalities: Mapping[str, ModalityEntry],
) -> float:
    """Return the rate of a column of labels without a clock: that of the signals beside it."""
    if stream.rate_hz:
        return stream.rate_hz
    rates = set()
    for name, entry in source.entry.signals.items():
        place = locate_signal(where, content, entry, modalities[name].channels)
        if place[0][0].length == stream.length:
            rates.add(modalities[name].rate_hz)
    if len(rates) != 1:
        raise DataError(
            f"{where} has no times: signals beside it have {len(rates)} rates; give the file a "
            "`clock`"
        )
    return float(rates.pop())


def runs(
    times_s: NDArray[np.float64], names: Sequence[str] | NDArray[np.str_], *, step_s: float
) -> list[LabelInterval]:
    """Turn a label per sample into intervals; a gap in the clock ends one.

    Args:
        times_s: increasing.
        names: a label each; empty where there is none.
        step_s: time between samples, which the last sample of a run lasts.

    Examples:
        >>> [(i.start_s, i.end_s) for i in runs(np.arange(4.0), ["a", "a", "", "b"], step_s=1)]
        [(0.0, 2.0), (3.0, 4.0)]
    """
    names = np.asarray(names)
    gap = np.diff(times_s) > 3 * step_s
    edges = np.r_[0, np.flatnonzero((names[1:] != names[:-1]) | gap) + 1, len(names)]
    out = []
    for first, stop in pairwise(edges.tolist()):
        if not names[first]:
            continue
        end = times_s[stop - 1] + step_s
        if stop < len(names) and not gap[stop - 1]:
            end = times_s[stop]
        out.append(LabelInterval(float(times_s[first]), float(end), str(names[first])))
    return out
