"""Read, merge, check and write run files; errors name the key and the nearest one that exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ValidationError

from crossl.config.build import (
    check_contenders,
    check_evaluation,
    check_parts,
    check_schedule,
    recipe,
)
from crossl.config.schema import ContenderConfig, RunConfig
from crossl.errors import ConfigError, nearest
from crossl.registry import SORTS, Registry, kind_of, load_packages
from crossl.settings import OneOf
from crossl.yaml_text import NEEDED, YamlError, dump_yaml, parse_yaml, read_yaml, shown


def load_config(
    path: Path | None = None, *, base: str = "crossl", overrides: Sequence[str] = ()
) -> RunConfig:
    """Read a run file over a recipe, then `key=value` overrides over both.

    Args:
        path: YAML; its keys replace those of the recipe it names (`recipe:`), or of `base`.
        base: recipe to start from where the file names none.
        overrides: such as `schedule.lr=1e-3`, values as in YAML.

    Raises:
        ConfigError: unreadable file, unknown key, or a value that is not allowed.
    """
    where = str(path) if path else "options"
    values = read_yaml(path, ConfigError) if path else {}
    start = recipe(str(values.get("recipe", base)))
    config = validate(lay_over(start.model_dump(mode="json"), values), where=where)
    return with_overrides(config, overrides, where=where)


def with_overrides(
    config: RunConfig, overrides: Sequence[str], *, where: str = "options"
) -> RunConfig:
    """Change settings by `key=value`, one after the other.

    Raises:
        ConfigError: unknown key, or a value that is not allowed.
    """
    laid = [(f"--set {override}", _parse_override(override)) for override in overrides]
    return _laid_over(config, laid, where=where)


def config_from(
    settings: Mapping[str, Any], *, base: str = "crossl", where: str = "settings"
) -> RunConfig:
    """Lay Python values over a recipe, as `--set` does with those of a command line.

    Args:
        settings: {dotted name: value}, such as `{"schedule.lr": 1e-3, "encoder": {"dim": 64}}`:
            what YAML can hold, tuples, numbers and arrays of numpy, and settings objects.
        base: recipe to start from.
        where: names the settings in messages.

    Raises:
        ConfigError: unknown recipe or key, or a value that is not allowed.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"{where}: settings are {type(settings).__name__}; a dict by dotted name is needed, "
            "such as {'encoder.width': 32}"
        )
    laid = []
    for name, value in settings.items():
        if not isinstance(name, str):
            raise ConfigError(f"{where}: has the key {name!r:.40}; names of settings are text")
        if name.split(".")[0] == "recipe":
            raise ConfigError(
                f"{where}: a recipe is where settings start from; give it as `recipe`, beside them"
            )
        laid.append((f"{where}: {name}={shown(value)}", _nested(name, plain(value))))
    return _laid_over(recipe(base), laid, where=where)


def _laid_over(
    config: RunConfig, laid: Iterable[tuple[str, Mapping[str, Any]]], *, where: str
) -> RunConfig:
    """Lay settings over a config, one after the other; each is checked where it is named."""
    for where, values in laid:
        config = validate(lay_over(config.model_dump(mode="json"), values), where=where)
    check_parts(config, where=where)
    check_schedule(config, where=where)
    check_evaluation(config, where=where)
    check_contenders(config, where=where)
    for name, block in config.contenders.items():
        told = f"{where}: contenders.{name}"
        for number, trial in enumerate(tried(name, block, config, where=told)[1:], start=1):
            trial.check(config, where=f"{told}: trial {number}")
    return config


ALIKE = ("kind", "budgets", "trials", "head", "heads", "read", "fractions", "once")
"""Settings that no trial changes: scores of one contender are told apart by them, or are not
comparable."""


def tried(
    name: str, block: ContenderConfig, config: RunConfig, *, where: str
) -> tuple[ContenderConfig, ...]:
    """Return the settings that a contender is tried with: as they are, then those of its trials.

    Where a trial changes a part of a block that the contender does not give, such as
    `schedule.lr`, the rest is as in the run file.

    Args:
        name: of the contender.
        block: its settings.
        config: of the experiment.
        where: names the contender in messages.

    Raises:
        ConfigError: a trial has a key that there is not, a value that is not allowed, changes what
            all trials share, or is the same as another.
    """
    given = block.model_dump(mode="json", exclude={"trials"})
    base = (config if given.get("recipe") is None else recipe(given["recipe"])).model_dump(
        mode="json"
    )
    found = [block.model_copy(update={"trials": ()})]
    for number, trial in enumerate(block.trials, start=1):
        told = f"{where}: trial {number}"
        changed: dict[str, Any] = given
        for key, value in trial.items():
            change = _nested(key, value)
            for part, inner in change.items():
                if part in ALIKE:
                    raise ConfigError(f"{told}: changes {part}, which a contender's trials share")
                if isinstance(inner, Mapping) and changed.get(part) is None and base.get(part):
                    changed = {**changed, part: base[part]}
            changed = lay_over(changed, change)
        one = validate({"contenders": {name: changed}}, where=told).contenders[name]
        if one in found:
            same = found.index(one)
            raise ConfigError(f"{told}: is the same as "
                              f"{f'trial {same}' if same else 'the settings as given'}; "
                              "change something else, or leave it out")  # fmt: skip
        if one.repeats != block.repeats:
            raise ConfigError(f"{told}: changes what another pretraining seed repeats (from "
                              f"{block.repeats} to {one.repeats}), which trials share")  # fmt: skip
        found.append(one)
    return tuple(found)


