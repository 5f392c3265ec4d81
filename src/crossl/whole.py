"""Whole: files and folders that are there as they should be, or not at all.

A file is written beside its place under a hidden name, handed to the disk, and then renamed: who
reads it finds the old one or the new one, whenever the writer was killed. `crossl.files` has the
rest, and these names, too.
"""

from __future__ import annotations

import errno
import io
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class _Raw(io.FileIO):
    """Remembers why a write failed: torch and others put an error of their own in its place."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, and remember."""
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise


@contextmanager
def writing(path: Path) -> Iterator[io.BufferedWriter]:
    """Open a file for writing that is whole or absent; one that is there is replaced at the end.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be written; names the file, whoever noticed.
    """
    partial = partial_of(path)
    raw: _Raw | None = None
    try:
        raw = _Raw(partial, "wb")
        with cast("io.BufferedWriter", io.BufferedWriter(raw)) as file:
            yield file
            sync(file)
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, Exception) and raw is not None and raw.failed is not None:
            raise named(raw.failed, path) from error
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            raise named(error, path) from error
        raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is either whole or absent."""
    with writing(path) as file:
        file.write(content)


def partial_of(path: Path) -> Path:
    """Name the file that becomes `path`: another one in every process that may write it."""
    return path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.partial")


def remove_partial(folder: Path) -> None:
    """Remove files of killed processes that never became whole; none may be writing there."""
    for leftover in folder.glob(".*.partial"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def sync(file: io.BufferedWriter | io.BufferedRandom | io.TextIOWrapper) -> None:
    """Hand what was written to the disk."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def not_a_file(path: Path) -> str:
    """Say of a path that is not a regular file what it is instead.

    Examples:
        >>> not_a_file(Path("/")), not_a_file(Path("/nowhere"))
        ('is a folder', 'does not exist')
    """
    if path.is_dir():
        return "is a folder"
    return "is a pipe, a socket or a device" if path.exists() else "does not exist"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name the file that is written, which Python does not know."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise named(error, path) from error
        raise


def named(error: OSError, path: Path) -> OSError:
    """Return an error of the system that names a file."""
    if error.errno is None:
        return error
    return OSError(error.errno, os.strerror(error.errno), str(path))


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Fill a temporary sibling folder, which becomes `out` only if nothing failed.

    Leftovers of an earlier attempt that was killed are removed first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    except BaseException:  # Ctrl-C too: a folder is whole or absent
        shutil.rmtree(partial, ignore_errors=True)
        raise
