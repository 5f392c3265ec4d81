"""A timeline as a table: CSV that anything reads, Parquet with types."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import needs
from crossl.predict.timeline import Timeline

PREFIX = {"classes": "probability_", "labels": "probability_", "numbers": "value_"}
"""What the columns of outputs begin with, by the kind of task."""


def columns_of(timeline: Timeline) -> list[str]:
    """Name the columns, in order."""
    truth = ["truth"] if timeline.has_truth else []
    sets = ["set"] if timeline.sets is not None else []
    unusable = ["unusable"] if timeline.unusable is not None else []
    outputs = [f"{PREFIX[timeline.kind]}{name}" for name in timeline.names]
    present = [f"present_{name}" for name in timeline.modalities]
    return ["start_time", "end_time", "start_s", "end_s", "label", *truth, *sets, *outputs,
            *present, *unusable, "reason"]  # fmt: skip


def csv_pieces(timeline: Timeline, *, rows: int = 4096) -> Iterator[bytes]:
    """Write a timeline as CSV, some rows at a time.

    Times are ISO 8601, with the offset of the zone where it is known; cells of what is not known
    are empty.

    Args:
        timeline: to write.
        rows: of a piece.

    Yields:
        UTF-8.
    """
    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerow(columns_of(timeline))
    yield head.getvalue().encode()
    for begin in range(0, len(timeline), rows):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in range(begin, min(begin + rows, len(timeline))):
            writer.writerow(_cells(timeline, row))
        yield text.getvalue().encode()


def _cells(timeline: Timeline, row: int) -> list[str]:
    times = (float(timeline.start_s[row]), float(timeline.end_s[row]))
    dates = [date.isoformat(timespec="milliseconds") if date else ""
             for date in map(timeline.when, times)]  # fmt: skip
    truth = [str(timeline.truth[row])] if timeline.has_truth else []
    sets = [] if timeline.sets is None else [str(timeline.sets[row])]
    unusable = [] if timeline.unusable is None else [str(timeline.unusable[row])]
    outputs = ["" if np.isnan(x) else f"{x:.6g}" for x in timeline.outputs[row].tolist()]
    present = [str(one).lower() for one in timeline.present[row].tolist()]
    return [*dates, *(number_text(time) for time in times), str(timeline.label[row]), *truth,
            *sets, *outputs, *present, *unusable, str(timeline.reason[row])]  # fmt: skip


def number_text(value: float) -> str:
    """Write seconds to the microsecond, without idle zeros."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def parquet_bytes(timeline: Timeline) -> bytes:
    """Write a timeline as Parquet: times with their zone, text, numbers and truth values.

    Raises:
        PackageError: polars is not installed.
    """
    pl = needs("polars")
    data: dict[str, Any] = {
        "start_time": _dates(pl, timeline, timeline.start_s),
        "end_time": _dates(pl, timeline, timeline.end_s),
        "start_s": timeline.start_s,
        "end_s": timeline.end_s,
        "label": _texts(pl, timeline.label),
        **({"truth": _texts(pl, timeline.truth)} if timeline.has_truth else {}),
        **({"set": _texts(pl, timeline.sets)} if timeline.sets is not None else {}),
    }
    for place, name in enumerate(timeline.names):
        values = pl.Series(timeline.outputs[:, place]).fill_nan(None)
        data[f"{PREFIX[timeline.kind]}{name}"] = values
    for place, name in enumerate(timeline.modalities):
        data[f"present_{name}"] = timeline.present[:, place]
    if timeline.unusable is not None:
        data["unusable"] = _texts(pl, timeline.unusable)
    data["reason"] = _texts(pl, timeline.reason)
    file = io.BytesIO()
    pl.DataFrame(data).write_parquet(file)
    return file.getvalue()


def _texts(pl: Any, texts: NDArray[np.str_]) -> Any:
    return pl.Series([text or None for text in texts.tolist()], dtype=pl.String)


def _dates(pl: Any, timeline: Timeline, times_s: NDArray[np.float64]) -> Any:
    if timeline.origin_unix_s is None:
        return pl.Series([None] * len(times_s), dtype=pl.Datetime("ms"))
    milliseconds = np.round((timeline.origin_unix_s + times_s) * 1000).astype(np.int64)
    dates = pl.Series(milliseconds).cast(pl.Datetime("ms"))
    if not timeline.zone:
        return dates
    return dates.dt.replace_time_zone("UTC").dt.convert_time_zone(timeline.zone)
