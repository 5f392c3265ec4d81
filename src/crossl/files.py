"""Files: written whole or not at all, signed, hashed, and by one process at a time.

Whatever crossl writes goes through here. How a file or a folder becomes whole or stays absent is in
`crossl.whole`, whose names are here, too.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossl.errors import DataError, FormatError
from crossl.whole import (
    named,
    naming,
    not_a_file,
    partial_of,
    remove_partial,
    sync,
    whole_folder,
    write_whole,
    writing,
)

__all__ = [
    "FULL", "KEPT", "LOCK", "LONGEST_LINE", "adding_lines", "file_sha256", "json_sha256",
    "lock_beside", "locked", "naming", "not_a_file", "partial_of", "read_json", "read_signed_json",
    "remove_partial", "sync", "telling_what_is_kept", "whole_folder", "working_in",
    "write_signed_json", "write_whole", "writing",
]  # fmt: skip

LOG = logging.getLogger(__name__)

LONGEST_LINE = 2**20
"""Bytes of a line that is added to a file, at most."""
LOCK = ".lock"
"""Name of the lock within a folder that several commands may want to write into."""

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}
"""What the system answers where there is no room, and how it is reported."""

KEPT = "work so far is kept in "
"""How a note begins that says what an interrupted command left for its next call."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


# --- line by line


@contextmanager
def adding_lines(path: Path, first: bytes) -> Iterator[Callable[[bytes], None]]:
    """Let whole lines be added to a file, each there as soon as it was added; what is there stays.

    A line that a crash of the system cut off is taken away first. As long as nothing is added the
    file stays what it was; there is none if there was none.

    Args:
        path: the file.
        first: line that it begins with, with its line end; written before the first of a new file.

    Yields:
        What adds lines, with their line ends.

    Raises:
        DataError: it begins with another line, or another process adds to it.
        OSError: it cannot be written; lines are whole all the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = locked(lock_beside(path), path, "is adding to this file")
    with beside, naming(path), path.open("a+b", buffering=0) as file:
        file.seek(0)
        begins = file.read(len(first))
        if not first.startswith(begins):
            raise DataError(f"{path}: is there and has other columns; name a new file")
        whole, begun = _whole_lines(file), False

        def add(lines: bytes) -> None:
            nonlocal begun
            if not begun:
                file.truncate(whole)
                lines, begun = lines if whole else first + lines, True
            begin, rest = file.seek(0, os.SEEK_END), memoryview(lines)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(begin)
                raise

        try:
            yield add
        finally:
            if not file.seek(0, os.SEEK_END):
                path.unlink(missing_ok=True)


def _whole_lines(file: io.FileIO) -> int:
    """Return how many bytes of a file end with a line end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LONGEST_LINE))
    tail = file.read()
    return size - len(tail) + tail.rfind(b"\n") + 1


# --- by one process at a time


@contextmanager
def locked(lock: Path, place: Path, doing: str) -> Iterator[None]:
    """Keep other processes out; the lock of one that was killed does not count.

    Args:
        lock: the file that is locked; it is there as long as a command works.
        place: what is worked on, to be named to who is refused.
        doing: what is done, as in `is training in this folder`.

    Raises:
        DataError: another process holds it, or nothing can be written there.
    """
    descriptor = _take(lock, place, doing)
    try:
        told = {"pid": os.getpid(), "host": platform.node(), "doing": doing,
                "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")}  # fmt: skip
        with suppress(OSError):  # on a full disk nobody learns who holds it
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(told).encode())
        yield
    finally:
        with suppress(OSError):  # gone with its folder, perhaps
            lock.unlink()
        os.close(descriptor)


