"""Recognise a table of intervals by the names of its columns."""

from __future__ import annotations

import re

import numpy as np

from crossl.data.formats import FileContent, Stream
from crossl.data.own.init.columns import LABEL, text_columns
from crossl.data.own.init.draft import quoted
from crossl.data.own.mapping.guess import clean
from crossl.data.own.mapping.people import subject_columns
from crossl.data.own.mapping.times import guess_dates

BEGIN = re.compile(r"start.*|begin.*|onset.*|from|t0|von|anfang.*|debut|inicio")
END = re.compile(r"end.*|stop.*|offset.*|to|t1|until|finish.*|bis|ende.*|fin")
DURATION = re.compile(r"dur.*|length.*|dauer.*|lange")


def describe_intervals(content: FileContent) -> tuple[list[str], dict[str, str]] | None:
    """Return the lines for a table of intervals, and more keys of its text; None if it is none.

    Args:
        content: of the file.
    """
    if len(content.streams) != 1:
        return None
    stream = content.streams[0]
    found: dict[str, str] = {}
    names = (("start", BEGIN), ("end", END), ("duration", DURATION), ("label", LABEL))
    for key, pattern in names:
        column = next((c for c in stream.columns if pattern.fullmatch(clean(c))), None)
        if column is not None and column not in found.values():
            found[key] = column
    if "end" in found:
        found.pop("duration", None)
    people = list(subject_columns(content))[:1]
    texts = [c for c in text_columns(stream) if c not in found.values() and c not in people]
    if "label" not in found and len(texts) == 1:
        found["label"] = texts[0]
    if not {"start", "label"} <= set(found) or not {"end", "duration"} & set(found):
        return None
    unit, keys = _unit(stream, found["start"])
    pairs = ", ".join(f"{key}: {quoted(column)}" for key, column in found.items())
    lines = [f"    subject_column: {quoted(who)}   # guessed: whose a row is" for who in people]
    lines.append(f"    intervals: {{{pairs}, unit: {unit}}}   # guessed by names; correct me")
    return lines, keys


def _unit(stream: Stream, start: str) -> tuple[str, dict[str, str]]:
    if start in text_columns(stream):
        _, date_format = guess_dates(start, stream.load_text(start))  # type: ignore[misc]
        return "datetime", {"date_format": date_format} if date_format else {}
    first = float(np.nanmax(stream.load([start])))
    unit = "ns" if first >= 1e17 else "us" if first >= 1e14 else "ms" if first >= 1e11 else "s"
    return "ms" if clean(start).endswith("_ms") else unit, {}
