"""Tables of text: `.csv`, `.tsv`, `.txt`, also `.gz` and a zip of a single one, read by polars.

The separator (tab, semicolon, bar, comma, or blanks) is the first of these that stands equally
often in each of the first lines. Where it is neither the comma nor blanks and numbers are written
with a comma and none with a point, the comma is the decimal mark; where all of them look like
`1,234`, which may be a thousand, the file is refused. Lines that begin with `#` or `%` are
comments. Text is UTF-8, or UTF-16 with its mark.

The first line is a header where it has text above a number, where it has text and no number, or
where its cells count `0,1,2` (a first one may be empty) as pandas names columns. A spelling of a
missing value is no text; a line `0` alone, or above numbers that go on in equal steps, is a sample.
Without a header the columns are `c0`, `c1` and so on.

Blank lines are left out. In a table of one column those before the last sample are samples without
a value; not those above the header, or between comments and the first sample.

Every line must have as many cells as the first. A file that was cut off at the end of a line, or
inside its last number, looks whole.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import gunzip, read_member
from crossl.data.formats import FileContent, Stream, needs
from crossl.errors import DataError

SEPARATORS = "\t;|, "
MISSING = ("", "NA", "N/A", "#N/A", "na", "n/a", "NaN", "nan", "NAN", "null", "NULL", "None", "-")
SNIFFED_LINES = 25
NEWLINE, QUOTE = ord("\n"), ord('"')


@dataclass(frozen=True)
class Layout:
    """How a table is written, told from its first lines.

    Attributes:
        separator: one character.
        decimal_comma: numbers are written `1,5`.
        columns: names, unlike one another.
        header: the first line holds the names.
    """

    separator: str
    decimal_comma: bool
    columns: tuple[str, ...]
    header: bool


@dataclass(frozen=True)
class Lines:
    """The text without comments, blank lines left out or quoted, and where each line stood."""

    text: bytes
    numbers: NDArray[np.int64]


def open_file(path: Path) -> FileContent:
    """Find the columns of a table and count its lines.

    Args:
        path: the file.

    Raises:
        DataError: not text, damaged, without samples, or lines of other lengths.
    """
    lines, layout = _read(path)
    length = len(lines.numbers) - layout.header
    if length < 1:
        raise DataError(f"{path}: holds no sample, only the line of names; leave the file out")
    stream = Stream(
        name="",
        columns=layout.columns,
        units=(),
        length=length,
        load=partial(_load, path),
        load_text=partial(_load_text, path),
    )
    about = {"separator": layout.separator, "decimal_comma": layout.decimal_comma}
    return FileContent(path, streams=(stream,), about=about | {"header": layout.header})


def _read(path: Path) -> tuple[Lines, Layout]:
    data = _read_bytes(path)
    if data.count(b'"') % 2:
        raise DataError(f"{path}: a quotation mark is never closed; the file is cut off or damaged")
    lines = _without_comments(data)
    if not len(lines.numbers):
        raise DataError(f"{path}: is empty; a line of names and lines of samples are needed")
    first = lines.text.split(b"\n", SNIFFED_LINES)[:SNIFFED_LINES]
    head = [line.decode("utf-8", "replace") for line in first if line]
    layout = _layout(head)
    if len(layout.columns) == 1:
        lines = _without_comments(data, blanks_from="first" if layout.header else "top")
    decimal_comma = _decimal_comma(path, lines.text, layout)
    layout = replace(layout, decimal_comma=decimal_comma)
    _check_widths(path, lines, layout)
    return lines, layout


def _read_bytes(path: Path) -> bytes:
    data = _unpacked(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: line {line} holds bytes that are no UTF-8 text ({error.reason}); save it as "
            "UTF-8 where it is whole"
        ) from None
    if b"\0" in data:
        line = data[: data.index(0)].count(b"\n") + 1
        raise DataError(f"{path}: line {line} holds a zero byte; a table of text is needed")
    return data.replace(b"\r\n", b"\n")


def _unpacked(path: Path) -> bytes:
    if path.name.lower().endswith(".gz"):
        return gunzip(path)
    if not path.name.lower().endswith(".zip"):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        inside = [
            name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name
        ]
        if len(inside) != 1:
            raise DataError(
                f"{path}: holds {len(inside)} files; a zip with one table is read, unpack it"
            )
        return read_member(path, archive, inside[0])


def _without_comments(data: bytes, blanks_from: Literal["", "first", "top"] = "") -> Lines:
    """Drop comment lines and blank ones, keeping what number each line had.

    Args:
        data: the text.
        blanks_from: blank lines are kept, as empty quotes, from the first line that is neither
            blank nor a comment, or from the top where no comment precedes it; none where empty.
    """
    if data and not data.endswith(b"\n"):
        data += b"\n"
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero((raw == NEWLINE) & ~_quoted(raw)) + 1
    starts = np.r_[0, ends[:-1]].astype(np.int64)[: len(ends)]
    first = raw[starts]
    comment = np.isin(first, [ord("#"), ord("%")])
    blank = first == NEWLINE
    for at in np.flatnonzero(first == ord(" ")):
        blank[at] = data[starts[at] : ends[at]].strip(b" \n") == b""
    keep = ~comment & ~blank
    if keep.all():
        return Lines(data, np.arange(1, len(keep) + 1))
    if not blanks_from:
        kept = raw[np.repeat(keep, ends - starts)].tobytes()
        return Lines(kept, np.flatnonzero(keep) + 1)
    begin, *_, end = np.r_[np.flatnonzero(keep), np.flatnonzero(keep)]
    if blanks_from == "top" and not comment[:begin].any():
        begin = 0
    rows = np.arange(begin, end + 1)
    rows = rows[~comment[rows]]
    texts = (b'""\n' if blank[row] else data[starts[row] : ends[row]] for row in rows)
    return Lines(b"".join(texts), rows + 1)


def _quoted(raw: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which bytes stand inside quotes."""
    quotes = raw == QUOTE
    if not quotes.any():
        return np.zeros(len(raw), dtype=bool)
    return np.asarray(np.cumsum(quotes) % 2 == 1)


