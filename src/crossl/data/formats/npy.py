"""NumPy arrays: `.npy`, and `.npz` with a stream per array; never pickled objects.

A one-dimensional array is a stream of one column, `0`; a two-dimensional one has the columns `0`,
`1` and so on, and its longer axis is time. The fields of a structured array are its columns. Arrays
of text (labels) can be read as text. Arrays of three and more dimensions, complex ones and single
numbers are left out.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import HARMLESS_ARRAY_BYTES, read_member
from crossl.data.formats import FileContent, Stream, code_texts, damaged
from crossl.errors import DataError

MAGIC = b"\x93NUMPY"


def open_file(path: Path) -> FileContent:
    """Read the arrays' names and shapes.

    Args:
        path: the file.

    Raises:
        DataError: damaged, of pickled objects, or without an array that is a signal.
    """
    return arrays_content(path, _arrays(path), partial(_array, path))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
    try:
        if magic == MAGIC:
            # maps the file, so its length is held against the header
            return {"": np.load(path, allow_pickle=False, mmap_mode="r")}
        if magic.startswith(b"PK"):
            return dict(_members(path))
    except ValueError as error:
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{path}: holds pickled Python objects, which could run code; save arrays of "
                "numbers"
            ) from None
        if "greater than file size" in str(error) or "EOF" in str(error):
            raise damaged(path, error) from error
        raise
    raise DataError(f"{path}: begins with {magic!a}; a NumPy array or archive begins otherwise")


def _members(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                data = read_member(path, archive, name, HARMLESS_ARRAY_BYTES)
                array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
                yield name.removesuffix(".npy"), array


def _array(path: Path, name: str) -> NDArray[Any]:
    return _arrays(path)[name]


def arrays_content(path: Path, arrays: Mapping[str, NDArray[Any] | str], read: Any) -> FileContent:
    """Make streams of named arrays.

    Args:
        path: where they are from.
        arrays: by name; of what is none, what it is.
        read: returns an array again, by name.

    Raises:
        DataError: none of them is a signal.
    """
    streams, left_out = [], []
    for name, array in arrays.items():
        if isinstance(array, str):
            left_out.append(f"{name} ({array})")
            continue
        table = as_table(array)
        if table is None:
            kind = " complex" if array.dtype.kind == "c" else ""
            left_out.append(f"{name} {array.shape}{kind}")
            continue
        streams.append(
            Stream(
                name=name,
                columns=_names(table),
                units=(),
                length=len(table),
                load=partial(_load, path, name, read),
                load_text=partial(_load_text, name, read),
                zoneless=tuple(c for c in _names(table) if _column(table, c).dtype.kind == "M"),
            )
        )
    if not streams:
        raise DataError(
            f"{path}: holds no array of one or two dimensions with more than one value, got "
            f"{', '.join(left_out) or 'none'}"
        )
    return FileContent(path, tuple(streams), about={"left_out": left_out} if left_out else {})


def as_table(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return (time, column), or a structured (time,); None where the array is neither.

    Examples:
        >>> as_table(np.zeros((3, 100))).shape
        (100, 3)
    """
    if array.dtype.names and array.ndim == 1:
        return array
    if array.dtype.kind not in "biufUSM" or array.size < 2 or not array.dtype.itemsize:
        return None
    if array.ndim == 1:
        return array[:, None]
    if array.ndim == 2:
        return array.T if array.shape[1] > array.shape[0] else array
    return None


def _names(table: NDArray[Any]) -> tuple[str, ...]:
    if table.dtype.names:
        return tuple(table.dtype.names)
    return tuple(str(number) for number in range(table.shape[1]))


def _column(table: NDArray[Any], name: str) -> NDArray[Any]:
    return table[name] if table.dtype.names else table[:, int(name)]


def _load(path: Path, stream: str, read: Any, names: Sequence[str]) -> NDArray[np.float64]:
    table = as_table(read(stream))
    assert table is not None  # noqa: S101 - it was when the file was opened
    out = []
    for name in names:
        column = _column(table, name)
        if column.dtype.kind == "M":  # to seconds since 1970
            seconds = column.astype("datetime64[ns]").astype(np.int64) / 1e9
            out.append(np.where(np.isnat(column), np.nan, seconds))
        elif column.dtype.kind in "biuf" and column.ndim == 1:
            out.append(column.astype(np.float64))
        else:
            raise DataError(
                f"{path}: array '{stream}', column '{name}' holds {column.dtype}; numbers are "
                "needed"
            )
    return np.stack(out, axis=1)


def _load_text(stream: str, read: Any, name: str) -> NDArray[np.str_]:
    table = as_table(read(stream))
    assert table is not None  # noqa: S101 - it was when the file was opened
    column = _column(table, name)
    if column.dtype.kind == "f":
        return code_texts(column)
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "replace")
    return column.astype(np.str_)
