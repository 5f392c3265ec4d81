"""How much a file may unpack to: what no recordings reach, in one place for all formats."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

from crossl.errors import DataError

MAX_RATIO = 100.0
"""Unpacked bytes per byte of the file; text of numbers seldom reaches 10."""
HARMLESS_BYTES = 16 << 20
"""Below this the ratio does not matter."""
HARMLESS_ARRAY_BYTES = 256 << 20
"""The same for arrays of numbers: a label that seldom changes packs a thousandfold."""


def most_unpacked(path: Path, harmless: int = HARMLESS_BYTES) -> int:
    """Return to how many bytes a file may unpack.

    Args:
        path: the file.
        harmless: bytes that any file may have.
    """
    return max(harmless, int(MAX_RATIO * path.stat().st_size))


def check_unpacked(path: Path, count: int, harmless: int = HARMLESS_BYTES) -> None:
    """Refuse a file that unpacks to more than recordings do.

    Args:
        path: the file.
        count: bytes that it unpacks, or declares to unpack, to.
        harmless: bytes that any file may have.

    Raises:
        DataError: names the bound.
    """
    most = most_unpacked(path, harmless)
    if count > most:
        raise DataError(
            f"{path}: unpacks to more than {most / 1e6:.0f} MB, which no recordings do (at most "
            f"{MAX_RATIO:g} times the file's size, or {harmless >> 20} MiB); not unpacked"
        )


def gunzip(path: Path, harmless: int = HARMLESS_BYTES) -> bytes:
    """Unpack a gzip file, and stop where it grows beyond sense.

    Args:
        path: the file.
        harmless: bytes that any file may have.

    Raises:
        DataError: it unpacks to more than recordings do.
    """
    with gzip.open(path) as file:
        data = file.read(most_unpacked(path, harmless) + 1)
        check_unpacked(path, len(data), harmless)
    return data


def read_member(
    path: Path, archive: zipfile.ZipFile, name: str, harmless: int = HARMLESS_BYTES
) -> bytes:
    """Read one file of a zip; of all its files together no more than recordings have.

    Args:
        path: of the zip.
        archive: the same, opened.
        name: of the file in it.
        harmless: bytes that any zip may have.

    Raises:
        DataError: its files unpack to more than recordings do, or this one has a password.
    """
    check_unpacked(path, sum(member.file_size for member in archive.infolist()), harmless)
    if archive.getinfo(name).flag_bits & 1:
        raise DataError(f"{path}: {name} has a password; pack it without one")
    return archive.read(name)
