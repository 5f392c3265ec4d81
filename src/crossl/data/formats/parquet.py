"""Parquet tables, read by polars.

Columns of numbers and truth values are numbers, times seconds since 1970 (without a time zone: as
if in UTC), durations seconds; anything else is text only. Nested columns are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import HARMLESS_ARRAY_BYTES, check_unpacked
from crossl.data.formats import FileContent, Stream, code_texts, label_texts, needs
from crossl.errors import DataError


def open_file(path: Path) -> FileContent:
    """Read the names and types of the columns.

    Args:
        path: the file.

    Raises:
        DataError: damaged, or without samples.
    """
    polars = needs("polars")
    table = polars.scan_parquet(path, glob=False)
    schema = table.collect_schema()
    length = int(table.select(polars.len()).collect().item())
    columns = tuple(name for name, kind in schema.items() if not kind.is_nested())
    # one value for a billion rows takes no room in a file
    check_unpacked(path, 8 * length * len(columns), HARMLESS_ARRAY_BYTES)
    if not columns or not length:
        raise DataError(f"{path}: has {length} rows and {len(columns)} columns; some are needed")
    stream = Stream(
        name="",
        columns=columns,
        units=(),
        length=length,
        load=partial(_load, path),
        load_text=partial(_load_text, path),
        zoneless=tuple(name for name in columns if _is_zoneless(schema[name])),
    )
    left_out = [name for name in schema if name not in columns]
    return FileContent(path, streams=(stream,), about={"left_out": left_out} if left_out else {})


def _is_zoneless(kind: Any) -> bool:
    """Tell whether a type is a date, or a time without a zone."""
    polars = needs("polars")
    return bool(kind == polars.Date or (kind == polars.Datetime and kind.time_zone is None))


def _columns(path: Path, names: Sequence[str]) -> Any:
    polars = needs("polars")
    return polars.read_parquet(path, columns=list(names), glob=False)


def _load(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    polars = needs("polars")
    frame = _columns(path, names)
    out = []
    for name in names:
        column = frame[name]
        if column.dtype in (polars.Datetime, polars.Duration, polars.Date):
            kind = polars.Duration("ns") if column.dtype == polars.Duration else "ns"
            whole = column.cast(kind if kind != "ns" else polars.Datetime("ns")).cast(polars.Int64)
            column = whole.cast(polars.Float64) / 1e9
        elif not (column.dtype.is_numeric() or column.dtype == polars.Boolean):
            raise DataError(f"{path}: column '{name}' holds {column.dtype}; numbers are needed")
        out.append(column.cast(polars.Float64).fill_null(float("nan")).to_numpy())
    return np.stack(out, axis=1)


def _load_text(path: Path, name: str) -> NDArray[np.str_]:
    polars = needs("polars")
    column = _columns(path, [name])[name]
    if column.dtype == polars.Datetime:
        zone = ""
        if column.dtype.time_zone is not None:
            column, zone = column.dt.convert_time_zone("UTC"), "Z"
        column = column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f" + zone)
    if column.dtype.is_float():  # 3.0 is the label 3
        return code_texts(column.to_numpy())
    text = column.cast(polars.String).fill_null("").to_list()
    return label_texts(path, name, text)
