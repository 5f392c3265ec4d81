"""Open a file as a mapping says: one person's rows, a stream for each sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, open_file
from crossl.data.own.mapping.entries import FileEntry
from crossl.data.own.mapping.long import sensor_streams
from crossl.data.own.mapping.people import refuse_several, rows_of


def open_entry(path: Path, entry: FileEntry) -> FileContent:
    """Open a file as a mapping's entry says, whoever its rows are of.

    A table for several people is read once for all of them, as long as no other comes between.

    Args:
        path: the file.
        entry: what the mapping says of it.

    Raises:
        DataError: it cannot be read, or is of several people while the entry does not say so.
    """
    if entry.subject_column is None and entry.session_column is None:
        content = _opened(path, entry)
        refuse_several(content, entry)
        return content
    return _LAST.open(path, entry)


def open_rows(
    path: Path, entry: FileEntry, subject: str | None, session: str | None
) -> FileContent:
    """Open what a file holds of one recording.

    Args:
        path: the file.
        entry: what the mapping says of it.
        subject: whose rows; None where no column tells.
        session: of which recording; None for all, or where no column tells.

    Returns:
        Its streams; none where no row is theirs.

    Raises:
        DataError: see `open_entry`; or a column that parts the rows does not exist.
    """
    content = open_entry(path, entry)
    if entry.subject_column is not None or entry.session_column is not None:
        content = rows_of(content, entry, subject, session)
    return content if entry.long is None else sensor_streams(content, entry)


def _opened(path: Path, entry: FileEntry) -> FileContent:
    told = entry.table.told() if entry.table is not None else None
    return open_file(path, entry.format, told)


class _Last:
    """The table for several people that was read last, with the columns that were wanted."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._content: FileContent | None = None

    def open(self, path: Path, entry: FileEntry) -> FileContent:
        """Open a file, or return it as it was opened."""
        if not path.is_file():
            return _opened(path, entry)
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns, entry.model_dump_json(exclude={"signals"}))
        if self._content is None or self._key != key:
            self._content = None  # the room is needed
            opened = _opened(path, entry)
            kept = tuple(_remembered(stream) for stream in opened.streams)
            self._key, self._content = key, replace(opened, streams=kept)
        return self._content


_LAST = _Last()


@dataclass
class _Columns:
    """Loads a stream's columns once."""

    stream: Stream
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[str, NDArray[np.str_]] = field(default_factory=dict)

    def load(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """Return (time, column)."""
        fresh = [column for column in columns if column not in self.numbers]
        if fresh:
            table = self.stream.load(fresh)
            self.numbers.update({c: table[:, at].copy() for at, c in enumerate(fresh)})
        return np.stack([self.numbers[column] for column in columns], axis=1)

    def load_text(self, column: str) -> NDArray[np.str_]:
        """Return (time,) text."""
        if column not in self.texts and self.stream.load_text is not None:
            self.texts[column] = self.stream.load_text(column)
        return self.texts[column]


def _remembered(stream: Stream) -> Stream:
    kept = _Columns(stream)
    text = None if stream.load_text is None else kept.load_text
    return replace(stream, load=kept.load, load_text=text)
