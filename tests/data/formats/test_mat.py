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
