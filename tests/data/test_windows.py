"""Cutting windows: an obvious, slow reference against the code, and the edges one by one."""

from __future__ import annotations

import math
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.cutting import cut_recording
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import (
    WindowSpec,
    fill_short_gaps,
    label_windows,
    window_starts,
)
from crossl.data.write import write_store
from crossl.errors import DataError

CLASSES = ("rest", "walk", "run")


# --- the reference: one window, one sample at a time


def sample_value(values, i, longest_gap):
    """Return sample i, interpolated in a short gap, None in a long one; and if it was recorded."""
    good = [not np.isnan(row).any() for row in values]
    if good[i]:
        return values[i].astype(float), True
    left, right = i, i
    while left >= 0 and not good[left]:
        left -= 1
    while right < len(good) and not good[right]:
        right += 1
    if right - left - 1 > longest_gap + 1e-6:
        return None, False
    if left < 0:
        return values[right].astype(float), False
    if right == len(good):
        return values[left].astype(float), False
    share = (i - left) / (right - left)
    return (1 - share) * values[left].astype(float) + share * values[right].astype(float), False


def window_content(signal, start_s, samples, spec):
    """Return the samples of a window, or None where the modality is absent."""
    first = round((start_s - signal.start_s) * signal.rate_hz)
    gap = spec.max_gap_s * signal.rate_hz
    length, whole = len(signal.values), np.flatnonzero(~np.isnan(signal.values).any(axis=1))
    before, after = max(0, -first), max(0, first + samples - length)
    room = max(gap, 1) + 1e-6 if gap > 0 else 0
    if before and (not len(whole) or before + whole[0] > room):
        return None
    if after and (not len(whole) or after + length - 1 - whole[-1] > room):
        return None
    found = []
    for i in range(first, first + samples):
        value, recorded = sample_value(signal.values, min(max(i, 0), length - 1), gap)
        found.append((value, recorded and 0 <= i < length))
    if any(value is None for value, _ in found):
        return None
    if sum(recorded for _, recorded in found) < spec.min_coverage * samples - 1e-6:
        return None
    return np.array([value for value, _ in found])


def window_label(labels, start_s, spec):
    """Return the index of the class that fills most of a window, or -1."""
    seconds = [0.0] * len(CLASSES)
    for one in labels:
        if one.label in CLASSES:
            shared = min(one.end_s, start_s + spec.window_s) - max(one.start_s, start_s)
            seconds[CLASSES.index(one.label)] += max(shared, 0.0)
    most = max(seconds)
    enough = most / spec.window_s >= spec.min_label_share - 1e-9
    return seconds.index(most) if enough else -1


def reference_windows(recordings, modalities, spec):
    """Return (subject, start, label, [content or None by modality]) of every window."""
    out = []
    for recording in recordings:
        k, length = 0, recording.end_s - recording.start_s
        while k * spec.stride_s + spec.window_s <= length + 1e-6 * spec.stride_s:
            start_s = k * spec.stride_s + recording.start_s
            k += 1
            contents = []
            for modality in modalities:
                signal = recording.signals.get(modality.name)
                samples = round(spec.window_s * modality.rate_hz)
                contents.append(signal and window_content(signal, start_s, samples, spec))
            if any(content is not None for content in contents):
                label = window_label(recording.labels, start_s, spec)
                out.append((recording.subject, start_s, label, contents))
    return out


# --- random recordings


@st.composite
def signals(draw, modality):
    seed = draw(st.integers(0, 2**16))
    rate_hz = modality.rate_hz * draw(st.sampled_from([1.0, 1.0, 1.005, 0.995]))
    length = draw(st.integers(1, math.ceil(12 * rate_hz)))
    values = np.random.default_rng(seed).normal(size=(length, len(modality.channels)))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, length - 1))
        end = begin + draw(st.integers(1, max(1, round(2 * rate_hz))))
        channel = draw(st.sampled_from([slice(None), 0]))
        values[begin:end, channel] = np.nan
    if np.isnan(values).any(axis=1).all():
        values[draw(st.integers(0, length - 1))] = 1.0
    start_s = draw(st.sampled_from([0.0, 0.0, 0.3, -1.7, 2.123, 11.0]))
    return Signal(values.astype(np.float32), rate_hz, start_s)


@st.composite
def label_intervals(draw):
    edges = sorted(draw(st.sets(st.integers(-20, 150), max_size=12)))
    names = st.sampled_from([*CLASSES, "unknown"])
    pairs = [(a / 10, b / 10) for a, b in pairwise(edges)]
    return tuple(LabelInterval(a, b, draw(names)) for a, b in pairs if draw(st.booleans()))


