"""Text of others in Markdown."""

from __future__ import annotations

import pytest

from crossl.sharing.markdown import code


@pytest.mark.parametrize("name", ["a`b", "a``b", "```<script>", "``", "x`y``z"])
def test_no_row_of_ticks_in_a_name_ends_its_code(name):
    told = code(name)
    ticks = len(told) - len(told.lstrip("`"))
    inner = told[ticks:-ticks]
    assert "`" * ticks not in inner
    assert inner.strip() == name
