"""Numbers of a table of text: which marks they are written with, and what they are.

A point or a comma may mark decimals or separate thousands. What is ambiguous is refused, with the
keys that decide it: a number is never read a thousand times too small.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import needs
from crossl.data.formats.layout import MISSING, Layout, TableFormat
from crossl.errors import DataError

GROUPED = r"[-+]?[1-9]\d{{0,2}}(?:{mark}\d{{3}})+"
"""Groups of three digits behind one to three."""

BLANKS = "[ \u00a0\u2007\u2009\u202f]"
"""Blanks between groups of digits: plain ones, and those at which no line breaks."""

FEW_SHOWN = 3
"""So many cells that are not numbers may be spellings of a missing value, and are named."""


class CellError(DataError):
    """A cell that is not a number where one is needed.

    Attributes:
        bad: cells of the column that are none.
        given: cells of the column that are not empty.
    """

    def __init__(self, message: str, bad: int = 1, given: int = 1) -> None:
        super().__init__(message)
        self.bad, self.given = bad, given

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep all of it on the way from another process."""
        return type(self), (str(self), self.bad, self.given)


@dataclass(frozen=True)
class Written:
    """Cells of some columns, and how they are written.

    Attributes:
        path: of the file.
        frame: polars, text, blanks at the ends taken off.
        numbers: (row,) of lines.
        layout: of the table.
        told: what a mapping says of it.
    """

    path: Path
    frame: Any
    numbers: NDArray[np.int64]
    layout: Layout
    told: TableFormat


def find_marks(path: Path, body: bytes, separator: str, told: TableFormat) -> tuple[str, str]:
    """Tell from all cells which mark decimals have, and which thousands.

    Args:
        path: of the file, for messages.
        body: lines of samples.
        separator: between cells.
        told: what a mapping says.

    Returns:
        Mark of decimals, sign of thousands (empty for none).

    Raises:
        DataError: commas may be either.
    """
    if told.decimal or told.thousands:
        other = {".": ",", ",": "."}
        return told.decimal or other.get(told.thousands or "", "."), told.thousands or ""
    comma = separator == ","
    if separator == " " or b"," not in body or (comma and b'"' not in body):
        return ".", ""
    points, commas = (
        b"." in body and _search(body, separator, GROUPED.format(mark=one) + two + r"\d+", comma)
        for one, two in ((r"\.", ","), (",", r"\."))
    )
    if points != commas:  # `1.012,5` tells both marks
        return (",", ".") if points else (".", ",")
    with_comma = _pattern(separator, _number(","), in_quotes=comma).finditer(body)
    seen = next(with_comma, None)
    if seen is None:
        return ".", ""
    if b"." in body and any(
        not re.fullmatch(GROUPED.format(mark=r"\.").encode(), found[1])
        for found in _pattern(separator, _number(r"\."), in_quotes=False).finditer(body)
    ):
        return ".", ""
    for found in chain([seen], with_comma):
        if not re.fullmatch(GROUPED.format(mark=",").encode(), found[1]):
            return ",", ""
    raise DataError(
        f"{path}: numbers such as '{seen[1].decode()}' may have three decimals or separate "
        'thousands by the comma; say in the mapping `table: {decimal: ","}` or '
        '`table: {thousands: ","}`'
    )


def _number(mark: str) -> str:
    return rf"[-+]?\d*{mark}\d+(?:[eE][-+]?\d+)?"


def _pattern(separator: str, number: str, *, in_quotes: bool) -> re.Pattern[bytes]:
    """Compile what finds cells that are numbers."""
    edge = re.escape(separator)
    if in_quotes:
        return re.compile(rf'(?m)(?:^|(?<={edge}))[ ]*" *({number}) *"[ ]*(?={edge}|$)'.encode())
    return re.compile(rf'(?m)(?:^|(?<={edge}))[ "]*({number})[ "]*(?={edge}|$)'.encode())


def _search(body: bytes, separator: str, number: str, in_quotes: bool) -> bool:  # noqa: FBT001
    return _pattern(separator, number, in_quotes=in_quotes).search(body) is not None


