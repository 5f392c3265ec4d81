"""Clocks that jitter, stand still, jump and stop; changes of rate that do not alias."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.rate_change import change_rate, ratio_of_rates
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.timing import estimate_rate, put_in_order
from crossl.errors import DataError


def jittered(rate_hz, count, *, seed=0, jitter=0.2):
    rng = np.random.default_rng(seed)
    return (np.arange(count) + rng.uniform(-jitter, jitter, count)) / rate_hz


# --- what a clock tells


@pytest.mark.parametrize("rate_hz", [1.0, 9.17, 31.0, 102.44, 700.0])
def test_jitter_and_gaps_do_not_hide_the_rate(rate_hz):
    time = jittered(rate_hz, 2000)
    time[700:] += 40 / rate_hz
    time[1300:] += 1000.0
    assert estimate_rate("acc", time) == pytest.approx(rate_hz, rel=2e-3)


def test_samples_that_arrive_in_bursts_still_tell_their_rate():
    true = np.arange(2000) / 102.44
    arrived = np.round(np.ceil(true / 0.03) * 0.03, 3)  # handed over every 30 ms
    _, _, timing = put_in_order("acc", arrived + np.arange(2000) * 1e-6, true[:, None])
    assert timing.estimated_hz == pytest.approx(102.44, rel=3e-3)


def test_duplicates_are_left_out_and_counted_and_count_for_the_rate():
    time = np.arange(1000) / 100
    time[50::20] = time[49::20][: len(time[50::20])]
    values = np.arange(1000.0)[:, None]
    kept_time, kept, timing = put_in_order("acc", time, values, declared_hz=100.0)
    assert timing.duplicates == timing.dropped == len(time[50::20])
    assert len(kept) == 1000 - timing.dropped
    assert 49.0 in kept
    assert 50.0 not in kept
    assert (np.diff(kept_time) > 0).all()
    assert timing.estimated_hz == pytest.approx(100.0, rel=0.01)
    assert timing.declared_hz == 100.0


def test_a_clock_that_jumps_back_loses_the_samples_until_it_has_caught_up():
    time = np.arange(1000) / 100
    time[600:] -= 0.5
    kept_time, kept, timing = put_in_order("acc", time, np.arange(1000.0)[:, None])
    assert (timing.backwards, timing.dropped) == (1, 50)
    np.testing.assert_array_equal(kept[:, 0], np.r_[np.arange(600.0), np.arange(650.0, 1000.0)])
    assert kept_time[600] == pytest.approx(6.0)


def test_a_clean_clock_loses_nothing_and_says_so():
    time = np.arange(500) / 50
    kept_time, kept, timing = put_in_order("acc", time, np.zeros((500, 1)))
    assert (timing.duplicates, timing.backwards, timing.dropped, timing.gaps) == (0, 0, 0, 0)
    assert timing.jitter_s < 1e-12
    assert timing.longest_gap_s == pytest.approx(0.02)
    assert len(kept_time) == len(kept) == 500


@pytest.mark.parametrize("begin", [0, 13])
@pytest.mark.parametrize("size", [2, 7, 50])
def test_batches_of_one_time_each_are_spread_until_the_next(size, begin):
    number = np.arange(begin, 1000)
    true, told = number / 50, number // size * size / 50  # a batch has its first sample's time
    told[: size - begin % size] = true[0]
    values = np.arange(float(len(true)))[:, None]
    times, kept, timing = put_in_order("acc", told, values)
    np.testing.assert_allclose(times, true, atol=1e-9)
    assert (timing.dropped, len(kept)) == (0, len(true))
    assert timing.estimated_hz == pytest.approx(50, rel=1e-6)


def test_batches_of_uneven_size_tell_their_rate_and_pauses_stay():
    rng = np.random.default_rng(0)
    true = np.arange(3000) / 51.2
    true[1500:] += 20.0
    cuts = np.unique(np.r_[0, np.sort(rng.choice(3000, 400, replace=False)), 1500])
    told = true[cuts[np.searchsorted(cuts, np.arange(3000), side="right") - 1]]
    times, _, timing = put_in_order("acc", told, true[:, None])
    np.testing.assert_allclose(times, true, atol=0.02)
    assert timing.estimated_hz == pytest.approx(51.2, rel=0.005)
    assert timing.longest_gap_s == pytest.approx(20.0, abs=0.1)


def test_whole_seconds_are_spread_to_the_recorded_rate():
    true = 0.3 + np.arange(2000) / 51.2
    _, _, timing = put_in_order("acc", np.floor(true), true[:, None])
    assert timing.estimated_hz == pytest.approx(51.2, rel=0.005)
    signal = Signal.from_timestamps(np.floor(true), true[:, None], rate_hz=51.2)
    inside = signal.start_s + np.arange(len(signal.values)) / 51.2
    np.testing.assert_allclose(signal.values[:, 0], inside, atol=0.05)


def test_a_clock_that_stands_still_among_batches_loses_what_it_cannot_tell():
    true = np.arange(2000) / 50
    told = np.floor(true * 5) / 5
    told[1000:1200] = told[1000]
    told[1200:] -= 3.8  # it goes on where it stopped
    times, kept, timing = put_in_order("acc", told, true[:, None])
    assert 150 < timing.dropped < 200
    late = times - kept[:, 0]
    assert np.abs(late[:900]).max() < 0.2
    assert np.abs(late[-700:] + 3.8).max() < 0.2


def test_one_wrong_time_costs_one_sample():
    time = np.arange(1000) / 100
    time[400] += 30
    kept_time, kept, timing = put_in_order("acc", time, np.arange(1000.0)[:, None])
    assert timing.dropped == 1
    assert 400.0 not in kept
    assert len(kept_time) == 999
    assert timing.estimated_hz == pytest.approx(100.0, rel=2e-3)


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_damaged_time_at_either_end_does_not_fill_the_memory(wrong):
    time = 1.7e9 + np.arange(1000) / 100
    time[wrong] = 0.0 if wrong == 0 else 9e12
    with pytest.raises(DataError, match=r"samples at 100 Hz span .* a timestamp is damaged"):
        Signal.from_timestamps(time, np.zeros((1000, 1)), rate_hz=100.0)


@pytest.mark.parametrize(("time", "message"), [
    (-np.arange(500.0), r"acc: 499 of 500 timestamps do not increase .* at most 20%"),
    (np.zeros(500), r"acc: 499 of 500 timestamps do not increase"),
    (np.r_[np.zeros(300), 1 + np.arange(200) / 50], r"acc: 299 of 500 timestamps do not increase"),
    (np.tile(np.arange(50) / 50, 10), r"acc: 450 of 500 timestamps do not increase"),
    (np.r_[0.0, np.nan, 2.0], "acc: timestamp 1 is nan; a number is needed"),
    (np.r_[0.0, 1.0, np.inf], "acc: timestamp 2 is inf; a number is needed"),
    (np.zeros(1), "acc: has 1 samples; a rate needs at least 2"),
])  # fmt: skip
def test_a_clock_that_cannot_be_used_is_refused(time, message):
    with pytest.raises(DataError, match=message):
        put_in_order("acc", time, np.zeros((len(time), 1)))


def test_values_without_a_timestamp_each_are_refused():
    with pytest.raises(DataError, match=r"acc: values have shape \(3, 1\) for 4 timestamps"):
        put_in_order("acc", np.arange(4.0), np.zeros((3, 1)))


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=80), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_increases_and_nothing_is_sorted_or_made_up(steps, seed):
    time = np.cumsum(np.abs(steps) + 0.01)
    rng = np.random.default_rng(seed)
    for _ in range(len(time) // 10):
        at = rng.integers(1, len(time))
        time[at:] -= rng.choice([0.0, time[at] - time[at - 1]])
    values = np.arange(float(len(time)))[:, None]
    try:
        kept_time, kept, timing = put_in_order("acc", time, values)
    except DataError as error:
        assert "do not increase" in str(error)  # noqa: PT017 - either answer is right
        return
    assert (np.diff(kept_time) > 0).all()
    assert (np.diff(kept[:, 0]) > 0).all()
    if not timing.spread:
        np.testing.assert_array_equal(time[kept[:, 0].astype(int)], kept_time)
    assert len(kept) + timing.dropped == len(time)


def test_a_clock_in_the_wrong_unit_is_told_from_a_wrong_rate():
    time = np.arange(500) * 1000 / 128  # milliseconds taken for seconds
    with pytest.raises(DataError, match="the unit of its clock is wrong by a factor of 1000"):
        Signal.from_timestamps(time, np.zeros((500, 1)), rate_hz=128.0)


# --- onto a grid


def reference_grid(time, values, rate_hz, max_gap_s):
    """Interpolate sample by sample: slow and obvious."""
    out = []
    point = time[0]
    count = int(np.floor((time[-1] + 1 / rate_hz - time[0]) * rate_hz + 1e-6))
    for number in range(count):
        point = time[0] + number / rate_hz
        after = next((i for i, t in enumerate(time) if t >= point - 1e-9), None)
        if after is None:
            out.append(np.nan)
        elif abs(time[after] - point) <= 1e-9:
            out.append(values[after])
        elif time[after] - time[after - 1] > max_gap_s:
            out.append(np.nan)
        else:
            share = (point - time[after - 1]) / (time[after] - time[after - 1])
            out.append(values[after - 1] * (1 - share) + values[after] * share)
    return np.array(out)


@given(
    st.sampled_from([10.0, 31.0, 64.0]), st.integers(60, 150), st.integers(0, 99),
    st.lists(st.tuples(st.integers(1, 140), st.floats(0.05, 3.0)), max_size=3),
    st.sampled_from([0.2, 0.5, 1.0]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_grid_holds_what_a_slow_reference_interpolates(rate_hz, count, seed, gaps, max_gap_s):
    time = jittered(rate_hz, count, seed=seed, jitter=0.1) + 1000.0
    for at, length in gaps:
        time[min(at, count - 1) :] += length
    values = np.random.default_rng(seed).normal(size=(count, 1))
    try:
        signal = Signal.from_timestamps(time, values, rate_hz=rate_hz, max_gap_s=max_gap_s)
    except DataError as error:
        assert "but its timestamps give" in str(error)  # noqa: PT017 - few samples, many gaps
        return
    assert signal.rate_hz == rate_hz
    assert signal.start_s == time[0]
    expected = reference_grid(time, values[:, 0], rate_hz, max_gap_s)
    np.testing.assert_allclose(signal.values[:, 0], expected, atol=1e-5)


def test_a_signal_keeps_what_its_timestamps_told():
    time = np.round(np.arange(2000) / 102.44, 3)
    signal = Signal.from_timestamps(time, np.sin(time)[:, None], rate_hz=100.0, resample=True)
    assert signal.timing is not None
    assert signal.timing.estimated_hz == pytest.approx(102.44, rel=1e-3)
    assert signal.timing.declared_hz == 100.0
    with pytest.raises(DataError, match=r"declares 100 Hz but its timestamps give 102\.4 Hz"):
        Signal.from_timestamps(time, np.sin(time)[:, None], rate_hz=100.0)


# --- other rates


@pytest.mark.parametrize(("from_hz", "to_hz"), [(200.0, 50.0), (102.44, 100.0), (64.0, 25.0),
                                                (20.0, 50.0), (700.0, 64.0)])  # fmt: skip
def test_a_tone_that_the_new_rate_can_carry_survives_and_others_vanish(from_hz, to_hz):
    time = np.arange(int(30 * from_hz)) / from_hz
    nyquist = min(from_hz, to_hz) / 2
    slow = np.sin(2 * np.pi * 0.6 * nyquist * time)
    both = np.stack([slow, np.sin(2 * np.pi * 1.3 * nyquist * time)], axis=1)
    carried = 1.3 * nyquist < from_hz / 2  # a tone above the old Nyquist never was in the signal
    signal = Signal(both.astype(np.float32), from_hz).resampled(to_hz)
    assert signal.rate_hz == pytest.approx(to_hz, rel=1e-5)
    inner = slice(int(3 * to_hz), -int(3 * to_hz))
    grid = np.arange(len(signal.values))[inner] / signal.rate_hz
    expected = np.sin(2 * np.pi * 0.6 * nyquist * grid)
    np.testing.assert_allclose(signal.values[inner, 0], expected, atol=0.01)
    if carried:
        assert np.abs(signal.values[inner, 1]).max() < 0.01


def test_a_level_such_as_gravity_stays_level_to_both_ends():
    out = Signal(np.full((700, 3), 9.80665, np.float32), 100.0).resampled(32.0)
    np.testing.assert_allclose(out.values, 9.80665, rtol=1e-3)
    assert len(out.values) == 224


@pytest.mark.parametrize(("from_hz", "to_hz"), [(50.0, 64.0), (51.2, 50.0), (512.0, 200.0)])
def test_a_high_level_gets_no_ripple(from_hz, to_hz):
    values = np.full((4000, 1), 306.0, np.float32)
    values[1000:1100] = np.nan
    out = Signal(values, from_hz).resampled(to_hz).values
    assert np.nanmax(np.abs(out - 306.0)) < 1e-4


def test_a_new_sample_stands_for_what_is_nearest_to_it():
    values = np.ones((7000, 1), np.float32)
    values[1400] = np.nan
    assert not np.isnan(change_rate(values, Fraction(1, 700))).any()
    values[1051:1750] = np.nan
    assert np.flatnonzero(np.isnan(change_rate(values, Fraction(1, 700))[:, 0])).tolist() == [2]


def test_missing_samples_stay_missing_and_spoil_no_others():
    values = np.sin(np.arange(1000) / 40)[:, None].astype(np.float32)
    whole = change_rate(values, Fraction(1, 4))
    values[400:500] = np.nan
    holed = change_rate(values, Fraction(1, 4))
    missing = np.isnan(holed[:, 0])
    assert np.flatnonzero(missing).tolist() == list(range(100, 125))
    np.testing.assert_allclose(holed[:90], whole[:90], atol=0.01)
    np.testing.assert_allclose(holed[135:], whole[135:], atol=0.01)


def test_a_channel_without_any_sample_stays_without():
    values = np.ones((100, 2), np.float32)
    values[:, 1] = np.nan
    out = change_rate(values, Fraction(1, 2))
    np.testing.assert_allclose(out[:, 0], 1.0, rtol=1e-3)
    assert np.isnan(out[:, 1]).all()


def test_rates_out_of_reach_are_refused():
    with pytest.raises(DataError, match="from 5000 Hz to 1 Hz; allowed are positive rates"):
        ratio_of_rates(5000.0, 1.0)


def test_a_recording_changes_the_rates_that_are_asked_for_and_no_other():
    acc, ecg = Modality("acc", ("x",), "m/s^2", 50.0), Modality("ecg", ("x",), "V", 200.0)
    signals = {"acc": Signal(np.ones((500, 1), np.float32), 50.0),
               "ecg": Signal(np.ones((2000, 1), np.float32), 200.0, start_s=1.5)}  # fmt: skip
    recording = Recording("S1", "a", {"acc": acc, "ecg": ecg}, signals)
    other = recording.resampled({"ecg": 100.0})
    assert other.modalities["ecg"].rate_hz == other.signals["ecg"].rate_hz == 100.0
    assert other.signals["ecg"].start_s == 1.5
    assert len(other.signals["ecg"].values) == 1000
    assert other.signals["acc"] is recording.signals["acc"]
    with pytest.raises(DataError, match="resample: modality 'ecc'; did you mean"):
        recording.resampled({"ecc": 1.0})


@pytest.mark.parametrize(("hz", "lost"), [
    (1.0, [30, 31]), (1.0, [7, 20, 21, 44]), (4.0, range(30, 34)), (50.0, [5, 90, 91, 92, 160]),
])  # fmt: skip
def test_lost_samples_do_not_slow_a_rate_down(hz, lost):
    times = np.delete(np.arange(max(60, int(4 * hz))) / hz, list(lost))
    assert estimate_rate("hr", times) == pytest.approx(hz, rel=1e-6)


@pytest.mark.parametrize(("hz", "step"), [(0.98, 1.0), (99.0, 0.01), (95.0, 0.01), (80.0, 0.01)])
def test_a_coarsely_rounded_clock_keeps_its_rate(hz, step):
    times = np.unique(np.floor(np.arange(2000) / hz / step + 1e-6) * step)
    assert estimate_rate("hr", times) == pytest.approx(hz, rel=1e-3)
