"""Readers: official files in, Recordings out. One module per data set, listed in READERS.

Packages add to them: `crossl.register("reader", module, name="my_set")`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from crossl import registry
from crossl.data.boundary import reading
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset
from crossl.data.recording import Recording
from crossl.errors import ConfigError, DataError, nearest

DATASETS = (
    "seglearn_watch", "sp_sw_har", "uci_har", "hapt", "pamap2", "mhealth", "motion_sense",
    "opportunity", "wesad", "noneeg", "eegmat", "sleep_edf",
)  # fmt: skip
OWN = ("folder", "edf", "wfdb", "e4", "xdf")
READERS = (*DATASETS, *OWN)
"""Data sets by name, and one's own recordings: a mapping, or files of one format."""


class Reader(Protocol):
    """What a reader module offers."""

    CARD: Card

    def open_dataset(self, root: Path | None, **options: Any) -> AbstractContextManager[Dataset]:
        """Find the recordings below a folder (or inside an archive).

        What a reader lets the user choose are keyword arguments with defaults.
        """

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
    if name == "folder":
        return cast(Reader, import_module("crossl.data.own.folder"))
    if name in OWN:
        readers = import_module("crossl.data.own.one_format").FORMAT_READERS
        return cast(Reader, readers[name])
    if name in DATASETS:
        return cast(Reader, import_module(f"crossl.data.readers.{name}"))
    registry.load_packages()
    if name in registry.READERS:
        return cast(Reader, registry.READERS[name])
    raise ConfigError(f"reader '{name}': unknown; {nearest(name, reader_names())}")


def reader_names() -> tuple[str, ...]:
    """Name crossl's readers, then those that packages registered."""
    registry.load_packages()
    return (*READERS, *registry.READERS)


@contextmanager
def open_dataset(
    name: str, root: Path | None, options: Mapping[str, str] | None = None
) -> Iterator[Dataset]:
    """Open a data set by its reader's name.

    Args:
        name: of the reader.
        root: folder or archive; None for the place a reader knows itself.
        options: what the reader lets the user choose, as text.

    Raises:
        ConfigError: no such reader or option, or a value that the option cannot take.
        DataError: the folder does not hold the data set.
    """
    reader = get_reader(name)
    given = _parse_options(name, options or {})
    with ExitStack() as stack:
        with reading(root or name):
            dataset = stack.enter_context(reader.open_dataset(root, **given))
        yield dataset.guarded()


def read_recordings(
    name: str, root: Path | None, options: Mapping[str, str] | None = None
) -> Iterator[Recording]:
    """Yield every recording of a data set, one after another."""
    with open_dataset(name, root, options) as dataset:
        yield from dataset.read()


def reader_options(name: str) -> dict[str, Any]:
    """Return what a reader lets the user choose, with defaults.

    Examples:
        >>> reader_options("uci_har")
        {}
    """
    parameters = inspect.signature(get_reader(name).open_dataset).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _parse_options(name: str, options: Mapping[str, str]) -> dict[str, Any]:
    defaults, out = reader_options(name), {}
    for key, text in options.items():
        if key not in defaults:
            known = nearest(key, defaults) if defaults else f"{name} has no options"
            raise ConfigError(f"option '{key}' of {name}: unknown; {known}")
        out[key] = _parse_value(f"option '{key}' of {name}", text, defaults[key])
    return out


def _parse_value(where: str, text: str, default: Any) -> Any:
    """Read text as the kind of value that the default is; a default of None takes text."""
    if isinstance(default, bool):
        words = {"yes": True, "true": True, "no": False, "false": False}
        if text.lower() not in words:
            raise ConfigError(f"{where}: got '{text}'; allowed are yes and no")
        return words[text.lower()]
    if isinstance(default, (int, float)):
        try:
            return type(default)(text)
        except ValueError:
            raise ConfigError(f"{where}: got '{text}'; a number is needed") from None
    return text


def detect_reader(root: Path) -> str:
    """Name the reader whose data set a folder or archive holds.

    A mapping counts first: who describes a folder means the description, also of a published set.

    Raises:
        DataError: no reader recognises it.
    """
    if not root.exists():
        raise DataError(f"{root}: does not exist; name a folder or an archive of recordings")
    for name in ("folder", *reader_names()):
        with reading(root):
            if get_reader(name).recognises(root):
                return name
    raise DataError(
        f"{root}: holds no data set that crossl knows; known are {', '.join(DATASETS)}; for files "
        f"of your own write a mapping with: crossl data init {root}"
    )
