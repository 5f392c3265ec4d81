"""The boundary at which whatever a library raises about a file becomes one sentence about it.

Libraries raise what they like at files they do not expect: errors of their own, of compressors, of
names never bound, Rust's panics. Everything that reads files of others does it within `reading`.
"""

from __future__ import annotations

import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossl.errors import CrosslError, DataError

SHOWN = 160
"""Characters of another library's words that a sentence quotes."""
PANIC = "PanicException"
"""What Rust's panics are in Python: no `Exception`, and importable from nowhere."""
PROOFS = ("CRC check failed", "truncated file", "was truncated", "more than the file has")
"""What libraries say of files whose checksum or length does not fit."""
OPAQUE = (LookupError, NameError, AttributeError, TypeError, AssertionError)
"""Errors whose text says little without their name."""


@contextmanager
def reading(path: Path | str, what: str = "") -> Iterator[None]:
    """Turn anything that is raised while a file is read into a `DataError` of one sentence.

    Refusals of our own go through as they are, and so do interrupts.

    Args:
        path: the file, for the sentence.
        what: it is read as, such as `XDF`.

    Raises:
        DataError: names the file and the cause; says that it is damaged only where a checksum or a
            length proves it.
    """
    try:
        yield
    except CrosslError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        raise _sentence(path, what, error) from error


def _sentence(path: Path | str, what: str, error: BaseException) -> DataError:
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return DataError(f"{error.filename}: cannot be read: {os.strerror(error.errno)}")
    if proves_damage(error):
        return damaged(path, error)
    return DataError(f"{path}: cannot be read{f' as {what}' if what else ''}: {cause(error)}")


def cause(error: object) -> str:
    r"""Say in a few words of one line what another library found wrong.

    Args:
        error: what it raised, or said.

    Examples:
        >>> cause(ValueError("not a\nnumber")), cause(KeyError("x")), cause(StopIteration())
        ('not a number', "KeyError: 'x'", 'StopIteration')
    """
    if isinstance(error, MemoryError):
        return "what it declares does not fit into memory"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, zipfile.BadZipFile) and "not a zip" in str(error):
        return "it is not a zip file, or is cut off"
    told = "".join(sign if sign.isprintable() else " " for sign in str(error))
    told = " ".join(told.split())[:SHOWN]
    if not told or isinstance(error, OPAQUE):
        return f"{type(error).__name__}: {told}" if told else type(error).__name__
    return told


def proves_damage(error: BaseException) -> bool:
    """Tell whether an error means that a checksum or a length does not fit what is there."""
    text = str(error)
    if isinstance(error, zipfile.BadZipFile):
        return "CRC" in text
    if isinstance(error, lzma.LZMAError):
        return "not supported" not in text
    return isinstance(error, zlib.error | EOFError) or any(sign in text for sign in PROOFS)


def damaged(path: Path | str, error: object) -> DataError:
    """Say in one sentence that a file is damaged; for what a checksum or a length proves.

    Args:
        path: the file.
        error: what another library raised or said of it.
    """
    return DataError(f"{path}: is damaged or cut off ({cause(error)}); fetch it again")


def check_regular(path: Path) -> None:
    """Refuse what is not a regular file: a pipe or a device would be waited for, or never end.

    Args:
        path: to open; links are followed.

    Raises:
        DataError: it does not exist, or is something else.
    """
    with reading(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise DataError(f"{path}: is {kind}; only regular files are opened")
