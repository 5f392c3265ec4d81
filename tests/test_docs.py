"""The pages of the documentation are found from its first page; their links lead somewhere.

The site itself is built by `make docs`, with warnings as errors; CI does so.
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import crossl
from crossl.registry import SORTS

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ("commands", "gallery", "reference", "settings")
PAGES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    )
    if not any(path.is_relative_to(ROOT / "docs" / name) for name in GENERATED)
)
GALLERY = sorted((ROOT / "examples" / "gallery").glob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def site():
    """What makes the parts of the site that nobody writes; it needs no Sphinx."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import site_pages
        import site_pages.offline

        yield site_pages
    finally:
        sys.path.remove(str(ROOT / "docs"))
        for name in [name for name in sys.modules if name.split(".")[0] == "site_pages"]:
            del sys.modules[name]


def reached(site: ModuleType) -> set[str]:
    """Return the pages that the tables of contents lead to."""
    found, contents = set(), site.contents
    for hub in contents.HUBS:
        text = (ROOT / f"{hub}.md").read_text(encoding="utf-8")
        found |= {page for _, links in contents.sections(hub, text) for page in links} | {hub}
    return found


def test_every_page_is_in_the_contents_of_the_site(site):
    wanted = {name_of(path).removesuffix(".md") for path in PAGES}
    # the README is for those who read the files; the gallery has a page of its own
    wanted -= {"README", "examples/gallery/README"}
    assert wanted <= reached(site), "link it from docs/index.md or benchmarks/README.md"


def test_the_contents_name_pages_that_there_are(site):
    generated = {"docs/gallery/index"}
    assert [p for p in reached(site) - generated if not (ROOT / f"{p}.md").is_file()] == []


def slugs(text: str) -> set[str]:
    """Return what headings can be linked by, as GitHub and the site name them."""
    found: dict[str, int] = {}
    out = set()
    for heading in re.findall(r"^#{1,6} +(.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        out.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return out


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), f"{link}: leads out of the repository"
        if anchor:
            known = slugs(target.read_text(encoding="utf-8"))
            assert anchor in known, f"{link}: no such heading"


def test_every_command_has_a_page_with_all_its_options_and_a_line_in_the_overview(site):
    pages, commands = site.commands.pages(), site.commands.commands()
    assert {"predict.md", "data-fetch.md"} <= set(pages)
    assert len(pages) == len(commands)
    overview = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \|", overview, re.MULTILINE)
    listed = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}
    for words, command in commands.items():
        page = pages[f"{words.replace(' ', '-')}.md"]
        for param in command.params:
            told = param.opts[0] if param.param_type_name == "option" else param.name.upper()
            assert f"`{told}" in page or param.metavar or f"`[{told}" in page, (words, told)
        assert {f"crossl {words}", words.split()[-1]} & listed, f"docs/commands.md: lacks {words}"
    assert "`predictions`" in pages["predict.md"]  # a default


def test_every_public_name_has_a_page(site):
    pages = site.names.pages()
    assert {f"{name}.rst" for name in crossl.__all__} - set(pages) == {"CrosslError.rst"}
    assert "crossl.errors" in pages["errors.rst"]


def test_every_kind_of_part_has_its_settings_on_a_page(site):
    pages = site.settings.pages()
    for sort, registry in SORTS.items():
        for kind in registry if sort != "reader" else ():
            assert f"## `{kind}`" in pages[f"{sort}.md"], (sort, kind)
    row = next(r for r in pages["blocks.md"].splitlines() if r.startswith("| `batch_size`"))
    assert "whole number, at least 2 | `256` | windows a step" in row
    assert "| `encoder` | a block, [encoder](encoder.md): `" in pages["blocks.md"]


def test_a_page_that_loads_from_the_network_is_found(site):
    loaded = site.offline.loaded
    assert loaded('<a href="https://arxiv.org">paper</a> <img src="method.svg">') == []
    assert loaded('<script defer src="https://cdn.example/x.js"></script>')
    assert loaded('<link rel="stylesheet" href="//fonts.example/a.css">')
    assert loaded("@font-face { src: url('https://fonts.example/a.woff2') }")


def test_the_picture_of_the_method_is_what_the_script_draws():
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_method.py"))["draw"]()
    assert (ROOT / "docs" / "method.svg").read_text(encoding="utf-8") == drawn
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own
    assert root.find("{http://www.w3.org/2000/svg}desc") is not None  # for those who cannot see it


@pytest.mark.parametrize("path", GALLERY, ids=[path.stem for path in GALLERY])
def test_an_example_says_what_it_needs_and_uses_what_there_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert 'pip install "crossl[' in (ast.get_docstring(tree) or "")
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "crossl"
    }
    assert used <= set(crossl.__all__), "not public"
