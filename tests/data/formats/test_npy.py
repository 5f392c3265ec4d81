"""NumPy arrays: streams and columns, the longer axis is time, no pickle, damaged files."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossl.data.formats import open_file
from crossl.data.formats.npy import as_table
from crossl.errors import DataError

WIDE = np.arange(12.0).reshape(3, 4)


def test_an_archive_has_a_stream_per_array(tmp_path):
    np.savez(tmp_path / "a.npz", eeg=WIDE, t=np.arange(4), what=np.array(["a", "b", "", "a"]),
             rate=50, cube=np.zeros((2, 2, 2)))  # fmt: skip
    content = open_file(tmp_path / "a.npz")
    assert [(s.name, s.columns, s.length) for s in content.streams] == [
        ("eeg", ("0", "1", "2"), 4), ("t", ("0",), 4), ("what", ("0",), 4)]  # fmt: skip
    assert content.about == {"left_out": ["rate ()", "cube (2, 2, 2)"]}
    np.testing.assert_array_equal(content.stream("eeg").load(["2", "0"]), WIDE.T[:, [2, 0]])
    assert content.stream("what").load_text("0").tolist() == ["a", "b", "", "a"]
    with pytest.raises(DataError, match="array 'what', column '0' holds <U1; numbers are needed"):
        content.stream("what").load(["0"])


def test_fields_and_times_are_columns(tmp_path):
    rows = np.array([("2024-01-01T00:00:00.5", 1.0, 3.0), ("2024-01-01", np.nan, np.nan)],
                    dtype=[("when", "M8[ms]"), ("x", "f4"), ("code", "f8")])  # fmt: skip
    np.save(tmp_path / "a.npy", rows)
    stream = open_file(tmp_path / "a.npy").stream(None)
    assert stream.columns == ("when", "x", "code")
    np.testing.assert_equal(stream.load(["x", "when"]), [[1, 1704067200.5], [np.nan, 1704067200]])
    assert stream.load_text("code").tolist() == ["3", ""]


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_codes_that_are_labels_stay_apart(tmp_path, kind):
    np.save(tmp_path / "a.npy", np.array([1000001, 1000002, 0.1, np.nan, 3], dtype=kind))
    stream = open_file(tmp_path / "a.npy").stream(None)
    assert stream.load_text("0").tolist() == ["1000001", "1000002", "0.1", "", "3"]


@given(st.integers(1, 50), st.integers(1, 50))
def test_the_longer_axis_is_time(rows, columns):
    found = as_table(np.zeros((rows, columns)))
    if rows * columns < 2:
        assert found is None
    else:
        assert found.shape == (max(rows, columns), min(rows, columns))


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None]), allow_pickle=True)
    np.savez(tmp_path / "b.npz", bad=np.array([object(), None]), allow_pickle=True)
    for name in ("a.npy", "b.npz"):
        with pytest.raises(DataError, match="holds pickled Python objects, which could run code"):
            open_file(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "head"])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, name, damage):
    (np.save if name == "a.npy" else np.savez_compressed)(tmp_path / name, np.arange(999.0))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes({
        "truncated": data[: len(data) // 2], "empty": b"", "text": b"t,x\n1,2\n" * 9,
        "head": data[:8] + b"\xff" * 40 + data[48:],
    }[damage])  # fmt: skip
    message = "begins with|cannot be read as NumPy"
    if (damage, name) in {("truncated", "a.npy"), ("head", "a.npy")}:
        message = "is damaged or cut off|holds pickled"
    with pytest.raises(DataError, match=rf"a.np[yz]: ({message})") as told:
        open_file(tmp_path / name)
    assert "\n" not in str(told.value)


def test_arrays_that_are_no_signals_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", rate=50)
    with pytest.raises(DataError, match=r"with more than one value, got rate \(\)"):
        open_file(tmp_path / "a.npz")


def test_times_that_are_none_are_missing(tmp_path):
    times = np.array(["2024-01-01T00:00:00", "NaT", "2024-01-01T00:00:02"], dtype="M8[ms]")
    np.save(tmp_path / "a.npy", times)
    got = open_file(tmp_path / "a.npy").stream(None).load(["0"])[:, 0]
    np.testing.assert_equal(got - 1704067200, [0, np.nan, 2])


def test_complex_arrays_are_named_and_refused_when_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", acc=WIDE, z=WIDE + 1j)
    content = open_file(tmp_path / "a.npz")
    assert content.about == {"left_out": ["z (3, 4) complex"]}
    with pytest.raises(DataError, match=r"'z' is not a signal, got z \(3, 4\) complex"):
        content.stream("z")


def test_text_without_letters_is_no_signal(tmp_path):
    np.savez(tmp_path / "a.npz", acc=WIDE, text=np.full(99, ""))
    with zipfile.ZipFile(tmp_path / "a.npz") as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as changed:
        for name, part in parts.items():
            changed.writestr(name, part.replace(b"'<U1'", b"'<U0'"))
    assert [one.name for one in open_file(tmp_path / "a.npz").streams] == ["acc"]
