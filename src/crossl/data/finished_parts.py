"""Finished parts: how far a segment had been written when the work was killed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from crossl.data.left_out import LeftOut
from crossl.data.readers.dataset import Part
from crossl.data.segment import SegmentWriter
from crossl.files import naming, sync, write_whole

LOG = logging.getLogger(__name__)

COMMIT_EVERY_S = 1.0
"""Seconds of work that a kill may cost."""


class FinishedParts:
    """One line per part: its name, its files, and how long the segment was behind it.

    Args:
        path: the file.
        settings: hash of what the store is to be; a file of other settings is not resumed.
        writer: the segment.
    """

    def __init__(self, path: Path, settings: str, writer: SegmentWriter) -> None:
        self._path, self._settings, self._writer = path, settings, writer
        self._last_commit = monotonic()
        self._pending: list[str] = []
        self._recordings = 0
        self.left_out: list[LeftOut] = []

    def resume(self, parts: Sequence[Part], *, strict: bool = True) -> int:
        """Cut the segment back to the last whole part of this very work; return how many.

        Args:
            parts: of the work.
            strict: a part that was left out is not done.
        """
        lines = self._read_lines()
        done: list[dict[str, Any]] = []
        for line, part in zip(lines, parts, strict=False):
            if line["part"] != part.name or line["files"] != fingerprint(part):
                LOG.info("prepare: %s has changed since; going on from there", part.name)
                break
            if strict and "left_out" in line:
                break
            done.append(line)
        if done and not self._writer.holds(done[-1]["lengths"]):
            LOG.info("prepare: files that the journal lists are missing; starting again")
            done = []
        recordings = [recording for line in done for recording in line["recordings"]]
        self._writer.cut(done[-1]["lengths"] if done else {}, recordings)
        self._recordings = len(recordings)
        self.left_out = [LeftOut(d["part"], d["left_out"]) for d in done if "left_out" in d]
        head = json.dumps({"settings": self._settings})
        text = "".join(f"{json.dumps(line)}\n" for line in done)
        write_whole(self._path, f"{head}\n{text}".encode())
        return len(done)

    def _read_lines(self) -> list[dict[str, Any]]:
        return [line for line in _read_whole_lines(self._path) if "part" in line]

    def note(self, part: Part, left_out: LeftOut | None = None) -> None:
        """Note that a part is in the segment, or left out; written about once a second."""
        line: dict[str, Any] = {
            "part": part.name,
            "files": fingerprint(part),
            "lengths": self._writer.lengths,
            "recordings": self._writer.recordings[self._recordings :],
        }
        if left_out is not None:
            line["left_out"] = left_out.why
            self.left_out.append(left_out)
        self._recordings = len(self._writer.recordings)
        self._pending.append(json.dumps(line) + "\n")
        if monotonic() - self._last_commit >= COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Hand the segment, and then the lines that describe it, to the disk."""
        self._writer.sync()
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.writelines(self._pending)
            sync(file)
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
    stats = [(path.name, path.stat() if path.exists() else None) for path in part.files]
    return [[name, s and s.st_size, s and s.st_mtime_ns] for name, s in stats]
