"""What is in the site, in which order: links of its tables of contents, which people read too.

`docs/index.md` and `benchmarks/README.md` are plain lists of links. On the site each heading of
them becomes a section of the sidebar with the pages that are linked below it.
"""

from __future__ import annotations

import os.path
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HUBS = ("docs/index", "benchmarks/README")
"""Pages whose links are a table of contents."""
GALLERY = "examples/gallery/README.md"
"""Where the examples are listed for those who read the files; on the site it is the gallery."""
GENERATED = {
    "docs/commands": ("commands/*", "Each command"),
    "docs/api": ("reference/*", "Each name"),
    "docs/settings": ("settings/*", "Every setting"),
}
"""Pages that lead to generated ones, which pages, and what these are called."""

ANY_LINK = re.compile(r"\[(?P<words>[^\]]+)\]\((?P<path>[^):#\s]+)\)")
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)(?:#[^)\s]*)?\)")


def sections(page: str, text: str) -> list[tuple[str, dict[str, str]]]:
    """Return headings with the pages that are linked below each, the first time that they are.

    Args:
        page: name of the page, such as `docs/index`.
        text: of it.

    Returns:
        Pages, from the root of the repository and without their ending, with the words of their
        links.
    """
    seen, found = {page}, []
    before, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    for part in (f"\n{before}", *parts):
        heading, _, body = part.partition("\n")
        links = [(resolve(page, link), words) for words, link in LINK.findall(body)]
        new = {link: words for link, words in reversed(links) if link not in seen}
        new = dict(reversed(new.items()))
        seen.update(new)
        if new:
            found.append((heading.strip(), new))
    return found


def resolve(page: str, link: str) -> str:
    """Return the page that a relative link of a page leads to."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return "docs/gallery/index" if path == GALLERY else path.removesuffix(".md")


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Give a page what it has on the site only: the sidebar, links to what is generated."""
    text = source[0]
    trees = [
        _tree(heading, links) if page == HUBS[0] else _tree("", dict.fromkeys(links, ""))
        for heading, links in (sections(page, text) if page in HUBS else ())
    ]
    if page in GENERATED:
        pattern, title = GENERATED[page]
        trees.append(f"\n## {title}\n\n```{{toctree}}\n:maxdepth: 1\n:glob:\n\n{pattern}\n```\n")
    here = Path(app.srcdir, page).parent
    source[0] = ANY_LINK.sub(lambda found: _on_the_site(found, here, app), text) + "".join(trees)


def _on_the_site(found: re.Match[str], here: Path, app: Sphinx) -> str:
    """Return a link that leads somewhere on the site: folders are pages there, or no link."""
    path = here / found["path"]
    if path.resolve() == Path(app.srcdir, GALLERY).resolve():
        gallery = Path(app.srcdir, "docs/gallery/index.rst")
        return f"[{found['words']}]({os.path.relpath(gallery, here)})"
    if not path.is_dir():
        return found[0]
    page = path / "README.md"
    return f"[{found['words']}]({found['path']}/README.md)" if page.is_file() else found["words"]


def _tree(caption: str, links: dict[str, str]) -> str:
    """Return a table of contents; pages without words have their own titles in it."""
    title = f":caption: {caption}\n" if caption else ""
    lines = [f"{words.replace('`', '')} </{link}>" if words else f"/{link}"
             for link, words in links.items()]  # fmt: skip
    inside = "\n".join(lines)
    return f"\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n{title}\n{inside}\n```\n"
