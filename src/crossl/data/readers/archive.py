"""Find a data set's folder below a path, unpacking an official archive for a while if needed."""

from __future__ import annotations

import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossl.errors import DataError

SUFFIXES = (".tar.xz", ".tar.gz", ".zip")
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
)  # fmt: skip


def find_archive(root: Path, stem: str) -> Path | None:
    """Return `root` if it is an archive of that name, or the one directly inside it."""
    candidates = [root] if root.is_file() else sorted(root.iterdir())
    for path in candidates:
        if path.name.lower().startswith(stem.lower()) and path.name.endswith(SUFFIXES):
            return path
    return None


def find_folder(root: Path, marker: str) -> Path | None:
    """Return the folder that holds `marker`, which may be a pattern: `root` or one below it."""
    if not root.is_dir():
        return None
    below = sorted(p for p in root.iterdir() if p.is_dir())
    return next((p for p in [root, *below] if next(p.glob(marker), None)), None)


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
        _unpack(archive, Path(scratch))
        folder = find_folder(Path(scratch), marker)
        inner = find_archive(Path(scratch), stem)
        if folder is None and inner is not None:
            # UCI wraps some original archives in one of its own
            _unpack(inner, Path(scratch))
            folder = find_folder(Path(scratch), marker)
        if folder is None:
            raise DataError(f"{archive}: holds no '{marker}'; is it the official archive?")
        yield folder


def _unpack(archive: Path, out: Path) -> None:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(out)  # noqa: S202 - zipfile drops absolute and parent paths
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(out, filter="data")
                # the checksum stands at the end, behind the last member
                while opened.fileobj and opened.fileobj.read(1 << 20):
                    pass
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise DataError(f"{archive}: cannot be unpacked ({why}); fetch it again") from error
