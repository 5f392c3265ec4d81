"""`recordings.csv`: a row per recording and modality, for those who keep such a table.

Columns: `subject`, `session`, `modality`, `file`, `columns`, `unit`, `rate_hz`; where needed
`stream`, `clock`, `clock_unit`, `timezone`, `offset_s`, `device`, `channels`,
`resample`. Names within a cell are separated by blanks, or by `|` where they have blanks. A row
whose modality is `labels` names one column (a label per sample) or three: start, end and label of
a table of intervals. A row without a file says that there is none: the modality is absent.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping as Rows
from pathlib import Path
from typing import Any

from crossl.data.own.mapping.schema import Mapping, validate
from crossl.errors import DataError, nearest

NEEDED = ("subject", "modality", "file", "columns")
OPTIONAL = (
    "session", "unit", "rate_hz", "stream", "clock", "clock_unit", "timezone", "offset_s", "device",
    "channels", "resample",
)  # fmt: skip
LABELS = "labels"


def read_rows(path: Path) -> Mapping:
    """Read and check `recordings.csv`.

    Raises:
        DataError: a column or cell is missing or unknown, or rows of one modality contradict.
    """
    modalities: dict[str, dict[str, Any]] = {}
    said: dict[str, int] = {}
    files: dict[str, dict[str, Any]] = {}
    recordings: dict[tuple[str, str], dict[str, Any]] = {}
    for line, row in _rows(path):
        where = f"{path}: line {line}"
        key = (row["subject"], row["session"] or "1")
        recording = recordings.setdefault(key, {"subject": key[0], "session": key[1], "files": {}})
        name = row["modality"]
        if row["file"]:
            entry = _entry(where, line, row, files)
            recording["files"][entry["name"]] = row["file"]
            if name == LABELS:
                continue
            if name in entry["signals"]:
                raise DataError(f"{where}: '{name}' is a duplicate for this recording")
            stream = {"stream": row["stream"]} if row["stream"] else {}
            entry["signals"][name] = {"columns": _names(row["columns"]), **stream}
        elif name == LABELS or not (row["unit"] and row["rate_hz"] and row["columns"]):
            continue  # absent; what it is, other rows tell
        modality = _modality(where, row)
        before = modalities.setdefault(name, modality)
        _refuse_other(where, name, modality, (before, said.setdefault(name, line)))
    _refuse_bare(path, recordings)
    values = {
        "name": path.resolve().parent.name,
        "modalities": modalities,
        "files": list(files.values()),
        "recordings": list(recordings.values()),
    }
    try:
        return validate(values, where=str(path))
    except DataError as error:
        names = [file["name"] for file in files.values()]
        raise DataError(
            re.sub(r"\bfiles\.(\d+)", lambda found: names[int(found[1])], str(error))
        ) from None


def _refuse_bare(path: Path, recordings: Rows[tuple[str, str], dict[str, Any]]) -> None:
    for (subject, session), recording in recordings.items():
        if not recording["files"]:
            raise DataError(
                f"{path}: subject {subject}, session {session} has no file in any row; remove its "
                "rows"
            )


def _refuse_other(
    where: str, name: str, modality: dict[str, Any], first: tuple[dict[str, Any], int]
) -> None:
    before, line = first
    for what in modality:
        if modality[what] != before[what]:
            raise DataError(
                f"{where}: '{name}' has {what} {modality[what]}; line {line} has {before[what]}, "
                "and all rows of it must agree"
            )


def _entry(
    where: str, line: int, row: Rows[str, str], files: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return what is known of a row's file; rows of one file and clock share it."""
    labels = _names(row["columns"]) if row["modality"] == LABELS else []
    if len(labels) not in (0, 1, 3):
        raise DataError(
            f"{where}: labels name {len(labels)} columns; allowed are one, or start, end and label"
        )
    kind = "\t".join(row[key] for key in ("file", "subject", "session", *_FILE_KEYS))
    kind += "\tintervals" if len(labels) == 3 else ""
    entry = files.setdefault(kind, {"name": f"line {line}", "signals": {}})
    if len(labels) == 3:
        intervals = dict(zip(("start", "end", "label"), labels, strict=True))
        entry["intervals"] = {**intervals, "unit": row["clock_unit"] or "s"}
        return _given(entry, row, ("timezone", "offset_s"))
    if labels:
        entry["label"] = labels[0]
    return _given(entry, row, _FILE_KEYS)


def _given(entry: dict[str, Any], row: Rows[str, str], keys: tuple[str, ...]) -> dict[str, Any]:
    entry.update({key: row[key] for key in keys if row[key]})
    return entry


_FILE_KEYS = ("clock", "clock_unit", "timezone", "offset_s")


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(path, header)
        out = [(reader.line_num, _row(f"{path}: line {reader.line_num}", header, cells))
               for cells in reader if any(cell.strip() for cell in cells)]  # fmt: skip
    except csv.Error as error:
        line = reader.line_num
        raise DataError(f"{path}: line {line} is not a row of a table ({error})") from None
    if not out:
        raise DataError(f"{path}: has no row; one a recording and modality is needed")
    return out


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in (*NEEDED, *OPTIONAL):
            raise DataError(f"{path}: column '{name}'; {nearest(name, (*NEEDED, *OPTIONAL))}")
    for name in NEEDED:
        if name not in header:
            raise DataError(f"{path}: has no column '{name}'; needed are {', '.join(NEEDED)}")


def _row(where: str, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise DataError(f"{where} has {len(cells)} cells; the first line has {len(header)}")
    row = dict.fromkeys((*NEEDED, *OPTIONAL), "")
    row |= {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    for name in NEEDED if row["file"] else ("subject", "modality"):
        if not row[name]:
            raise DataError(f"{where}: '{name}' is empty; it is needed")
    return row


def _names(cell: str) -> list[str]:
    names = cell.split("|") if "|" in cell else cell.split()
    return [name.strip() for name in names]


def _modality(where: str, row: Rows[str, str]) -> dict[str, Any]:
    for key in ("unit", "rate_hz"):
        if not row[key]:
            raise DataError(f"{where}: '{key}' is empty; a modality needs it")
    if row["resample"].lower() not in ("", "yes", "no", "true", "false"):
        raise DataError(f"{where}: resample is '{row['resample']}'; allowed are yes and no")
    return {
        "channels": _names(row["channels"] or row["columns"]),
        "unit": row["unit"],
        "rate_hz": row["rate_hz"],
        "device": row["device"],
        "resample": row["resample"].lower() in ("yes", "true"),
    }
