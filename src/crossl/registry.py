"""What a run file can name: encoders, methods, objectives, tasks, contenders and other parts.

crossl's own parts register themselves where they are defined. A package adds to them by an entry
point of the group `crossl` that names a function, which is called once and registers::

    [project.entry-points.crossl]
    my_package = "my_package:register"

and a script by calling `crossl.register(...)` before the run file is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from crossl.errors import ConfigError, nearest

logger = logging.getLogger(__name__)


class Registry(Mapping[str, Any]):
    """Parts of one sort that are registered now, by name; see `load_packages`.

    Args:
        sort: what they are, as error messages say it.
    """

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self._parts: dict[str, Any] = {}
        self._watchers: list[Callable[[], object]] = []

    def add(self, name: str, part: Any) -> None:
        """Add a part.

        Raises:
            ConfigError: the name is taken by another part.
        """
        if self._parts.get(name, part) is not part:
            raise ConfigError(
                f"{self.sort} '{name}': is registered already, by {_origin(self._parts[name])}; "
                "choose another name"
            )
        if name not in self._parts:
            self._parts[name] = part
            for watcher in self._watchers:
                watcher()

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call a function whenever a part is added."""
        self._watchers.append(watcher)

    def __getitem__(self, name: str) -> Any:
        """Return a part.

        Raises:
            ConfigError: none has this name.
        """
        if name not in self._parts:
            raise ConfigError(f"{self.sort} '{name}': unknown; {nearest(name, self._parts)}")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether a part has this name."""
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        """Yield names, crossl's own first."""
        return iter(dict(self._parts))

    def __len__(self) -> int:
        """Count parts."""
        return len(self._parts)


ENCODERS = Registry("encoder")
AGGREGATORS = Registry("aggregator")
METHODS = Registry("method")
OBJECTIVES = Registry("objective")
AUGMENTATIONS = Registry("augmentation")
READERS = Registry("reader")
CONTENDERS = Registry("contender")
TASKS = Registry("task")

SORTS = {
    registry.sort: registry
    for registry in (
        ENCODERS,
        AGGREGATORS,
        METHODS,
        OBJECTIVES,
        AUGMENTATIONS,
        READERS,
        CONTENDERS,
        TASKS,
    )
}


def register(sort: str, part: Any, *, name: str | None = None) -> None:
    """Add a part, so that run files and the command line know it by name.

    Args:
        sort: `encoder`, `aggregator`, `method`, `objective`, `augmentation`, `contender`, `task`
            or `reader`.
        part: a class of settings with `kind` and `build` (see CONTRIBUTING); of a reader its
            module.
        name: of it; the default of `kind` if None.

    Raises:
        ConfigError: no such sort, the name is taken, or the part has no `kind` and no name is
            given.

    docs/python.md has an example.
    """
    if sort not in SORTS:
        raise ConfigError(f"register: '{sort}' is not a sort of part; {nearest(sort, SORTS)}")
    name = name if name is not None else kind_of(part)
    SORTS[sort].add(name, part)


def kind_of(part: Any) -> str:
    """Return the name that settings, or a class of them, are chosen by.

    Raises:
        ConfigError: they have no `kind` with a default.
    """
    settings = part if isinstance(part, type) else type(part)
    field = getattr(settings, "model_fields", {}).get("kind")
    if field is None or not isinstance(field.default, str):
        raise ConfigError(
            f'register: {_origin(part)} has no `kind: Literal["name"] = "name"`; add one, or '
            "give a name"
        )
    return field.default


_loaded: set[str] = set()


def load_packages() -> None:
    """Let crossl's contenders and installed packages register their parts, once.

    A package that fails is left out with a warning.
    """
    if not _loaded:
        import_module("crossl.contenders")  # above config, which chooses among them
    for point in entry_points(group="crossl") if not _loaded else ():
        if point.value in _loaded:
            continue
        _loaded.add(point.value)
        try:
            point.load()()
        except Exception as error:  # noqa: BLE001 - the code of others must not stop ours
            logger.warning("package of entry point '%s': cannot register (%s)", point.name, error)
    _loaded.add("")


def _origin(part: Any) -> str:
    module = getattr(part, "__module__", None)
    name = getattr(part, "__qualname__", getattr(part, "__name__", str(part)))
    return f"{module}.{name}" if module else str(name)
