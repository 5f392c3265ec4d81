"""Tables of timelines: CSV and Parquet hold the same, EDF+ is read by readers of EDF."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from crossl.data.formats import open_file
from crossl.predict.edf_annotations import annotations_edf
from crossl.predict.sight import Seen
from crossl.predict.tables import columns_of, csv_pieces, parquet_bytes
from crossl.predict.timeline import Stretch, Timeline

Make = Callable[..., tuple[Seen, Timeline]]


def rows_of(line: Timeline, rows: int = 4096) -> list[dict[str, str]]:
    text = b"".join(csv_pieces(line, rows=rows)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_says_when_what_how_sure_by_what_and_why_not(timeline: Make) -> None:
    _, line = timeline(without=("ecg",), gap_s=(10.0, 14.0))
    rows = rows_of(line)
    assert list(rows[0]) == [
        "start_time", "end_time", "start_s", "end_s", "label", "truth", "probability_rest",
        "probability_run", "present_acc", "present_ecg", "reason",
    ]  # fmt: skip
    assert len(rows) == len(line)
    first = rows[0]
    assert first["start_time"] == "2024-06-01T12:00:00.000+02:00"
    assert first["end_time"] == "2024-06-01T12:00:02.000+02:00"
    assert (first["start_s"], first["end_s"], first["truth"]) == ("0", "2", "rest")
    assert (first["present_acc"], first["present_ecg"], first["reason"]) == ("true", "false", "")
    assert float(first["probability_rest"]) == pytest.approx(line.outputs[0, 0], rel=1e-5)
    gap = next(row for row in rows if row["reason"])
    assert gap["label"] == gap["truth"] == gap["probability_rest"] == ""
    assert rows_of(line, rows=5) == rows


def test_what_is_not_known_is_empty_or_no_column(timeline: Make) -> None:
    _, line = timeline(labelled=False, dated=False)
    rows = rows_of(line)
    assert "truth" not in rows[0]
    assert rows[0]["start_time"] == rows[0]["end_time"] == ""
    assert rows[3]["start_s"] == "3"


def test_parquet_holds_the_same_with_types_and_the_zone(timeline: Make) -> None:
    pl = pytest.importorskip("polars", reason="the extra `io` is not installed")
    _, line = timeline(gap_s=(10.0, 14.0))
    frame = pl.read_parquet(io.BytesIO(parquet_bytes(line)))
    assert frame.columns == columns_of(line)
    assert frame["start_time"].dtype == pl.Datetime("ms", "Europe/Madrid")
    assert frame["probability_run"].dtype == pl.Float32
    assert frame["present_acc"].dtype == pl.Boolean
    rows = rows_of(line)
    assert [one or "" for one in frame["label"]] == [row["label"] for row in rows]
    assert [one or "" for one in frame["reason"]] == [row["reason"] for row in rows]
    assert [t.isoformat(timespec="milliseconds") for t in frame["end_time"]] == [
        row["end_time"] for row in rows
    ]
    assert frame["probability_run"].null_count() == int((~line.window).sum())
    _, bare = timeline(dated=False, labelled=False)
    frame = pl.read_parquet(io.BytesIO(parquet_bytes(bare)))
    assert frame["start_time"].null_count() == len(bare)
    local = replace(bare, origin_unix_s=0.0)
    frame = pl.read_parquet(io.BytesIO(parquet_bytes(local)))
    assert frame["start_time"][1] == datetime(1970, 1, 1, 0, 0, 1)


def test_annotations_are_read_back_by_our_reader(timeline: Make, tmp_path: Path) -> None:
    seen, line = timeline(gap_s=(10.0, 14.0))
    said = list(line.stretches())
    path = tmp_path / "ann.edf"
    path.write_bytes(annotations_edf(said, begin_s=seen.begin_s, began=line.when(seen.begin_s),
                                     patient="ann"))  # fmt: skip
    content = open_file(path)
    assert [Stretch(one.start_s, one.end_s, one.label) for one in content.labels] == said
    assert content.streams == ()


def test_annotations_are_read_back_by_another_library(tmp_path: Path) -> None:
    edfio = pytest.importorskip("edfio", reason="edfio is not installed")
    said = [Stretch(1000.0 + 10 * n, 1010.0 + 10 * n, f"Sömn {n}") for n in range(900)]
    path = tmp_path / "many.edf"
    began = datetime(2024, 6, 1, 23, 59, 58, 250000)
    path.write_bytes(annotations_edf(said, begin_s=1000.0, began=began, patient="jürgen x"))
    edf = edfio.read_edf(path)
    assert edf.num_data_records > 1
    assert edf.signals == ()
    assert edf.startdatetime.replace(microsecond=0) == began.replace(microsecond=0)
    assert edf.patient.code == "j_rgen_x"
    found = [(one.onset, one.duration, one.text) for one in edf.annotations]
    assert len(found) == 900
    # edfio counts onsets from the first record, whose time has the part of a second
    assert [text for *_, text in found] == [one.label for one in said]
    assert {duration for _, duration, _ in found} == {10.0}
    assert np.diff([onset for onset, *_ in found]) == pytest.approx(10.0)


def test_annotations_without_a_date_or_of_a_year_that_edf_cannot_write(tmp_path: Path) -> None:
    for began in (None, datetime(1970, 1, 1), datetime(2085, 1, 1)):
        path = tmp_path / "x.edf"
        said = [Stretch(0.0, 2.5, "a\x14b" + "c" * 5000)]
        path.write_bytes(annotations_edf(said, begin_s=0.0, began=began, patient=""))
        assert path.read_bytes()[168:176] == b"01.01.85"
        (label,) = open_file(path).labels
        assert label.label.startswith("a bccc")
        assert (label.start_s, label.end_s) == (0.0, 2.5)


def test_no_annotation_at_all_is_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "none.edf"
    path.write_bytes(annotations_edf([], begin_s=0.0, began=None, patient="ann"))
    content = open_file(path)
    assert (content.labels, content.streams) == ((), ())
