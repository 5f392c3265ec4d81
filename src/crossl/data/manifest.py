"""Manifest: the file that says what a store holds, with the hash of every file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossl.errors import FormatError
from crossl.files import file_sha256, read_signed_json, write_signed_json
from crossl.stored import StoredManifest, check_stored

FORMAT = "crossl-store"
VERSION = 2
VERSION_WITH_TARGETS = 3
"""A store that holds no other target than `label` is written as before, and has the same hash."""
SEGMENT = "segments/{:05d}"
VERIFY_AT_OPEN_BYTES = 256 * 1024 * 1024
"""A store up to this size is hashed whole when it is opened; a larger one on request."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check a store's `manifest.json`.

    Raises:
        FormatError: not there, not readable, of another version, or altered.
    """
    file = path / "manifest.json"
    cure = "make one by `prepare`" if not file.is_file() else "prepare it again"
    values = read_signed_json(file, what="store", fmt=FORMAT, cure=cure,
                              version=(VERSION, VERSION_WITH_TARGETS))  # fmt: skip
    return dict(check_stored(values, StoredManifest, file, cure=cure))


def check_files(path: Path, files: Mapping[str, Any], *, verify: bool | None) -> bool:
    """Check that every file of a manifest is there, with its size and, if asked, its hash.

    Args:
        path: the folder.
        files: `bytes` and `sha256` by file name.
        verify: hash every file; None does so up to 256 MiB in all.

    Returns:
        Whether every file was hashed.

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
    return verify


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
        "version": VERSION_WITH_TARGETS if settings.get("targets") else VERSION,
        **settings,
        "segments": {name: {"recordings": len(part)} for name, part in segments.items()},
        "recordings": recordings,
        "interpolated": interpolated,
        "files": dict(files),
    }
    write_signed_json(folder / "manifest.json", manifest)
