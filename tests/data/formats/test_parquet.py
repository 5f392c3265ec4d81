"""Parquet: types, times, text, damaged files."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars
import pytest

from crossl.data.formats import open_file
from crossl.errors import DataError

TIMES = [datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC), datetime(2024, 5, 1, 12, tzinfo=UTC)]


@pytest.fixture
def path(tmp_path):
    frame = polars.DataFrame({
        "when": TIMES, "x": [1.5, None], "n": [3, 4], "on": [True, False],
        "what": ["walk", None], "code": [3.0, float("nan")], "nested": [[1], [2]],
    })  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_columns_and_numbers_are_read(path):
    content = open_file(path)
    stream = content.streams[0]
    assert stream.columns == ("when", "x", "n", "on", "what", "code")
    assert content.about == {"left_out": ["nested"]}
    assert stream.length == 2
    np.testing.assert_equal(stream.load(["n", "x", "on"]), [[3, 1.5, 1], [4, np.nan, 0]])


def test_times_are_seconds_since_1970(path):
    stream = open_file(path).streams[0]
    assert stream.load(["when"])[:, 0].tolist() == [time.timestamp() for time in TIMES]
    assert stream.load_text("when").tolist() == [
        "2024-05-01T12:00:00.250000Z", "2024-05-01T12:00:00.000000Z"]  # fmt: skip


def test_text_is_read_as_text(path):
    stream = open_file(path).streams[0]
    assert stream.load_text("what").tolist() == ["walk", ""]
    assert stream.load_text("code").tolist() == ["3", ""]
    with pytest.raises(
        DataError, match=r"a.parquet: column 'what' holds String; numbers are needed"
    ):
        stream.load(["what"])


def test_codes_that_are_labels_stay_apart(tmp_path):
    frame = polars.DataFrame({"code": [1000001.0, 1000002.0, None]})
    frame.write_parquet(tmp_path / "a.parquet")
    stream = open_file(tmp_path / "a.parquet").streams[0]
    assert stream.load_text("code").tolist() == ["1000001", "1000002", ""]


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty", "text"])
def test_a_damaged_file_is_refused_in_one_sentence(path, damage):
    data = path.read_bytes()
    path.write_bytes({
        "truncated": data[: len(data) // 2], "overwritten": data[:-60] + b"\xff" * 52 + data[-8:],
        "empty": b"", "text": b"t,x\n1,2\n" * 9,
    }[damage])  # fmt: skip
    with pytest.raises(DataError, match=r"a.parquet: cannot be read as Parquet: ") as told:
        open_file(path)
    assert "\n" not in str(told.value)


def test_a_table_without_rows_is_refused(tmp_path):
    polars.DataFrame({"x": []}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has 0 rows and 1 columns; some are needed"):
        open_file(tmp_path / "a.parquet")
