"""Tables of text: `.csv`, `.tsv`, `.txt`, also `.gz` and a zip of a single one, read by polars.

The separator (tab, semicolon, bar, comma, or blanks) is the first of these that stands equally
often in each of the first lines, or what Excel's first line `sep=;` tells. Where it is neither the
comma nor blanks and numbers are written with a comma and none with a point, the comma is the
decimal mark; numbers such as `1.234,5` tell both marks; where all look like `1,234`, or where a
column has `1.234` beside `987`, which may be thousands, the file is refused. Lines that begin with
`#` or `%` are comments. Text is UTF-8, or UTF-16 with its mark.

The first line is a header where it has text above a number, where it has text and no number, or
where its cells count `0,1,2` (a first one may be empty) as pandas names columns. A spelling of a
missing value is not text; a line `0` alone, or above numbers that go on in equal steps, is a
sample. Without a header the columns are `c0`, `c1` and so on. Lines of text above the names, as
devices write them, are left out with a note; a line of units below the names gives the columns'
units. A separator behind the last cell of every line, names aside, is left out.

Blank lines are left out. In a table of one column those before the last sample are samples without
a value; not those above the header, or between comments and the first sample.

Every line must have as many cells as the first. A last row that the end of the file cuts off is
left out and told (`cut_off`); a file that was cut off at the end of a line, or inside a whole
number, looks whole. A `TableFormat` tells what the lines cannot.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import gunzip, read_member
from crossl.data.formats import FileContent, Stream, label_texts, needs
from crossl.data.formats.cut_off import (
    LEAST_ROWS,
    begun_cell,
    lacks_cells,
    widths_of,
    without_last,
)
from crossl.data.formats.layout import Layout, TableFormat, find_layout
from crossl.data.formats.lines import (
    COMMENTS,
    NEWLINE,
    Lines,
    plain_ends,
    quoted,
    split_sep,
    without_comments,
)
from crossl.data.formats.numbers import Written, find_marks, to_numbers
from crossl.data.recording import WARNING
from crossl.errors import DataError

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
AS_FOUND = TableFormat()


def open_file(path: Path, told: TableFormat = AS_FOUND) -> FileContent:
    """Find the columns of a table and count its lines.

    Args:
        path: the file.
        told: what a mapping says of how it is written.

    Raises:
        DataError: not text, damaged, without samples, or lines of other lengths.
    """
    lines, layout = _read(path, told)
    length = len(lines.numbers) - layout.skipped
    if length < 1:
        raise DataError(f"{path}: holds no sample, only the line of names; leave the file out")
    stream = Stream(
        name="",
        columns=layout.columns,
        units=layout.units,
        length=length,
        load=partial(_load, path, told),
        load_text=partial(_load_text, path, told),
    )
    about: dict[str, Any] = {
        "separator": layout.separator,
        "decimal_comma": layout.decimal == ",",
        "header": layout.header,
        "table": _keys(lines, layout),
    }
    notes = _notes(path, lines, layout)
    return FileContent(path, streams=(stream,), about=about | ({"notes": notes} if notes else {}))


def sniff(path: Path) -> dict[str, Any]:
    """Return the keys of a mapping's `table:` block that say how a table is written.

    For `data init`: only what is not the usual, such as lines above the names or a comma for
    decimals with points for thousands. Of text that is not UTF-8 the encoding is a guess. Without
    an encoding they are what an opened table's `about["table"]` has.

    Args:
        path: the file.

    Raises:
        DataError: it is not a table, whatever `table:` says.
    """
    keys: dict[str, Any] = {}
    data = _unpacked(path)
    if data[:2] not in UTF_16:
        try:
            _decoded(path, data, AS_FOUND)
        except DataError:
            keys["encoding"] = "utf-16" if b"\0" in data[:4] else "cp1252"
    return keys | _keys(*_read(path, TableFormat(**keys)))


def _keys(lines: Lines, layout: Layout) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if layout.above:
        keys["skip_lines"] = int(lines.numbers[0]) - 1
    if layout.thousands:
        keys |= {"decimal": layout.decimal, "thousands": layout.thousands}
    elif layout.decimal == "," and layout.separator == ",":
        keys["decimal"] = ","
    if layout.units:
        keys["units_row"] = True
    return keys


def _notes(path: Path, lines: Lines, layout: Layout) -> list[str]:
    notes = []
    if layout.above:
        notes.append(
            f"{path.name}: {layout.above} lines above the names in line {lines.numbers[0]} hold no "
            f"samples; `table: {{skip_lines: {int(lines.numbers[0]) - 1}}}` says so"
        )
    if lines.cut:
        notes.append(f"{WARNING}{path.name}: {lines.cut}")
    return notes


def _read(path: Path, told: TableFormat) -> tuple[Lines, Layout]:
    data = _decoded(path, _unpacked(path), told)
    skipped = 0
    if told.skip_lines:
        skipped = told.skip_lines
        for _ in range(skipped):
            data = data.partition(b"\n")[2]
    rest, separator = split_sep(data)
    if separator:
        skipped, data = skipped + 1, rest
        told = replace(told, delimiter=told.delimiter or separator)
    if data.count(b'"') % 2:
        raise DataError(f"{path}: a quotation mark is never closed; the file is cut off or damaged")
    comments = (told.comment,) if told.comment else COMMENTS
    lines = without_comments(data, comments, first=skipped + 1)
    if not len(lines.numbers):
        raise DataError(f"{path}: is empty; a line of names and lines of samples are needed")
    lines = _without_cut(lines, told)
    table, layout = find_layout(lines, told)
    if len(layout.columns) == 1 and not layout.above and table.text == lines.text:
        start = "first" if layout.header else "top"
        table = without_comments(data, comments, first=skipped + 1, blanks_from=start)  # type: ignore[arg-type]
    body = table.from_line(layout.skipped).text
    decimal, thousands = find_marks(path, body, layout.separator, told)
    layout = replace(layout, decimal=decimal, thousands=thousands)
    _check_widths(path, table, layout)
    packed = path.name.lower().endswith((".gz", ".zip"))  # which have a checksum
    begun = "" if table.ended or packed else begun_cell(table, layout)
    return (_cut(table, begun) if begun else table), layout


def _without_cut(lines: Lines, told: TableFormat) -> Lines:
    """Leave out a last row that has fewer cells than those above, where the file ends inside it."""
    if lines.ended or len(lines.numbers) <= LEAST_ROWS:
        return lines
    table, layout = find_layout(without_last(lines), told)
    if len(layout.columns) == 1 or not len(table.numbers):
        return lines
    lacks = lacks_cells(lines, layout)
    return _cut(lines, lacks) if lacks else lines


def _cut(lines: Lines, why: str) -> Lines:
    said = (
        f"line {lines.numbers[-1]} is cut off ({why}), as the file ends there without a line end; "
        "that row is left out"
    )
    return replace(without_last(lines), ended=True, cut=said)


def _decoded(path: Path, data: bytes, told: TableFormat) -> bytes:
    """Return the text as UTF-8, with plain line ends."""
    encoding = told.encoding or ("utf-16" if data[:2] in UTF_16 else "utf-8-sig")
    try:
        text = data.decode(encoding, "replace" if data[:2] in UTF_16 else "strict")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        cure = (
            "correct `table: {encoding: ...}` in the mapping"
            if told.encoding
            else "save it as UTF-8 where it is whole, or say its `table: {encoding: ...}` in the "
            "mapping, such as cp1252 of Windows"
        )
        raise DataError(
            f"{path}: line {line} holds bytes that are not "
            f"{'UTF-8' if not told.encoding else told.encoding} text ({error.reason}); {cure}"
        ) from None
    data = text.removeprefix("\ufeff").encode("utf-8", "replace")
    if b"\0" in data:
        line = data[: data.index(0)].count(b"\n") + 1
        raise DataError(f"{path}: line {line} holds a zero byte; a table of text is needed")
    return plain_ends(data)


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


def _check_widths(path: Path, lines: Lines, layout: Layout) -> None:
    widths = widths_of(lines, layout.separator)
    wrong = np.flatnonzero(widths != len(layout.columns))
    if len(wrong):
        first = int(wrong[0])
        raw = np.frombuffer(lines.text, dtype=np.uint8)
        ends = np.flatnonzero((raw == NEWLINE) & ~quoted(raw))
        begin = int(ends[first - 1]) + 1 if first else 0
        text = lines.text[begin : ends[first]].decode()
        last = first == len(widths) - 1 and not lines.ended and widths[first] < len(layout.columns)
        why = (
            "so the file is cut off; remove its last line"
            if last
            else "and every line needs as many; where lines above the table are none of it, say "
            "`table: {skip_lines: ...}` in the mapping"
        )
        raise DataError(
            f"{path}: line {lines.numbers[first]} has {widths[first]} cells, got {text[:60]!a}; "
            f"the first line has {len(layout.columns)}, {why}"
        )


def _frame(path: Path, told: TableFormat, names: Sequence[str]) -> Written:
    """Read some columns as text."""
    polars = needs("polars")
    lines, layout = _read(path, told)
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
        skip_lines=layout.skipped,
        columns=wanted,
        infer_schema=False,
        empty_string_is_null=True,
    )
    frame.columns = [layout.columns[at] for at in wanted]
    frame = frame.select(polars.col(names).str.strip_chars())
    return Written(path, frame, lines.numbers[layout.skipped :], layout, told)


def _load(path: Path, told: TableFormat, names: Sequence[str]) -> NDArray[np.float64]:
    return to_numbers(_frame(path, told, names), names)


def _load_text(path: Path, told: TableFormat, name: str) -> NDArray[np.str_]:
    text: list[str] = _frame(path, told, [name]).frame[name].fill_null("").to_list()
    absent = set(told.missing)
    return label_texts(path, name, ["" if cell in absent else cell for cell in text])
