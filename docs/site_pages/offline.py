"""Whether the built site shows the same without a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"'](?:https?:)?//[^\"']+"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preload|icon)[^>]*\bhref=[\"'](?:https?:)?//[^\"']+"
    r"|url\([\"']?(?:https?:)?//[^)]+"
)
"""What a browser would load from elsewhere to show a page; links that people follow are none."""


def loaded(text: str) -> list[str]:
    """Return what a page or a style sheet loads from the network."""
    return [found[0][:100] for found in LOADED.finditer(text)]


def check(app: Sphinx, failed: Exception | None) -> None:
    """Refuse a site that needs the network.

    Raises:
        ExtensionError: a page or a style sheet loads something from elsewhere.
    """
    if failed is not None or app.builder.format != "html":
        return
    from sphinx.errors import ExtensionError

    out = Path(app.outdir)
    for path in [*out.rglob("*.html"), *out.rglob("*.css")]:
        for found in loaded(path.read_text(encoding="utf-8")):
            raise ExtensionError(f"{path.relative_to(out)}: loads from the network: {found}")
