"""Labels of a recording from a file: a CSV table with a row for each stretch of time.

Columns `start`, `end` and `label` (or `start_s` and `end_s`), and `session` where there are several
recordings. Times are seconds on the recording's clock, or dates.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crossl.data.own.mapping.zones import times_shown
from crossl.data.recording import LabelInterval
from crossl.errors import DataError, counted
from crossl.files import not_a_file
from crossl.predict.sight import Seen

STARTS, ENDS = ("start", "start_s"), ("end", "end_s")
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class LabelRow:
    """A row of the file, as it stands there.

    Attributes:
        line: of the file.
        start: when it begins.
        end: when it ends.
        label: what it was.
        session: of which recording; empty where the file does not say.
    """

    line: int
    start: str
    end: str
    label: str
    session: str = ""


def read_label_rows(path: Path) -> list[LabelRow]:
    """Read the rows of a file of labels; those without a label are left out.

    Raises:
        DataError: it cannot be read, or has other columns.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: {not_a_file(path)}; a CSV file with start, end and label is needed"
        )
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: is larger than 64 MiB; a table of a few stretches is needed")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not text; a CSV file in UTF-8 is needed") from None
    if not text.strip():
        raise DataError(f"{path}: is empty; a CSV file with start, end and label is needed")
    first = text.splitlines()[0]
    mark = max(",;\t", key=first.count)
    reader = csv.DictReader(text.splitlines(), delimiter=mark)
    try:
        found = list(_numbered(reader))
    except csv.Error as error:  # such as a cell of 131,072 letters
        raise DataError(f"{path}: line {reader.line_num}: is not CSV ({error})") from None
    names = {str(name).strip().lower(): name for name in reader.fieldnames or ()}
    start, end = (next((names[one] for one in some if one in names), None)
                  for some in (STARTS, ENDS))  # fmt: skip
    if start is None or end is None or "label" not in names:
        got = ", ".join(names) or "none"
        raise DataError(f"{path}: has columns {got:.200}; start, end and label are needed")
    rows = []
    for number, row in found:
        values = [str(row.get(name) or "").strip() if name else "" for name in
                  (start, end, names["label"], names.get("session"))]  # fmt: skip
        if values[2]:
            rows.append(LabelRow(number, *values))
    if not rows:
        raise DataError(f"{path}: has no row with a label; at least one is needed")
    return rows


def _numbered(reader: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row with the number of its line."""
    for row in reader:
        yield reader.line_num, row


def labels_of(
    rows: Sequence[LabelRow],
    seen: Seen,
    names: Sequence[str],
    *,
    where: Path,
    note: Callable[[str], None] = lambda _sentence: None,
) -> list[LabelInterval]:
    """Return the stretches of one recording, in order; neighbours of one label are joined.

    Args:
        rows: of the file.
        seen: the recording.
        names: of classes that are known.
        where: the file.
        note: called with how times were read that came twice, as clocks were put back.

    Raises:
        DataError: an unknown label, a time that is none or that its zone never had, or stretches
            of two labels overlap.
    """
    found: list[tuple[float, float, str, str]] = []
    twice: list[str] = []
    for row in rows:
        if row.session and row.session != seen.session:
            continue
        place = f"{where}: line {row.line}"
        if row.label not in names:
            raise DataError(f"{place}: label '{row.label:.60}' is unknown to the classifier; it "
                            f"knows {', '.join(names)}")  # fmt: skip
        (start_s, start_twice), (end_s, end_twice) = (
            _seconds(text, seen, place) for text in (row.start, row.end)
        )
        twice += [f"{text} (line {row.line})" for text, again in
                  ((row.start, start_twice), (row.end, end_twice)) if again]  # fmt: skip
        if not end_s > start_s:
            raise DataError(f"{place}: ends at {row.end} and starts at {row.start}; the end must "
                            "come later")  # fmt: skip
        found.append((start_s, end_s, row.label, place))
    if twice:
        note(
            f"{where}: {counted(len(twice), 'time')}, first {twice[0]}, came twice in {seen.zone}, "
            "where clocks were put back, and count as of the first time; write the zone behind a "
            "time, such as +01:00, where that is wrong"
        )
    out: list[LabelInterval] = []
    for start_s, end_s, label, place in sorted(found):
        if out and start_s < out[-1].end_s - 1e-6:
            if out[-1].label != label:
                raise DataError(
                    f"{place}: '{label}' begins before '{out[-1].label}' ends; at any time there "
                    "is one label"
                )
            before = out.pop()
            out.append(LabelInterval(before.start_s, max(end_s, before.end_s), label))
        else:
            out.append(LabelInterval(start_s, end_s, label))
    return out


def _seconds(text: str, seen: Seen, place: str) -> tuple[float, bool]:
    """Read a time, on the clock of a recording, and tell whether that showed it twice."""
    try:
        value = float(text)
    except ValueError:
        return _of_date(text, seen, place)
    if not abs(value) < 1e11:
        raise DataError(f"{place}: '{text:.40}' is not a time; seconds or a date are needed")
    return value, False


def _of_date(text: str, seen: Seen, place: str) -> tuple[float, bool]:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{place}: '{text:.40}' is not a time; seconds or a date are needed"
        ) from None
    if seen.origin_unix_s is None:
        raise DataError(f"{place}: is a date, and nothing tells when the recording was made; "
                        "give seconds from its start")  # fmt: skip
    if date.tzinfo is not None:
        if not seen.zone and date.utcoffset():
            raise DataError(
                f"{place}: '{text:.40}' has a zone, and the recording's dates have none; leave it "
                "out, or say by `timezone:` in its mapping which zone they are of"
            )
        return date.timestamp() - seen.origin_unix_s, False
    times = times_shown(date, seen.zone) if seen.zone else 1
    if not times:
        raise DataError(
            f"{place}: '{text:.40}' did not exist in {seen.zone}, where clocks were put forward; "
            "correct it, or write the zone behind it, such as +01:00"
        )
    zoned = date.replace(tzinfo=ZoneInfo(seen.zone) if seen.zone else UTC)
    return zoned.timestamp() - seen.origin_unix_s, times == 2
