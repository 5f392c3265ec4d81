"""Readers of folders that hold one format: `edf`, `wfdb`, `e4`, `xdf`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from crossl.data.own.automatic import format_card, holds_format, open_automatic
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset


@dataclass(frozen=True)
class FormatReader:
    """Reads recordings of one format, by a mapping or by their own headers."""

    CARD: Card

    def recognises(self, root: Path) -> bool:
        """Tell whether such recordings are there."""
        return holds_format(root, self.CARD.name)

    def open_dataset(
        self, root: Path | None, *, mapping: str = ""
    ) -> AbstractContextManager[Dataset]:
        """Find the recordings; see `open_automatic`."""
        return open_automatic(root, self.CARD, mapping=mapping)


_CARDS = (
    format_card(
        "edf",
        "European Data Format (EDF, EDF+, BDF)",
        "Polysomnography, EEG, ECG: units and rates by the header.",
        "https://www.edfplus.info",
    ),
    format_card(
        "wfdb",
        "Waveform Database (WFDB, PhysioNet)",
        "Header and samples in .hea and .dat: units and rates by the header.",
        "https://wfdb.io",
    ),
    format_card(
        "e4",
        "Empatica E4 sessions",
        "Wristband: acceleration, pulse wave, skin conductance, temperature, heart rate.",
        "https://www.empatica.com/research/e4",
    ),
    format_card(
        "xdf",
        "Extensible Data Format (XDF, Lab Streaming Layer)",
        "Several devices on one clock: rates and units by the streams.",
        "https://github.com/sccn/xdf",
    ),
)

FORMAT_READERS = {card.name: FormatReader(card) for card in _CARDS}
