"""Journal: how far a segment had been written when the work was killed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from crossl.data.readers.dataset import Part
from crossl.data.segment import SegmentWriter
from crossl.errors import DataError

LOG = logging.getLogger(__name__)

COMMIT_EVERY_S = 1.0
"""Seconds of work that a kill may cost."""


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Keep a second process out of the working folder; a killed one leaves no lock behind.

    Raises:
        DataError: another process holds it.
    """
    work.mkdir(exist_ok=True)
    with (work / "lock").open("wb") as file:
        if not lock(file):
            raise DataError(f"{work}: another process is preparing this store; wait for its end")
        yield


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; tell whether no other process had."""
    try:
        import fcntl
    except ImportError:  # Windows: a second process is not noticed
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Journal:
    """One line per part: its name, its files, and how long the segment was behind it.

    Args:
        path: the file.
        settings: hash of what the store is to be; a journal of other settings is not gone on with.
        writer: the segment.
    """

    def __init__(self, path: Path, settings: str, writer: SegmentWriter) -> None:
        self._path, self._settings, self._writer = path, settings, writer
        self._last_commit = monotonic()
        self._pending: list[str] = []
        self._recordings = 0

    def resume(self, parts: Sequence[Part]) -> int:
        """Cut the segment back to the last whole part of this very work; return how many."""
        lines = self._read_lines()
        done: list[dict[str, Any]] = []
        for line, part in zip(lines, parts, strict=False):
            if line["part"] != part.name or line["files"] != fingerprint(part):
                LOG.info("prepare: %s has changed since; going on from there", part.name)
                break
            done.append(line)
        if done and not self._writer.holds(done[-1]["lengths"]):
            LOG.info("prepare: what the journal tells of is not there; anew")
            done = []
        recordings = [recording for line in done for recording in line["recordings"]]
        self._writer.cut(done[-1]["lengths"] if done else {}, recordings)
        self._recordings = len(recordings)
        head = json.dumps({"settings": self._settings})
        text = "".join(f"{json.dumps(line)}\n" for line in done)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{head}\n{text}", encoding="utf-8")
        fresh.replace(self._path)
        return len(done)

    def _read_lines(self) -> list[dict[str, Any]]:
        return [line for line in _read_whole_lines(self._path) if "part" in line]

    def note(self, part: Part) -> None:
        """Note that a part is in the segment; written about once a second."""
        line = {
            "part": part.name,
            "files": fingerprint(part),
            "lengths": self._writer.lengths,
            "recordings": self._writer.recordings[self._recordings :],
        }
        self._recordings = len(self._writer.recordings)
        self._pending.append(json.dumps(line) + "\n")
        if monotonic() - self._last_commit >= COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Hand the segment, and then the lines that tell of it, to the disk."""
        self._writer.sync()
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(self._pending)
            file.flush()
            os.fsync(file.fileno())
        self._pending.clear()
        self._last_commit = monotonic()


def _read_whole_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:  # the kill came in the middle of this line
                break
    return lines


def is_of(path: Path, settings: str) -> bool:
    """Tell whether a journal is there, of work with these very settings."""
    lines = _read_whole_lines(path)
    return bool(lines) and lines[0].get("settings") == settings


def fingerprint(part: Part) -> list[list[Any]]:
    """Tell a part's files from changed ones: name, size, time of change."""
    stats = [(path.name, path.stat()) for path in part.files]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
