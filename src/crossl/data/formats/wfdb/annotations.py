"""Annotation files (`.atr`) in the MIT format: marks at samples, with a code and perhaps a note.

Source: G. B. Moody, WFDB Applications Guide, annot(5),
https://physionet.org/physiotools/wag/annot-5.htm. Words of 16 bits, low byte first: a code in the
high 6 bits, in the low 10 the samples since the mark before. Codes above 58 say more of a mark.
Every step takes at least one word, so that reading ends whatever the file holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from crossl.errors import DataError

COMMENT, RHYTHM = 22, 28
"""Codes of a comment, and of a change of rhythm."""

SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
_RESOLUTION = re.compile(r"## time resolution: (\d{1,12}(?:\.\d*)?)")


@dataclass(frozen=True)
class Mark:
    """One annotation.

    Attributes:
        sample: number of the sample, at the rate of the file.
        code: what it is: a beat, a comment, a change of rhythm.
        note: its text; often empty.
    """

    sample: int
    code: int
    note: str


@dataclass(frozen=True)
class Marks:
    """A file of annotations.

    Attributes:
        marks: in the file's order, without those that describe the file.
        rate_hz: at which samples are numbered; None where that is the record's.
        ended: the file ends with its mark of the end.
    """

    marks: tuple[Mark, ...]
    rate_hz: float | None
    ended: bool


def read_marks(path: Path) -> Marks:
    """Read all annotations of a file.

    Raises:
        DataError: the file ends within an annotation.
    """
    data = path.read_bytes()
    found: list[Mark] = []
    sample, at, ended = 0, 0, False
    while at + 2 <= len(data):
        word = data[at] | data[at + 1] << 8
        code, low = word >> 10, word & 1023
        at += 2
        if word == 0:
            ended = True
            break
        if code == SKIP:
            # 32 bits, the high half first
            _whole(path, data, at + 4)
            halves = data[at + 2 : at + 4] + data[at : at + 2]
            sample, at = sample + int.from_bytes(halves, "little", signed=True), at + 4
        elif code == AUX:
            size = low & 255
            _whole(path, data, at + size)
            note = _text(data[at : at + size])
            if found:
                found[-1] = Mark(found[-1].sample, found[-1].code, note)
            at += size + size % 2
        elif code not in (NUM, SUB, CHN):
            sample += low
            found.append(Mark(sample, code, ""))
    if not ended and at != len(data):
        _whole(path, data, at + 2)
    return _described(found, ended=ended)


def _whole(path: Path, data: bytes, end: int) -> None:
    if end > len(data):
        raise DataError(
            f"{path}: is cut off: an annotation extends to byte {end} and the file has "
            f"{len(data)}; fetch it again"
        )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8").strip("\0 ")
    except UnicodeDecodeError:
        return data.decode("latin1").strip("\0 ")


def _described(found: list[Mark], *, ended: bool) -> Marks:
    """Take out comments at sample 0 that describe the file: its rate, its own codes."""
    marks, rate_hz, inside = [], None, False
    for mark in found:
        note = mark.note
        if mark.code == COMMENT and mark.sample == 0 and (inside or note.startswith("##")):
            told = _RESOLUTION.match(note)
            if told and rate_hz is None:
                rate_hz = float(told[1]) or None
            if note.startswith("## annotation type definitions"):
                inside = True
            elif note.startswith("## end of definitions"):
                inside = False
        elif mark.code:
            marks.append(mark)
    return Marks(tuple(marks), rate_hz, ended)
