"""MATLAB files: up to version 7 by scipy, version 7.3 by h5py; a stream per numeric array.

Fields of structures are streams with dotted names, such as `data.acc`. As in MATLAB an array of
one row or column is a stream of one column, `0`; of other arrays the longer axis is time. A cell of
texts is a column of text. Other text and cells, complex numbers and arrays of three and more
dimensions are left out, and what they are is reported. Of version 7.3 only what lies in the file
itself is read: no other files that it points to.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import HARMLESS_ARRAY_BYTES, check_unpacked
from crossl.data.formats import FileContent, mat_elements, needs
from crossl.data.formats.npy import arrays_content
from crossl.errors import DataError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_file(path: Path) -> FileContent:
    """Read the arrays' names and shapes.

    Args:
        path: the file.

    Raises:
        DataError: damaged, or without an array that is a signal.
    """
    return arrays_content(path, _found(path), partial(_array, path))


def _array(path: Path, name: str) -> NDArray[Any]:
    return _arrays(path)[name]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in _found(path).items() if isinstance(value, np.ndarray)}


def _found(path: Path) -> dict[str, NDArray[Any] | str]:
    """Return arrays by name, and of what is not an array of numbers what it is."""
    with path.open("rb") as file:
        head = file.read(1024)
    newer = head.startswith(HDF5_MAGIC) or head[512:520] == HDF5_MAGIC
    found = _from_hdf5(path) if newer else _from_matlab(path)
    return {
        name: np.squeeze(value) if isinstance(value, np.ndarray) and 1 in value.shape else value
        for name, value in found
    }


# --- up to version 7


def _from_matlab(path: Path) -> Iterator[tuple[str, NDArray[Any] | str]]:
    from scipy.io import loadmat

    given = io.BytesIO(mat_elements.unpacked(path)) if mat_elements.is_newer(path) else path
    found = loadmat(given, struct_as_record=False, squeeze_me=True, chars_as_strings=True)
    for name, value in found.items():
        if not name.startswith("__"):
            yield from _fields(name, value)


def _fields(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any] | str]]:
    if hasattr(value, "_fieldnames"):
        for field in value._fieldnames:
            yield from _fields(f"{name}.{field}", getattr(value, field))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        yield name, value
    elif isinstance(value, (int, float)):
        yield name, np.asarray(value)
    elif (texts := _texts(value)) is not None:
        yield name, texts
    elif not isinstance(value, str):
        yield name, _what(value)


def _texts(value: Any) -> NDArray[np.str_] | None:
    """Return a cell, or a matrix of characters, as a column of text; None where it is none."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.size < 2:
        return None
    if value.dtype.kind == "U":
        return np.char.rstrip(value)
    empty = [isinstance(one, np.ndarray) and not one.size for one in value]
    if value.dtype.kind != "O" or not all(
        isinstance(one, str) or none for one, none in zip(value, empty, strict=True)
    ):
        return None
    return np.array(["" if none else one for one, none in zip(value, empty, strict=True)])


def _what(value: Any) -> str:
    """Say what a value is that is not an array of numbers, and what is inside.

    Examples:
        >>> _what("anna"), _what(np.array([np.zeros((9, 3)), "a"], dtype=object))
        ('text', 'cell of 2 with (9, 3) float64, text')
    """
    if not isinstance(value, np.ndarray):
        return "text" if isinstance(value, str) else type(value).__name__
    if value.dtype.kind in "US":
        return f"text {value.shape}"
    if not value.size or value.dtype.kind != "O":
        return f"{value.dtype} {value.shape}"
    first = value.flat[0]
    if hasattr(first, "_fieldnames"):
        return f"structure array of {value.size} with fields {', '.join(first._fieldnames[:5])}"
    kinds = dict.fromkeys(
        f"{one.shape} {one.dtype}" if isinstance(one, np.ndarray) else _what(one)
        for one in value.flat[:5]
    )
    return f"cell of {value.size} with {', '.join(kinds)}"


# --- version 7.3


def _from_hdf5(path: Path) -> Iterator[tuple[str, NDArray[Any] | str]]:
    h5py = needs("h5py")
    with h5py.File(path, "r") as file:
        names: list[str] = []
        links: dict[str, Any] = {}
        file.visititems_links(links.setdefault)
        _check_links(path, links)
        file.visit(names.append)
        unpacked = 0
        for name in names:
            item = file[name]
            if not isinstance(item, h5py.Dataset):
                continue
            _check_own(path, name, item)
            kind = bytes(np.bytes_(item.attrs.get("MATLAB_class", b"double")))
            # empty arrays are stored as their shape
            if name.startswith("#") or "MATLAB_empty" in item.attrs:
                continue
            dotted = name.replace("/", ".")
            if kind == b"char":
                continue
            texts = _texts_of_cell(path, file, item) if kind == b"cell" else None
            if texts is not None:
                yield dotted, texts
                continue
            if kind == b"cell" or item.dtype.kind not in "biufc":
                what = "cell" if kind == b"cell" else str(item.dtype)
                yield dotted, f"{what} {item.shape[::-1]}"
                continue
            unpacked += item.nbytes
            check_unpacked(path, unpacked, HARMLESS_ARRAY_BYTES)
            # MATLAB counts columns first, HDF5 rows
            yield dotted, np.asarray(item).T


def _texts_of_cell(path: Path, file: Any, item: Any) -> NDArray[np.str_] | None:
    """Return a cell of texts, each of which is an array of its own; None where it is none."""
    if item.dtype.kind != "O" or item.size < 2 or item.size != max(item.shape):
        return None
    out: list[str] = []
    longest = 0
    for reference in np.asarray(item).ravel():
        one = file[reference] if reference else None
        if one is None or bytes(np.bytes_(one.attrs.get("MATLAB_class", b""))) != b"char":
            return None
        _check_own(path, one.name, one)
        empty = "MATLAB_empty" in one.attrs
        longest = max(longest, 0 if empty else one.size)
        check_unpacked(path, 4 * longest * item.size, HARMLESS_ARRAY_BYTES)
        out.append("" if empty else "".join(map(chr, np.asarray(one).ravel().tolist())))
    return np.array(out)


def _check_links(path: Path, links: Mapping[str, Any]) -> None:
    """Refuse names of what lies in other files."""
    for name, link in links.items():
        if type(link).__name__ == "ExternalLink":
            raise _elsewhere(path, name)


def _check_own(path: Path, name: str, item: Any) -> None:
    """Refuse numbers that lie in other files, which could be any file of this machine."""
    if item.is_virtual or item.external:
        raise _elsewhere(path, name)


def _elsewhere(path: Path, name: str) -> DataError:
    return DataError(f"{path}: '{name}' lies in another file; only what is in this one is read")
