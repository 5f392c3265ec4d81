"""WFDB recordings, as PhysioNet has them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from crossl.data.readers.automatic import format_card, holds_format, open_automatic
from crossl.data.readers.dataset import Dataset

CARD = format_card(
    "wfdb",
    "Waveform Database (WFDB, PhysioNet)",
    "Header and samples in .hea and .dat: units and rates by the header.",
    "https://wfdb.io",
)


def recognises(root: Path) -> bool:
    """Tell whether such recordings are there."""
    return holds_format(root, CARD.name)


def open_dataset(root: Path | None, *, mapping: str = "") -> AbstractContextManager[Dataset]:
    """Find the recordings, by a mapping or by their own headers; see `open_automatic`."""
    return open_automatic(root, CARD, mapping=mapping)
