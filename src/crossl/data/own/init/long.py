"""Describe a long table: a row for each sample of any sensor, which a column names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from crossl.data.formats import Stream
from crossl.data.own.init.draft import Draft, listed, modality_name, quoted
from crossl.data.own.mapping.guess import clean, group_columns
from crossl.data.own.mapping.measure import find_clock, guess_rate, guess_unit
from crossl.data.own.mapping.names import Kind
from crossl.data.own.mapping.people import only_rows, texts_of
from crossl.data.own.mapping.quantity import misfit, quantity_of, read_unit, spelt

SENSOR = re.compile(
    r"(sensor|signal|modality|channel|source|stream|device|measure(ment)?|metric|variable|parameter|"
    r"quantity|data|record|kanal|messgro(ss|s)e|capteur|canal|mesure)_?(type|name|id|kind)?|type|kind"
)
MAX_SENSORS = 30


def sensor_column(stream: Stream, texts: Sequence[str]) -> str | None:
    """Find the column that names the sensor of a row: half of its values measure by their names.

    Args:
        stream: of one person.
        texts: columns that hold text.
    """
    for column in texts:
        if not SENSOR.fullmatch(clean(column)):
            continue
        values = sorted(set(texts_of(stream, column).tolist()) - {""})
        known = sum(quantity_of(value) is not None for value in values)
        if 1 < len(values) <= MAX_SENSORS and 2 * known >= len(values):
            return column
    return None


def describe_long(
    draft: Draft, kind: Kind, table: tuple[Stream, str, Sequence[str]], clock: str | None
) -> tuple[list[str], list[str]]:
    """Return the lines that say how a table is long, and those of its signals.

    Args:
        draft: takes the modalities.
        kind: pattern and device.
        table: rows of one person, the column that names sensors, those that hold values.
        clock: column of times.
    """
    stream, sensor, values = table
    lines = [
        f"    long: {{sensor: {quoted(sensor)}, values: {listed(values)}}}   "
        "# guessed: whose sample a row is"
    ]
    rows = _rows(stream, sensor)
    if len(values) == 1:
        groups = group_columns(list(rows))
        named = {group: (list(ch), list(ch.values())) for group, ch in groups.items()}
    else:
        named = {name: ([], [name]) for name in rows}
    signals: list[str] = []
    for group, (channels, sensors) in named.items():
        signals += _signal(draft, kind, (group, channels, sensors), (rows, values, clock))
    return lines, signals


def _rows(stream: Stream, sensor: str) -> dict[str, Stream]:
    texts = texts_of(stream, sensor)
    names = [name for name in dict.fromkeys(texts.tolist()) if name]
    return {name: only_rows(stream, np.flatnonzero(texts == name)) for name in names}


def _signal(
    draft: Draft,
    kind: Kind,
    group: tuple[str, list[str], list[str]],
    held: tuple[dict[str, Stream], Sequence[str], str | None],
) -> Iterator[str]:
    name, channels, sensors = group
    rows, values, clock = held
    tables = [rows[one].load(values) for one in sensors]
    found = find_clock(rows[sensors[0]], [c for c in [clock] if c and _is_text(rows, c)])
    rate = guess_rate(found.times_s) if found else None
    columns = [c for at, c in enumerate(values) if np.isfinite(tables[0][:, at]).any()]
    if not columns:
        return
    table = tables[0][:, [values.index(c) for c in columns]]
    if len(values) == 1 and len({len(one) for one in tables}) == 1:
        table = np.concatenate(tables, axis=1)
    channels = channels or [clean(c) for c in columns]
    unit, why = guess_unit(clean(name), [*sensors, *columns], table)
    unit = spelt(unit, name)
    if misfit(read_unit(unit, name).si, name) is not None:
        unit, why = "1", f"'{unit}' does not fit what it measures"
    modality = modality_name(kind, clean(name))
    draft.add_modality(modality, channels, (unit, why), [rate] if rate else [], kind.device)
    if len(values) > 1:
        yield f"      {modality}: {{stream: {quoted(name)}, columns: {listed(columns)}}}"
    else:
        yield f"      {modality}: {listed(sensors)}"


def _is_text(rows: dict[str, Stream], column: str) -> bool:
    first = next(iter(rows.values()))
    return first.load_text is not None and not re.fullmatch(
        r"[-+\d.,eE ]+", str(first.load_text(column)[0])
    )
