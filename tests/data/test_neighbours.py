"""Neighbours: windows of one recording in order, across gaps and appended segments."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossl.data.contract import fit_store
from crossl.data.neighbours import Places, neighbours
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import Signal
from crossl.data.windows import WindowSpec
from crossl.errors import DataError


def brute_force(store, rows, offsets):
    """Look for each window among all."""
    out = np.full((len(rows), len(offsets)), -1)
    for i, row in enumerate(rows):
        for j, offset in enumerate(offsets):
            wanted_s = store.start_s[row] + offset * store.spec.stride_s
            same = (store.recording == store.recording[row]) & (
                np.abs(store.start_s - wanted_s) < store.spec.stride_s / 10
            )
            out[i, j] = np.flatnonzero(same)[0] if same.any() else -1
    return out


def gappy(made, subject, gaps, *, seconds=30.0, start_s=0.0, seed=0):
    """Record with stretches in which no sensor ran."""
    rng, signals = np.random.default_rng(seed), {}
    for m in (made.acc, made.heart):
        values = rng.normal(size=(round(seconds * m.rate_hz), len(m.channels))).astype(np.float32)
        for begin, end in gaps:
            values[round(begin * m.rate_hz) : round(end * m.rate_hz)] = np.nan
        signals[m.name] = Signal(values, m.rate_hz, start_s)
    return made.recording(subject, signals=signals, labels=())


@pytest.fixture
def store(tmp_path, made):
    recordings = [
        gappy(made, "S1", [(8, 13)]),
        made.recording("S2", session="a"),
        gappy(made, "S2", [(0, 4), (9, 10), (20, 26)], start_s=1000.25),
        made.recording("S3", seconds=2.0),
    ]
    return made.write(tmp_path / "store", recordings)


def test_neighbours_are_those_that_a_search_through_all_windows_finds(store):
    rows, offsets = np.arange(len(store)), [-7, -2, -1, 0, 1, 2, 5, 1000, -1000]
    found = neighbours(store, rows, offsets)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, brute_force(store, rows, offsets))
    np.testing.assert_array_equal(found[:, 3], rows)
    assert (found[-1] == [-1, -1, -1, rows[-1], -1, -1, -1, -1, -1]).all()


def test_no_window_moves_up_across_a_gap(store):
    edge = int(np.flatnonzero(store.start_s[store.recording == 0] == 6.0)[0])
    assert store.start_s[edge + 1] == 13.0
    assert neighbours(store, np.array([edge]), [1, 6, 7]).tolist() == [[-1, -1, edge + 1]]


@pytest.mark.parametrize("stride_s", [0.1, 1 / 3, 0.7])
def test_strides_that_binary_numbers_cannot_hold_are_counted_right(tmp_path, made, stride_s):
    spec = WindowSpec(window_s=2.0, stride_s=stride_s)
    recordings = [gappy(made, "S1", [(8, 13)], seconds=60.0, start_s=1e6 / 3)]
    store = made.write(tmp_path / "store", recordings, spec=spec)
    rows = np.arange(len(store))
    np.testing.assert_array_equal(
        neighbours(store, rows, [-1, 1, 3]), brute_force(store, rows, [-1, 1, 3])
    )


def read_made(made, subject, gaps):
    yield gappy(made, subject, gaps)


def open_made(made, *people):
    card = Card("made", "Made up", "Numbers.", "none", "none", "none", (made.acc, made.heart),
                ("rest", "walk"), WindowSpec(window_s=2.0, stride_s=1.0))  # fmt: skip
    return Dataset(card, tuple(Part(who, partial(read_made, made, who, g)) for who, g in people))


def test_recordings_of_appended_segments_are_recordings_of_their_own(tmp_path, made):
    out = tmp_path / "store"
    first, more = open_made(made, ("S1", [(8, 13)])), open_made(made, ("S2", []), ("S3", [(0, 9)]))
    prepare_store(first, out, plan_for(first, "made"))
    store = prepare_store(more, out, plan_for(more, "made"), append=True)
    assert len(store.manifest["segments"]) == 2
    rows, offsets = np.arange(len(store)), [-6, -1, 0, 1, 6]
    found = neighbours(store, rows, offsets)
    np.testing.assert_array_equal(found, brute_force(store, rows, offsets))
    edge = int(np.flatnonzero(store.subject == "S2")[0])
    assert found[edge - 1, 3] == found[edge, 1] == -1


def test_masks_negative_rows_and_no_rows_are_taken_as_numpy_takes_them(store):
    mask = np.zeros(len(store), dtype=bool)
    mask[3] = True
    np.testing.assert_array_equal(neighbours(store, mask, [1]), [[4]])
    assert neighbours(store, np.array([-1]), [-1, 0, 1]).tolist() == [[-1, len(store) - 1, -1]]
    assert neighbours(store, np.array([], dtype=np.int64), [0, 1]).shape == (0, 2)
    assert neighbours(store, np.array([3]), []).shape == (1, 0)
    with pytest.raises(IndexError):
        neighbours(store, np.array([len(store)]), [0])


def test_a_part_of_a_stride_is_refused(store):
    with pytest.raises(DataError, match=r"offsets: got \[0.5\]; whole numbers of strides"):
        neighbours(store, np.array([0]), [0.5])


def test_a_view_of_a_store_has_the_same_neighbours(store, made):
    view = fit_store(store, [made.acc], window_s=2.0, calibration=None).store
    rows = np.arange(len(store))
    np.testing.assert_array_equal(neighbours(view, rows, [1]), neighbours(store, rows, [1]))


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_steps_are_strides_from_the_first_window(gaps):
    recording = np.concatenate([np.full(len(g), i) for i, g in enumerate(gaps)])
    start_s = np.concatenate([7.5 * i + 0.3 * np.cumsum(g) for i, g in enumerate(gaps)])
    places = Places.of(recording, start_s, 0.3)
    expected = np.concatenate([np.cumsum(g) - g[0] for g in gaps])
    np.testing.assert_array_equal(places.step, expected)
    assert (np.diff(places.key) > 0).all()


def test_windows_out_of_order_are_refused():
    with pytest.raises(DataError, match="windows: are not sorted by recording and time"):
        Places.of(np.zeros(2, dtype=np.int64), np.array([1.0, 0.0]), 1.0)