def to_numbers(cells: Written, names: Sequence[str]) -> NDArray[np.float64]:
    """Read columns as numbers.

    Args:
        cells: of these columns.
        names: of the columns.

    Returns:
        (row, column); NaN where a cell is empty or holds a spelling of a missing value.

    Raises:
        DataError: a cell is not a number, or may be one of two.
    """
    polars = needs("polars")
    layout = cells.layout
    column = polars.all()
    absent = [*MISSING, *cells.told.missing]
    text = cells.frame.with_columns(polars.when(~column.is_in(absent)).then(column))
    plain = text
    if layout.thousands:
        sign = BLANKS if re.fullmatch(BLANKS, layout.thousands) else re.escape(layout.thousands)
        mark = re.escape(layout.decimal)
        grouped = rf"^[-+]?\d{{1,3}}(?:{sign}\d{{3}})+(?:{mark}\d*)?$"
        no_sign = column.str.replace_all(sign, "")
        plain = plain.with_columns(
            polars.when(column.str.contains(grouped)).then(no_sign).otherwise(column)
        )
    if layout.decimal == ",":
        pointed = column.str.contains(".", literal=True)
        plain = plain.with_columns(
            polars.when(~pointed).then(column.str.replace(",", ".", literal=True))
            .otherwise(polars.lit("?"))
        )  # fmt: skip
    numbers = plain.with_columns(polars.all().cast(polars.Float64, strict=False))
    out = []
    for name in names:
        _check_column(cells, name, text[name], numbers[name])
        out.append(numbers[name].fill_null(float("nan")).to_numpy().astype(np.float64))
    table = np.stack(out, axis=1)
    for value in filter(None, map(_float, cells.told.missing)):
        table[table == value] = np.nan
    return table


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check_column(cells: Written, name: str, text: Any, numbers: Any) -> None:
    """Refuse cells that are not numbers, or that may be a thousand times larger."""
    layout = cells.layout
    mark = "," if layout.decimal == "," else "."
    other = "." if mark == "," else ","
    bad = (text.is_not_null() & numbers.is_null()).arg_true()
    if len(bad):
        _refuse_cells(cells, name, text, [int(row) for row in bad], other)
    if layout.thousands or mark == "," or cells.told.decimal:
        return
    pointed = text.str.contains(".", literal=True)
    whole = text.str.contains(r"^[-+]?[1-9]\d{0,2}$")
    if not (pointed.any() and whole.any()):
        return
    grouped = text.str.contains(f"^{GROUPED.format(mark='[.]')}$")
    if (pointed & ~grouped).any() or text.str.contains(r"^[-+]?\d{4}").any():
        return
    one, two = text[int(grouped.arg_true()[0])], text[int(whole.arg_true()[0])]
    row = int(grouped.arg_true()[0])
    raise DataError(
        f"{cells.path}: line {cells.numbers[row]}, column '{name}' holds '{one}' beside '{two}': "
        "the point may mark decimals or separate thousands; say in the mapping "
        '`table: {decimal: "."}` or `table: {thousands: "."}`'
    )


def _refuse_cells(cells: Written, name: str, text: Any, bad: list[int], other: str) -> None:
    cell, given = text[bad[0]], int(text.is_not_null().sum())
    where = f"{cells.path}: line {cells.numbers[bad[0]]}, column '{name}' holds {cell[:40]!a}"
    points = GROUPED.format(mark=r"\.") + r"\.\d{3}"
    if re.fullmatch(GROUPED.format(mark=re.escape(other)), cell) or re.fullmatch(points, cell):
        sign = "." if "." in cell else ","
        raise CellError(
            f"{where}, in which the {'point' if sign == '.' else 'comma'} may separate thousands; "
            f'say in the mapping `table: {{thousands: "{sign}"}}`, or '
            f'`table: {{decimal: "{sign}"}}`',
            len(bad),
            given,
        )
    blanks = re.fullmatch(
        rf"[-+]?\d{{1,3}}({BLANKS}|['\u2019])\d{{3}}(?:\1\d{{3}})*([.,]?)\d*", cell
    )
    if blanks:
        sign = " " if re.fullmatch(BLANKS, blanks[1]) else blanks[1]
        keys = f'thousands: "{sign}"' + (f', decimal: "{blanks[2]}"' if blanks[2] else "")
        why = f"whose groups of digits are set apart; say in the mapping `table: {{{keys}}}`"
        raise CellError(f"{where}, {why}", len(bad), given)
    if cell == name and bad[0]:
        why = "its own name: files were put one behind another; part them there"
        raise CellError(f"{where}, {why}", len(bad), given)
    cure = ""
    spellings = list(dict.fromkeys(text[row] for row in bad[:1000]))
    if len(bad) < given and len(spellings) <= FEW_SHOWN:
        shown = ", ".join(f'"{one[:20]}"' for one in spellings)
        count = f" ({len(bad)} of {given} cells are none)" if len(bad) > 1 else ""
        cure = (
            f"{count}; where it means that none was recorded, say `table: {{missing: [{shown}]}}`"
        )
        if bad[0] == 0 and len(bad) == 1 and not cells.layout.units:
            cure += ", or `units_row: true` where the line holds units"
    raise CellError(f"{where}; a number or an empty cell is needed{cure}", len(bad), given)
