"""The files of recordings, found and not yet read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from crossl.data.own.mapping.entries import FileEntry

Key: TypeAlias = tuple[str, str | None]
"""Subject and session; None for every session of the subject."""


@dataclass(frozen=True)
class Source:
    """One file of one recording.

    Attributes:
        path: the file, or the folder of an Empatica session.
        entry: what it holds.
        label: of the whole file, where its path tells one.
        offset_s: is added to its times.
        more: the parts that follow it.
        subject: whose rows, where the entry has a column of subjects.
        session: of which recording, where it has one of sessions; None for all.
        shared: other recordings take all of its rows as well.
        shift_s: is added to the times of a modality, by name, beside the offset.
    """

    path: Path
    entry: FileEntry
    label: str | None = None
    offset_s: float = 0.0
    more: tuple[Path, ...] = ()
    subject: str | None = None
    session: str | None = None
    shared: bool = False
    shift_s: Mapping[str, float] = field(default_factory=dict)

    def offset_of(self, modality: str) -> float:
        """Seconds that are added to the times of a modality."""
        return self.offset_s + self.shift_s.get(modality, 0.0)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, and the parts that follow it."""
        return (self.path, *self.more)


@dataclass(frozen=True)
class RecordingPlan:
    """One recording, not yet read.

    Attributes:
        subject: who.
        session: which recording of this subject.
        sources: its files.
        notes: what was seen while planning.
        refusal: why it cannot be read, where that is known already.
    """

    subject: str
    session: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def name(self) -> str:
        """Subject and session; of a file that nobody could open its name."""
        return f"{self.subject}/{self.session}" if self.session else self.subject

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read, samples beside a header included."""
        return tuple(
            dict.fromkeys(file for s in self.sources for path in s.paths for file in beside(path))
        )


def beside(path: Path) -> Iterator[Path]:
    """Yield the files that opening a path reads."""
    if path.is_dir():
        yield from sorted(p for p in path.iterdir() if p.is_file())
        return
    yield path
    if path.suffix == ".hea":
        for name in dict.fromkeys((*named_by_header(path), path.with_suffix(".atr").name)):
            if (path.parent / name).is_file():
                yield path.parent / name


def named_by_header(path: Path) -> Iterator[str]:
    """Yield the files that a WFDB header names, those of its segments included.

    The first word of each line after the first is a file of samples, or a segment.
    """
    for name in _first_words(path):
        segment = f"{name}.hea"
        if (path.parent / segment).is_file() and segment != path.name:
            yield segment
            yield from _first_words(path.parent / segment)
        else:
            yield name


def _first_words(path: Path) -> Iterator[str]:
    lines = [line.split() for line in path.read_text("utf-8", "replace").splitlines()]
    for words in [words for words in lines if words and not words[0].startswith("#")][1:]:
        if len(words[0]) < 250 and "\0" not in words[0] and Path(words[0]).name == words[0]:
            yield words[0]


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Sort key by which S2 comes before S10."""
    pieces = [piece for piece in re.split(r"([0-9]+)", text) if piece]
    return [
        (False, int(piece), "") if piece[0] in "0123456789" else (True, 0, piece)
        for piece in pieces
    ]
