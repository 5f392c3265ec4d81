"""Describe a table: whose rows, its clock, its labels, its signals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.own.init.columns import (
    bad_cells,
    label_column,
    one_number,
    sensors_of,
    spellings,
    text_columns,
)
from crossl.data.own.init.draft import Draft, listed, modality_name, quoted, table_keys
from crossl.data.own.init.long import describe_long, sensor_column
from crossl.data.own.mapping.guess import clean, group_columns
from crossl.data.own.mapping.measure import Clock, find_clock, guess_rate, guess_unit, rate_in_name
from crossl.data.own.mapping.names import Kind
from crossl.data.own.mapping.people import named_like_subject, only_rows, subject_columns, texts_of
from crossl.data.own.mapping.quantity import misfit, quantity_of, read_unit, spelt
from crossl.errors import DataError, counted

SESSION = re.compile(r"session.*|sitzung.*|visit|day|trial|run|recording|sess|messung|aufnahme")
MAX_RATES = 5
MAX_SESSIONS = 50
LEAST_ROWS = 2
BY_UNIT = {"m/s^2": "acc", "rad/s": "gyro", "T": "mag"}
"""What axes without a name measure, by their unit."""


@dataclass(frozen=True)
class _Whose:
    """Columns that say whose a row is and of which recording, and the rows of the first one."""

    columns: dict[str, str]
    stream: Stream


def describe_table(
    draft: Draft, kind: Kind, contents: Sequence[FileContent]
) -> tuple[list[str], list[str]] | None:
    """Return the lines of a kind of table, and those of its signals; None for no recording.

    Args:
        draft: takes the modalities.
        kind: pattern and device.
        contents: files of this kind.
    """
    content = contents[0]
    whose = _whose(content)
    stream = whose.stream
    texts = text_columns(stream)
    clock = find_clock(stream, texts)
    keys = {**content.about.get("table", {})}
    if clock is not None and clock.date_format:
        keys["date_format"] = clock.date_format
    lines = [*_whose_lines(kind, whose), *table_keys(keys), *bad_cells(stream, texts)]
    if clock is not None:
        lines.append(f"    clock: {quoted(clock.column)}   # guessed by name; it increases")
        lines.append(f"    clock_unit: {clock.unit}   # guessed; correct me")
    taken = [*whose.columns.values(), *([clock.column] if clock else [])]
    sensor = sensor_column(stream, [c for c in texts if c not in taken])
    taken += [sensor] if sensor else []
    label = None if "{label}" in kind.pattern else label_column(contents, texts, taken)
    if label is not None:
        lines.append(f"    label: {quoted(label)}   # guessed: a label per sample")
        lines += spellings(stream, label)
    rates = _rates(contents, clock, stream)
    if clock is None and not rates and any(map(named_like_subject, stream.columns)):
        return None  # a list of people, not a recording
    if clock is None and not rates and stream.length < LEAST_ROWS:
        return [f"# NOT READ, {counted(stream.length, 'row')} without times and rate"], []
    used = [*taken, *([label] if label else [])]
    left, why = _sensors(contents, stream, texts, used)
    if why:
        lines.append(f"    # not used: {', '.join(why)}")
    if sensor is not None and left:
        told, signals = describe_long(
            draft, kind, (stream, sensor, left), clock.column if clock else None
        )
        return [*lines, *told], signals
    return lines, list(_signals(draft, kind, content, (stream, left, rates)))


def _sensors(
    contents: Sequence[FileContent], stream: Stream, texts: Sequence[str], used: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Part columns into those that may be sensors, and why the others are not used."""
    left, why = sensors_of(contents[0], stream, texts, used)
    same = [column for column in left if one_number(contents[:MAX_RATES], column)]
    why += [f"{quoted(column)} (one number)" for column in same]
    return [column for column in left if column not in same], why


def _whose(content: FileContent) -> _Whose:
    stream = content.streams[0]
    columns = {}
    rows: NDArray[np.bool_] = np.ones(stream.length, dtype=np.bool_)
    who = next(iter(subject_columns(content)), None)
    if who is not None:
        columns["subject"] = who
        session = next((c for c in stream.columns if _tells_sessions(stream, c, who)), None)
        if session is not None:
            columns["session"] = session
        for column in columns.values():
            texts = texts_of(stream, column)
            rows &= texts == texts[np.flatnonzero(rows & (texts != ""))[0]]
        stream = only_rows(stream, np.flatnonzero(rows))
    return _Whose(columns, stream)


