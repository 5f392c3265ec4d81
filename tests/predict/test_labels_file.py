"""Labels of a recording from a file, whose times may be dates without a zone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.recording import Recording, Signal
from crossl.data.recording_windows import CutWindows
from crossl.errors import DataError
from crossl.predict.labels_file import LabelRow, labels_of
from crossl.predict.sight import Seen

from .conftest import ACC, SPEC

BEGAN_S = 1729987200.0
"""2024-10-27 02:00 in Madrid, where at 3 it was 2 again."""


def seen(zone: str) -> Seen:
    signals = {"acc": Signal(np.zeros((100, 3), np.float32), 20.0)}
    cut = cut_recording(Recording("ann", "", {"acc": ACC}, signals), (ACC,), (), SPEC)
    windows = CutWindows(cut, (ACC,), SPEC)
    truth = np.array([""] * len(cut.start_s))
    return Seen("ann", "", windows, 0.0, 5.0, BEGAN_S, zone, truth)


def test_times_of_an_hour_that_came_twice_are_of_the_first_and_that_is_said() -> None:
    rows = [
        LabelRow(2, "2024-10-27 01:59:00", "2024-10-27 02:01:00", "rest"),
        LabelRow(3, "2024-10-27 02:01:00", "2024-10-27 02:02:00", "run"),
        LabelRow(4, "2024-10-27 02:00:00+01:00", "2024-10-27 03:00:00", "run"),
    ]
    notes: list[str] = []
    found = labels_of(rows, seen("Europe/Madrid"), ("rest", "run"), where=Path("a.csv"),
                      note=notes.append)  # fmt: skip
    assert [(one.start_s, one.end_s) for one in found] == [(-60, 60), (60, 120), (3600, 7200)]
    assert notes == [
        "a.csv: 3 times, first 2024-10-27 02:01:00 (line 2), came twice in Europe/Madrid, where "
        "clocks were put back, and count as of the first time; write the zone behind a time, such "
        "as +01:00, where that is wrong"
    ]
    notes.clear()
    labels_of(rows[:2], seen(""), ("rest", "run"), where=Path("a.csv"), note=notes.append)
    assert notes == []


def test_times_that_spring_skips_are_refused_with_their_line() -> None:
    skipped = LabelRow(4, "2024-03-31 01:50:00", "2024-03-31 02:30:00", "rest")
    with pytest.raises(
        DataError,
        match=r"^a.csv: line 4: '2024-03-31 02:30:00' did not exist in Europe/Madrid, where clocks "
        r"were put forward; correct it, or write the zone behind it, such as \+01:00$",
    ):
        labels_of([skipped], seen("Europe/Madrid"), ("rest",), where=Path("a.csv"))
    # of a zone without that hour, of none, or with the offset behind it, it is a time
    told = LabelRow(4, "2024-03-31 01:50:00+01:00", "2024-03-31 02:30:00+01:00", "rest")
    for row, zone in ((skipped, "Africa/Lagos"), (skipped, ""), (told, "Europe/Madrid")):
        found = labels_of([row], seen(zone), ("rest",), where=Path("a.csv"))
        assert found[0].end_s - found[0].start_s == 2400


def test_a_time_with_a_zone_is_refused_where_the_recording_has_none() -> None:
    def row(offset: str) -> list[LabelRow]:
        return [LabelRow(2, f"2024-10-27 00:00{offset}", f"2024-10-27 00:01{offset}", "rest")]

    with pytest.raises(
        DataError,
        match=r"^a.csv: line 2: '2024-10-27 00:00\+02:00' has a zone, and the recording's dates "
        "have none; leave it out, or say by `timezone:` in its mapping which zone they are of$",
    ):
        labels_of(row("+02:00"), seen(""), ("rest",), where=Path("a.csv"))
    # they count as UTC, which may be said
    assert labels_of(row("Z"), seen(""), ("rest",), where=Path("a.csv")) == labels_of(
        row(""), seen(""), ("rest",), where=Path("a.csv")
    )
