"""Readers: official files in, Recordings out. One module per data set, listed in READERS."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from crossl.data.readers.card import Card
from crossl.data.recording import Recording
from crossl.errors import ConfigError, DataError, nearest

READERS = ("seglearn_watch", "sp_sw_har", "uci_har")


class Reader(Protocol):
    """What a reader module offers."""

    CARD: Card

    def read(self, root: Path | None) -> Iterator[Recording]:
        """Yield the recordings below a folder (or inside an archive), sorted by subject."""

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder or archive looks like this data set."""


def get_reader(name: str) -> Reader:
    """Return the reader module of a data set.

    Raises:
        ConfigError: no reader has this name.

    Examples:
        >>> get_reader("uci_har").CARD.classes[0]
        'WALKING'
    """
    if name not in READERS:
        raise ConfigError(f"reader '{name}': unknown; {nearest(name, READERS)}")
    return cast(Reader, import_module(f"crossl.data.readers.{name}"))


def detect_reader(root: Path) -> str:
    """Name the reader whose data set a folder or archive holds.

    Raises:
        DataError: no reader recognises it.
    """
    if not root.exists():
        raise DataError(f"{root}: does not exist; name a folder or an archive of recordings")
    for name in READERS:
        if get_reader(name).recognises(root):
            return name
    raise DataError(f"{root}: holds no data set that crossl knows; known are {', '.join(READERS)}")
