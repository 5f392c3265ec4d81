"""YAML of others: mappings, run files and run folders, all read by the one loader of this module.

Read is what such files need. Numbers are decimal ones; `0010`, `12:30` and `2024-05-01` stay text,
which YAML 1.1 would turn into 8, 750 and a date. Refused are duplicate keys, tags, nests
deeper than 50, numbers beyond 64 bits, and aliases that grow beyond sense or name themselves.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import yaml

from crossl.errors import CrosslError, kind_of_value

MAX_BYTES = 4 << 20
MAX_DEPTH = 50
MAX_NODES = 1_000_000
"""Values that a text may have, those that aliases repeat counted as often."""
MAX_INTEGER = 2**63 - 1
TAG = "tag:yaml.org,2002:"
TAGS = {f"{TAG}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class YamlError(ValueError):
    """A text that is not YAML, or not what crossl reads: says line and reason in one sentence."""


def parse_yaml(text: str) -> Any:
    """Parse a text.

    Args:
        text: YAML.

    Returns:
        Plain values: None, bool, int, float, str, list, dict.

    Raises:
        YamlError: not YAML, or more than crossl reads of it.

    Examples:
        >>> parse_yaml("a: [1, 1e-3, 0010, 12:30, 2024-05-01]")
        {'a': [1, 0.001, '0010', '12:30', '2024-05-01']}
    """
    loader = None
    try:
        loader = _Loader(text)  # refuses characters that YAML does not know
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = error.problem or error.context or "it is not well-formed"
        raise YamlError(
            f"line {mark.line + 1}: {_short(told)}" if mark else _short(told)
        ) from error
    except yaml.YAMLError as error:
        raise YamlError(_short(error)) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Dumper(yaml.SafeDumper):
    """Quotes text that `parse_yaml` would take for a number, such as `1E5`."""


def _quoted_if_needed(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    number = FLOAT.fullmatch(text) or INTEGER.fullmatch(text)
    return dumper.represent_scalar(f"{TAG}str", text, style="'" if number else None)


_Dumper.add_representer(str, _quoted_if_needed)


def dump_yaml(value: Any) -> str:
    """Write plain values as YAML that `parse_yaml` reads back the same; keys keep their order.

    Examples:
        >>> print(dump_yaml({"subject": "1E5", "rate": 1e5}), end="")
        subject: '1E5'
        rate: 100000.0
    """
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False))


def read_yaml(path: Path, refuse: type[CrosslError]) -> dict[str, Any]:
    """Read a file of keys and values.

    Args:
        path: the file.
        refuse: what is raised.

    Returns:
        What it holds; nothing where it is empty.

    Raises:
        CrosslError: of the kind that was asked for; the file cannot be read, is too large, is not
            YAML, or holds something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise YamlError(f"it has more than {MAX_BYTES >> 20} MiB")
        values = parse_yaml(data.decode("utf-8"))
    except FileNotFoundError as error:
        raise refuse(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise refuse(f"{path}: is a folder; a YAML file is needed") from error
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise refuse(f"{path}: cannot be read as YAML ({_short(error)})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise refuse(f"{path}: holds {kind_of_value(values)}; keys and values are needed")
    return values


NEEDED = dict.fromkeys(
    ("model_type", "model_attributes_type", "dict_type", "mapping_type"),
    "keys and values are needed",
) | dict.fromkeys(("tuple_type", "list_type"), "a list is needed") | {
    "missing": "is missing",
    "string_type": "text is needed",
    "float_type": "a number is needed",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
}  # fmt: skip
"""What pydantic says of values in the names of Python's types, in words, by its type of error."""


def shown(value: object) -> str:
    """Write a value as YAML does, not as Python does.

    Examples:
        >>> shown(None), shown(True), shown("fast"), shown([1, None]), shown((1, 2))
        ('null', 'true', "'fast'", '[1, null]', '[1, 2]')
    """
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, (float, bytes)):
        return str(value)
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=200, sort_keys=False)
    except yaml.YAMLError:  # an object of Python's
        return f"{value!r:.100}"
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _short(told: object) -> str:
    return " ".join(str(told).split())[:200]


class _Loader(yaml.SafeLoader):
    """Makes plain values of a text, and counts what it makes."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless it lies too deep."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self._depth >= MAX_DEPTH:
            raise _refusal(event, f"it is nested deeper than {MAX_DEPTH}")
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in TAGS:
            raise _refusal(event, f"the tag '{tag[:60]}' is not allowed")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> Any:
        """Compose the only document, and count what its aliases make of it."""
        node = super().get_single_node()
        if node is not None and _sizes(node, {}, 0)[0] > MAX_NODES:
            raise _refusal(node, f"its aliases make more than {MAX_NODES} values")
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Make a value; what is wrong with it is reported with its line."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            raise _refusal(node, f"a value cannot be read ({_short(error)[:80]})") from error


def _refusal(node: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _sizes(node: Any, known: dict[int, tuple[int, int] | None], depth: int) -> tuple[int, int]:
    """Count the values of a node and its depth, each alias as what it stands for."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise _refusal(node, "an alias names what it is part of")
        return found
    known[id(node)] = None
    inner: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        inner = [one for pair in node.value for one in pair]
    count, below = 1, 0
    for one in inner:
        size, deep = _sizes(one, known, depth + 1)
        count, below = count + size, max(below, deep)
    if below + 1 > MAX_DEPTH:
        raise _refusal(node, f"it is nested deeper than {MAX_DEPTH}")
    known[id(node)] = count, below + 1
    return count, below + 1


def _check_keys(node: Any) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal(key, "a key is a list or a block; a word is needed")
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in lines:
            raise _refusal(
                key, f"key '{key.value[:60]}' is a duplicate, first in line {lines[name]}"
            )
        lines[name] = line


def _text(loader: Any, node: Any) -> str:
    text = str(loader.construct_scalar(node))
    for sign in text:
        if sign not in "\n\t" and unicodedata.category(sign) in ("Cc", "Cs"):
            raise _refusal(node, f"a text has the character {sign!a}")
    return text


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    if not INTEGER.fullmatch(text):
        raise _refusal(node, f"'{text[:40]}' is not a whole number")
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise _refusal(
            node, f"the number {text[:20]}... has {len(text)} signs; at most 18 are read"
        )
    return int(text)


def _float(loader: Any, node: Any) -> float:
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor(f"{TAG}str", _text)
_Loader.add_constructor(f"{TAG}int", _integer)
_Loader.add_constructor(f"{TAG}float", _float)
_Loader.add_implicit_resolver(
    f"{TAG}int", re.compile(f"^(?:{INTEGER.pattern})$"), [*"-+0123456789"]
)
_Loader.add_implicit_resolver(
    f"{TAG}float", re.compile(f"^(?:{FLOAT.pattern})$"), [*"-+0123456789."]
)
for _first, _resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
    for _tag, _pattern in _resolvers:
        if _tag.removeprefix(TAG) in ("bool", "null", "merge"):
            _Loader.add_implicit_resolver(_tag, _pattern, [_first])