def _layout(head: Sequence[str]) -> Layout:
    separator = _separator(head)
    cells = [_cells(line, separator) for line in head]
    header = _is_header(cells)
    names = cells[0] if header else [""] * len(cells[0])
    return Layout(separator, decimal_comma=False, columns=tuple(_unique(names)), header=header)


def _decimal_comma(path: Path, text: bytes, layout: Layout) -> bool:
    """Tell from all cells whether the comma is the decimal mark.

    Raises:
        DataError: it may as well part thousands.
    """
    body = text.partition(b"\n")[2] if layout.header else text
    if layout.separator in ", " or b"," not in body:
        return False
    with_comma = _numbers(layout.separator, ",").finditer(body)
    seen = next(with_comma, None)
    if seen is None or (b"." in body and _numbers(layout.separator, ".").search(body)):
        return False
    for found in chain([seen], with_comma):
        if not re.fullmatch(rb"[-+]?[1-9]\d{0,2},\d{3}", found[1]):
            return True
    raise DataError(
        f"{path}: numbers such as '{seen[1].decode()}' may have three decimals or part thousands "
        "by the comma; write decimals with a point, and thousands without a mark"
    )


def _numbers(separator: str, mark: str) -> re.Pattern[bytes]:
    """Compile what finds cells that are numbers with a decimal mark."""
    edge, mark = re.escape(separator), re.escape(mark)
    number = rf"[-+]?\d*{mark}\d+(?:[eE][-+]?\d+)?"
    return re.compile(rf'(?m)(?:^|(?<={edge}))[ "]*({number})[ "]*(?={edge}|$)'.encode())


