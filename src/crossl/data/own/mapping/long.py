"""Long tables: a row for each sample of any sensor, which a column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.own.mapping.entries import FileEntry, LongEntry
from crossl.data.own.mapping.people import only_rows, texts_of
from crossl.errors import DataError, nearest


def sensor_streams(content: FileContent, entry: FileEntry) -> FileContent:
    """Make a stream of the rows of each sensor, named after it.

    Args:
        content: a file of one table.
        entry: with `long`.

    Raises:
        DataError: it holds several tables, or no such column.
    """
    long = entry.long
    if long is None or not content.streams:
        return content
    table = content.stream(None)
    for name in (long.sensor, *long.values):
        if name not in table.columns:
            raise DataError(
                f"{content.path}: has no column '{name}'; {nearest(name, table.columns)}"
            )
    sensors = texts_of(table, long.sensor)
    names, place = np.unique(sensors, return_inverse=True)
    streams = [
        _stream(table, long, name, np.flatnonzero(place == number))
        for number, name in enumerate(names.tolist())
        if name
    ]
    return replace(content, streams=tuple(streams))


def _stream(table: Stream, long: LongEntry, name: str, rows: NDArray[np.int64]) -> Stream:
    """Return one sensor's rows; a single column of values is named after the sensor."""
    chosen = only_rows(table, rows)
    columns = long.values or tuple(c for c in table.columns if c != long.sensor)
    others = tuple(c for c in table.columns if c not in columns)
    spelled = {name: long.values[0]} if len(long.values) == 1 else {}
    units = dict(zip(table.columns, table.units, strict=True)) if table.units else {}
    return replace(
        chosen,
        name=name,
        columns=tuple(spelled) or columns,
        units=tuple(units[c] for c in columns) if units else (),
        beside=others,
        load=partial(_load, chosen, spelled),
    )


def _load(
    stream: Stream, spelled: Mapping[str, str], columns: Sequence[str]
) -> NDArray[np.float64]:
    return stream.load([spelled.get(column, column) for column in columns])
