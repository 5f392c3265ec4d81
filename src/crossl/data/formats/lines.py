"""Lines of a table of text: which count, what number each had, where they end."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

NEWLINE, QUOTE = ord("\n"), ord('"')
COMMENTS = ("#", "%")
SEP_LINE = re.compile(rb'"?sep=(\\t|[^\n"])"?[;,\t ]*\n?')
"""Excel's first line, `sep=;`."""


@dataclass(frozen=True)
class Lines:
    """The text without comments, blank lines left out or quoted, and where each line stood.

    Attributes:
        text: every line with its end.
        numbers: of the lines in the file, from 1.
        ended: the last line of the file has an end; without, the file may be cut off.
        cut: says of a last line that was cut off and left out; empty for none.
    """

    text: bytes
    numbers: NDArray[np.int64]
    ended: bool = True
    cut: str = ""

    def from_line(self, count: int) -> Lines:
        """Leave out the first lines."""
        text = self.text
        for _ in range(count):
            text = text.partition(b"\n")[2]
        return replace(self, text=text, numbers=self.numbers[count:])

    def without_ends(self, sign: str) -> Lines:
        r"""Leave out a sign that lines end with.

        Examples:
            >>> Lines(b"1,2;\n3,4\n", np.arange(2)).without_ends(";").text
            b'1,2\n3,4\n'
        """
        pattern = rb"(?m)" + re.escape(sign.encode()) + rb"[ \t]*$"
        return replace(self, text=re.sub(pattern, b"", self.text))


def plain_ends(data: bytes) -> bytes:
    """Let lines end by a newline alone, also where they end by a carriage return alone."""
    data = data.replace(b"\r\n", b"\n")
    return data if b"\n" in data else data.replace(b"\r", b"\n")


def split_sep(data: bytes) -> tuple[bytes, str]:
    """Split off Excel's first line; returns the rest, and the separator that it tells.

    Examples:
        >>> split_sep(b"sep=;" + bytes([10]) + b"1;2")
        (b'1;2', ';')
    """
    found = SEP_LINE.match(data)
    if found is None or (found.end() < len(data) and not found[0].endswith(b"\n")):
        return data, ""
    told = found[1].decode("utf-8", "replace")
    return data[found.end() :], "\t" if told == "\\t" else told


def without_comments(
    data: bytes,
    comments: tuple[str, ...] = COMMENTS,
    *,
    first: int = 1,
    blanks_from: Literal["", "first", "top"] = "",
) -> Lines:
    """Drop comment lines and blank ones, keeping what number each line had.

    Args:
        data: the text.
        comments: signs that a comment begins with.
        first: number of the first line.
        blanks_from: blank lines are kept, as empty quotes, from the first line that is neither
            blank nor a comment, or from the top where no comment precedes it; none where empty.
    """
    ended = data.endswith(b"\n")
    if data and not ended:
        data += b"\n"
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero((raw == NEWLINE) & ~quoted(raw)) + 1
    starts = np.r_[0, ends[:-1]].astype(np.int64)[: len(ends)]
    head = raw[starts]
    comment = np.zeros(len(starts), dtype=np.bool_)
    for sign in (sign.encode() for sign in comments):
        for at in np.flatnonzero(head == sign[0]) if len(sign) > 1 else ():
            comment[at] = data[starts[at] : starts[at] + len(sign)] == sign
        if len(sign) == 1:
            comment |= head == sign[0]
    blank = head == NEWLINE
    for at in np.flatnonzero(head == ord(" ")):
        blank[at] = data[starts[at] : ends[at]].strip(b" \n") == b""
    keep = ~comment & ~blank
    if keep.all():
        return Lines(data, np.arange(first, first + len(keep)), ended)
    if not blanks_from:
        kept = raw[np.repeat(keep, ends - starts)].tobytes()
        return Lines(kept, np.flatnonzero(keep) + first, ended)
    begin, *_, end = np.r_[np.flatnonzero(keep), np.flatnonzero(keep)]
    if blanks_from == "top" and not comment[:begin].any():
        begin = 0
    rows = np.arange(begin, end + 1)
    rows = rows[~comment[rows]]
    texts = (b'""\n' if blank[row] else data[starts[row] : ends[row]] for row in rows)
    return Lines(b"".join(texts), rows + first, ended)


def quoted(raw: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which bytes stand inside quotes."""
    quotes = raw == QUOTE
    if not quotes.any():
        return np.zeros(len(raw), dtype=bool)
    return np.asarray(np.cumsum(quotes) % 2 == 1)