@st.composite
def recordings_and_modalities(draw):
    rates = st.sampled_from([1.0, 2.0, 4.0, 7.5, 10.0, 12.8, 25.0])
    modalities = [
        Modality(f"m{i}", tuple("xyz"[: draw(st.integers(1, 3))]), "V", draw(rates))
        for i in range(draw(st.integers(1, 3)))
    ]
    declared = {m.name: m for m in modalities}
    recordings = []
    for i in range(draw(st.integers(1, 3))):
        chosen = [m for m in modalities if draw(st.integers(0, 4)) > 0]
        found = {m.name: draw(signals(m)) for m in chosen}
        labels = draw(label_intervals())
        recordings.append(Recording(f"S{i % 2}", f"{i}", declared, found, labels))
    return recordings, modalities


specs = st.builds(
    WindowSpec,
    window_s=st.sampled_from([1.0, 1.5, 2.0, 2.56, 3.3]),
    stride_s=st.sampled_from([0.25, 0.5, 1.0, 1.7, 3.0]),
    min_coverage=st.sampled_from([0.3, 0.55, 0.8, 1.0]),
    max_gap_s=st.sampled_from([0.0, 0.2, 0.3, 1.0]),
    min_label_share=st.sampled_from([0.2, 0.6, 1.0]),
)


