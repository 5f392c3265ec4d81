"""The lines of a first mapping, as they are found."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossl.data.own.mapping.guess import clean
from crossl.data.own.mapping.names import Kind
from crossl.errors import counted


@dataclass
class Draft:
    """Lines of the mapping.

    Attributes:
        modalities: a block each, by name.
        files: of the kinds of files.
        skipped: files that are not read, and why.
        slowest_hz: the lowest rate of all; 1 where none is lower.
    """

    modalities: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    slowest_hz: float = 1.0

    def skip(self, folder: Path, why: object) -> None:
        """Note a file that is not read; its path begins in the folder."""
        text = str(why).replace(f"{folder}/", "")
        if text not in self.skipped:
            self.skipped.append(text)

    def add_modality(
        self,
        name: str,
        channels: Sequence[str],
        unit: tuple[str, str],
        rates: Sequence[float],
        device: str,
        *,
        irregular: bool = False,
    ) -> None:
        """Declare a modality, unless it is.

        Args:
            name: of it.
            channels: their names.
            unit: and by what it was guessed.
            rates: that files tell, hertz.
            device: that carries it; empty where nothing tells.
            irregular: samples come at irregular times; the rates are their usual ones.
        """
        self.slowest_hz = min([self.slowest_hz, *rates])
        spread = bool(rates) and max(rates) - min(rates) > 0.01 * min(rates)
        rate = f"{min(rates):g}" if rates else ""
        why = f"rate seen in {counted(len(rates), 'file')}" if rates else (
            "rate NOT KNOWN: fill in rate_hz")  # fmt: skip
        self.modalities.setdefault(
            name,
            f"  {name}:   # guessed: {why}; unit: {unit[1]}; correct me\n"
            f"    channels: [{', '.join(map(quoted, channels))}]\n"
            f"    unit: {quoted(unit[0])}\n"
            f"    rate_hz: {rate}\n"
            + (f"    device: {quoted(device)}\n" if device else "")
            + ("    resample: true   # times are irregular\n" if irregular else "")
            + (f"    max_gap_s: {3 / min(rates):g}   # guessed\n" if irregular else "")
            + (
                "    resample: true   # files have different rates\n"
                if spread and not irregular
                else ""
            ),
        )

    def _windows(self) -> str:
        """Write windows that hold two samples of the slowest sensor at least."""
        window_s = math.ceil(2 / self.slowest_hz)
        more = f", stride_s: {window_s / 2:g}, min_coverage: 0.8, max_gap_s: 0.2}}"
        told = "   # guessed: two samples of the slowest sensor" if window_s > 2 else ""
        return f"windows: {{window_s: {window_s}{more}{told}"

    def text(self, folder: Path) -> str:
        """Return the mapping of a folder."""
        return "\n".join([
            "# What is in this folder. Written by `crossl data init`, which guessed: read every line.",  # noqa: E501
            "# All keys: docs/mapping.md. Then: crossl data doctor, crossl prepare folder.",
            "version: 1",
            f"name: {quoted(clean(folder.resolve().name))}",
            "# classes: [rest, walk]   # labels to keep, in order; without it all that are found",
            self._windows(),
            "",
            "modalities:",
            *self.modalities.values(),
            "files:",
            *self.files,
            *(f"# not read: {' '.join(one.split())}" for one in self.skipped),
            "",
        ])  # fmt: skip


def quoted(text: str) -> str:
    """Write a word of YAML; in quotes where it could be taken for something else.

    Examples:
        >>> quoted("acc"), quoted("x [g]"), quoted("no")
        ('acc', '"x [g]"', '"no"')
    """
    plain = re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII)
    if plain and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null"):
        return text
    return json.dumps(text, ensure_ascii=False)


def listed(names: Sequence[str]) -> str:
    """Write a list of YAML."""
    return f"[{', '.join(map(quoted, names))}]"


def table_keys(keys: Mapping[str, Any]) -> list[str]:
    """Write how a table of text is written, where that is not found without."""
    if not keys:
        return []
    text = json.dumps(dict(keys), ensure_ascii=False)
    return [f"    table: {text}   # guessed: how the text is written"]


def modality_name(kind: Kind, group: str) -> str:
    """Name a modality after the device and what its columns share."""
    device = clean(kind.device) if kind.device else ""
    if not device or group.startswith(device):
        return group
    return f"{device}_{group}"
