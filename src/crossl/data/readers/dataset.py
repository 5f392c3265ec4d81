"""Dataset: what a reader makes of a folder; parts that can be read apart, in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from crossl.data.boundary import check_regular, reading
from crossl.data.readers.card import Card
from crossl.data.recording import Recording
from crossl.data.target_entries import TargetBlock


@dataclass(frozen=True)
class Part:
    """A few files that are read together, into one recording or a few.

    Attributes:
        name: unlike every other part's of the data set.
        read: yields the part's recordings; called anew it yields the same again. Pickled into
            other processes, so it is a module's function, or a `functools.partial` of one.
        files: what it reads.
    """

    name: str
    read: Callable[[], Iterable[Recording]]
    files: tuple[Path, ...] = field(default=())


@dataclass(frozen=True)
class Dataset:
    """The recordings below a folder, found but not yet read.

    Attributes:
        card: modalities, classes and windows of these recordings.
        parts: in the order of the store: sorted by subject, then session.
        notes: what holds for all of it, such as a modality that no file has.
        targets: what is to be predicted for windows beside their label, where it is known.
        any_rate: modalities that files may hold at another rate, which is changed to the card's.
        mapping: how files like these are read, as JSON values, where a mapping said it; without
            what holds for single people.
    """

    card: Card
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    targets: TargetBlock | None = None
    any_rate: tuple[str, ...] = ()
    mapping: Mapping[str, Any] | None = None

    def read(self) -> Iterator[Recording]:
        """Yield every recording, part after part."""
        for part in self.parts:
            yield from part.read()

    def guarded(self) -> Dataset:
        """Return the same, whose parts answer whatever goes wrong in their files in a sentence."""
        parts = (replace(part, read=partial(_read, part)) for part in self.parts)
        return replace(self, parts=tuple(parts))


def _read(part: Part) -> Iterator[Recording]:
    for file in part.files:
        if file.exists():
            check_regular(file)
    where = part.files[0] if len(part.files) == 1 else part.name
    with reading(where):
        yield from part.read()
