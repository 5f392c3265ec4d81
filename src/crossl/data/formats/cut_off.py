"""A last row that the end of a file cuts off: known by what is there, left out, told.

Only a file that ends without a line end may be cut off inside a row, and many that end so are
whole. So the row is left out where it has fewer cells than the others, or its last cell is a
beginning: `8.`, `-` or `1e` below whole numbers, a number with fewer decimals than all above, the
beginning of a label, nothing where no cell above is empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crossl.data.formats.layout import Layout
from crossl.data.formats.lines import NEWLINE, Lines, quoted

LOOKED_AT = 21
"""Rows above the last one."""
LEAST_ROWS = 3
BEGUN = re.compile(r"[+-]?(\d+([.,]\d+)?[eE][+-]?|\d+[.,]|[.,])?")
"""What begins a number and is none."""


def last_row(lines: Lines) -> Lines:
    """Return the last line alone."""
    begin = _begin_of_last(lines)
    return replace(lines, text=lines.text[begin:], numbers=lines.numbers[-1:])


def without_last(lines: Lines) -> Lines:
    """Leave out the last line."""
    return replace(lines, text=lines.text[: _begin_of_last(lines)], numbers=lines.numbers[:-1])


def _begin_of_last(lines: Lines) -> int:
    raw = np.frombuffer(lines.text, dtype=np.uint8)
    ends = np.flatnonzero((raw == NEWLINE) & ~quoted(raw))
    return int(ends[-2]) + 1 if len(ends) > 1 else 0


def widths_of(lines: Lines, separator: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count the cells of each line."""
    if separator == " ":
        return np.array([len(line.split()) for line in lines.text.split(b"\n")[:-1]])
    raw = np.frombuffer(lines.text, dtype=np.uint8)
    plain = ~quoted(raw)
    ends = np.flatnonzero((raw == NEWLINE) & plain)
    found = np.flatnonzero((raw == ord(separator)) & plain)
    return np.asarray(np.diff(np.searchsorted(found, np.r_[0, ends])) + 1)


def lacks_cells(lines: Lines, layout: Layout) -> str:
    """Say that the last row has fewer cells than the others; empty where it has not.

    Args:
        lines: of the table.
        layout: of the rows above the last one.
    """
    (count,) = widths_of(last_row(lines), layout.separator)[-1:].tolist()
    wanted = len(layout.columns)
    return f"it has {count} of {wanted} cells" if count < wanted else ""


def begun_cell(lines: Lines, layout: Layout) -> str:
    """Say that the last cell is the beginning of one; empty where nothing tells.

    Args:
        lines: of the table, each with as many cells.
        layout: how it is written.
    """
    rows = len(lines.numbers) - layout.skipped
    cells = _last_cells(lines.text.rsplit(b"\n", min(rows, LOOKED_AT + 1) + 1)[1:-1], layout)
    *above, last = cells or [""]
    if len(above) < LEAST_ROWS:
        return ""
    told = f"it ends with {last[:40]!a}"
    if not last:
        return "" if "" in above else "its last cell is empty"
    if BEGUN.fullmatch(last):
        return "" if any(BEGUN.fullmatch(cell) for cell in above) else told
    if not any(sign.isalpha() for sign in last):
        fewer = _fewer_decimals(above, last, layout.decimal)
        return f"{told}, fewer decimals than those above" if fewer else ""
    every = set(_last_cells(lines.text.split(b"\n")[layout.skipped : -2], layout))
    whole = next((one for one in sorted(every) if one.startswith(last)), last)
    return "" if whole == last else f"{told}, the beginning of {whole[:40]!a}"


def _last_cells(rows: Sequence[bytes], layout: Layout) -> list[str]:
    separator = None if layout.separator == " " else layout.separator.encode()
    return [
        row.rstrip().rsplit(separator, 1)[-1].decode("utf-8", "replace").strip() if row else ""
        for row in rows
    ]


def _fewer_decimals(above: Sequence[str], last: str, mark: str) -> bool:
    """Tell whether a number has fewer decimals than those above, beyond what chance makes."""
    counts = [len(cell.partition(mark)[2]) for cell in above if cell]
    found = len(last.partition(mark)[2])
    if len(counts) < LEAST_ROWS:
        return False
    same = len(set(counts)) == 1
    return found < counts[0] if same else len(counts) >= LOOKED_AT and found < min(counts) - 1
