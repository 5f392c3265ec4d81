"""Read, merge, check and write run files; errors name the key and the nearest one that exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from crossl.config.build import check_evaluation, check_parts, check_schedule, recipe
from crossl.config.schema import RunConfig
from crossl.errors import ConfigError, nearest
from crossl.yaml_text import YamlError, parse_yaml, read_yaml


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
    config = validate(_merge(start.model_dump(mode="json"), values), where=where)
    for override in overrides:
        where = f"--set {override}"
        config = validate(
            _merge(config.model_dump(mode="json"), _parse_override(override)), where=where
        )
    check_parts(config, where=where)
    check_schedule(config, where=where)
    check_evaluation(config, where=where)
    return config


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: got no '='; write key=value")
    if key.strip() == "recipe":
        raise ConfigError(
            f"--set {override}: a recipe is where settings start from; name it by --recipe or in "
            "the run file"
        )
    value = _parse_scalar(override, text)
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def validate(values: Mapping[str, Any], *, where: str) -> RunConfig:
    """Check values against the schema.

    Raises:
        ConfigError: names the first offending key, and the nearest one that exists.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error


def dump_config(config: RunConfig) -> str:
    """Write a run file that gives this config back."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _parse_scalar(override: str, text: str) -> Any:
    try:
        return parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"--set {override}: the value is not YAML ({error})") from error


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, key by key; a block that changes its `kind` starts afresh."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if str(part) not in _KINDS]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(path[-1], _keys_at(path[:-1]))}"
    got = first.get("input")
    return f"{key}: {first['msg']}, got {got!r}"


_KINDS = {"tcn", "strided", "mlp", "predictive", "paper", "crossl"}


def _keys_at(path: Sequence[str]) -> set[str]:
    """List the keys that exist below a path of the schema."""
    models: list[Any] = [RunConfig]
    for part in path:
        models = [
            inner
            for model in models
            if part in model.model_fields
            for inner in _models_in(model.model_fields[part].annotation)
        ]
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Union or hasattr(annotation, "__args__"):
        return [m for inner in get_args(annotation) for m in _models_in(inner)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return []