def differences(config: RunConfig) -> dict[str, Any]:
    """Return what differs from a config's recipe, as `config_from` takes it.

    Examples:
        >>> differences(config_from({"schedule.lr": 0.5, "encoder.width": 8}))
        {'encoder.width': 8, 'schedule.lr': 0.5}
    """
    base = recipe(config.recipe).model_dump(mode="json")
    return dict(_differing(base, config.model_dump(mode="json"), ""))


def _differing(
    base: Mapping[str, Any], values: Mapping[str, Any], above: str
) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name, old = above + key, base.get(key)
        if value == old:
            continue
        if isinstance(value, dict) and isinstance(old, dict) and _same_kind(old, value) and old:
            yield from _differing(old, value, f"{name}.")
        else:
            yield name, value


def plain(value: Any) -> Any:
    """Turn what Python hands over into values that YAML and JSON can hold."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: got no '='; write key=value")
    if key.strip() == "recipe":
        raise ConfigError(
            f"--set {override}: a recipe is where settings start from; name it by --recipe or in "
            "the run file"
        )
    return _nested(key, _parse_scalar(override, text))


def validate(values: Mapping[str, Any], *, where: str) -> RunConfig:
    """Check values against the schema.

    Raises:
        ConfigError: names the first offending key, and the nearest one that exists.
    """
    load_packages()
    try:
        return RunConfig.model_validate(_renamed(values))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error


def _renamed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read older run files: the coefficients of VICReg were where any objective may be now."""
    method = values.get("method")
    if not isinstance(method, Mapping) or "vicreg" not in method:
        return values
    renamed = {"objective" if key == "vicreg" else key: value for key, value in method.items()}
    return {**values, "method": renamed}


def dump_config(config: RunConfig) -> str:
    """Write a run file that gives this config back."""
    return dump_yaml(config.model_dump(mode="json"))


def _parse_scalar(override: str, text: str) -> Any:
    try:
        return parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"--set {override}: the value is not YAML ({error})") from error


def lay_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay values of a run file over others, key by key; a block of another `kind` starts afresh."""
    merged = dict(base)
    for key, value in _renamed(over).items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value):
            merged[key] = lay_over(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path, block = _locate([str(part) for part in first["loc"]])
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; {_known(path[-1], block)}"
    named = len(path) > 1 and _is_by_name(block, path[-2])
    registry = _choice(block, path[-2] if named else path[-1])
    if first["type"] == "string_pattern_mismatch" and path[0] == "contenders":
        return (
            f"{key}: is not a name for a contender; allowed are up to 40 letters, digits and . _ "
            "-, a letter or digit first"
        )
    if first["type"] == "union_tag_invalid" and registry is not None:
        got = first["ctx"]["tag"]
        return f"{key}.kind: unknown {registry.sort} '{got}'; {nearest(got, registry)}"
    if first["type"] == "value_error":  # of keys that do not fit each other; says what it got
        return f"{key}: {first['msg'].removeprefix('Value error, ')}"
    got = first.get("input")
    return f"{key}: {NEEDED.get(first['type'], first['msg'])}, got {shown(got)}"


def _locate(loc: Sequence[str]) -> tuple[list[str], type[BaseModel]]:
    """Return the keys of a place in a run file, and the block that the last of them belongs to.

    Where a block is chosen among registered parts, pydantic names its kind behind its key.
    """
    path: list[str] = []
    block: type[BaseModel] | None = RunConfig
    last: type[BaseModel] = RunConfig
    parts = iter(loc)
    for part in parts:
        path.append(part)
        if part.isdigit() and block:  # of a list of blocks
            continue
        last = block or last
        registry = _choice(last, part) if block else None
        if block and _is_by_name(last, part):
            path += [name for name in (next(parts, None),) if name]  # as the run file names it
        block = _inner(last, part) if block else None
        if registry is not None:
            kind = next(parts, "")
            block = registry[kind] if kind in registry else None  # noqa: SIM401 - get would raise
    return path, last


def _choice(block: type[BaseModel], key: str) -> Registry | None:
    """Return the registry that a key of a block chooses from, if it does."""
    field = block.model_fields.get(key)
    found = list(_marks(field.annotation, field.metadata)) if field else []
    return found[0].registry if found else None


def _is_by_name(block: type[BaseModel], key: str) -> bool:
    """Tell whether a key of a block holds settings by name."""
    field = block.model_fields.get(key)
    return field is not None and get_origin(field.annotation) is dict


def _marks(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[OneOf]:
    """Yield what marks an annotation as chosen from a registry, at any depth of it."""
    yield from (one for one in metadata if isinstance(one, OneOf))
    for inner in get_args(annotation):
        yield from _marks(inner, getattr(inner, "__metadata__", ()))


def _inner(block: type[BaseModel], key: str) -> type[BaseModel] | None:
    field = block.model_fields.get(key)
    annotation: Any = field.annotation if field else None
    # itself, or where there may be none or a list of such
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _known(key: str, block: type[BaseModel]) -> str:
    """Say which keys a block has, or which other kind has this one."""
    for registry in SORTS.values():
        if block not in registry.values():
            continue
        others = [name for name, part in registry.items()
                  if part is not block and key in getattr(part, "model_fields", {})]  # fmt: skip
        if others:
            names = " and ".join(f"'{name}'" for name in others)
            sort, kind = registry.sort, kind_of(block)
            return f"{sort} '{kind}' has no such key, {sort} {names} has"
    return nearest(key, block.model_fields)
