"""Pages of all settings of a run file, from the classes that declare them."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from typing import Any

from crossl.config import load_config
from crossl.config.schema import EvaluationConfig, RunConfig
from crossl.data.damaged import TestedDamage, TrainingDamage
from crossl.data.standardisation import STANDARDISATIONS
from crossl.nn.features import FeaturesConfig
from crossl.registry import SORTS
from crossl.settings import OneOf, Settings
from crossl.train.finetune import FineTuning
from crossl.train.schedule import Schedule

BLOCKS = {
    "": RunConfig,
    "schedule": Schedule,
    "finetuning": FineTuning,
    "evaluation": EvaluationConfig,
    "features": FeaturesConfig,
    "schedule.damage": TrainingDamage,
    "evaluation.damages": TestedDamage,
}
WHERE = {
    "encoder": "encoder",
    "aggregator": "aggregator",
    "method": "method",
    "objective": "method.objective",
    "augmentation": "method.augmentation",
    "contender": "contenders.NAME",
    "task": "task",
    "standardisation": "standardisation",
}
"""Where a run file has the parts of each sort."""


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    load_config()  # registers what crossl has
    found = {"blocks.md": _page("Blocks of a run file", BLOCKS)}
    for sort, where in WHERE.items():
        title = f"{sort.capitalize()}s: `{where}`"
        parts = STANDARDISATIONS if sort == "standardisation" else SORTS[sort]
        found[f"{sort}.md"] = _page(title, dict(parts.items()))
    return found


def _page(title: str, parts: dict[str, Any]) -> str:
    return "\n".join([f"# {title}\n", *(_part(name, part) for name, part in parts.items())])


def _part(name: str, part: Any) -> str:
    heading = f"`{name}`" if name else "At the top"
    told = _first(inspect.getdoc(part) or "")
    rows = [
        f"| `{field}` | {_allowed(found.annotation, found.metadata)} | {_default(found)} | "
        f"{_meaning(part, field)} |"
        for field, found in part.model_fields.items()
        if field != "kind"
    ]
    table = ["| setting | allowed | default | what it is |", "|---|---|---|---|", *rows, ""]
    return "\n".join([f"## {heading}\n", f"{told}\n", *(table if rows else ["No settings.\n"])])


def _first(doc: str) -> str:
    """Return what stands before the sections of a docstring."""
    return re.split(r"^(?:Attributes|Examples|Raises|Args):", doc, flags=re.MULTILINE)[0].strip()


def _meaning(part: type, field: str) -> str:
    """Return what is said of a setting, where it is declared or by what it is an argument of."""
    module = vars(sys.modules[part.__module__]).values()
    beside = [one for one in module if getattr(one, "__module__", "") == part.__module__]
    for owner in (*part.__mro__, *beside):
        doc = inspect.cleandoc(getattr(owner, "__doc__", None) or "")
        found = re.search(
            rf"^(?:Attributes|Args):.*?^    {field}: (.*?)(?=^    \w+: |^\S|\Z)",
            doc,
            re.DOTALL | re.MULTILINE,
        )
        if found:
            return " ".join(found[1].split()).replace("|", "\\|")
    return ""


def _allowed(kind: Any, metadata: Any) -> str:
    """Say what a setting may be, as people write it in YAML."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    for one in metadata:
        if isinstance(one, OneOf):
            sort = one.registry.sort
            link = f"[{sort}]({sort}.md)" if sort in WHERE else sort
            return f"a block, {link}: {', '.join(f'`{name}`' for name in one.registry)}"
    if origin is typing.Annotated:
        return _allowed(inside[0], inside[1:])
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if one is type(None) else _allowed(one, ()) for one in inside)
    if origin is tuple:
        return f"list of: {_allowed(inside[0], ())}"
    if origin is dict:
        return f"by name: {_allowed(inside[1], ())}"
    names = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    said = names.get(kind) or f"a block: {_first(inspect.getdoc(kind) or '').splitlines()[0]}"
    return f"{said}{_bounds(metadata)}"


def _bounds(metadata: Any) -> str:
    signs = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    told = [
        f"{word} {getattr(one, sign):g}"
        for one in metadata
        for sign, word in signs.items()
        if getattr(one, sign, None) is not None
    ]
    return f", {', '.join(told)}" if told else ""


def _default(field: Any) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        kind = getattr(value, "kind", "")
        return f"`{kind}`" if kind else "as below"
    if value == {}:
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(one) for one in value)}]`"
    return {"None": "null", "True": "`true`", "False": "`false`"}.get(str(value), f"`{value}`")
