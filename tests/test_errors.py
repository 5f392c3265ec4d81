"""A sentence of crossl is one line, whatever names of others stand in it."""

from __future__ import annotations

import pickle

import pytest

from crossl.errors import CrosslError, DataError, FormatError


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
