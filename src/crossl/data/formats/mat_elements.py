"""MATLAB files of version 5 to 7 are elements with a type and a length, one inside the other.

scipy believes both: a type that does not exist crashes it, and a length that lies makes it read
elsewhere. So they are checked first, and packed elements are unpacked within bounds on the way.
Format: MAT-File Format, The MathWorks, R2023a, chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

from crossl.data.boundary import damaged
from crossl.data.bounds import HARMLESS_ARRAY_BYTES, check_unpacked, most_unpacked
from crossl.errors import DataError

HEAD_BYTES = 128
ENDIAN = {b"IM": "<", b"MI": ">"}
NUMBERS = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}
"""Types of elements that hold numbers, by how they are stored."""
INT8, INT32, UINT32, MATRIX, PACKED = 1, 5, 6, 14, 15
TEXTS = NUMBERS | {16, 17, 18}
CELL, STRUCTURE, OBJECT, CHARACTERS, SPARSE = 1, 2, 3, 4, 5
NUMERIC = range(6, 16)
COMPLEX = 0x800
MAX_DEPTH = 50
MAX_AXES = 32

Element = tuple[int, memoryview]


def is_newer(path: Path) -> bool:
    """Tell whether a file has elements; those of version 4 have not."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return len(head) == HEAD_BYTES and 0 not in head[:4] and head[126:] in ENDIAN


def unpacked(path: Path) -> bytes:
    """Return a file whose elements are in order, none of them packed.

    Args:
        path: of version 5 to 7.

    Raises:
        DataError: it ends before an element does, unpacks beyond sense, or is built otherwise.
    """
    data = path.read_bytes()
    order = ENDIAN[data[126:128]]
    out, at = [data[:HEAD_BYTES]], HEAD_BYTES
    total = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        end = at + 8 + length
        if end > len(data):
            raise damaged(path, f"it has {len(data)} bytes, an array in it ends at {end}")
        packed = kind == PACKED
        whole = _unpack(path, data[at + 8 : end]) if packed else data[at:end]
        total += len(whole)
        check_unpacked(path, total, HARMLESS_ARRAY_BYTES)
        for inner, content in _elements(path, memoryview(whole), order):
            if inner != MATRIX:
                raise _built(path, f"an element of type {inner} is where an array should be")
            _check_array(path, content, order, MAX_DEPTH)
        out.append(whole)
        at = end
    return b"".join(out)


def _unpack(path: Path, data: bytes) -> bytes:
    most = most_unpacked(path, HARMLESS_ARRAY_BYTES)
    unpacker = zlib.decompressobj()
    whole = unpacker.decompress(data, most + 1)
    check_unpacked(path, len(whole), HARMLESS_ARRAY_BYTES)
    if not unpacker.eof:
        raise damaged(path, "a packed array ends too early")
    return whole


def _built(path: Path, why: str) -> DataError:
    return DataError(f"{path}: cannot be read as MATLAB: {why}")


def _elements(path: Path, data: memoryview, order: str) -> list[Element]:
    """Cut bytes into elements: type and content."""
    out: list[Element] = []
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        begin = at + 8
        if kind >> 16:  # up to four bytes stand within the tag itself
            length, kind, begin = kind >> 16, kind & 0xFFFF, at + 4
            end = at + 8
        else:
            end = begin + length + (-length % 8 if kind != MATRIX else 0)
        if begin + length > len(data) or (begin == at + 4 and length > 4):
            raise damaged(path, f"an element of {length} bytes is longer than the one around it")
        out.append((kind, data[begin : begin + length]))
        at = end
    return out


def _check_array(path: Path, content: memoryview, order: str, depth: int) -> None:
    """Refuse an array whose parts are not those of its class."""
    if not depth:
        raise _built(path, f"it is nested deeper than {MAX_DEPTH}")
    if not content:  # an empty cell
        return
    parts = _elements(path, content, order)
    if not parts or parts[0][0] != UINT32 or len(parts[0][1]) != 8:
        raise _built(path, "an array does not state its class")
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    kind = flags & 0xFF
    known = kind in (CELL, STRUCTURE, OBJECT, CHARACTERS, SPARSE) or kind in NUMERIC
    if not known:  # functions and objects of classes: parts of any kind
        _check_parts(path, parts[1:], NUMBERS | TEXTS | {MATRIX}, order, depth)
        return
    if len(parts) < 3 or parts[1][0] not in (INT32, UINT32) or parts[2][0] not in TEXTS:
        raise _built(path, "an array does not state its size and name")
    sizes = parts[1][1]
    if not 8 <= len(sizes) <= 4 * MAX_AXES or len(sizes) % 4:
        raise _built(path, f"an array has {len(sizes) // 4} axes")
    count = math.prod(struct.unpack(f"{order}{len(sizes) // 4}I", sizes))
    rest, allowed = parts[3:], {MATRIX}
    if kind in (STRUCTURE, OBJECT):
        named = 2 if kind == STRUCTURE else 3
        count *= _fields(path, rest[:named], order)
        rest = rest[named:]
    elif kind != CELL:
        allowed = TEXTS if kind == CHARACTERS else NUMBERS
        count = (3 if kind == SPARSE else 1) + bool(flags & COMPLEX)
    if len(rest) != count:
        raise _built(path, f"an array of {count} parts holds {len(rest)}")
    _check_parts(path, rest, allowed, order, depth)


def _fields(path: Path, parts: list[Element], order: str) -> int:
    """Count the fields of a structure, by the length of all names and that of one."""
    if len(parts) > 1:
        (kind, length), (names, text) = parts[-2:]
        if kind in (INT32, UINT32) and len(length) == 4 and names == INT8:
            width = int(struct.unpack(f"{order}i", length)[0])
            if width > 0 and len(text) % width == 0:
                return len(text) // width
            if not len(text):
                return 0
    raise _built(path, "a structure does not name its fields")


def _check_parts(
    path: Path, parts: list[Element], allowed: set[int], order: str, depth: int
) -> None:
    for kind, content in parts:
        if kind not in allowed:
            raise _built(path, f"an array holds an element of type {kind}")
        if kind == MATRIX:
            _check_array(path, content, order, depth - 1)
