"""Fetched: what a folder that `crossl data fetch` fills remembers of its files."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossl.data.readers.archive import RECORD, bare_name, is_archive
from crossl.data.readers.card import RemoteFile
from crossl.files import write_whole

LOG = logging.getLogger(__name__)


def is_complete(file: RemoteFile, path: Path, sha256: str) -> bool:
    """Tell whether a file is what was published or, where no checksum was, what was fetched.

    Args:
        file: what the card says of it.
        path: of the file.
        sha256: of the file.
    """
    if file.size not in {None, path.stat().st_size}:
        return False
    known = file.sha256 or recorded(path).get("sha256")
    if known is None and file.size is None:  # nothing was published to check it with
        LOG.warning("%s: was there already and is used unchecked; no checksum was published", path)
    return known in {None, sha256}


def recorded(path: Path) -> dict[str, Any]:
    """Return what was recorded of a file; empty if it was never fetched."""
    return dict(read_json(path.parent / RECORD).get(path.name, {}))


def record(path: Path, sha256: str, headers: Mapping[str, str]) -> None:
    """Record a file that has arrived; nothing is unpacked of it yet."""
    told = {key: headers[key] for key in ("ETag", "Last-Modified") if key in headers}
    _write(path, {"size": path.stat().st_size, "sha256": sha256, **told})


def record_found(path: Path, sha256: str) -> None:
    """Record a complete file that was there already.

    An archive that was never fetched may have been unpacked by the user, whose folder stays.
    """
    mine = not recorded(path)
    record(path, sha256, {})
    folder = path.parent / bare_name(path)
    if mine and is_archive(path) and folder.is_dir():
        LOG.warning("%s: was there already and is used unchecked", folder)
        record_unpacked(path)


def record_unpacked(path: Path) -> None:
    """Record that the archive, as it was recorded, is unpacked."""
    entry = recorded(path)
    _write(path, entry | {"unpacked": entry["sha256"]})


def is_unpacked(path: Path) -> bool:
    """Tell whether the folder beside an archive came from the archive as it was recorded."""
    entry = recorded(path)
    return bool(entry.get("unpacked") == entry["sha256"])


def read_json(path: Path) -> dict[str, Any]:
    """Read an object; empty if the file is not there or holds none."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _write(path: Path, entry: Mapping[str, object]) -> None:
    target = path.parent / RECORD
    write_whole(target, json.dumps(read_json(target) | {path.name: entry}, indent=1).encode())
