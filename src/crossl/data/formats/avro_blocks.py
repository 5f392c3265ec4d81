"""The container of Avro files: header and packed blocks, unpacked within bounds.

Values are decoded by fastavro. What a file's own schema may make of few bytes is bounded here:
types within themselves, and arrays of what takes no bytes, are refused.
"""

from __future__ import annotations

import bz2
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossl.data.bounds import check_unpacked, most_unpacked
from crossl.data.formats import damaged, needs
from crossl.errors import DataError

MAGIC = b"Obj\x01"
SYNC = 16
"""Bytes of the mark behind header and blocks."""
MAX_SCHEMA = 1 << 20
MAX_VALUES = 10_000
"""Values of one record beside those in its arrays."""
MAX_PER_BYTE = 8
"""Values that an item of an array may have for each of its bytes."""
BYTES = {"null": 0, "float": 4, "double": 8, "boolean": 1, "int": 1, "long": 1, "bytes": 1,
         "string": 1}  # fmt: skip
"""The least that a value takes."""


@dataclass
class _Cursor:
    """Bytes that are read one after the other."""

    path: Path
    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if not 0 <= count <= len(self.data) - self.at:
            raise damaged(
                self.path, f"{count} bytes are announced at byte {self.at} of {len(self.data)}"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def long(self) -> int:
        """Return the next number: seven bits a byte, the sign in the lowest."""
        number = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            number |= (byte & 127) << shift
            if byte < 128:
                return (number >> 1) ^ -(number & 1)
        raise damaged(self.path, f"byte {self.at} ends no number")


def read_records(path: Path, most: int) -> tuple[Any, list[Any]]:
    """Read a file's schema and its first records.

    Args:
        path: the file.
        most: records to decode.

    Returns:
        The schema, and the records, at most one more than wanted.

    Raises:
        DataError: no Avro file, damaged, or one that swells beyond sense.
    """
    cursor = _Cursor(path, path.read_bytes())
    if cursor.data[:4] != MAGIC:
        raise DataError(f"{path}: begins with {cursor.data[:4]!a}; an Avro file with {MAGIC!a}")
    cursor.at = 4
    meta = _meta(cursor)
    sync = cursor.take(SYNC)
    schema = _schema(path, meta.get("avro.schema", b""))
    records: list[Any] = []
    unpacked = 0
    while cursor.at < len(cursor.data) and len(records) <= most:
        count = cursor.long()
        block = _unpack(path, meta.get("avro.codec", b"null"), cursor.take(cursor.long()))
        unpacked += len(block)
        check_unpacked(path, unpacked)
        if cursor.take(SYNC) != sync:
            raise damaged(path, f"no mark at byte {cursor.at - SYNC}")
        records += _decode(schema, block, min(count, most + 1 - len(records)))
    return schema, records


def _meta(cursor: _Cursor) -> dict[str, bytes]:
    meta: dict[str, bytes] = {}
    while (count := cursor.long()) != 0:
        if count < 0:
            cursor.long()
        for _ in range(abs(count)):
            name = cursor.take(cursor.long()).decode("utf-8", "replace")
            meta[name] = cursor.take(cursor.long())
    return meta


def _unpack(path: Path, codec: bytes, data: bytes) -> bytes:
    most = most_unpacked(path) + 1
    if codec == b"null":
        return data
    if codec not in (b"deflate", b"bzip2"):
        raise DataError(
            f"{path}: is compressed by {codec[:20].decode('latin1')!a}; null, deflate and bzip2 "
            "are read"
        )
    unpacker: Any = bz2.BZ2Decompressor() if codec == b"bzip2" else zlib.decompressobj(-15)
    block = unpacker.decompress(data, most)
    check_unpacked(path, len(block))
    if not unpacker.eof:
        raise damaged(path, "a packed block has no end")
    return bytes(block)


def _decode(schema: Any, block: bytes, count: int) -> list[Any]:
    fastavro = needs("fastavro")
    file = io.BytesIO(block)
    return [fastavro.schemaless_reader(file, schema, None) for _ in range(count)]


def _schema(path: Path, text: bytes) -> Any:
    """Parse a schema, and refuse one by which few bytes become very much."""
    if not 0 < len(text) <= MAX_SCHEMA:
        raise DataError(f"{path}: has a schema of {len(text)} bytes; 1 to {MAX_SCHEMA} are read")
    named: dict[str, Any] = {}
    schema = needs("fastavro").parse_schema(json.loads(text), named)
    _Weights(path, named).of(schema)
    return schema


@dataclass
class _Weights:
    """Values and least bytes of types."""

    path: Path
    named: Mapping[str, Any]
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    above: list[str] = field(default_factory=list)

    def of(self, kind: Any) -> tuple[int, int]:
        """Return how many values a type has, and how many bytes it takes at least.

        Raises:
            DataError: it lies within itself, or has more values than any recording's.
        """
        if isinstance(kind, list):
            return 1 + max((self.of(one)[0] for one in kind), default=0), 1
        if isinstance(kind, str):
            return (1, BYTES[kind]) if kind in BYTES else self.of(self.named[kind])
        told = kind["type"]
        if told in ("record", "error"):
            return self._record(kind)
        if told in ("array", "map"):
            values, least = self.of(kind["items" if told == "array" else "values"])
            if values > MAX_PER_BYTE * least:
                raise self._refusal(f"items of {values} values in {least} bytes")
            return 1, 1
        if told in ("fixed", "enum"):
            return 1, max(0, int(kind.get("size", 1)))
        return self.of(told)

    def _record(self, kind: Any) -> tuple[int, int]:
        name = kind["name"]
        if name in self.above:
            raise self._refusal(f"type {name} within itself")
        if name not in self.known:
            self.above.append(name)
            parts = [self.of(one["type"]) for one in kind["fields"]]
            self.above.pop()
            self.known[name] = 1 + sum(v for v, _ in parts), sum(b for _, b in parts)
        if self.known[name][0] > MAX_VALUES:
            raise self._refusal(f"records of {self.known[name][0]} values")
        return self.known[name]

    def _refusal(self, what: str) -> DataError:
        return DataError(f"{self.path}: its schema has {what[:100]}, which no recordings have")
