"""Columns of a table: which are text, which is the label, which are not sensors."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.formats.numbers import CellError
from crossl.data.own.init.draft import quoted
from crossl.data.own.mapping.guess import clean, split_unit
from crossl.data.own.mapping.nosensor import LEAST_SAMPLES, disguise, sift
from crossl.data.own.mapping.people import texts_of
from crossl.data.own.mapping.quantity import quantity_of
from crossl.data.own.mapping.times import guess_dates
from crossl.data.spellings import alike
from crossl.errors import DataError

LABEL = re.compile(
    r"y|label.*|.*_label|activit.*|aktivitat.*|class.*|stage|state|condition|task|phase|"
    r"annotation.*|event|posture|behaviou?r|target|what|was|tatigkeit|klasse|marker_?label|"
    r"attivita|actividad|etiquet\w*|etichett\w*|etat|estado|stato|stade|etapa|classe|clase"
)
AXIS = re.compile(r"(.*_)?[xyz]|[agm][xyz]")
MAX_CLASSES = 50
MAX_CHANGES = 0.5
"""Share of rows that have another value than the one before, up to which text may be a label."""
MAX_BAD = 0.05
"""Share of cells that are not numbers, below which a column is one of numbers all the same."""

DISGUISES = {"ramp": "rises in equal steps", "codes": "holds a few whole numbers, as labels do"}


def text_columns(stream: Stream) -> list[str]:
    """Return the columns that do not hold numbers."""
    out = []
    for column in stream.columns:
        try:
            stream.load([column])
        except DataError:
            out.append(column)
    return out


def bad_cells(stream: Stream, texts: Sequence[str]) -> Iterator[str]:
    """Name the first cell that makes a column of numbers one of text."""
    for column in texts:
        try:
            stream.load([column])
        except CellError as error:
            if error.bad <= MAX_BAD * error.given:
                yield f"    # {quoted(column)} is NOT READ, one cell is not a number: {error}"
        except DataError:
            continue


def label_column(
    contents: Sequence[FileContent], texts: Sequence[str], taken: Sequence[str]
) -> str | None:
    """Find the column with a label per sample: by its name, else by text that repeats.

    Never one that is the same in all files, holds dates, changes from row to row, or is named
    like a clock, counter, person.

    Args:
        contents: files of one kind.
        texts: columns that hold text.
        taken: columns that are something else.
    """
    stream = contents[0].streams[0]
    none = sift(stream.columns)
    free = [c for c in stream.columns if c not in taken]
    # an axis `y` is none of the names that are not sensors
    named = [
        c for c in free
        if LABEL.fullmatch(clean(c)) and none.get(c, "" if clean(c) == "y" else "label") == "label"
    ]  # fmt: skip
    for column in named:
        if 1 < len(_values(contents, column)) <= MAX_CLASSES:
            return column
    for column in texts:
        if column in taken or none.get(column, "label") not in ("label", "trigger"):
            continue
        if _mostly_numbers(stream, column):
            continue
        values = _values(contents, column)
        most = min(MAX_CLASSES, stream.length // 10)
        if _alternates(stream, column) or _dates(column, sorted(values)):
            continue
        if 1 < len(values) <= most:
            return column
    return None


def _alternates(stream: Stream, column: str) -> bool:
    """Tell whether a column changes from row to row, as people or sensors do that share a table."""
    texts = texts_of(stream, column)
    return bool((texts[1:] != texts[:-1]).mean() > MAX_CHANGES) if len(texts) > 1 else False


def _mostly_numbers(stream: Stream, column: str) -> bool:
    """Tell whether a column of text is one of numbers with a few bad cells."""
    try:
        stream.load([column])
    except CellError as error:
        return error.bad <= MAX_BAD * error.given
    except DataError:
        return False
    return True


def _values(contents: Sequence[FileContent], column: str) -> set[str]:
    found: set[str] = set()
    for content in contents[:5]:
        found.update(texts_of(content.streams[0], column).tolist())
    return found - {""}


def _dates(column: str, values: Sequence[str]) -> bool:
    try:
        guess_dates(column, np.array(values[:20], dtype=np.str_))
    except DataError:
        return False
    return True


def spellings(stream: Stream, label: str) -> Iterator[str]:
    """Report labels that may be one; `label_names` makes them one."""
    found = stream.load_text(label).tolist() if stream.load_text is not None else []
    for pair in alike(Counter(sorted(filter(None, found)))):
        names = f"{{{json.dumps(pair.name)}: {json.dumps(pair.other)}}}"
        yield f"    # label '{pair.name}' {pair.why}; if they are one: label_names: {names}"


def _of_nothing(values: NDArray[np.float64], *, named: bool) -> str:
    """Say that a column is empty, or one whole number without a name, as of a person."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "empty"
    one = len(known) > 1 and bool((known == known[0]).all())
    return "one number" if not named and one and known[0] == round(known[0]) else ""


def one_number(contents: Sequence[FileContent], column: str) -> bool:
    """Tell whether a column that measures nothing by its name has one whole number in every file.

    Args:
        contents: files of one kind.
        column: its name.
    """
    if quantity_of(column) is not None:
        return False
    found: set[float] = set()
    for content in contents:
        values = content.streams[0].load([column])[:, 0]
        known = values[np.isfinite(values)]
        if (
            len(values) < LEAST_SAMPLES
            or len(found | set(known[:1])) > 1
            or (known != known[:1]).any()
        ):
            return False
        found.update(known[:1].tolist())
    return bool(found) and all(value == round(value) for value in found)


def sensors_of(
    content: FileContent, stream: Stream, texts: Sequence[str], used: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Part columns into those that may be sensors, and why the others are not used.

    Args:
        content: of the file.
        stream: of one person.
        texts: columns that hold text.
        used: columns that the mapping has already.
    """
    layout = content.about.get("layout")
    names = {c: (layout.names.get(c, c) if layout else c) for c in stream.columns}
    named = bool(content.about.get("header", True)) or bool(layout and layout.names)
    none = sift(list(names.values()), named=named)
    left, why = [], []
    for column in stream.columns:
        if column in used:
            continue
        kind = none.get(names[column], "")
        if not kind and column not in texts:
            values = stream.load([column])[:, 0]
            seen = disguise(values)
            if seen == "codes" and AXIS.fullmatch(clean(split_unit(names[column])[0])):
                seen = ""  # a coarse sensor at rest
            kind = DISGUISES.get(seen, "") or _of_nothing(values, named=named)
        if kind or column in texts:
            why.append(f"{quoted(column)} ({kind or 'text'})")
        else:
            left.append(column)
    return left, why
