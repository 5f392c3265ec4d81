"""A study: one benchmark over several data sets, from one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossl.config.build import recipe
from crossl.config.files import lay_over, validate, with_overrides
from crossl.config.schema import RunConfig
from crossl.errors import ConfigError, nearest
from crossl.yaml_text import read_yaml

KEYS = ("title", "data", "folds", "settings")
DATA_KEYS = ("store", "family", "folds", "settings")
TAKEN = ("study.html", "study.json", "tables.csv", "tables.md", "tables.tex")
"""Files that a study writes beside the folders of its data sets."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True)
class DataSet:
    """One data set of a study.

    Attributes:
        name: of its folder of results.
        store: made by `crossl prepare`.
        family: such as motion or biosignal; empty where none is given.
        folds: `all`, or numbers as 0,2.
        config: settings of its experiment.
    """

    name: str
    store: Path
    family: str
    folds: str
    config: RunConfig


@dataclass(frozen=True)
class Study:
    """Data sets under one protocol.

    Attributes:
        title: of the page.
        data: in the order of the file.
    """

    title: str
    data: tuple[DataSet, ...]


def load_study(
    path: Path, *, overrides: Sequence[str] = (), folds: str | None = None, seed: int | None = None
) -> Study:
    """Read a study file.

    `settings` is a run file for all data sets; those of a data set are laid over it. Paths of
    stores are relative to the file.

    Args:
        path: YAML.
        overrides: `key=value`, over the settings of every data set.
        folds: instead of those of the file.
        seed: likewise.

    Raises:
        ConfigError: it cannot be read, has an unknown key or a value that is not allowed, or names
            a store that is not there.
    """
    values = read_yaml(path, ConfigError)
    _refuse_unknown(values, KEYS, where=str(path))
    data = values.get("data")
    if not isinstance(data, Mapping) or not data:
        raise ConfigError(
            f"{path}: data: names no data set, got {data!r:.60}; a mapping of names to stores is "
            "needed, such as data: {mine: stores/mine}"
        )
    common = _mapping(values.get("settings"), f"{path}: settings")
    usual = str(_given(values, "folds", "all"))
    found = []
    for name, block in data.items():
        where = f"{path}: data.{name}"
        if not NAME.fullmatch(str(name)):
            raise ConfigError(
                f"{where}: is not a name for a folder; allowed are up to 40 letters, digits and "
                ". _ -, a letter or digit first"
            )
        if str(name).lower() in TAKEN:
            raise ConfigError(
                f"{where}: is the name of a file that the study writes; another name is needed"
            )
        own = {"store": block} if isinstance(block, str) else _mapping(block, where)
        _refuse_unknown(own, DATA_KEYS, where=where)
        config = _config(common, _mapping(own.get("settings"), f"{where}.settings"), where)
        config = with_overrides(config, overrides)
        config = config if seed is None else config.model_copy(update={"seed": seed})
        found.append(
            DataSet(
                str(name),
                _store(own.get("store"), path, where),
                str(_given(own, "family", "")),
                folds or str(_given(own, "folds", usual)),
                config,
            )
        )
    return Study(str(_given(values, "title", path.stem)), tuple(found))


def is_study(path: Path) -> bool:
    """Tell whether a path is a study file rather than a store, which is a folder."""
    return path.is_file() and path.suffix in (".yaml", ".yml")


def _config(common: Mapping[str, Any], own: Mapping[str, Any], where: str) -> RunConfig:
    merged = lay_over(dict(common), own)
    start = recipe(str(merged.get("recipe", "crossl")))
    return validate(lay_over(start.model_dump(mode="json"), merged), where=where)


def _given(values: Mapping[str, Any], key: str, usual: Any) -> Any:
    """Return a value; a key with nothing behind it is as good as none."""
    value = values.get(key)
    return usual if value is None else value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: is {value!r:.60}; a mapping is needed")
    return dict(value)


def _store(value: Any, path: Path, where: str) -> Path:
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"{where}: names no store, got {value!r:.60}; a folder that `crossl prepare` made is "
            "needed"
        )
    store = Path(value) if Path(value).is_absolute() else path.parent / value
    if not (store / "manifest.json").is_file():
        raise ConfigError(
            f"{where}: {store} is not a store; make it by `crossl prepare READER --out {store}`"
        )
    return store


def _refuse_unknown(values: Mapping[str, Any], known: Sequence[str], *, where: str) -> None:
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'; {nearest(str(key), known)}")
