"""Text of others in Markdown: names and sentences that stay what they are, and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

SIGNS = re.compile(r"([\\`*_{}\[\]<>|#!])")


def plain(text: object) -> str:
    r"""Return text that Markdown and HTML take for nothing but text, on one line.

    Examples:
        >>> plain("a|b <script>")
        'a\\|b \\<script\\>'
    """
    return SIGNS.sub(r"\\\1", " ".join(str(text).split()))


def code(name: object) -> str:
    r"""Return a name as code; it may hold any sign.

    Examples:
        >>> code("watch_acc"), code("a`b|c")
        ('`watch_acc`', '``a`b\\|c``')
    """
    text = " ".join(str(name).split())
    # one more than any row of them within, which would end it
    ticks = "`" * (1 + max((len(row) for row in re.findall("`+", text)), default=0))
    inner = text.replace("|", "\\|")
    if inner.startswith("`") or inner.endswith("`"):
        inner = f" {inner} "
    return f"{ticks}{inner}{ticks}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
