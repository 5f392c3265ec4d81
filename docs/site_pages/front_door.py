"""The page at the top of the built site, which leads to the first of its pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=docs/index.html">
<title>crossl</title>
</head>
<body><p><a href="docs/index.html">crossl: documentation</a></p></body>
</html>
"""


def write(app: Sphinx, failed: Exception | None) -> None:
    """Write it, once the site is built as HTML."""
    if failed is None and app.builder.format == "html":
        Path(app.outdir, "index.html").write_text(PAGE, encoding="utf-8")
