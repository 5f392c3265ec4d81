"""MATLAB files of both kinds: the same arrays, the same streams; damaged files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from crossl.data.formats import open_file
from crossl.errors import DataError

ACC = np.random.default_rng(0).normal(size=(100, 3))
TIME = np.arange(100.0)


def write_old(path):
    arrays = {"data": {"acc": ACC, "name": "anna"}, "t": TIME[:, None], "eeg": ACC.T, "rate": 50.0}
    cells = np.array([1, "a"], dtype=object)
    savemat(path, {**arrays, "cells": cells}, do_compression=True)
    return path


def write_new(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_group("data")
        # MATLAB writes a matrix of (100, 3) as a data set of (3, 100)
        arrays = ("data/acc", ACC), ("t", TIME[:, None]), ("eeg", ACC.T), ("rate", np.ones((1, 1)))
        for name, array in arrays:
            file.create_dataset(name, data=array.T, chunks=True, compression="gzip").attrs[
                "MATLAB_class"] = np.bytes_("double")  # fmt: skip
        for name, kind in (("name", "char"), ("cells", "cell")):
            data.create_dataset(name, data=np.zeros((4, 1), dtype=np.uint16)).attrs[
                "MATLAB_class"] = np.bytes_(kind)  # fmt: skip
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")
    return path


@pytest.mark.parametrize("write", [write_old, write_new])
def test_both_kinds_give_the_same_streams(tmp_path, write):
    content = open_file(write(tmp_path / "a.mat"))
    assert {s.name: (s.columns, s.length) for s in content.streams} == {
        "data.acc": (("0", "1", "2"), 100),
        "t": (("0",), 100),
        "eeg": (("0", "1", "2"), 100),
    }
    np.testing.assert_array_equal(content.stream("data.acc").load(["0", "1", "2"]), ACC)
    np.testing.assert_array_equal(content.stream("eeg").load(["2"])[:, 0], ACC[:, 2])
    np.testing.assert_array_equal(content.stream("t").load(["0"])[:, 0], TIME)
    cells = ["data.cells (cell (1, 4))"], ["cells (cell of 2 with int, text)"]
    assert sorted(content.about["left_out"]) == [*cells[write is write_old], "rate ()"]


@pytest.mark.parametrize("write", [write_old, write_new])
@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty", "text"])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, write, damage):
    path = write(tmp_path / "a.mat")
    data = path.read_bytes()
    path.write_bytes({
        "truncated": data[: len(data) // 2], "empty": b"", "text": b"t,x\n1,2\n" * 99,
        "overwritten": data[:600] + b"\xff\x00\xfe\x01" * 64 + data[856:],
    }[damage])  # fmt: skip
    proof = {"truncated"} | ({"overwritten"} if write is write_old else set())
    message = r"is damaged or cut off \(.*\); fetch it" if damage in proof else "cannot be read as"
    with pytest.raises(DataError, match=f"a.mat: {message}") as told:
        open_file(path)
    assert "\n" not in str(told.value)


def test_a_file_without_signals_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"name": "anna", "rate": 5.0})
    with pytest.raises(DataError, match="holds no array of one or two dimensions"):
        open_file(tmp_path / "a.mat")


# --- what crashes scipy: it believes types and counts


def edited(path, find, offset, new):
    """Write the structure of `write_old` unpacked, with some bytes replaced."""
    savemat(path, {"data": {"acc": ACC, "name": "anna"}, "t": TIME[:, None]})
    data = bytearray(path.read_bytes())
    at = data.index(find) + offset
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


NAME = b"\x01\x00\x01\x00t\x00\x00\x00"
FLAGS = b"\x06\x00\x00\x00\x08\x00\x00\x00\x06\x00\x00\x00"


@pytest.mark.parametrize(("find", "offset", "new", "message"), [
    (NAME, 8, b"\x0b", "holds an element of type 11"),
    (NAME, 8, b"\x0e", "holds an element of type 14"),
    (NAME, 8, b"\xff\xff", "holds an element of type 65535|longer than the one around"),
    (FLAGS, 9, b"\x08", "an array of 2 parts holds 1"),  # complex, without an imaginary part
    (FLAGS, 8, b"\x02", "does not name its fields"),
    (FLAGS, 8, b"\x01", r"an array of \d+ parts holds 1"),
    (FLAGS, 0, b"\x0c", "does not state its class"),
    (FLAGS, 20, b"\xff\xff\xff\x7f", "longer than the one around it"),
    (b"\x05\x00\x04\x00\x05\x00\x00\x00", 4, b"\xff\xff\xff\x7f", "does not name its fields"),
])  # fmt: skip
def test_what_elements_say_of_themselves_is_checked(tmp_path, find, offset, new, message):
    path = edited(tmp_path / "a.mat", find, offset, new)
    with pytest.raises(DataError, match=f"a.mat: .*({message})"):
        open_file(path)


def test_nests_beyond_sense_are_refused(tmp_path):
    cell = np.array(1.0)
    for _ in range(60):
        outer = np.empty(1, dtype=object)
        outer[0] = cell
        cell = outer
    savemat(tmp_path / "a.mat", {"cells": cell})
    with pytest.raises(DataError, match=r"a.mat: cannot be read as MATLAB: it is nested deeper"):
        open_file(tmp_path / "a.mat")


def test_cells_structures_and_complex_numbers_are_named_with_what_is_in_them(tmp_path):
    many = np.zeros((1, 2), dtype=[("acc", object), ("fs", object)])
    savemat(tmp_path / "a.mat", {"acc": ACC, "z": ACC + 1j, "sess": many,
                                 "trials": np.array([ACC, "a"], dtype=object)})  # fmt: skip
    content = open_file(tmp_path / "a.mat")
    assert [stream.name for stream in content.streams] == ["acc"]
    assert sorted(content.about["left_out"]) == [
        "sess (structure array of 2 with fields acc, fs)",
        "trials (cell of 2 with (100, 3) float64, text)", "z (100, 3) complex",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"a.mat: 'z' is not a signal, got z \(100, 3\) complex"):
        content.stream("z")


LABELS = ["rest", "", "walk", "walking"] * 25


def write_old_texts(path):
    savemat(path, {"acc": ACC, "label": np.array(LABELS, dtype=object)})
    return path


def write_new_texts(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("acc", data=ACC.T)
        cell = file.create_dataset("label", (1, len(LABELS)), dtype=h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        for number, text in enumerate(LABELS):
            codes = np.array([[ord(letter)] for letter in text] or [0, 0], dtype=np.uint16)
            one = file.create_dataset(f"#refs#/{number}", data=codes)
            one.attrs["MATLAB_class"] = np.bytes_("char")
            if not text:
                one.attrs["MATLAB_empty"] = 1
            cell[0, number] = one.ref
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")
    return path


@pytest.mark.parametrize("write", [write_old_texts, write_new_texts])
def test_a_cell_of_texts_is_a_column_of_labels(tmp_path, write):
    content = open_file(write(tmp_path / "a.mat"))
    assert {one.name: one.length for one in content.streams} == {"acc": 100, "label": 100}
    stream = content.stream("label")
    assert stream.load_text("0").tolist() == LABELS
    assert "left_out" not in content.about
