"""Labels from files: a column, a table of intervals, what a file carries itself, or its path."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, code_texts
from crossl.data.own.mapping.columns import locate, locate_signal
from crossl.data.own.mapping.entries import SECONDS, ModalityEntry
from crossl.data.own.mapping.joined_files import open_source
from crossl.data.own.mapping.plan import Source
from crossl.data.own.mapping.times import clock_seconds, seconds
from crossl.data.own.mapping.zones import Zones
from crossl.data.recording import LabelInterval, Signal
from crossl.data.timing import put_in_order
from crossl.errors import DataError

NO_LABEL = {"", "nan", "na", "n/a", "null", "none"}


@dataclass(frozen=True)
class Names:
    """What a mapping says of labels by name.

    Attributes:
        classes: labels to keep; none keeps no label.
        label_names: what a label in the files is called instead.
        optional: files may lack their column of labels.
    """

    classes: Collection[str] = ()
    label_names: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False

    def keeps(self, label: str) -> bool:
        """Tell whether a label of the files is among the classes."""
        return self.label_names.get(label, label) in self.classes


def source_labels(
    source: Source,
    content: FileContent,
    modalities: Mapping[str, ModalityEntry],
    names: Names,
    zones: Zones,
) -> list[LabelInterval]:
    """Return the labels that one file holds, on the clock of its signals.

    Args:
        source: the file.
        content: opened.
        modalities: whose rate counts where there is no clock.
        names: of labels; those that are kept may not overlap.
        zones: collects what the times of the file are.

    Raises:
        DataError: overlapping labels, or a column of labels without times.
    """
    entry = source.entry
    if entry.intervals is not None:
        found = _table(source, content, names, zones)
    elif entry.annotations:
        content.check_labels()
        found = [
            LabelInterval(one.start_s + source.offset_s, one.end_s + source.offset_s, one.label)
            for one in annotated(content, names)
        ]
    elif entry.label is not None and not (names.optional and _lacks(content, entry.label)):
        found = _per_sample(source, content, modalities, names, zones)
    else:
        return []
    check_overlap(str(source.path), [one for one in found if names.keeps(one.label)])
    return found


def _lacks(content: FileContent, column: str) -> bool:
    """Tell whether a file has neither a column nor a stream of this name."""
    return all(column not in (one.name, *one.columns, *one.beside) for one in content.streams)


def annotated(content: FileContent, names: Names) -> list[LabelInterval]:
    """Return the labels that a file carries; points in time that are not kept end none.

    An annotation without an end lasts until the next one. Whether one that is not kept is a state
    of its own (`break`) or a point in time (`blink`), the file does not say. It is a state where
    the label that it interrupts is announced again behind it, and ends it; else that label goes on.

    Args:
        content: of the file.
        names: of labels.

    Examples:
        >>> from pathlib import Path
        >>> content = FileContent(Path(), (), tuple(
        ...     LabelInterval(t, t + 1, what) for t, what in enumerate(["rest", "blink", "walk"])
        ... ), open_ended=dict.fromkeys(range(3), "marks"))
        >>> [(one.label, one.end_s) for one in annotated(content, Names(["rest", "walk"]))]
        [('rest', 2.0), ('blink', 2), ('walk', 3.0)]
    """
    out = list(content.labels)
    for name in dict.fromkeys(content.open_ended.values()):
        numbers = [n for n, one in content.open_ended.items() if one == name]
        numbers.sort(key=lambda n: content.labels[n].start_s)
        marks = [content.labels[n] for n in numbers]
        states = _interrupting(marks, names)
        end_s = max(one.end_s for one in marks)
        ends = np.sort([
            *(one.start_s for one in marks if names.keeps(one.label) or one.label in states),
            *(one.start_s for n, one in enumerate(content.labels)
              if n not in content.open_ended and names.keeps(one.label)),
            end_s,
        ])  # fmt: skip
        for number, one in zip(numbers, marks, strict=True):
            if names.keeps(one.label):
                later = int(np.searchsorted(ends, one.start_s, side="right"))
                out[number] = replace(one, end_s=float(ends[later]))
    return out


def _interrupting(labels: Sequence[LabelInterval], names: Names) -> set[str]:
    """Return the labels that are not kept behind which the one before is announced again."""
    states: set[str] = set()
    last, between = "", set[str]()
    for one in labels:
        if not names.keeps(one.label):
            between.add(one.label)
            continue
        called = names.label_names.get(one.label, one.label)
        if called == last:
            states |= between
        last, between = called, set()
    return states


def left_unlabelled(labels: Sequence[LabelInterval], kept: Sequence[LabelInterval]) -> str:
    """Say how long labels that are not kept leave time without one.

    Args:
        labels: those that are not kept.
        kept: sorted, without overlap.

    Examples:
        >>> kept = [LabelInterval(0, 10, "rest")]
        >>> left_unlabelled([LabelInterval(4, 5, "blink"), LabelInterval(8, 12, "talk")], kept)
        'blink (1 time, within others), talk (1 time, 2 s)'
    """
    counts: dict[str, int] = {}
    lost: dict[str, float] = {}
    edges = [edge for one in kept for edge in (one.start_s, one.end_s)] or [0.0]
    steps = [step for one in kept for step in (0.0, one.end_s - one.start_s)] or [0.0]
    labelled = np.cumsum(steps)
    for one in labels:
        begin, end = np.interp([one.start_s, one.end_s], edges, labelled)
        counts[one.label] = counts.get(one.label, 0) + 1
        free_s = one.end_s - one.start_s - (end - begin)
        lost[one.label] = lost.get(one.label, 0.0) + max(0.0, float(free_s))
    told = [
        f"{name} ({count} time{'s' if count > 1 else ''}, "
        + (f"{lost[name]:.4g} s)" if lost[name] > 1e-6 else "within others)")
        for name, count in sorted(counts.items())
    ]
    more = f" and {len(told) - 20} others" if len(told) > 20 else ""
    return ", ".join(told[:20]) + more


def whole_files(found: Iterable[tuple[str, Iterable[Signal]]]) -> list[LabelInterval]:
    """Return the labels of whole files: one of each name, over all signals that have it.

    Args:
        found: label and signals of each file.
    """
    spans: dict[str, list[Signal]] = {}
    for label, signals in found:
        spans.setdefault(label, []).extend(signals)
    return [
        LabelInterval(min(s.start_s for s in signals), max(s.end_s for s in signals), label)
        for label, signals in spans.items()
        if signals
    ]


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


def label_names(source: Source, names: Names) -> set[str]:
    """Return the labels of one file, reading nothing else of it.

    Args:
        source: the file.
        names: of labels.

    Raises:
        DataError: the column does not exist.
    """
    entry = source.entry
    if source.label is not None:
        return {source.label}
    column = entry.intervals.label if entry.intervals else entry.label
    if column is None and not entry.annotations:
        return set()
    content = open_source(source, Zones())
    if column is None:
        return {one.label for one in content.labels}
    return set(_texts(*_place(source, content, column), names)) - {""}


def _place(source: Source, content: FileContent, column: str) -> tuple[Stream, str]:
    """Find the column of labels; of a long table that of the sensor with most samples."""
    if source.entry.long is None or not content.streams:
        return locate(content, column)
    longest = max(content.streams, key=lambda stream: stream.length)
    return locate(content, column, longest.name)


def _texts(stream: Stream, column: str, names: Names) -> list[str]:
    """Read a column as labels; empty where there is none."""
    if stream.load_text is not None:
        cells: list[str] = stream.load_text(column).tolist()
    else:
        cells = code_texts(stream.load([column])[:, 0]).tolist()
    listed = {*names.classes, *names.label_names}
    cleaned = {cell: _name(cell, listed) for cell in set(cells)}
    return [cleaned[cell] for cell in cells]


def _name(cell: str, listed: Collection[str] = ()) -> str:
    """Clean a label: codes written as 3.0 are 3, words for `no label` are empty unless listed.

    Examples:
        >>> _name(" 3.0"), _name("walk"), _name("NaN")
        ('3', 'walk', '')
    """
    cell = cell.strip()
    if not cell or (cell.lower() in NO_LABEL and cell not in listed):
        return ""
    return cell.split(".")[0] if re.fullmatch(r"[-+]?\d+\.0+", cell) else cell


def _table(source: Source, content: FileContent, names: Names, zones: Zones) -> list[LabelInterval]:
    entry = source.entry.intervals
    assert entry is not None  # noqa: S101 - it is asked for where there is one
    labels = _texts(*locate(content, entry.label), names)
    kept = np.array([names.keeps(label) for label in labels])
    begin_s = seconds(source, locate(content, entry.start), entry.unit, zones, needed=kept)
    if entry.end is not None:
        end_s = seconds(source, locate(content, entry.end), entry.unit, zones, needed=kept)
    else:
        stream, column = locate(content, str(entry.duration))
        # a length is never a date
        end_s = begin_s + stream.load([column])[:, 0] * SECONDS.get(entry.unit, 1.0)
    out = []
    for row, (begin, end, name) in enumerate(
        zip(begin_s.tolist(), end_s.tolist(), labels, strict=True), start=1
    ):
        if not begin < end < np.inf:
            if not names.keeps(name):
                continue
            raise DataError(
                f"{source.path}: interval {row} ('{name}') runs from {begin:g} to {end:g} s; it "
                "must end after it starts; a point in time is not a label, leave it out of "
                "`classes`"
            )
        if name:
            out.append(LabelInterval(begin + source.offset_s, end + source.offset_s, name))
    return out


def _per_sample(
    source: Source,
    content: FileContent,
    modalities: Mapping[str, ModalityEntry],
    listed: Names,
    zones: Zones,
) -> list[LabelInterval]:
    stream, column = _place(source, content, str(source.entry.label))
    names = np.array(_texts(stream, column, listed))
    times = clock_seconds(source, content, stream, zones)
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