@given(recordings_and_modalities(), specs, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_a_store_gives_back_what_a_slow_obvious_reference_cuts(made_up, spec, random):
    recordings, modalities = made_up
    expected = reference_windows(recordings, modalities, spec)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "store"
        what = {"modalities": modalities, "classes": CLASSES, "spec": spec, "about": {}}
        if not expected:
            with pytest.raises(DataError, match="windows: "):
                write_store(recordings, out, **what)
            assert not list(Path(scratch).iterdir())
            return
        write_store(recordings, out, **what)
        store = Store.open(out, verify=True)
        assert len(store) == len(expected)
        rows = list(range(len(expected)))
        random.shuffle(rows)
        windows = store.gather_zeroed(np.array(rows))
        for place, row in enumerate(rows):
            subject, start_s, label, contents = expected[row]
            assert (store.subject[row], store.label[row]) == (subject, label)
            np.testing.assert_array_equal(store.start_s[row], start_s)
            for column, (modality, content) in enumerate(zip(modalities, contents, strict=True)):
                assert store.present[row, column] == (content is not None)
                wanted = 0.0 if content is None else content
                got = windows[modality.name][place]
                assert got.dtype == np.float32
                assert got.shape == (spec.samples(modality), len(modality.channels))
                np.testing.assert_allclose(got, np.broadcast_to(wanted, got.shape), rtol=1e-5,
                                           atol=1e-6)  # fmt: skip


# --- the edges, one by one


def one_signal(values, rate_hz=10.0, **other):
    modality = Modality("acc", ("x",), "V", 10.0)
    values = np.asarray(values, dtype=np.float32).reshape(-1, 1)
    recording = Recording("S1", "a", {"acc": modality}, {"acc": Signal(values, rate_hz)}, **other)
    return recording, (modality,)


def cut(recording, modalities, **spec):
    return cut_recording(
        recording, modalities, CLASSES, WindowSpec(**({"window_s": 1.0, "stride_s": 1.0} | spec))
    )


def test_a_window_that_just_fits_is_cut_and_one_sample_less_is_not():
    assert len(cut(*one_signal(np.ones(10))).label) == 1
    assert len(cut(*one_signal(np.ones(9))).label) == 0


def test_the_stride_does_not_lose_the_last_window_to_rounding():
    assert len(cut(*one_signal(np.ones(31)), stride_s=0.1).label) == 22


def test_a_clock_within_tolerance_does_not_drift_from_the_labels():
    rate_hz, seconds = 10.08, 1000
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    windows = cut(*one_signal(time, rate_hz))
    first = windows.signals["acc"][windows.offsets[:, 0], 0]
    np.testing.assert_allclose(first, windows.start_s, atol=0.05 + 1e-3)


def test_a_gap_exactly_as_long_as_allowed_is_filled_in_spite_of_rounding():
    modality = Modality("acc", ("x",), "V", 100.0)
    values = np.arange(200, dtype=np.float32)[:, None]
    values[50:79] = np.nan
    recording = Recording("S1", "a", {"acc": modality}, {"acc": Signal(values, 100.0)})
    spec = WindowSpec(window_s=2.0, stride_s=2.0, max_gap_s=0.29)
    windows = cut_recording(recording, (modality,), (), spec)
    np.testing.assert_allclose(windows.signals["acc"][:, 0], np.arange(200), rtol=1e-6)
    assert windows.interpolated == {"acc": 29}
    longer = WindowSpec(window_s=2.0, stride_s=2.0, max_gap_s=0.28)
    assert not len(cut_recording(recording, (modality,), (), longer).present)


def test_coverage_exactly_at_the_minimum_is_enough_in_spite_of_rounding():
    values = np.ones(100)
    values[1:90:2] = np.nan
    recording, modalities = one_signal(values)
    kept = cut(recording, modalities, window_s=10.0, min_coverage=0.55, max_gap_s=0.1)
    assert kept.present.all()
    assert kept.present.shape == (1, 1)
    assert not len(cut(recording, modalities, window_s=10.0, min_coverage=0.56).present)


@pytest.mark.parametrize(("start_s", "samples", "present"), [
    (0.006, 1000, [True] * 5),  # 6 ms late: 99% of the first window is there
    (0.19, 970, [True] * 5),  # within the longest gap at both ends
    (0.25, 1000, [False, True, True, True, True]),  # a gap that is too long
    (0.0, 985, [True] * 5),
    (0.0, 700, [True, True, True, False, False]),
])  # fmt: skip
def test_coverage_decides_at_the_edges_of_a_signal(start_s, samples, present):
    whole = Signal(np.ones((1000, 1), np.float32), 100.0)
    late = Signal(np.arange(2.0, samples + 2, dtype=np.float32)[:, None], 100.0, start_s)
    modalities = [Modality(name, ("x",), "1", 100.0) for name in ("whole", "late")]
    recording = Recording("S1", "1", {m.name: m for m in modalities},
                          {"whole": whole, "late": late})  # fmt: skip
    spec = WindowSpec(window_s=2.0, stride_s=2.0, max_gap_s=0.2, min_coverage=0.8)
    done = cut_recording(recording, modalities, (), spec)
    assert done.present[:, 0].all()
    assert done.present[:, 1].tolist() == present
    shift = round(start_s * 100) if present[0] else 0
    assert done.signals["late"][: shift + 1, 0].tolist() == [2.0] * (shift + 1)


def test_an_edge_counts_against_coverage_and_no_gap_means_no_filling():
    late = Signal(np.ones((98, 1), np.float32), 100.0, 0.02)
    other = Signal(np.ones((100, 1), np.float32), 100.0)
    modalities = [Modality(name, ("x",), "1", 100.0) for name in ("other", "late")]
    recording = Recording("S1", "1", {m.name: m for m in modalities},
                          {"other": other, "late": late})  # fmt: skip
    for coverage, gap_s, present in ((0.98, 0.1, True), (0.99, 0.1, False), (0.5, 0.0, False)):
        spec = WindowSpec(window_s=1.0, stride_s=1.0, max_gap_s=gap_s, min_coverage=coverage)
        assert cut_recording(recording, modalities, (), spec).present[0, 1] == present


def test_a_window_label_needs_its_share_and_a_tie_goes_to_the_first_class():
    spec = WindowSpec(window_s=1.0, stride_s=1.0, min_label_share=0.5)
    labels = [
        LabelInterval(0.0, 0.49, "walk"),
        LabelInterval(1.0, 1.5, "walk"),
        LabelInterval(1.5, 2.0, "rest"),
        LabelInterval(2.0, 3.0, "nobody asked"),
        LabelInterval(3.0, 3.25, "run"),
        LabelInterval(3.75, 4.0, "run"),
    ]
    got = label_windows(labels, np.arange(4.0), spec, CLASSES)
    np.testing.assert_array_equal(got, [-1, 0, -1, 2])
    np.testing.assert_array_equal(label_windows(labels, np.arange(4.0), spec, ()), [-1] * 4)


def test_filling_leaves_a_whole_signal_alone_and_survives_one_without_a_whole_sample():
    whole = np.ones((4, 2), dtype=np.float32)
    filled, recorded, usable = fill_short_gaps(whole, 1)
    np.testing.assert_array_equal(filled, whole)
    assert recorded.all()
    assert usable.all()
    whole[:, 0] = np.nan
    filled, recorded, usable = fill_short_gaps(whole, 10)
    np.testing.assert_array_equal(filled, np.zeros((4, 2)))
    assert not recorded.any()
    assert not usable.any()


def test_filling_does_not_change_what_it_was_given():
    gap = np.array([[0.0], [np.nan], [2.0], [np.nan]], dtype=np.float32)
    before = gap.copy()
    np.testing.assert_array_equal(fill_short_gaps(gap, 1)[0].ravel(), [0, 1, 2, 2])
    np.testing.assert_array_equal(gap, before)


@pytest.mark.parametrize("name", ["window_s", "stride_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_length_is_refused(name, value):
    with pytest.raises(DataError, match=f"windows: {name} is .*; a positive number of seconds"):
        WindowSpec(**({"window_s": 1.0, "stride_s": 1.0} | {name: value}))


@pytest.mark.parametrize("name", ["min_coverage", "min_label_share"])
@pytest.mark.parametrize("value", [0.0, 1.1, np.nan])
def test_an_impossible_share_is_refused(name, value):
    with pytest.raises(DataError, match=f"windows: {name} is .*; allowed is 0 < x <= 1"):
        WindowSpec(1.0, 1.0, **{name: value})


@pytest.mark.parametrize("value", [-0.1, np.nan])
def test_an_impossible_gap_is_refused(value):
    with pytest.raises(DataError, match=r"windows: max_gap_s is .*; allowed is 0 or more"):
        WindowSpec(1.0, 1.0, max_gap_s=value)


def test_a_window_shorter_than_a_sample_is_refused():
    with pytest.raises(DataError, match=r"window_s 0.04 holds no sample of 'acc' at 10 Hz"):
        cut(*one_signal(np.ones(30)), window_s=0.04)


@pytest.mark.parametrize(("what", "other"), [
    ("rate_hz", Modality("acc", ("x",), "V", 20.0)),
    ("channels", Modality("acc", ("y",), "V", 10.0)),
    ("unit", Modality("acc", ("x",), "mV", 10.0)),
])  # fmt: skip
def test_a_recording_that_declares_a_modality_otherwise_is_refused(what, other):
    recording, _ = one_signal(np.ones(30))
    with pytest.raises(DataError, match=f"signal 'acc' declares {what} .*; the store has"):
        cut(recording, (other,))


def apart(by_s, rates=(10.0, 10.0)):
    """Two signals of 10 s, the second starting later."""
    modalities = {n: Modality(n, ("x",), "1", hz) for n, hz in zip("ab", rates, strict=True)}
    signals = {
        n: Signal(np.ones((round(10 * hz), 1), np.float32), hz, start)
        for n, hz, start in zip("ab", rates, (0.0, by_s), strict=True)
    }
    return Recording("S1", "1", modalities, signals), list(modalities.values())


@pytest.mark.parametrize("by_s", [3.15e8, -3.15e8, 1e12, 1e15])
def test_a_start_that_is_years_off_makes_no_windows_between(by_s):
    recording, modalities = apart(by_s)
    cut = cut_recording(recording, modalities, (), WindowSpec(2.0, 1.0))
    assert cut.present.sum(axis=0).tolist() == [9, 9]
    assert len(cut.start_s) == 18


@settings(max_examples=100, deadline=None)
@given(by_s=st.floats(-40, 40), stride_s=st.floats(0.05, 30), window_s=st.floats(0.5, 12))
def test_windows_that_touch_a_signal_are_all_there(by_s, stride_s, window_s):
    recording, modalities = apart(by_s, rates=(10.0, 4.0))
    spec = WindowSpec(window_s, stride_s)
    length = recording.end_s - recording.start_s
    count = max(0, int(np.floor((length - window_s) / stride_s + 1e-6)) + 1)
    starts = recording.start_s + np.arange(count) * stride_s
    touching = [
        start for start in starts
        if any(start < s.end_s and start + window_s > s.start_s for s in recording.signals.values())
    ]  # fmt: skip
    found = window_starts(recording, spec)
    assert set(touching) <= set(found.tolist()) <= set(starts.tolist())
    assert len(cut_recording(recording, modalities, (), spec).start_s) <= len(touching)


def test_signals_that_lie_apart_beyond_counting_are_refused():
    recording, modalities = apart(1e300)
    with pytest.raises(DataError, match=r"its signals lie within 1e\+300 s, too long for windows"):
        cut_recording(recording, modalities, (), WindowSpec(2.0, 1.0))


@pytest.mark.parametrize("stride_s", [1e-9, 1e-12])
def test_a_stride_far_below_a_sample_is_refused(stride_s):
    recording, modalities = apart(0.0)
    with pytest.raises(DataError, match=r"S1, session 1: a window every 1e-\d+ s would be .* win"
                       r"dows of 100 samples; make `stride_s` longer"):  # fmt: skip
        cut_recording(recording, modalities, (), WindowSpec(2.0, stride_s))
