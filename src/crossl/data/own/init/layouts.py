"""What devices write above their tables of text: the rate, the unit, and names of columns.

Most devices need nothing here: the names of their columns tell clock, sensors and units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossl.data.boundary import check_regular, reading
from crossl.data.formats import format_of
from crossl.data.formats.layout import TableFormat

HEAD_BYTES = 16_384

RATE = re.compile(
    r"(?:sampl\w*[ _]?(?:rate|freq\w*)|measurement frequency|abtastrate|frequency|\bat)"
    r"[\s:=,;\"]{1,4}(\d+(?:[.,]\d+)?)\s*(?:hz|hertz)",
    re.IGNORECASE,
)

GENEACTIV_LINES = 100
GENEACTIV = ("time", "x", "y", "z", "lux", "button", "temperature")
"""Lines above the samples, and what its columns are, by the maker's software."""


@dataclass(frozen=True)
class DeviceLayout:
    """What a file says of its table in the lines above.

    Attributes:
        device: that wrote it; empty where nothing tells.
        rate_hz: that it tells; None where it tells none.
        table: keys of `table:` that its lines would not tell.
        names: what columns without a name are.
        units: of them.
    """

    device: str = ""
    rate_hz: float | None = None
    table: Mapping[str, Any] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> TableFormat:
        """How its table is opened."""
        return TableFormat(**(self.table or {}))


def layout_of(path: Path) -> DeviceLayout | None:
    """Read what stands above a table of text; None for other files, or where nothing does.

    Args:
        path: the file.

    Raises:
        DataError: it is not a regular file, or cannot be read.
    """
    if format_of(path) != "csv" or path.suffix.lower() in (".gz", ".zip"):
        return None
    check_regular(path)
    with reading(path), path.open("rb") as file:
        lines = file.read(HEAD_BYTES).decode("utf-8", "replace").splitlines()
    first = lines[0].lower() if lines else ""
    if first.startswith("device type,geneactiv"):
        names = {f"c{number}": name for number, name in enumerate(GENEACTIV)}
        units = {"c1": "g", "c2": "g", "c3": "g", "c4": "lx", "c6": "degC"}
        table = {"skip_lines": GENEACTIV_LINES, "header": False}
        return DeviceLayout("geneactiv", _rate(lines), table, names, units)
    if any(line.lower().startswith("sample rate,") for line in lines[:15]):
        return _apple_ecg(lines)
    rate_hz = _rate(_above(lines))
    return DeviceLayout(rate_hz=rate_hz) if rate_hz else None


def _above(lines: list[str]) -> list[str]:
    """Return the lines above the first sample: the first two cells are numbers or dates."""
    for number, line in enumerate(lines):
        if re.match(r'\s*"?[-+]?\d[^A-Za-z]*[,;\t]\s*"?[-+\d]', line):
            return lines[:number]
    return lines[:1]


def _rate(lines: list[str]) -> float | None:
    found = next((match for line in lines if (match := RATE.search(line))), None)
    return float(found[1].replace(",", ".")) if found else None


def _apple_ecg(lines: list[str]) -> DeviceLayout | None:
    """Describe an electrocardiogram of Apple's health export: lines of text, then a number each."""
    samples = [
        n for n, line in enumerate(lines) if re.fullmatch(r"-?\d+([.,]\d+)?,?", line.strip())
    ]
    rate_hz = _rate(lines[:15])
    if not samples or rate_hz is None:
        return None
    unit = next((line.split(",")[1].strip() for line in lines if line.startswith("Unit,")), "µV")
    table = {"skip_lines": samples[0], "header": False}
    return DeviceLayout("apple", rate_hz, table, {"c0": "ecg"}, {"c0": unit})
