"""How a table of text is written: stated by a mapping, else found from its lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from crossl.data.formats.lines import Lines
from crossl.data.units import parse_unit
from crossl.errors import DataError

SEPARATORS = "\t;|, "
MISSING = (
    "", "NA", "N/A", "#N/A", "na", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None", "-",
    "<NA>", "NaT", "#NA", "-NaN", "-nan", "-nan(ind)", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
"""Spellings of a missing value: those that pandas knows, and a dash."""

SNIFFED_LINES = 200
LEAST_BELOW = 3
"""Lines of a table, its names among them, that may begin below other lines."""

NO_UNITS = {"s", "ms", "us", "µs", "ns", "n/a", "no units", "cal", "raw", "datetime", "date", "-"}
UNIT_BRACKETS = re.compile(r"^\s*[\[(](.*)[\])]\s*$")


@dataclass(frozen=True)
class TableFormat:
    """How a table of text is written, as the mapping says; None and empty: found from its lines.

    Attributes:
        skip_lines: lines above the names, or above the samples where there are no names.
        encoding: of the text, such as `cp1252`.
        delimiter: between cells.
        decimal: mark of decimals, a point or a comma.
        thousands: sign between groups of three digits.
        missing: cells that hold no value, beside the usual ones.
        header: the first line holds the names.
        units_row: the line below the names holds units.
        comment: what lines begin with that do not count.
    """

    skip_lines: int | None = None
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: tuple[str, ...] = ()
    header: bool | None = None
    units_row: bool | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Layout:
    """How a table is written.

    Attributes:
        separator: one character.
        columns: names, unlike one another.
        header: the first line holds the names.
        units: of the columns, where a line below the names tells them.
        above: lines above the table.
        decimal: mark of decimals.
        thousands: sign between groups of three digits; empty for none.
    """

    separator: str
    columns: tuple[str, ...]
    header: bool
    units: tuple[str, ...] = ()
    above: int = 0
    decimal: str = "."
    thousands: str = ""

    @property
    def skipped(self) -> int:
        """Lines of the table before its samples."""
        return int(self.header) + bool(self.units)


def find_layout(lines: Lines, told: TableFormat) -> tuple[Lines, Layout]:
    """Find how a table is written, and leave out what is none of it.

    Args:
        lines: of the file.
        told: what need not be found.

    Returns:
        The lines of the table without a separator behind their last cell, and how it is written;
        its marks of numbers are not looked at.
    """
    head = _head(lines)
    terminator = "" if told.delimiter else _terminator(head)
    if terminator:
        lines = lines.without_ends(terminator)
        head = _head(lines)
    separator = told.delimiter or _separator(head)
    above = 0
    if separator is None or not _even(head, separator):
        found = None if told.skip_lines is not None else _table_below(head, told.delimiter)
        above, separator = found or (0, separator or _commonest(head))
    lines, head = lines.from_line(above), head[above:]
    if _ends_with_separator(head, separator):
        lines = lines.without_ends(separator)
        head = _head(lines)
    rows = [cells_of(line, separator) for line in head]
    header = _is_header(rows) if told.header is None else told.header
    names = rows[0] if header else [""] * len(rows[0])
    units = _units(rows, told) if header else ()
    return lines, Layout(separator, tuple(_unique(names)), header, units, above)


def _head(lines: Lines) -> list[str]:
    first = lines.text.split(b"\n", SNIFFED_LINES)[:SNIFFED_LINES]
    return [line.decode("utf-8", "replace") for line in first if line]


def _terminator(head: Sequence[str]) -> str:
    """Return the sign that ends every line and stands nowhere else: `1,2,3;`."""
    ends = {line.rstrip()[-1:] for line in head}
    if len(head) < 2 or ends - {";"} or any(line.count(";") != 1 for line in head):
        return ""
    commas = {line.count(",") for line in head}
    points = any("." in line for line in head)
    return ";" if len(commas) == 1 and (commas > {0} or max(commas) > 1 or points) else ""


def _ends_with_separator(head: Sequence[str], separator: str) -> bool:
    """Tell whether lines have one more separator than cells: all of them, or all but the names."""
    if separator == " " or len(head) < 2:
        return False
    widths = [len(cells_of(line, separator)) for line in head]
    ends = [line.rstrip(" ").endswith(separator) for line in head]
    if not all(ends[1:]) or max(widths) < 2:
        return False
    last_named = cells_of(head[0], separator)[-1] != ""
    return (all(ends) and max(widths) > 2) if not last_named else widths[0] == widths[1] - 1


def _even(head: Sequence[str], separator: str) -> bool:
    return len({len(cells_of(line, separator)) for line in head}) == 1


def _separator(head: Sequence[str]) -> str | None:
    for separator in SEPARATORS:
        if _even(head, separator) and len(cells_of(head[0], separator)) > 1:
            return separator
    for separator in SEPARATORS[:4]:  # lines below the names that end with one
        if _ends_with_separator(head, separator) and _even(head[1:], separator):
            return separator
    return None


def _commonest(head: Sequence[str]) -> str:
    most = max(SEPARATORS[:4], key=lambda sign: len(cells_of(head[0], sign)))
    return most if len(cells_of(head[0], most)) > 1 else ","


def _table_below(head: Sequence[str], delimiter: str | None) -> tuple[int, str] | None:
    """Find a table with names that begins below lines of text, as devices write them.

    Returns:
        How many lines are above it, and its separator; None where there is no such table.
    """
    found = []
    for separator in delimiter or SEPARATORS[:4]:
        rows = [cells_of(line, separator) for line in head]
        begin = len(rows)
        while begin and len(rows[begin - 1]) == len(rows[-1]):
            begin -= 1
        ends = _ends_with_separator(head[begin - 1 :], separator) if begin else False
        begin -= ends  # the names alone lack the separator behind the last cell
        enough = len(rows) - begin >= LEAST_BELOW and len(rows[-1]) > 1
        text = any(_is_text(cell) for row in rows[:begin] for cell in row)
        if not (begin and enough and text) or _is_table(rows[:begin]):
            continue
        if _names_above(rows[begin], rows[begin + 1 :]):
            found.append((begin, SEPARATORS.index(separator), separator))
    return (min(found)[0], min(found)[2]) if found else None


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether lines begin a table of their own: a column of numbers below the first."""
    width = next((at for at, row in enumerate(rows) if len(row) != len(rows[0])), len(rows))
    return width > 2 and any(
        all(map(_is_value, column)) for column in zip(*rows[1:width], strict=True)
    )


