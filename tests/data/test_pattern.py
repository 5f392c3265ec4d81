"""Patterns of paths match as regular expressions would, in time that does not double."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossl.data.own.mapping.pattern import read_pattern
from crossl.errors import DataError


@pytest.mark.parametrize(("pattern", "path", "fields"), [
    ("{subject}/{session}_watch.csv", "anna/d1_watch.csv", {"subject": "anna", "session": "d1"}),
    ("{subject}_{session}.csv", "a_b_c.csv", {"subject": "a", "session": "b_c"}),
    ("{subject}/{subject}_x.csv", "S1/S1_x.csv", {"subject": "S1"}),
    ("{subject}/{subject}_x.csv", "S1/S2_x.csv", None),
    ("*/S{subject}.csv", "any/S7.csv", {"subject": "7"}),
    ("*/{subject}.csv", "a/b/c.csv", None),
    ("./{subject}.csv", "a.csv", {"subject": "a"}),
    ("{subject}.csv", "axcsv", None),
])  # fmt: skip
def test_patterns_match_what_they_show(pattern, path, fields):
    assert read_pattern(pattern).match(path) == fields


def as_regex(pattern):
    out, seen = "", set()
    for piece in re.split(r"(\{[^{}]*\}|\*)", pattern.removeprefix("./")):
        if piece.startswith("{"):
            out += f"(?P={piece[1:-1]})" if piece in seen else f"(?P<{piece[1:-1]}>[^/]+?)"
            seen.add(piece)
        else:
            out += "[^/]*" if piece == "*" else re.escape(piece)
    return re.compile(out)


PIECES = st.sampled_from(["*", "{subject}", "{session}", "{label}", "a", "b", "/", ".", "ab"])


@given(st.lists(PIECES, max_size=7).map("".join), st.text("ab/._", max_size=10))
def test_patterns_match_as_regular_expressions_do(pattern, path):
    found = as_regex(pattern).fullmatch(path)
    assert read_pattern(pattern).match(path) == (found.groupdict() if found else None)


@pytest.mark.parametrize(("pattern", "path"), [
    ("*a" * 12 + "b{subject}.csv", "a" * 60 + ".csv"),
    ("*_" * 30 + "{subject}x.csv", "_" * 250 + ".csv"),
    ("*{subject}*{session}*{label}*{subject}", "a" * 60 + "/" + "b" * 60),
    ("{subject}*{subject}*{subject}x", "ab" * 40 + "c"),
    ("*" * 500 + "{subject}", "a" * 200 + "/b"),
])  # fmt: skip
def test_many_stars_take_no_more_than_a_moment(pattern, path):
    began = time.process_time()
    assert read_pattern(pattern).match(path) is None
    assert time.process_time() - began < 1


def test_patterns_of_no_sense_are_refused():
    with pytest.raises(DataError, match=r"field \{who\}; allowed are"):
        read_pattern("{who}.csv")
    with pytest.raises(DataError, match="has 201 pieces; at most 100 stars, fields and texts"):
        read_pattern("*a" * 100 + "*")
