"""Manifest: the file that says what a store holds, with the hash of every file.

Also how a folder comes to be whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossl.errors import FormatError

FORMAT = "crossl-store"
VERSION = 2
SEGMENT = "segments/{:05d}"
VERIFY_AT_OPEN_BYTES = 256 * 1024 * 1024
"""A store up to this size is hashed whole when it is opened; a larger one on request."""


def file_sha256(path: Path) -> str:
    """Hash a file without reading it whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Mapping[str, Any]) -> str:
    """Hash JSON values in their one canonical spelling, leaving out a key `sha256`."""
    rest = {key: value for key, value in values.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_signed_json(path: Path, *, what: str, fmt: str, version: int, cure: str) -> dict[str, Any]:
    """Read a JSON file that carries its format, version and hash.

    Args:
        path: the file.
        what: it describes, such as `store`.
        fmt: the format it must name.
        version: the version it must have.
        cure: what to do where it is not as it should be, as the end of a sentence.

    Raises:
        FormatError: missing, damaged, altered, or of another format or version.
    """
    if not path.is_file():
        raise FormatError(f"{path.parent}: is no {what}, it has no {path.name}; {cure}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path}: is damaged, not JSON ({error}); {cure}") from error
    if not isinstance(values, dict) or values.get("format") != fmt:
        raise FormatError(f"{path}: does not describe a {what}, expected format '{fmt}'; {cure}")
    if values.get("version") != version:
        raise FormatError(
            f"{path}: is a {what} of version {values.get('version')}; this crossl reads version "
            f"{version}, {cure}"
        )
    if values.get("sha256") != json_sha256(values):
        raise FormatError(f"{path}: was altered, its hash does not match; {cure}")
    return values


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check a store's `manifest.json`.

    Raises:
        FormatError: not there, not readable, of another version, or altered.
    """
    file = path / "manifest.json"
    cure = "make one by `prepare`" if not file.is_file() else "prepare it again"
    return read_signed_json(file, what="store", fmt=FORMAT, version=VERSION, cure=cure)


def check_files(path: Path, files: Mapping[str, Any], *, verify: bool | None) -> None:
    """Check that every file of a manifest is there, with its size and, if asked, its hash.

    Args:
        path: the folder.
        files: `bytes` and `sha256` by file name.
        verify: hash every file; None does so up to 256 MiB in all.

    Raises:
        FormatError: a file is missing or altered.
    """
    if verify is None:
        verify = sum(entry["bytes"] for entry in files.values()) <= VERIFY_AT_OPEN_BYTES
    for name, entry in files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            got = "is missing" if size is None else f"has {size} bytes"
            raise FormatError(
                f"{file}: {got}; the manifest says {entry['bytes']} bytes, prepare the store again"
            )
        if verify and file_sha256(file) != entry["sha256"]:
            raise FormatError(f"{file}: was altered, its hash does not match; prepare it again")


def describe_files(folder: Path, segment: str) -> dict[str, Any]:
    """Return size and hash of every file of a segment, by name below the folder."""
    paths = sorted(p for p in (folder / segment).rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": file_sha256(p)}
        for p in paths
    }


def write_manifest(
    folder: Path,
    settings: Mapping[str, Any],
    segments: Mapping[str, Sequence[Mapping[str, Any]]],
    files: Mapping[str, Any],
) -> None:
    """Write `manifest.json` beside its segments, replacing an older one in one step.

    Args:
        folder: the store.
        settings: what holds for every segment.
        segments: the recordings of each, by folder name.
        files: their files, as `describe_files` returns them.
    """
    recordings = [recording for part in segments.values() for recording in part]
    interpolated: dict[str, int] = {}
    for recording in recordings:
        for modality, count in recording["interpolated"].items():
            interpolated[modality] = interpolated.get(modality, 0) + count
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        **settings,
        "segments": {name: {"recordings": len(part)} for name, part in segments.items()},
        "recordings": recordings,
        "interpolated": interpolated,
        "files": dict(files),
    }
    manifest["sha256"] = json_sha256(manifest)
    fresh = folder / "manifest.json.new"
    fresh.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / "manifest.json")


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
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
    except BaseException:  # Ctrl-C too: a store is whole or absent
        shutil.rmtree(partial, ignore_errors=True)
        raise