def _tells_sessions(stream: Stream, column: str, who: str) -> bool:
    if column == who or not SESSION.fullmatch(clean(column)):
        return False
    return 1 < len(set(texts_of(stream, column).tolist()) - {""}) <= MAX_SESSIONS


def _whose_lines(kind: Kind, whose: _Whose) -> Iterator[str]:
    for key, column in whose.columns.items():
        if f"{{{key}}}" in kind.pattern:
            told = f"the path says who; else {key}_column: {column}"
            yield f"    one_person: true   # guessed: {told}"
            return
        yield f"    {key}_column: {quoted(column)}   # guessed by name and content: whose a row is"


def for_several(kind: Kind, content: FileContent) -> Kind:
    """Return a kind whose files are of several people: what distinguished files is the session.

    Args:
        kind: as names tell it.
        content: one of its files.
    """
    if len(content.streams) != 1 or not subject_columns(content):
        return kind
    pattern = kind.pattern
    if "{session}" not in pattern:
        pattern = pattern.replace("{subject}", "{session}")
    return replace(kind, pattern=pattern, subject="")


def _rates(contents: Sequence[FileContent], clock: Clock | None, first: Stream) -> list[float]:
    """Estimate the rate in a few files; without a clock, what name or header tell."""
    found = []
    if clock is not None:
        for content in contents[:MAX_RATES]:
            stream = first if content is contents[0] else content.streams[0]
            stream = replace(stream, columns=(clock.column,))
            other = find_clock(stream, text_columns(stream))
            rate = guess_rate(other.times_s) if other else None
            found += [rate] if rate else []
    layout = contents[0].about.get("layout")
    told = (layout.rate_hz if layout else None) or rate_in_name(contents[0].path)
    return found or ([told] if told else [])


def _signals(
    draft: Draft, kind: Kind, content: FileContent, found: tuple[Stream, list[str], list[float]]
) -> Iterator[str]:
    stream, left, rates = found
    if not left:
        return
    layout = content.about.get("layout")
    names = {(layout.names.get(c, c) if layout else c): c for c in left}
    values = dict(zip(left, stream.load(left).T, strict=True))
    told = dict(zip(stream.columns, stream.units, strict=True)) if stream.units else {}
    told |= dict(layout.units) if layout else {}
    named = bool(content.about.get("header", True)) or layout is not None
    for group, channels in group_columns(list(names), named=named).items():
        columns = [names[one] for one in channels.values()]
        table = np.stack([values[c] for c in columns], axis=1)
        if not np.isfinite(table).any():
            continue
        name = modality_name(kind, group)
        unit, why = _unit(name, list(channels.values()), told.get(columns[0], ""), table)
        if group == "xyz":
            name = _named_by_unit(kind, name, unit)
        draft.add_modality(name, list(channels), (unit, why), rates, kind.device)
        yield f"      {name}: {listed(columns)}"


def _named_by_unit(kind: Kind, group: str, unit: str) -> str:
    """Name axes `x`, `y`, `z` after what their unit measures."""
    si = read_unit(unit, group).si
    told = quantity_of(kind.device)
    if told is not None and si in told.units:
        return clean(kind.device)
    return modality_name(kind, BY_UNIT[si]) if si in BY_UNIT else group


def _unit(
    group: str, channels: Sequence[str], told: str, table: NDArray[np.float64]
) -> tuple[str, str]:
    """Choose a unit: what the file says, the name of the column, or the size of the values."""
    unit, why = told, "by the file"
    try:
        read_unit(told, *channels, group)
    except DataError:
        unit = ""
    if not unit:
        unit, why = guess_unit(group, channels, table)
    unit = spelt(unit, *channels, group)
    wrong = misfit(read_unit(unit, *channels, group).si, group)
    if wrong is not None:
        return "1", f"'{unit}' {why}, in which {wrong.name} is not measured"
    return unit, why
