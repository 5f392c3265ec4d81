"""Recording refuses what contradicts its declaration; rates and resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.timing import estimate_rate, refuse_rate, resample_to_rate
from crossl.errors import CrosslError, DataError

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0, "wrist")


def record(values, *, rate_hz=50.0, name="acc", subject="S1", labels=()):
    return Recording(subject, "a", {"acc": ACC}, {name: Signal(values, rate_hz)}, labels)


def zeros(*shape):
    return np.zeros(shape, dtype=np.float32)


def test_a_modality_survives_json():
    assert Modality.from_dict(ACC.as_dict()) == ACC


@pytest.mark.parametrize(("name", "message"), [
    ("", "modality: is empty; a name has at least one letter"),
    *((name, "its name is used for a file and a layer") for name in ("a.b", "../rows", "a\\b")),
])  # fmt: skip
def test_a_name_that_no_file_can_have_is_refused(name, message):
    with pytest.raises(DataError, match=message):
        Modality(name, ("x",), "V", 1.0)


def test_a_modality_without_channels_is_refused():
    with pytest.raises(DataError, match="modality 'acc': has no channels; at least one"):
        Modality("acc", (), "V", 1.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(DataError, match=r"rate_hz is .*; a positive number is needed"):
        Modality("acc", ("x",), "V", rate)


def test_a_recording_knows_when_it_begins_and_ends():
    signals = {"acc": Signal(zeros(100, 3), 50.0, start_s=-1.0)}
    recording = Recording("S1", "a", {"acc": ACC}, signals)
    assert (recording.start_s, recording.end_s) == (-1.0, 1.0)
    empty = Recording("S1", "a", {"acc": ACC}, {})
    assert (empty.start_s, empty.end_s) == (0.0, 0.0)


def test_an_empty_subject_is_refused():
    with pytest.raises(DataError, match="subject is empty; every recording needs a subject"):
        record(zeros(5, 3), subject="")


def test_an_undeclared_signal_is_refused():
    with pytest.raises(DataError, match="subject S1, session a: signal 'ac' is not declared"):
        record(zeros(5, 3), name="ac")


@pytest.mark.parametrize("shape", [(3, 500), (5,), (5, 3, 1)])
def test_a_signal_of_another_shape_is_refused(shape):
    with pytest.raises(DataError, match=r"declares 3 channels \(x, y, z\); signals are \(time"):
        record(zeros(*shape))


def test_another_dtype_is_refused():
    with pytest.raises(DataError, match="has dtype float64; signals are float32"):
        record(np.zeros((5, 3)))


@pytest.mark.parametrize("rate", [49.0, 51.0, np.nan])
def test_a_signal_of_another_rate_is_refused(rate):
    with pytest.raises(DataError, match="Hz but its modality declares 50 Hz"):
        record(zeros(5, 3), rate_hz=rate)


def test_a_rate_within_one_percent_is_believed():
    assert record(zeros(5, 3), rate_hz=50.4).signals["acc"].rate_hz == 50.4


def test_infinite_values_are_refused():
    values = zeros(5, 3)
    values[2, 1] = np.inf
    with pytest.raises(DataError, match="holds infinite values; use NaN"):
        record(values)


@pytest.mark.parametrize("channels", [[0, 1, 2], [1]])
def test_a_signal_without_one_whole_sample_is_refused(channels):
    values = zeros(5, 3)
    values[:, channels] = np.nan
    with pytest.raises(DataError, match="holds no sample that every channel recorded"):
        record(values)


def test_an_empty_signal_is_refused():
    with pytest.raises(DataError, match="holds no sample that every channel recorded"):
        record(zeros(0, 3))


def test_a_label_that_ends_before_it_starts_is_refused():
    with pytest.raises(DataError, match="label 'walk' runs from 2 s to 1 s; an interval must end"):
        record(zeros(5, 3), labels=[LabelInterval(2.0, 1.0, "walk")])


def test_overlapping_labels_are_refused():
    labels = [LabelInterval(0.0, 2.0, "walk"), LabelInterval(1.5, 3.0, "rest")]
    with pytest.raises(DataError, match=r"'rest' starts at 1.5 s, before .* ended at 2 s"):
        record(zeros(5, 3), labels=labels)


def test_refusals_can_be_caught_as_one_kind():
    with pytest.raises(CrosslError, match="float32"):
        record(np.zeros((5, 3)))


def test_a_modality_under_another_name_is_refused():
    with pytest.raises(DataError, match="signal 'wrist' is declared under another name, 'acc'"):
        Recording("S1", "a", {"wrist": ACC}, {})


def test_a_signal_that_starts_nowhere_is_refused():
    with pytest.raises(DataError, match="signal 'acc' starts at nan s; a number is needed"):
        Recording("S1", "a", {"acc": ACC}, {"acc": Signal(zeros(10, 3), 50.0, np.nan)})


# --- declared rates


def check_rate(where, time, rate_hz):
    refuse_rate(where, estimate_rate(where, time), rate_hz)


def test_a_rate_that_its_timestamps_tell_is_accepted():
    check_rate("acc", np.round(np.arange(400) / 102.5, 3), 102.5)


def test_gaps_do_not_count_towards_the_rate():
    time = np.arange(200) / 50
    time[100:] += 30
    check_rate("acc", time, 50.0)


def test_a_rate_that_disagrees_with_its_timestamps_is_refused_with_both_numbers():
    time = np.round(np.arange(400) / 102.5, 3)
    with pytest.raises(DataError, match=r"acc: declares 100 Hz but its timestamps give 102\.5 Hz"):
        check_rate("acc", time, 100.0)


@given(st.floats(1, 1000), st.floats(0.9, 1.1))
@settings(max_examples=50, deadline=None)
def test_one_percent_separates_belief_from_refusal(rate, factor):
    time = np.arange(50) / (rate * factor)
    if abs(factor - 1) < 0.0099:
        check_rate("acc", time, rate)
    elif abs(factor - 1) > 0.0101:
        with pytest.raises(DataError, match="its timestamps give"):
            check_rate("acc", time, rate)


def test_one_sample_tells_no_rate():
    with pytest.raises(DataError, match="acc: has 1 samples; a rate needs at least 2"):
        check_rate("acc", np.zeros(1), 50.0)


@pytest.mark.parametrize("last", [1.0, 0.5, np.nan])
def test_timestamps_that_do_not_increase_are_refused(last):
    with pytest.raises(DataError, match="acc: timestamp 2 does not increase; sort them"):
        check_rate("acc", np.array([0.0, 1.0, last]), 1.0)


# --- resample_to_rate


def resample(time, values, **other):
    asked = {"rate_hz": 10.0, "start_s": 0.0, "stop_s": 1.0, "max_gap_s": 0.5} | other
    return resample_to_rate(np.asarray(time, float), np.asarray(values, float), **asked)


def test_a_straight_line_is_resampled_onto_itself():
    time = np.sort(np.random.default_rng(0).uniform(-0.1, 1.1, 60))
    time[0], time[-1] = -0.2, 1.2
    out = resample(time, np.stack([3 * time - 1, -time], axis=1))
    grid = np.arange(10) / 10
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, np.stack([3 * grid - 1, -grid], axis=1), atol=1e-6)


def test_samples_already_on_the_grid_keep_their_values():
    values = np.random.default_rng(0).normal(size=(10, 2))
    np.testing.assert_allclose(resample(np.arange(10) / 10, values), values, rtol=1e-5)


def test_a_grid_point_inside_a_long_gap_is_nan_and_on_its_edge_is_not():
    time = np.array([0.0, 0.1, 0.8, 0.9, 1.0])
    out = resample(time, time[:, None])[:, 0]
    np.testing.assert_array_equal(np.isnan(out), [0, 0, 1, 1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(out[[0, 1, 8, 9]], [0.0, 0.1, 0.8, 0.9], rtol=1e-6)


def test_a_short_gap_is_bridged():
    time = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    out = resample(time, time[:, None])[:, 0]
    np.testing.assert_allclose(out, np.arange(10) / 10, atol=1e-6)


def test_nothing_is_made_up_before_the_first_and_after_the_last_sample():
    out = resample([0.25, 0.45, 0.65], np.ones((3, 1)))[:, 0]
    np.testing.assert_array_equal(np.isnan(out), [1, 1, 1, 0, 0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("shape", [(3,), (4, 1), (1, 3)])
def test_values_without_a_row_per_timestamp_are_refused(shape):
    with pytest.raises(DataError, match=r"resample: values have shape .* for 3 timestamps"):
        resample([0.0, 0.1, 0.2], np.zeros(shape))


# --- Signal.from_timestamps


def test_a_signal_is_made_from_timestamps_that_jitter_and_pause():
    rng = np.random.default_rng(0)
    time = 5 + np.arange(500) / 50 + rng.uniform(-0.002, 0.002, 500)
    time[250:] += 3.0
    signal = Signal.from_timestamps(time, np.sin(time)[:, None], rate_hz=50.0, max_gap_s=0.5)
    assert signal.start_s == time[0]
    assert abs(signal.end_s - time[-1] - 1 / 50) < 1 / 50
    grid = time[0] + np.arange(len(signal.values)) / 50
    pause = (grid > time[249]) & (grid < time[250])
    np.testing.assert_array_equal(np.isnan(signal.values[:, 0]), pause)
    np.testing.assert_allclose(signal.values[~pause, 0], np.sin(grid[~pause]), atol=1e-3)


def test_a_signal_whose_timestamps_tell_another_rate_is_refused():
    with pytest.raises(DataError, match="wrist: declares 100 Hz but its timestamps give 50 Hz"):
        Signal.from_timestamps(np.arange(90) / 50, np.zeros((90, 1)), rate_hz=100.0, where="wrist")


def test_a_time_zone_that_does_not_exist_is_refused():
    with pytest.raises(
        DataError, match="subject S1, session a: timezone 'Mars/X' is unknown; IANA"
    ):
        Recording("S1", "a", {"acc": ACC}, {}, zone="Mars/X")
    for no_name in (5, None, ["UTC"]):
        with pytest.raises(DataError, match="session a: timezone: is "):
            Recording("S1", "a", {"acc": ACC}, {}, zone=no_name)
    assert Recording("S1", "a", {"acc": ACC}, {}, zone="Europe/Berlin").zone
