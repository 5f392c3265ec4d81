"""Arrays in memory look like a store; batches are tensors of either."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.data.batch import Batch, collate, in_batches
from crossl.data.recording import Modality
from crossl.data.source import ArraySource, as_windows
from crossl.errors import DataError

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 10.0)
HEART = Modality("heart", ("bpm",), "Hz", 2.0)


def source(acc, heart=None, **other):
    signals = {"acc": acc, "heart": heart} | other
    return ArraySource(signals, modalities=[ACC, HEART], window_s=2.0)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 20, 3)), rng.normal(size=(5, 4, 1))


def test_windows_come_back_as_they_were_given(arrays):
    held = source(*arrays)
    rows = np.array([3, 0, 3])
    assert len(held) == 5
    assert held.present.all()
    for name, array in zip(("acc", "heart"), arrays, strict=True):
        got = held.gather_zeroed(rows)[name]
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, array[rows], rtol=1e-6)


def test_a_window_with_a_nan_lacks_the_modality_and_holds_zeros(arrays):
    arrays[0][2, 7, 1] = np.nan
    held = source(*arrays)
    np.testing.assert_array_equal(held.present[:, 0], [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(held.gather_zeroed(np.array([2]))["acc"], np.zeros((1, 20, 3)))
    assert np.isnan(arrays[0][2, 7, 1])


@pytest.mark.parametrize("given", [{"acc": 0, "heart": None}, {"acc": 0}])
def test_a_modality_that_is_none_or_left_out_is_absent(arrays, given):
    signals = {k: None if v is None else arrays[0] for k, v in given.items()}
    held = ArraySource(signals, modalities=[ACC, HEART], window_s=2.0)
    np.testing.assert_array_equal(held.present, np.tile([True, False], (5, 1)))
    assert held.gather_zeroed(np.arange(2))["heart"].shape == (2, 4, 1)


def test_an_unknown_modality_is_refused(arrays):
    with pytest.raises(DataError, match="modality 'acd' is unknown; did you mean 'acc'"):
        source(*arrays, acd=arrays[0])


@pytest.mark.parametrize("shape", [(5, 21, 3), (5, 20, 2), (5, 20), (5, 20, 3, 1)])
def test_an_array_of_another_shape_is_refused(shape):
    with pytest.raises(DataError, match=r"'acc': array has shape .*; allowed is \(n, 20, 3\)"):
        source(np.zeros(shape))


def test_infinite_values_are_refused(arrays):
    arrays[0][0, 0, 0] = -np.inf
    with pytest.raises(DataError, match="'acc': array holds infinite values, or too large"):
        source(*arrays)


def test_different_numbers_of_windows_are_refused(arrays):
    with pytest.raises(DataError, match="differ in number of windows, got 'acc' 5, 'heart' 4"):
        source(arrays[0], arrays[1][:4])


def test_no_array_at_all_is_refused():
    with pytest.raises(DataError, match="arrays: no modality is given; at least one"):
        source(None)


def test_a_store_and_arrays_of_its_windows_give_the_same_batch(tmp_path, made):
    store = made.write(tmp_path / "store")
    rows = np.arange(len(store))
    held = ArraySource(
        store.gather_zeroed(rows), modalities=store.modalities, window_s=store.window_s
    )
    some = np.array([4, 11, 0])
    one, two = (collate(s, some, store.label) for s in (store, held))
    torch.testing.assert_close(dict(one.signals), dict(two.signals), rtol=0, atol=0)
    torch.testing.assert_close(one.present, two.present)
    torch.testing.assert_close(one.label, torch.from_numpy(store.label[some]))


def test_batches_cover_the_rows_in_order_with_a_smaller_last_one(arrays):
    held, rows = source(*arrays), np.array([4, 2, 0, 1, 3])
    batches = list(in_batches(held, rows, size=2))
    assert [len(b) for b in batches] == [2, 2, 1]
    joined = torch.cat([b.signals["acc"] for b in batches])
    np.testing.assert_array_equal(joined.numpy(), held.gather_zeroed(rows)["acc"])
    assert batches[0].label is None
    assert not list(in_batches(held, rows[:0]))


def test_a_batch_moves_to_a_device_with_all_it_holds(arrays):
    batch = collate(source(*arrays), np.arange(3), np.arange(5))
    moved = batch.to("meta")
    assert isinstance(moved, Batch)
    held = (*moved.signals.values(), moved.present, moved.label)
    assert {tensor.device.type for tensor in held} == {"meta"}
    assert collate(source(*arrays), np.arange(3)).to("meta").label is None


def test_what_a_masked_array_masks_is_missing():
    values = np.ma.masked_array(np.ones((2, 10, 3)), mask=np.zeros((2, 10, 3), dtype=bool))
    values[1, 4, 0] = np.ma.masked
    held = ArraySource({"acc": as_windows("acc", values)}, modalities=(ACC,), window_s=1.0)
    assert held.present[:, 0].tolist() == [True, False]
    assert np.isnan(as_windows("acc", np.ma.masked_array([[[1]]], mask=True))).all()
