"""Find a data set's folder below a path; unpack archives, refusing the hostile ones.

Refused are members that lead outside, links that point outside, devices, and bombs: an archive may
not hold more than the disk has room for, nor swell more than any recordings do.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

from crossl.data.bounds import check_unpacked
from crossl.errors import DataError

SUFFIXES = (".tar.xz", ".tar.gz", ".zip")
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
    NotImplementedError, ValueError,
)  # fmt: skip
MAX_MEMBERS = 200_000
LITTER = "__MACOSX"
SCRATCH = ".unpacking-"
RECORD = ".fetched.json"
"""What lies in a folder that `crossl data fetch` filled."""


class NoRoomError(DataError):
    """The archive may be fine, but the disk is too full for it."""


def find_archive(root: Path, stem: str) -> Path | None:
    """Return `root` if it is an archive of that name, or the one directly inside it."""
    candidates = [root] if root.is_file() else sorted(root.iterdir())
    for path in candidates:
        if path.name.lower().startswith(stem.lower()) and path.name.endswith(SUFFIXES):
            return path
    return None


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that can be unpacked."""
    return path.name.endswith(SUFFIXES)


def bare_name(path: Path) -> str:
    """Return the name of an archive without its suffixes."""
    return next((path.name.removesuffix(s) for s in SUFFIXES if path.name.endswith(s)), path.name)


def find_folder(root: Path, marker: str) -> Path | None:
    """Return the folder that holds `marker`, which may be a pattern: `root` or one below it.

    In a folder that was fetched, archives lie unpacked in folders of their own, so one level more
    is searched.
    """
    if not root.is_dir():
        return None
    levels = [[root], _folders(root)]
    if (root / RECORD).is_file():
        levels.append([below for folder in levels[1] for below in _folders(folder)])
    return next((p for level in levels for p in level if next(p.glob(marker), None)), None)


def _folders(root: Path) -> list[Path]:
    named = (p for p in root.iterdir() if p.name != LITTER and not p.name.startswith("."))
    return sorted(p for p in named if p.is_dir())


def holds(root: Path, marker: str, stem: str) -> bool:
    """Tell whether `open_root` would find a folder or an archive."""
    return find_folder(root, marker) is not None or find_archive(root, stem) is not None


@contextmanager
def open_root(root: Path | None, *, marker: str, stem: str) -> Iterator[Path]:
    """Yield the folder that holds `marker`, be it unpacked or in an archive.

    Args:
        root: the folder that the user named, or the archive.
        marker: a path, or a pattern of paths, that the data set's folder always has.
        stem: how the name of the official archive begins.

    Raises:
        DataError: neither is there, or the archive is damaged or unsafe.
    """
    if root is None:
        raise DataError(f"root: this data set has no default place; name the folder with {marker}")
    if not root.exists():
        raise DataError(f"{root}: does not exist; name the folder that holds '{marker}'")
    folder = find_folder(root, marker)
    if folder is not None:
        yield folder
        return
    archive = find_archive(root, stem)
    if archive is None:
        raise DataError(f"{root}: holds neither '{marker}' nor an archive '{stem}*'")
    with tempfile.TemporaryDirectory(prefix="crossl-") as scratch:
        unpack(archive, Path(scratch))
        folder = find_folder(Path(scratch), marker)
        if folder is None:
            raise DataError(f"{archive}: holds no '{marker}'; is it the official archive?")
        yield folder


def unpack_beside(archive: Path, *, again: bool = False) -> Path:
    """Unpack an archive into a folder of its name beside it; whole or not at all.

    Args:
        archive: to unpack; it stays.
        again: replace a folder that is there.

    Returns:
        The folder. A single folder of the same name inside the archive becomes it.

    Raises:
        DataError: the archive is damaged or unsafe.
    """
    target = archive.parent / bare_name(archive)
    if target.is_dir() and not again:
        return target
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=archive.parent) as scratch:
        inside = Path(scratch) / "inside"
        inside.mkdir()
        unpack(archive, inside)
        folders = _folders(inside)
        whole = [p.name for p in inside.iterdir() if p.name != LITTER] == [target.name]
        if target.is_dir():
            target.rename(Path(scratch) / "before")
        (folders[0] if whole and folders else inside).rename(target)
    return target


def remove_stale(folder: Path) -> None:
    """Remove what a killed `unpack_beside` left in a folder; none may be at work there."""
    for path in folder.glob(f"{SCRATCH}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def unpack(archive: Path, out: Path) -> None:
    """Unpack an archive, and those that lie directly in it (UCI wraps original archives).

    Raises:
        DataError: damaged, leading outside, or larger than sense or the disk allow.
    """
    _unpack(archive, out)
    for inner in sorted(p for p in out.iterdir() if p.is_file() and is_archive(p)):
        _unpack(inner, out)
        inner.unlink()


def _unpack(archive: Path, out: Path) -> None:
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, out)
        else:
            _unpack_tar(archive, out)
    except DataError:
        raise
    except tarfile.FilterError as error:
        raise _unsafe(
            archive, error.tarinfo.name, "leads or points outside, or is a device"
        ) from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise DataError(f"{archive}: cannot be unpacked ({why}); fetch it again") from error


def _unpack_zip(archive: Path, out: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        guard = _Guard(archive, out)
        for member in opened.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise _unsafe(archive, member.filename, "is a link or a device")
            if member.flag_bits & 1:
                raise _unsafe(archive, member.filename, "is encrypted")
            guard.admit(member.orig_filename, member.file_size)
        opened.extractall(out)  # noqa: S202 - every member was admitted
        for member in opened.infolist():
            # as tar does: work that was begun on an earlier unpacking knows the files again
            stamp = _timestamp(member)
            if stamp is not None and not member.is_dir():
                os.utime(out / member.filename, (stamp, stamp))


def _timestamp(member: zipfile.ZipInfo) -> float | None:
    try:
        return datetime(*member.date_time, tzinfo=UTC).timestamp()
    except ValueError:  # month 0 and the like
        return None


def _unpack_tar(archive: Path, out: Path) -> None:
    with tarfile.open(archive) as opened:
        guard = _Guard(archive, out)
        for member in opened:
            guard.admit(member.name, member.size)
            opened.extract(member, out, filter="data")
        # the checksum stands at the end, behind the last member
        while opened.fileobj and opened.fileobj.read(1 << 20):
            pass


class _Guard:
    """Count what an archive unpacks to, and stop at what no recordings do."""

    def __init__(self, archive: Path, out: Path) -> None:
        self._archive, self._members, self._total = archive, 0, 0
        self._free = shutil.disk_usage(out).free

    def admit(self, name: str, size: int) -> None:
        """Take one more member into account.

        Raises:
            DataError: it leads outside, or is one too many.
        """
        parts = PureWindowsPath(name)  # knows drives and both slashes
        if parts.anchor or ".." in parts.parts or "\0" in name:
            raise _unsafe(self._archive, name, "leads outside")
        self._members += 1
        self._total += size
        if self._members > MAX_MEMBERS:
            raise DataError(f"{self._archive}: holds more than {MAX_MEMBERS} members; not unpacked")
        check_unpacked(self._archive, self._total)
        if self._total > self._free:
            raise NoRoomError(
                f"{self._archive}: needs more than {self._total / 1e6:.1f} MB unpacked, but the "
                f"disk has {self._free / 1e6:.1f} MB free; make room"
            )


def _unsafe(archive: Path, name: str, why: str) -> DataError:
    return DataError(f"{archive}: cannot be unpacked, member {name!r} {why}; it is not official")
