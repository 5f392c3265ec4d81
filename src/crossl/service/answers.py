"""Answers: a timeline as JSON, CSV, Parquet or Arrow, whichever was asked for."""

from __future__ import annotations

import io
import json
from math import isfinite
from typing import Any

from crossl.data.boundary import reading
from crossl.data.formats import needs
from crossl.errors import DataError
from crossl.predict.sight import Seen
from crossl.predict.tables import csv_pieces, parquet_bytes
from crossl.predict.timeline import Timeline

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
KINDS = (JSON, CSV, ARROW, PARQUET)
"""What answers may be, the first where nothing is asked for."""


def kind_asked(accept: str) -> str:
    """Choose the kind of answer that a header `Accept` names first.

    Raises:
        DataError: it names none that there is.

    Examples:
        >>> kind_asked("text/csv, */*"), kind_asked("")
        ('text/csv', 'application/json')
    """
    asked = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for one in asked:
        if one in KINDS:
            return one
        if one in ("", "*/*", "application/*", "text/html"):
            return JSON
    raise DataError(f"Accept: is '{accept:.80}'; allowed are {', '.join(KINDS)}")


def answer_of(lines: list[tuple[Seen, Timeline]], kind: str) -> bytes:
    """Write timelines.

    Args:
        lines: of each recording; a table holds one.
        kind: one of `KINDS`.

    Raises:
        DataError: several recordings, which a table does not tell apart.
        PackageError: polars is not installed, which Parquet and Arrow need.
    """
    if kind == JSON:
        recordings = [recording_json(seen, line) for seen, line in lines]
        return json.dumps({"recordings": recordings}, allow_nan=False).encode()
    if len(lines) != 1:
        raise DataError(f"Accept: {kind} holds one recording, got {len(lines)}; ask for {JSON}")
    line = lines[0][1]
    if kind == CSV:
        return b"".join(csv_pieces(line))
    table = parquet_bytes(line)
    if kind == PARQUET:
        return table
    polars, file = needs("polars"), io.BytesIO()
    with reading("answer", "Parquet"):
        polars.read_parquet(io.BytesIO(table)).write_ipc_stream(file, compression="uncompressed")
    return file.getvalue()


def recording_json(seen: Seen, line: Timeline) -> dict[str, Any]:
    """Return a timeline as JSON values: what it is of, and its rows."""
    return {
        "subject": line.subject,
        "session": line.session,
        "began": _date(line, seen.begin_s),
        "zone": line.zone,
        "unseen": list(seen.unseen),
        "notes": list(seen.notes),
        "rows": [row_json(line, row) for row in range(len(line))],
    }


def row_json(line: Timeline, row: int) -> dict[str, Any]:
    """Return one window, or stretch without, as JSON values; null for what is not known."""
    start_s, end_s = float(line.start_s[row]), float(line.end_s[row])
    outputs = line.outputs[row].tolist()
    told = {
        "start_time": _date(line, start_s),
        "end_time": _date(line, end_s),
        "start_s": round(start_s, 6),
        "end_s": round(end_s, 6),
        "label": str(line.label[row]) or None,
        "value" if line.kind == "numbers" else "probability": {
            name: round(x, 6) if isfinite(x) else None
            for name, x in zip(line.names, outputs, strict=True)
        },
        "present": dict(zip(line.modalities, line.present[row].tolist(), strict=True)),
        "reason": str(line.reason[row]) or None,
    }
    beside = {"truth": line.truth if line.has_truth else None, "set": line.sets,
              "unusable": line.unusable}  # fmt: skip
    return told | {
        name: str(texts[row]) or None for name, texts in beside.items() if texts is not None
    }


def _date(line: Timeline, time_s: float) -> str | None:
    date = line.when(time_s)
    return date.isoformat(timespec="milliseconds") if date is not None else None
