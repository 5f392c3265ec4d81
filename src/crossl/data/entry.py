"""What all blocks that people write about their data have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from crossl.errors import nearest
from crossl.yaml_text import NEEDED, shown


def _plain_text(value: Any) -> Any:
    """Let YAML's numbers and words stand where text is meant: `channels: [1, 2]`, `unit: 1`."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this word as true or false; put it into quotes")
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, BeforeValidator(_plain_text)]


class Entry(BaseModel):
    """A block; unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def explain(error: ValidationError, keys_at: Callable[[Sequence[str]], Iterable[str]]) -> str:
    """Say in a sentence what is wrong with the first key that is.

    Args:
        error: of pydantic.
        keys_at: lists the keys that may stand below a path.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "mapping"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(path[-1], keys_at(path[:-1]))}"
    if first["type"] == "missing":
        return f"{key}: is missing; it is needed"
    if first.get("input") is None and first["type"] != "value_error":
        return f"{key}: is empty; it is needed"
    message = NEEDED.get(first["type"], first["msg"]).removeprefix("Value error, ")
    got = first.get("input")
    return f"{key}: {message}" + ("" if isinstance(got, (dict, list)) else f", got {shown(got)}")
