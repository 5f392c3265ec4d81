"""Changing the rate of a signal in pieces: what it differs by from the whole, and where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.cutting import cut_recording
from crossl.data.rate_change import RateChange, change_rate, ratio_of_rates
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.windower import Windower
from crossl.data.windows import WindowSpec
from crossl.errors import DataError

GAIN = 1e-3
"""How far the gains of the filter's branches lie apart, at most."""


def wave(length, seed=0, channels=2):
    """Return something with a level, a slope and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(length)[:, None] / 50
    values = 9.81 + np.sin(time * (1 + np.arange(channels))) + rng.normal(size=(length, channels))
    return values.astype(np.float32)


def tolerance(values):
    """Return how far results may lie apart: see `RateChange`."""
    index = np.arange(len(values))
    known = ~np.isnan(values)
    bridged = [np.interp(index, index[k], c[k]) for c, k in zip(values.T, known.T, strict=True)]
    first = [column[k][0] for column, k in zip(values.T, known.T, strict=True)]
    return GAIN * np.abs(np.mean(bridged, axis=1) - first) + 1e-5


def cut_at_random(values, rng, longest):
    begin = 0
    while begin < len(values):
        end = begin + int(rng.integers(1, longest + 1))
        yield begin, values[begin:end]
        begin = end


def change_in_pieces(values, ratio, gap_samples, rng, longest):
    change = RateChange(ratio, values.shape[1], gap_samples)
    out = []
    held = []
    for first, piece in cut_at_random(values, rng, longest):
        pieces, _ = change.push([(first, piece)], first + len(piece), ended=False)
        out += pieces
        held.append(change.held)
    pieces, _ = change.push([], len(values), ended=True)
    out += pieces
    assert [first for first, _ in out] == np.cumsum([0, *(len(p) for _, p in out)])[:-1].tolist()
    return np.concatenate([p for _, p in out]), held


RATES = [(50, 25), (100, 64), (64, 100), (700, 64), (4, 8), (8, 4), (102.5, 100), (128, 100)]


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("longest", [1, 7, 500])
def test_pieces_become_what_the_whole_becomes(old, new, longest):
    ratio = ratio_of_rates(old, new)
    values = wave(3000 if old > 500 else 600)
    values[200:205] = np.nan
    values[300, 0] = np.nan
    rng = np.random.default_rng(longest)
    done, held = change_in_pieces(values, ratio, 6, rng, longest)
    whole = change_rate(values, ratio)
    np.testing.assert_array_equal(np.isnan(done), np.isnan(whole))
    assert (np.nanmax(np.abs(done - whole), axis=0) <= tolerance(values)).all()
    reach = 10 * max(ratio.numerator, ratio.denominator) / ratio.numerator + 2
    assert max(held) <= 8 * reach + 50 + ratio.denominator + longest


def test_pieces_do_not_depend_on_where_the_signal_is_cut():
    values = wave(900)
    values[400:700] = np.nan
    ratio = ratio_of_rates(100, 64)
    first, _ = change_in_pieces(values, ratio, 6, np.random.default_rng(1), 3)
    second, _ = change_in_pieces(values, ratio, 6, np.random.default_rng(2), 250)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("old", "new"), [(50, 25), (100, 64), (64, 100)])
def test_only_samples_beside_a_long_gap_differ_more(old, new):
    ratio = ratio_of_rates(old, new)
    values = wave(3000)
    values[1000:2200] = np.nan
    done, _ = change_in_pieces(values, ratio, 6, np.random.default_rng(1), 100)
    whole = change_rate(values, ratio)
    np.testing.assert_array_equal(np.isnan(done), np.isnan(whole))
    differs = (np.abs(done - whole) > tolerance(values)).any(axis=1)
    position = np.flatnonzero(differs) / float(ratio)
    reach = 10 * max(1.0, 1 / float(ratio)) + 1
    assert (((position > 1000 - reach) & (position < 1000)) |
            ((position >= 2199) & (position < 2200 + reach))).all()  # fmt: skip
    assert np.nanmax(np.abs(done - whole)) < 0.05 * np.nanstd(values)


def test_a_hole_in_which_nothing_came_is_a_gap_however_long():
    ratio = ratio_of_rates(100, 64)
    values = wave(500)
    told = []
    for hole in (400, 10_000_000):
        change = RateChange(ratio, 2, 6)
        out, _ = change.push([(0, values)], 500, ended=False)
        after = 500 + hole * 25 // 25
        more, settled = change.push([], after, ended=False)
        assert settled > 320 + hole * 0.64 - 5
        out += more
        out += change.push([(after, values)], after + 500, ended=True)[0]
        assert change.held < 2000
        told.append(np.concatenate([p[~np.isnan(p).any(axis=1)] for _, p in out]))
    np.testing.assert_array_equal(*told)


def check_against_whole(windows, whole, modalities, spec, came, step):
    """Windows are the same, and the resampled values but for the tolerances that are stated."""
    cut = cut_recording(whole, modalities, (), spec)
    np.testing.assert_array_equal([w.start_s for w in windows], cut.start_s)
    missing = np.isnan(came.values).any(axis=1)
    gaps = np.flatnonzero(np.diff(np.r_[False, missing, False])).reshape(-1, 2)
    reach_s = (10 * step + 2) / came.rate_hz
    for window, offsets in zip(windows, cut.offsets, strict=True):
        assert list(window.signals) == [
            m.name for m, first in zip(modalities, offsets, strict=True) if first >= 0
        ]
        for (name, values), first in zip(
            window.signals.items(), offsets[offsets >= 0], strict=True
        ):
            wanted = cut.signals[name][first : first + len(values)]
            if name == "b":
                np.testing.assert_array_equal(values, wanted)
                continue
            begin, end = (window.start_s - came.start_s + at for at in (-reach_s, 2 + reach_s))
            beside_gap = any(b / came.rate_hz < end and e / came.rate_hz > begin for b, e in gaps)
            allowed = (
                0.5 if beside_gap else GAIN * np.nanmax(np.ptp(came.values, axis=0), initial=15)
            )
            assert np.abs(values - wanted).max() <= allowed


@given(st.integers(0, 2**16), st.sampled_from(RATES[:6]), st.sampled_from([0.3, 2.0, 60.0]))
@settings(max_examples=10, deadline=None)
def test_windows_at_another_rate_are_those_of_the_recording_at_that_rate(seed, rates, longest_s):
    """Both modalities, the one that is resampled and the one that is not, in one window."""
    old, new = rates
    rng = np.random.default_rng(seed)
    recorded = {
        "a": Modality("a", ("x", "y"), "V", float(old)),
        "b": Modality("b", ("x", "y"), "V", 10.0),
    }
    signals = {}
    for name, modality in recorded.items():
        values = wave(round(25 * modality.rate_hz), seed)
        begin = int(rng.integers(0, len(values)))
        values[begin : begin + int(rng.integers(0, round(6 * modality.rate_hz)))] = np.nan
        signals[name] = Signal(values, modality.rate_hz, float(rng.choice([0.0, 0.37, 3.1])))
    recording = Recording("S", "", recorded, signals)
    whole = recording.resampled({"a": float(new)})
    modalities = list(whole.modalities.values())
    spec = WindowSpec(2.0, 0.7, min_coverage=0.6)
    windower = Windower(modalities, spec, max_delay_s=70.0, recorded_hz={"a": float(old)})
    windows = []
    events = []
    for name, signal in signals.items():
        longest = max(1, round(longest_s * signal.rate_hz))
        for first, values in cut_at_random(signal.values, rng, longest):
            start_s = signal.start_s + first / signal.rate_hz
            events.append(
                (
                    start_s + len(values) / signal.rate_hz,
                    name,
                    Signal(values, signal.rate_hz, start_s),
                )
            )
    for _, name, chunk in sorted(events, key=lambda event: event[0]):
        windows += windower.feed({name: chunk})
    windows += windower.flush()
    check_against_whole(windows, whole, modalities, spec, signals["a"], max(1.0, old / new))
    assert windower.dropped == {"a": 0, "b": 0}


def test_a_rate_that_is_not_the_one_that_is_changed_is_refused():
    acc = Modality("a", ("x",), "V", 25.0)
    spec = WindowSpec(1.0, 1.0)
    chunk = np.zeros((10, 1), np.float32)
    windower = Windower([acc], spec, recorded_hz={"a": 50.0})
    with pytest.raises(DataError, match="has 25 Hz but its modality declares 50 Hz"):
        windower.feed({"a": Signal(chunk, 25.0)})
    with pytest.raises(DataError, match="allowed are positive rates that differ at most 1000"):
        Windower([acc], spec, recorded_hz={"a": 1e6})
    with pytest.raises(DataError, match="modality 'b'; allowed"):
        Windower([acc], spec, recorded_hz={"b": 50.0})
    with pytest.raises(DataError, match="allowed are positive rates that differ at most 1000"):
        Windower([acc], spec, recorded_hz={"a": None}).feed({"a": Signal(chunk, 1e6)})


@pytest.mark.parametrize("came_hz", [25.0, 25.1, 50.0, 64.0])
def test_whatever_rate_chunks_tell_becomes_that_of_windows(came_hz):
    acc = Modality("a", ("x", "y"), "V", 25.0)
    windower = Windower([acc], WindowSpec(2.0, 2.0), recorded_hz={"a": None})
    signal = Signal(wave(round(6 * came_hz)), came_hz)
    windows = windower.feed({"a": signal}) + windower.flush()
    near = abs(came_hz - 25) < 0.25
    wanted = signal if near else signal.resampled(25.0)
    assert [w.start_s for w in windows] == [0.0, 2.0, 4.0][: len(windows)]
    for window in windows:
        first = round(window.start_s * wanted.rate_hz)
        np.testing.assert_allclose(
            window.signals["a"], wanted.values[first : first + 50], atol=0.0 if near else 0.02
        )
