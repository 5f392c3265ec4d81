"""EDF+ that holds annotations and no signals, for those who view signals in EDF viewers.

The format is that of Kemp and Olivan (2003), "European data format 'plus' (EDF+)", Clinical
Neurophysiology 114(9), 1755-1761, and https://www.edfplus.info/specs/edfplus.html: one signal
`EDF Annotations`, data records of no duration, each beginning with the time of the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from crossl.predict.timeline import Stretch

RECORD_BYTES = 2048
"""Bytes of annotations in a data record; a longer text makes records longer."""
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
YEARS = range(1985, 2085)
"""What the two digits of a year in the header can mean."""
MOST_TEXT = 300
"""Letters of an annotation."""


def annotations_edf(
    stretches: Iterable[Stretch],
    *,
    begin_s: float,
    began: datetime | None,
    patient: str,
) -> bytes:
    """Write stretches as annotations of an EDF+ file.

    Args:
        stretches: in order.
        begin_s: the time that counts as the start of the file, as stretches tell times.
        began: the same on the clock of the wall; None where nothing tells it.
        patient: code of the subject.

    Returns:
        The whole file. Its header has full seconds: what `began` has beyond is in the annotations.
    """
    dated = began if began is not None and began.year in YEARS else None
    part_s = dated.microsecond / 1e6 if dated is not None else 0.0
    lists = [_list(one.start_s - begin_s + part_s, one.end_s - one.start_s, one.label)
             for one in stretches]  # fmt: skip
    # the time of a record is that of its first sample, and there is none
    clock = f"{_seconds(part_s)}\x14\x14\x00".encode()
    size = max([RECORD_BYTES, *(len(one) + len(clock) for one in lists)])
    size += size % 2
    records = _records(lists, clock, size)
    return _header(dated, patient, len(records), size) + b"".join(records)


def _seconds(value: float) -> str:
    """Write an onset, which has a sign."""
    text = f"{value:+.6f}".rstrip("0").rstrip(".")
    return "+0" if text == "-0" else text


def _list(onset_s: float, duration_s: float, text: str) -> bytes:
    clean = re.sub(r"[\x00-\x1f]", " ", text)[:MOST_TEXT]
    duration = _seconds(duration_s).lstrip("+")
    return f"{_seconds(onset_s)}\x15{duration}\x14{clean}\x14\x00".encode()


def _records(lists: Sequence[bytes], clock: bytes, size: int) -> list[bytes]:
    records, filled = [], clock
    for one in lists:
        if len(filled) + len(one) > size:
            records.append(filled.ljust(size, b"\0"))
            filled = clock
        filled += one
    return [*records, filled.ljust(size, b"\0")]


def _header(began: datetime | None, patient: str, records: int, size: int) -> bytes:
    # 01.01.85 and X stand where a date is not known
    date = f"{began:%d.%m.%y}" if began is not None else "01.01.85"
    time = f"{began:%H.%M.%S}" if began is not None else "00.00.00"
    day = f"{began.day:02d}-{MONTHS[began.month - 1]}-{began.year}" if began is not None else "X"
    whole = [
        ("0", 8),
        (f"{_word(patient)} X X X", 80),
        (f"Startdate {day} X X crossl", 80),
        (date, 8),
        (time, 8),
        ("512", 8),  # bytes of the header: one signal
        ("EDF+C", 44),
        (str(records), 8),
        ("0", 8),  # duration of a record
        ("1", 4),
    ]
    signal = [("EDF Annotations", 16), ("", 80), ("", 8), ("-1", 8), ("1", 8), ("-32768", 8),
              ("32767", 8), ("", 80), (str(size // 2), 8), ("", 32)]  # fmt: skip
    return b"".join(text[:width].ljust(width).encode("ascii") for text, width in [*whole, *signal])


def _word(text: str) -> str:
    """Make one word of ASCII, as subfields of the header are."""
    return re.sub(r"[^!-~]", "_", text)[:60] or "X"
