"""The one loader of YAML: what it reads, and what it answers in a sentence with the line."""

from __future__ import annotations

import contextlib
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossl.config import load_config
from crossl.data.own.mapping.schema import read_yaml as read_mapping
from crossl.errors import ConfigError, DataError, FormatError
from crossl.yaml_text import YamlError, dump_yaml, parse_yaml, read_yaml


@pytest.mark.parametrize(("text", "value"), [
    ('"\\t"', "\t"), ("a\u200cb", "a\u200cb"),
    ("1", 1), ("-7", -7), ("0", 0), ("1e-3", 1e-3), ("1.5", 1.5), (".5", 0.5), ("2.", 2.0),
    ("-.inf", -math.inf), ("1E5", 1e5), ("true", True), ("no", False), ("~", None), ("", None),
    # what YAML 1.1 turns into other values
    ("0010", "0010"), ("007", "007"), ("12:30", "12:30"), ("0x1F", "0x1F"), ("1_000", "1_000"),
    ("2024-05-01", "2024-05-01"), ("2024-13-45", "2024-13-45"), ("=", "="), ("0b1", "0b1"),
    ("2024-05-01 12:00:00", "2024-05-01 12:00:00"), ("e5", "e5"), ("1.2.3", "1.2.3"), (".", "."),
])  # fmt: skip
def test_values_are_what_stands_there(text, value):
    got = parse_yaml(text)
    assert got == value
    assert type(got) is type(value)


def test_anchors_and_merges_are_read():
    assert parse_yaml("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: *x") == {
        "a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}, "e": {"b": 1, "c": 2}}  # fmt: skip


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))

REFUSED = {
    "a key twice": ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: key 'c' is a duplicate, first in"),
    "a key twice in a line": ("{a: 1, a: 2}", "line 1: key 'a' is a duplicate, first"),
    "a tag of Python": ("x: !!python/object/apply:os.system [ls]", "line 1: the tag"),
    "an unknown tag": ("\nx: !dough 5", "line 2: the tag '!dough' is not allowed"),
    "a tag that does not fit": ("x: !!int abc", "line 1: 'abc' is not a whole number"),
    "a float that is none": ("x: !!float abc", "line 1: a value cannot be read (could not"),
    "a set": ("x: !!set {a, b}", "line 1: the tag"),
    "bytes": ("x: !!binary '%%%'", "line 1: the tag"),
    "a date by its tag": ("x: !!timestamp 2024-13-45", "line 1: the tag"),
    "5,000 digits": ("a: 1\nx: " + "9" * 5000, "line 2: the number 99999999999999999999... has"),
    "20 digits": ("x: 99999999999999999999", "line 1: the number"),
    "1,000 nested lists": ("[" * 1000 + "]" * 1000, "line 1: it is nested deeper than 50"),
    "nested blocks": ("\n".join(" " * n + "a:" for n in range(200)), "nested deeper than 50"),
    "1,000,000 open lists": ("[" * 1_000_000, "line 1: it is nested deeper than 50"),
    "an alias bomb": (BOMB, "its aliases make more than 1000000 values"),
    "a chain of aliases": (CHAIN, "it is nested deeper than 50"),
    "an alias of itself": ("a: &a [1, *a]", "line 1: an alias names what it is part of"),
    "an unknown alias": ("a: *b", "line 1: found undefined alias"),
    "a merge of a word": ("a: {<<: b}", "line 1: expected a mapping"),
    "a list as a key": ("? [1, 2]\n: 3", "line 1: a key is a list or a block"),
    "two documents": ("a: 1\n---\nb: 2", "line 2: but found another document"),
    "a tab": ("a:\n\t- 1", "line 2: found character"),
    "a zero byte": ("a: \0", "special characters are not allowed"),
    "a control character": ('a: "x\\e[0m"', "line 1: a text has the character '\\x1b'"),
    "half a character": ('a: "\\ud800"', "line 1: a text has the character '\\ud800'"),
    "an open list": ("a: [1\nb: 2", "line 2: "),
    "an open quote": ("a: 'b", "line 1: found unexpected end"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("reader", ["mapping", "run file", "run folder", "override"])
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, name, reader):
    text, sentence = REFUSED[name]
    path = tmp_path / "a.yaml"
    path.write_text(text)
    kind, read = {
        "mapping": (DataError, lambda: read_mapping(path)),
        "run file": (ConfigError, lambda: load_config(path)),
        "run folder": (FormatError, lambda: read_yaml(path, FormatError)),
        "override": (ConfigError, lambda: load_config(overrides=[f"seed={text}"])),
    }[reader]
    began = time.process_time()
    with pytest.raises(kind) as told:
        read()
    assert time.process_time() - began < 5
    assert sentence in str(told.value)
    if reader != "override":
        assert str(told.value).startswith(f"{path}: cannot be read as YAML (")
        assert str(told.value).isprintable()
        assert len(str(told.value)) < 350


def test_a_file_beyond_all_sense_is_refused_unread(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (5 << 20))
    with pytest.raises(DataError, match=r"a.yaml: cannot be read as YAML \(it has more than 4 MiB"):
        read_yaml(path, DataError)


def test_an_empty_file_holds_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("# later\n")
    assert read_yaml(tmp_path / "a.yaml", DataError) == {}


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
)  # fmt: skip


@given(st.recursive(SCALARS, lambda one: st.lists(one) | st.dictionaries(st.text("ab1"), one)))
def test_what_we_write_is_what_is_read(value):
    assert parse_yaml(dump_yaml(value)) == value


@pytest.mark.parametrize("text", ["0E0", "1E5", "1e5", "-2.e3", "+.5", "12", "-0", ".inf", "1_000"])
def test_text_that_looks_like_a_number_stays_text(text):
    for value in (text, {text: text}, [text]):
        assert parse_yaml(dump_yaml(value)) == value


@given(st.text(st.sampled_from("ab1: -[]{}&*!#|>'\"%@\n?,~<.\t\\u0e"), max_size=60))
def test_any_text_gives_values_or_a_sentence(text):
    with contextlib.suppress(YamlError):
        parse_yaml(text)