def lock_beside(path: Path) -> Path:
    """Name the lock of what does not exist yet, or is replaced as a whole."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def working_in(folder: Path, doing: str) -> Iterator[None]:
    """Make a folder if need be and keep other processes out of it.

    A folder that was made and in which nothing was left is removed again.

    Raises:
        DataError: another process works in it, or it cannot be written to.
    """
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / LOCK, folder, doing):
            remove_partial(folder)
            yield
    finally:
        if fresh:
            with suppress(OSError):  # something is in it
                folder.rmdir()


def _take(lock: Path, place: Path, doing: str) -> int:
    """Return the descriptor of a locked file that still has its name."""
    while True:
        descriptor = _open(lock, place)
        try:
            if not _flock(descriptor, lock):
                raise DataError(f"{place}: another process {_holder(descriptor, doing)}")
            if _is_at(descriptor, lock):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it has removed it meanwhile


def _open(lock: Path, place: Path) -> int:
    try:
        try:
            return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # another user's file, in a folder that is shared
            return os.open(lock, os.O_RDONLY)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise named(error, place) from error
        raise DataError(
            f"{place}: cannot be written to, {os.strerror(error.errno).lower()}; change its "
            "permissions or name another place"
        ) from error


def _flock(descriptor: int, lock: Path) -> bool:
    """Lock an open file until it is closed; tell whether no other process had."""
    try:
        import fcntl
    except ImportError:  # Windows: a second process is not noticed
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        LOG.info("%s: this file system has no locks; a second process is not noticed", lock)
    return True


def _is_at(descriptor: int, lock: Path) -> bool:
    try:
        there = lock.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _holder(descriptor: int, doing: str) -> str:
    """Tell what the holder wrote of itself, if it could."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        told = json.loads(os.read(descriptor, 4096))
        who = f"process {told['pid']} on {told['host']}, since {told['since']}"
        return f"{told['doing']}; wait for its end ({who})"
    except (OSError, ValueError, TypeError, KeyError):
        return f"{doing}; wait for its end"


@contextmanager
def telling_what_is_kept(place: Path, kept: Callable[[], bool]) -> Iterator[None]:
    """Add to what ends the block where the work so far is kept, if some is.

    Args:
        place: where.
        kept: tells whether there is something that the same command would resume from.
    """
    try:
        yield
    except BaseException as error:
        if kept():
            error.add_note(f"{KEPT}{place}")
        raise


# --- signed


def file_sha256(path: Path) -> str:
    """Hash a file without reading it whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Mapping[str, Any]) -> str:
    """Hash JSON values in their one canonical spelling, leaving out a key `sha256`."""
    rest = {key: value for key, value in values.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_signed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON values with their hash; whole or not at all."""
    text = json.dumps({**values, "sha256": json_sha256(values)}, indent=1)
    write_whole(path, f"{text}\n".encode())


def read_signed_json(
    path: Path, *, what: str, fmt: str, version: int | tuple[int, ...], cure: str
) -> dict[str, Any]:
    """Read a JSON file that carries its format, version and hash.

    Args:
        path: the file.
        what: it describes, such as `store`.
        fmt: the format it must name.
        version: the version it must have, or several of which it must have one.
        cure: what to do where it is not as it should be, as the end of a sentence.

    Raises:
        FormatError: missing, damaged, altered, or of another format or version.
    """
    if not path.is_file():
        raise FormatError(f"{path.parent}: is not a {what}, it has no {path.name}; {cure}")
    values = read_json(path, cure=cure)
    if not isinstance(values, dict) or values.get("format") != fmt:
        raise FormatError(f"{path}: does not describe a {what}, expected format '{fmt}'; {cure}")
    versions = version if isinstance(version, tuple) else (version,)
    if values.get("version") not in versions:
        raise FormatError(
            f"{path}: is a {what} of version {values.get('version')!r:.60}; this crossl reads "
            f"version{'s' * (len(versions) > 1)} {' and '.join(map(str, versions))}, {cure}"
        )
    if values.get("sha256") != json_sha256(values):
        raise FormatError(f"{path}: was altered, its hash does not match; {cure}")
    return values


def read_json(path: Path, *, cure: str) -> Any:
    """Read a JSON file of ours.

    Raises:
        FormatError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        why = str(error) or type(error).__name__
        raise FormatError(f"{path}: is damaged, not JSON ({why}); {cure}") from error
