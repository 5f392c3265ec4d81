"""Cards as text for terminals, and all of them as one page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from crossl.data.readers import DATASETS, OWN, get_reader, reader_options
from crossl.data.readers.card import Card

WIDTH = 88
MAX_NAMED = 12
"""Channels of a modality that are named one by one."""
COLUMNS = ("name", "title", "subjects", "modalities", "classes", "commercial use", "download")


def dataset_rows() -> list[tuple[str, ...]]:
    """Return a row per data set, behind a header."""
    return [COLUMNS, *(_row(get_reader(name).CARD) for name in DATASETS)]


def _row(card: Card) -> tuple[str, ...]:
    use = "as licensed" if card.commercial_use else "forbidden"
    counts = (str(n) for n in (card.subjects, len(card.modalities), len(card.classes)))
    return (card.name, card.title, *counts, use, "fetch" if card.files else "by hand")


def format_rows() -> list[tuple[str, ...]]:
    """Return a row per way to read one's own recordings, behind a header."""
    return [("name", "title"), *((name, get_reader(name).CARD.title) for name in OWN)]


def facts(card: Card) -> Iterator[tuple[str, str]]:
    """Yield everything a card says, as a name and a sentence or list each."""
    yield "", card.description
    yield "licence", card.licence
    if not card.commercial_use:
        yield "commercial use", "forbidden"
    yield "cite", card.citation
    if card.url:
        yield "address", card.url
    counted = {"subjects": str(card.subjects or ""), "size": card.size}
    yield from ((name, value) for name, value in counted.items() if value)
    for m in card.modalities:
        count = len(m.channels)
        channels = f"{count} channel{'s' * (count != 1)}"
        if count <= MAX_NAMED:
            channels += f": {', '.join(m.channels)}"
        yield f"modality {m.name}", f"{channels}; {m.unit}, {m.rate_hz:g} Hz; {m.device}"
    person = ", ".join(f"{name} ({unit})" for name, unit in card.person.items())
    lists = {"numbers of a person": person, "classes": ", ".join(card.classes)}
    yield from ((name, value) for name, value in lists.items() if value)
    yield "windows", f"{card.spec.window_s:g} s, every {card.spec.stride_s:g} s, unless asked for"
    yield from (("trap", trap) for trap in card.traps)
    options = reader_options(card.name).items()
    yield from (("option", f"{key} (default: {_shown(value)})") for key, value in options)
    if card.files:
        yield "download", f"crossl data fetch {card.name}"
    elif card.name in DATASETS:
        yield "download", f"by hand: {card.url}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def terms(card: Card) -> str:
    """Return what a user should know before downloading."""
    lines = [card.title, _entry("licence", card.licence), _entry("cite", card.citation)]
    if card.size:
        lines.append(_entry("size", card.size))
    if not card.commercial_use:
        lines.append(_entry("commercial use", "forbidden by the terms of this data set"))
    return "\n".join(lines)


def as_text(card: Card) -> str:
    """Return a card as wrapped text."""
    entries = [_entry(name, value) for name, value in facts(card)]
    return "\n".join([f"{card.name}: {card.title}", *entries])


def _entry(name: str, value: str) -> str:
    head = f"{name}: " if name else ""
    return textwrap.fill(
        head + value, WIDTH, initial_indent="  ", subsequent_indent="    ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def as_page() -> str:
    """Return all cards as a page in Markdown."""
    header, *rows = dataset_rows()
    lines = [
        "# Data sets", "",
        "What `crossl` reads, and what to know before trusting it. Generated from the cards of the "
        "readers by `docs/make_datasets.py`; `crossl data card NAME` shows the same.", "",
        _bars(header), _bars(["---"] * len(header)), *map(_bars, rows),
    ]  # fmt: skip
    for name in (*DATASETS, *OWN):
        lines += ["", *_section(get_reader(name).CARD)]
    return "\n".join(lines) + "\n"


def _bars(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _section(card: Card) -> list[str]:
    lines = [f"## `{card.name}`: {card.title}", ""]
    for name, value in facts(card):
        text = f"- **{name}**: {value}" if name else f"{value}\n"
        indent = "  " if name else ""
        lines.append(
            "\n".join(
                textwrap.fill(
                    one, 100, subsequent_indent=indent, break_long_words=False,
                    break_on_hyphens=False,
                )
                for one in text.split("\n")
            )
        )  # fmt: skip
    return lines