def _separator(head: Sequence[str]) -> str:
    for separator in SEPARATORS:
        counts = {len(_cells(line, separator)) for line in head}
        if len(counts) == 1 and counts != {1}:
            return separator
    most = max(SEPARATORS[:4], key=lambda sign: len(_cells(head[0], sign)))
    return most if len(_cells(head[0], most)) > 1 else ","


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    line = re.sub(r'"[^"]*"', lambda found: found[0].replace(separator, "\x1f"), line)
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


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
    first, body = cells[0], cells[1:]
    named = first[1:] if first[0] == "" else first
    if not body or list(named) != [str(number) for number in range(len(named))]:
        return False
    if len(named) < len(first):
        return bool(named)
    try:
        steps = np.diff([float(row[0].replace(",", ".")) for row in cells])
    except ValueError:
        return len(named) > 1
    goes_on = len(steps) > 1 and steps[0] > 0 and np.allclose(steps, steps[0], rtol=0.05)
    return len(named) > 1 and not goes_on


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


def _check_widths(path: Path, lines: Lines, layout: Layout) -> None:
    raw = np.frombuffer(lines.text, dtype=np.uint8)
    plain = ~_quoted(raw)
    ends = np.flatnonzero((raw == NEWLINE) & plain)
    if layout.separator == " ":
        widths = np.array([len(line.split()) for line in lines.text.split(b"\n")[:-1]])
    else:
        found = np.flatnonzero((raw == ord(layout.separator)) & plain)
        widths = np.diff(np.searchsorted(found, np.r_[0, ends])) + 1
    wrong = np.flatnonzero(widths != len(layout.columns))
    if len(wrong):
        first = int(wrong[0])
        begin = int(ends[first - 1]) + 1 if first else 0
        text = lines.text[begin : ends[first]].decode()
        raise DataError(
            f"{path}: line {lines.numbers[first]} has {widths[first]} cells, got {text[:60]!a}; "
            f"the first line has {len(layout.columns)}, so the file is cut off or damaged"
        )


def _frame(path: Path, names: Sequence[str]) -> tuple[Any, Lines, Layout]:
    """Read some columns as text."""
    polars = needs("polars")
    lines, layout = _read(path)
    text, separator = lines.text, layout.separator
    wanted = sorted(layout.columns.index(name) for name in names)
    if separator == " ":
        text, separator = (
            re.sub(rb"[ \t]+", b"\t", re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", text)),
            "\t",
        )
    frame = polars.read_csv(
        io.BytesIO(text),
        separator=separator,
        has_header=False,
        skip_lines=int(layout.header),
        columns=wanted,
        infer_schema=False,
        empty_string_is_null=True,
    )
    frame.columns = [layout.columns[at] for at in wanted]
    return frame.select(polars.col(names).str.strip_chars()), lines, layout


def _load(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    polars = needs("polars")
    frame, lines, layout = _frame(path, names)
    column = polars.all()
    text = frame.with_columns(polars.when(~column.is_in(list(MISSING))).then(column))
    if layout.decimal_comma:
        text = text.with_columns(polars.all().str.replace(",", ".", literal=True))
    numbers = text.with_columns(polars.all().cast(polars.Float64, strict=False))
    for name in names:
        bad = (text[name].is_not_null() & numbers[name].is_null()).arg_true()
        if len(bad):
            row = int(bad[0])
            raise DataError(
                f"{path}: line {lines.numbers[row + layout.header]}, column '{name}' holds "
                f"{frame[name][row][:40]!a}; a number or an empty cell is needed"
            )
    return np.stack(
        [numbers[name].fill_null(float("nan")).to_numpy().astype(np.float64) for name in names],
        axis=1,
    )


def _load_text(path: Path, name: str) -> NDArray[np.str_]:
    frame, _, _ = _frame(path, [name])
    return np.array(frame[name].fill_null("").to_list(), dtype=np.str_)
