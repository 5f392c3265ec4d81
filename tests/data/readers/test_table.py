"""Text tables: strict reading, published checksums, rows on a clock."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.data.readers.table import (
    Published,
    check_codes,
    git_blob_note,
    grid_places,
    label_runs,
    on_grid,
    published_note,
    read_table,
    recorded_only,
)
from crossl.data.recording import Signal
from crossl.errors import DataError

SHARED_PATH = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LARGEST = float(np.finfo(np.float32).max)
NUMBERS = st.floats(-LARGEST, LARGEST) | st.just(np.nan)
TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1)
)


def text_of(rows, separator=" "):
    return "".join(separator.join(repr(value) for value in row) + "\n" for row in rows)


@SHARED_PATH
@given(rows=TABLES, separator=st.sampled_from([" ", "\t", "  "]))
def test_every_number_comes_back_to_the_bit(tmp_path, rows, separator):
    path = tmp_path / "t.dat"
    path.write_text(text_of(rows, separator))
    np.testing.assert_array_equal(read_table(path, len(rows[0])), np.array(rows))


@SHARED_PATH
@given(rows=TABLES, share=st.floats(0.01, 0.99))
def test_no_file_that_ends_inside_a_line_is_read(tmp_path, rows, share):
    path = tmp_path / "t.dat"
    text = text_of(rows)
    cut = text[: max(1, int(share * len(text)))]
    path.write_text(cut)
    if cut.endswith("\n"):
        assert len(read_table(path, must_end_with_newline=True)) == cut.count("\n")
    else:
        with pytest.raises(DataError, match=r"t.dat: ends inside a line; it is cut off"):
            read_table(path, must_end_with_newline=True)


@pytest.mark.parametrize(("text", "message"), [
    ("1 2\n3\n", "line 2 has 1 columns, expected 2"),
    ("1 2\n3 4 5\n", "line 2 has 3 columns, expected 2"),
    ("1 2 3\n4 5 6\n", "line 1 has 3 columns, expected 2"),
    ("1 2\n\n3 four\n", "line 3, column 2 is 'four', not a number"),
    ("1 2\n3 0x1\n", "line 2, column 2 is '0x1', not a number"),
    ("1 2\n3 -inf\n", "line 2, column 2 is '-inf', not a number"),
    ("1 2\n3 1e999\n", "line 2, column 2 is '1e999', not a number"),
    ("1 2\n3 1e39\n", "line 2, column 2 is '1e39', not a number a signal can hold"),
    ("1 2\n# 3\n", "line 2, column 1 is '#', not a number"),
    ("1 2\n3 1_0\n", "it cannot be read as numbers"),
])  # fmt: skip
def test_a_line_that_is_no_row_of_numbers_is_named(tmp_path, text, message):
    path = tmp_path / "t.dat"
    path.write_text(text)
    with pytest.raises(DataError, match=f"t.dat: is not in the official format; {message}"):
        read_table(path, 2)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "t.dat"
    path.write_bytes(b"1 2\n3 \xff\x00\xfe\n")
    with pytest.raises(DataError, match=r"line 2, column 2 is '\\xff\\x00\\xfe', not a number"):
        read_table(path)


@pytest.mark.parametrize(("text", "message"), [
    (None, "does not exist; the official archive has it"),
    ("", "is empty; the official archive has it whole"),
    (" \n\n", "holds no line of numbers"),
])  # fmt: skip
def test_a_file_without_numbers_is_refused(tmp_path, text, message):
    path = tmp_path / "t.dat"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=f"t.dat: {message}"):
        read_table(path)


def test_a_header_and_commas_are_understood(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,NaN\n3,4\n")
    table = read_table(path, 2, delimiter=",", header_lines=1)
    np.testing.assert_array_equal(table, [[1, np.nan], [3, 4]])
    path.write_text("a,b\n1,\n")
    with pytest.raises(DataError, match="line 2, column 2 is '', not a number"):
        read_table(path, 2, delimiter=",", header_lines=1)
    path.write_text("a,b\n")
    with pytest.raises(DataError, match="holds no line of numbers"):
        read_table(path, 2, delimiter=",", header_lines=1)


# --- what was published


def test_a_published_file_gets_no_note_and_others_get_one(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(b"hello\n")
    right = hashlib.sha256(b"hello\n").hexdigest()
    assert published_note(path, Published(right, 6)) == ()
    assert "6 bytes, not 7" in published_note(path, Published(right, 7))[0]
    assert "its SHA-256 is " + right in published_note(path, Published("0" * 64, 6))[0]
    assert "a.dat is not a published file" in published_note(path, None)[0]


def test_a_git_blob_is_known_by_its_hash(tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"hello\n")
    assert git_blob_note(path, "ce013625030ba8dba906f756967f9e9ca394464a") == ()
    assert "is not the published file" in git_blob_note(path, "0" * 40)[0]
    assert "is not a published file" in git_blob_note(path, None)[0]


# --- on the clock

PLACES = st.lists(st.integers(1, 3), max_size=60).map(lambda steps: np.cumsum([0, *steps]))


@given(place=PLACES, rate_hz=st.sampled_from([30.0, 50.0, 100.0]), start_ms=st.integers(0, 10**7))
def test_rows_find_their_place_whatever_rows_were_lost(place, rate_hz, start_ms):
    times_s = np.round(start_ms + place * 1000 / rate_hz) / 1000
    np.testing.assert_array_equal(grid_places("t", times_s, rate_hz), place)


@given(place=PLACES, values=st.lists(NUMBERS.map(np.float32), min_size=61, max_size=61))
def test_values_are_moved_and_never_made_up(place, values):
    column = np.array(values[: len(place)], dtype=np.float64)[:, None]
    out = on_grid(place, column)
    np.testing.assert_array_equal(out[place], column.astype(np.float32))
    empty = np.setdiff1d(np.arange(len(out)), place)
    assert np.isnan(out[empty]).all()


@pytest.mark.parametrize(("times_s", "message"), [
    ([0.0, 0.01, 0.015], "row 3 has timestamp 0.015 s"),
    ([0.0, 0.01, 0.01], "row 3 has timestamp 0.01 s"),
    ([0.0, 0.02, 0.01], "row 3 has timestamp 0.01 s"),
    ([0.0, np.nan, 0.02], "row 2 has timestamp nan s"),
    ([0.0, 0.01, 1e9], "row 3 has timestamp 1000000000 s"),
])  # fmt: skip
def test_a_timestamp_off_the_grid_is_named(times_s, message):
    with pytest.raises(DataError, match=f"a.dat: {message}; rows lie 0.01 s apart"):
        grid_places("a.dat", np.array(times_s), 100.0)


@given(place=PLACES, codes=st.lists(st.integers(0, 2), min_size=61, max_size=61))
def test_label_intervals_say_what_every_row_said(place, codes):
    codes = np.array(codes[: len(place)], dtype=np.float64)
    names = {1: "one", 2: "two"}
    said = np.zeros(place[-1] + 1)
    last = 0.0
    for interval in label_runs(place, codes, names, rate_hz=50.0, start_s=0.0):
        assert last <= interval.start_s < interval.end_s
        last = interval.end_s
        begin, end = round(interval.start_s * 50), round(interval.end_s * 50)
        said[begin:end] = {"one": 1, "two": 2}[interval.label]
    np.testing.assert_array_equal(said[place], codes)
    assert not said[np.setdiff1d(np.arange(len(said)), place)].any()


def test_an_unknown_code_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a.dat: row 2 has label 3; allowed are 0, 1"):
        check_codes(tmp_path / "a.dat", np.array([0.0, 3.0]), {0: "null", 1: "walking"})
    with pytest.raises(DataError, match=r"row 1 has label nan"):
        check_codes(tmp_path / "a.dat", np.array([np.nan]), {0: "null"})


def test_a_signal_without_a_whole_sample_is_left_out_with_a_note():
    half = np.array([[np.nan, 1], [1, np.nan]], dtype=np.float32)
    whole = np.ones((2, 2), dtype=np.float32)
    kept, notes = recorded_only({"a": Signal(half, 50.0), "b": Signal(whole, 50.0)})
    assert list(kept) == ["b"]
    assert notes == ("a holds no sample",)
