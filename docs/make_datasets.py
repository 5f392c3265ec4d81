"""Write `datasets.md`, the page of all cards: python docs/make_datasets.py."""

from __future__ import annotations

from pathlib import Path

from crossl.cli.cards import as_page

PAGE = Path(__file__).with_name("datasets.md")

if __name__ == "__main__":
    PAGE.write_text(as_page(), encoding="utf-8")
