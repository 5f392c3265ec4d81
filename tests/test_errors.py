"""A sentence of crossl is one line, whatever names of others stand in it."""

from __future__ import annotations

import pickle

import pytest

from crossl.errors import MOST_NAMED, CrosslError, DataError, FormatError, nearest


@pytest.mark.parametrize(("name", "shown"), [
    ("a\nb", "a\\nb"), ("a\r\tb", "a\\r\\tb"), ("\x1b[2J", "\\x1b[2J"), ("\ud800", "\\ud800"),
    ("a\u2028b", "a\\u2028b"), ("\u202etxt", "\\u202etxt"), ("\x00\x7f", "\\x00\\x7f"),
    ("Zürich 東京 \u200c-", "Zürich 東京 \u200c-"), ("C:\\new", "C:\\new"),
])  # fmt: skip
def test_names_of_others_cannot_end_the_line_or_move_the_cursor(name: str, shown: str) -> None:
    for kind in (CrosslError, DataError, FormatError):
        error = kind(f"file '{name}': is damaged")
        assert str(error) == f"file '{shown}': is damaged"
        assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


def test_a_sentence_lists_some_of_very_many_names() -> None:
    told = nearest("x", [f"S{number:04d}" for number in range(5000)])
    assert told.startswith("allowed are 'S0000', 'S0001'")
    assert told.endswith(f"'S0059' and {5000 - MOST_NAMED} others")
    assert nearest("S4O21", [f"S{number:04d}" for number in range(5000)]).startswith("did you mean")
