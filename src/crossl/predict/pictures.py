"""Timelines as pictures, and the page of a folder of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crossl.errors import counted
from crossl.predict.sight import Seen
from crossl.predict.timeline import Timeline
from crossl.predict.traces import traces_of
from crossl.report.timelines import Band, Line, Picture, page_of, png_of

MOST_NOTES = 5


def picture_of(seen: Seen, line: Timeline) -> bytes:
    """Draw signals, timeline, and what the recording itself says where it says something.

    Returns:
        PNG.
    """
    bands = []
    if line.kind != "numbers":
        bands.append(Band("predicted", list(line.stretches())))
    if line.has_truth:
        bands.append(Band("truth", list(line.stretches(line.truth))))
    said = line.names if line.kind != "labels" else tuple(dict.fromkeys(line.label.tolist()))
    truth = tuple(np.unique(line.truth).tolist()) if line.has_truth else ()
    told = line.names if line.kind == "numbers" else tuple(dict.fromkeys((*said, *truth)))
    session = f", session {seen.session}" if seen.session not in ("", "1") else ""
    return png_of(
        Picture(
            f"{seen.subject}{session}", seen.begin_s, seen.end_s, line.when, traces_of(seen), bands,
            tuple(label for label in told if label), (line.start_s + line.end_s) / 2, line.outputs,
            line.names, line.kind == "classes",
        )
    )  # fmt: skip


def page_of_records(records: Mapping[str, Mapping[str, Any]], *, title: str) -> str:
    """Return the page that shows what a folder has.

    Args:
        records: what is kept of each timeline, by the name of its files.
        title: of the page.
    """
    lines = [_line(name, records[name]) for name in sorted(records)]
    windows = sum(one["windows"] for one in records.values())
    facts = [f"{counted(len(lines), 'recording')}, {counted(windows, 'window')}."]
    return page_of(lines, title=title, facts=facts)


def _line(name: str, told: Mapping[str, Any]) -> Line:
    windows = max(1, told["windows"])
    shares = [(label, f"{count / windows:.0%}") for label, count in told["labels"].items()]
    without = told["seconds_without"]
    began = (told["began"] or "").replace("T", " ")[:19]
    agreement = ""
    if told["agreement"] is not None:
        agreement = (
            f"Of {counted(told['agreement']['windows'], 'window')} that the recording itself "
            f"labels, {told['agreement']['share']:.0%} have the same label."
        )
    return Line(
        name, told["subject"], told["session"],
        f"{began} {told['zone']}".strip(), _duration(told["seconds"]), shares,
        f"{_duration(without)}" if without >= 1 else "",
        [*told["unlabelled"], *told.get("unusable", {})],
        told["sensors"], told["absent"], agreement,
        sorted(told["files"], key=lambda file: (not file.endswith(".png"), file)),
        told["notes"][:MOST_NOTES],
    )  # fmt: skip


def _duration(seconds: float) -> str:
    """Write a duration in the two largest units that it has.

    Examples:
        >>> _duration(59.4), _duration(150), _duration(7500), _duration(200000)
        ('59 s', '2 min 30 s', '2 h 5 min', '2 d 7 h')
    """
    whole = round(seconds)
    for size, unit, rest, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"),
                                    (60, "min", 1, "s")):  # fmt: skip
        if whole >= size:
            more = whole % size // rest
            return f"{whole // size} {unit}" + (f" {more} {small}" if more else "")
    return f"{whole} s"
