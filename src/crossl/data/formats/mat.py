"""MATLAB files: up to version 7 by scipy, version 7.3 by h5py; a stream per numeric array.

Fields of structures are streams with dotted names, such as `data.acc`. As in MATLAB an array of
one row or column is a stream of one column, `0`; of other arrays the longer axis is time. Text,
cells and arrays of three and more dimensions are left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, damaged, needs
from crossl.data.formats.npy import arrays_content

UNREADABLE = (
    ValueError, TypeError, LookupError, ArithmeticError, NotImplementedError, AttributeError,
    RuntimeError, MemoryError, EOFError, OSError, zlib.error, struct.error, AssertionError,
)  # fmt: skip
"""What scipy and h5py raise at files that are damaged."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_file(path: Path) -> FileContent:
    """Read the arrays' names and shapes.

    Args:
        path: the file.

    Raises:
        DataError: damaged, or without an array that is a signal.
    """
    return arrays_content(path, _arrays(path), partial(_array, path))


def _array(path: Path, name: str) -> NDArray[Any]:
    return _arrays(path)[name]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        head = file.read(1024)
    newer = head.startswith(HDF5_MAGIC) or head[512:520] == HDF5_MAGIC
    try:
        found = dict(_from_hdf5(path) if newer else _from_matlab(path))
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None and not newer:
            raise
        raise damaged(path, error) from error
    return {name: np.squeeze(array) if 1 in array.shape else array for name, array in found.items()}


def _from_matlab(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, struct_as_record=False, squeeze_me=True, chars_as_strings=True)
    except MatReadError as error:
        raise ValueError(str(error)) from error
    for name, value in found.items():
        if not name.startswith("__"):
            yield from _fields(name, value)


def _fields(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if hasattr(value, "_fieldnames"):
        for field in value._fieldnames:
            yield from _fields(f"{name}.{field}", getattr(value, field))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield name, value
    elif isinstance(value, (int, float)):
        yield name, np.asarray(value)


def _from_hdf5(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    h5py = needs("h5py")
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            item = file[name]
            if name.startswith("#") or not isinstance(item, h5py.Dataset):
                continue
            kind = item.attrs.get("MATLAB_class", b"double")
            # empty arrays are stored as their shape
            if kind in (b"char", b"cell") or "MATLAB_empty" in item.attrs:
                continue
            if item.dtype.kind in "biuf":
                # MATLAB counts columns first, HDF5 rows
                yield name.replace("/", "."), np.asarray(item).T