def _names_above(names: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Tell whether a line has no value, and text above a number."""
    return not any(map(_is_value, names)) and any(
        _is_text(name) and _is_value(cell)
        for row in below[:2]
        for name, cell in zip(names, row, strict=False)
    )


def cells_of(line: str, separator: str) -> list[str]:
    """Split a line, quotes taken off."""
    if separator == " ":
        return line.split()
    line = re.sub(r'"[^"]*"', lambda found: found[0].replace(separator, "\x1f"), line)
    return [
        cell.strip().strip('"').strip().replace("\x1f", separator) for cell in line.split(separator)
    ]


def _is_header(cells: Sequence[Sequence[str]]) -> bool:
    """A header has text where the next line has a number, or no number at all, or it counts."""
    first = cells[0]
    if _counts(cells):
        return True
    if len(cells) > 1 and len(cells[1]) == len(first):
        above = zip(first, cells[1], strict=True)
        if any(_is_text(one) and _is_value(two) for one, two in above):
            return True
    return any(map(_is_text, first)) and not any(map(_is_value, first))


def _counts(cells: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first line is 0, 1, 2 and so on, and the first column does not go on so."""
    first, body = cells[0], cells[1:25]
    named = first[1:] if first[0] == "" else first
    if not body or list(named) != [str(number) for number in range(len(named))]:
        return False
    if len(named) < len(first):
        return bool(named)
    try:
        steps = np.diff([float(row[0].replace(",", ".")) for row in cells[:25]])
    except ValueError:
        return len(named) > 1
    goes_on = len(steps) > 1 and steps[0] > 0 and np.allclose(steps, steps[0], rtol=0.05)
    return len(named) > 1 and not goes_on


def _units(rows: Sequence[Sequence[str]], told: TableFormat) -> tuple[str, ...]:
    """Return the units that the line below the names holds, brackets taken off; else none."""
    if told.units_row is False or len(rows) < 2 or len(rows[1]) != len(rows[0]):
        return ()
    cells = [UNIT_BRACKETS.sub(r"\1", cell) for cell in rows[1]]
    if told.units_row:
        return tuple(cells)
    above = len(rows) > 2 and _names_above(rows[1], rows[2:])
    given = [cell for cell in cells if cell]
    return tuple(cells) if above and given and all(map(_is_unit, given)) else ()


def _is_unit(cell: str) -> bool:
    plain = cell.replace("(", "").replace(")", "")
    if plain.lower() in NO_UNITS:
        return True
    try:
        parse_unit(plain)
    except DataError:
        return False
    return True


def _is_text(cell: str) -> bool:
    """Tell whether a cell is neither a value nor a way to write a missing or endless one."""
    return (
        cell not in MISSING
        and cell.lower().lstrip("+-") not in ("nan", "inf", "infinity")
        and (not _is_value(cell))
    )


def _is_value(cell: str) -> bool:
    """Tell whether a cell is a number, with either decimal mark, or a time."""
    for read in (lambda text: float(text.replace(",", ".")), datetime.fromisoformat):
        try:
            read(cell)
        except ValueError:
            continue
        return cell.lower() not in ("nan", "inf")
    return False


def _unique(names: Sequence[str]) -> list[str]:
    """Name empty columns by position, and number names that were there before.

    Examples:
        >>> _unique(["t", "x", "x", ""])
        ['t', 'x', 'x (2)', 'c3']
    """
    out: list[str] = []
    for number, name in enumerate(names):
        stem = name or f"c{number}"
        fresh, count = stem, 2
        while fresh in out:
            fresh, count = f"{stem} ({count})", count + 1
        out.append(fresh)
    return out
