"""What the site has that nobody writes by hand; a Sphinx extension of this project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_pages import commands, contents, front_door, names, offline, settings

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _generate(app: Sphinx) -> None:
    docs = Path(app.srcdir) / "docs"
    for folder, pages in (
        ("commands", commands.pages()),
        ("reference", names.pages()),
        ("settings", settings.pages()),
    ):
        _write(docs / folder, pages)


def _write(folder: Path, pages: dict[str, str]) -> None:
    """Write pages that are new or changed, and remove those of what is gone."""
    folder.mkdir(exist_ok=True)
    for stale in folder.iterdir():
        if stale.name not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Generate pages before Sphinx looks for any, and complete those that lead to them."""
    app.connect("builder-inited", _generate, priority=100)
    app.connect("source-read", contents.complete)
    app.connect("autodoc-skip-member", names.skip)
    app.connect("object-description-transform", names.leave_return_types, priority=900)
    app.connect("build-finished", front_door.write)
    app.connect("build-finished", offline.check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
