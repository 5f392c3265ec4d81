"""Faults of values: each is found where it is, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.recording import Modality
from crossl.doctor.values import check_values

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0, "wrist")


def test_a_sound_recording_passes_quietly(clinic):
    diagnosis = clinic.examine(clinic.sound(), clinic.sound("S2", seed=1))
    assert diagnosis.findings == ()
    assert diagnosis.counts == {"recordings": 2, "subjects": 2, "modalities": 8}
    assert diagnosis.hours == pytest.approx(240 / 3600)
    assert np.allclose(diagnosis.coverage.share, 1)


@pytest.mark.parametrize(
    ("name", "factor", "offset", "unit"),
    [
        ("wrist_acc", 1 / 9.80665, 0, "g"),
        ("wrist_acc", 1000 / 9.80665, 0, "mg"),
        ("wrist_acc", 64 / 9.80665, 0, "1/64 g"),
        ("wrist_gyro", 180 / np.pi * 3, 0, "deg/s"),
        ("ecg", 1e6, 0, "uV"),
        ("ecg", 1e3, 0, "mV"),
        ("skin_temp", 1, -273.15, "degC"),
        ("skin_temp", 1.8, -459.67, "degF"),
        ("heart_rate", 60, 0, "bpm"),
        ("eda", 1e6, 0, "uS"),
        ("spo2", 100, 0, "%"),
    ],
)
def test_a_wrong_unit_is_suspected(clinic, name, factor, offset, unit):
    recording = clinic.sound()
    values = recording.signals[name].values.astype(np.float64) * factor + offset
    diagnosis = clinic.examine(clinic.put(recording, name, values))
    assert clinic.told(diagnosis) == {("unit", name, "error")}
    assert unit in diagnosis.findings[0].sentence
    assert not diagnosis.sound


def test_acceleration_without_gravity_is_not_taken_for_another_unit(clinic):
    recording = clinic.sound()
    values = recording.signals["wrist_acc"].values - np.array([0, 0, 9.81])
    assert 0.5 < np.median(np.linalg.norm(values, axis=1)) < 4
    assert clinic.examine(clinic.put(recording, "wrist_acc", values)).findings == ()


def test_an_accelerometer_at_rest_that_does_not_measure_gravity_is_noted(clinic):
    recording = clinic.sound()
    rng = np.random.default_rng(0)
    still = np.array([0, 0, 11.5]) + rng.normal(0, 0.05, (6000, 3))
    diagnosis = clinic.examine(clinic.put(recording, "wrist_acc", still))
    assert clinic.told(diagnosis) == {("unit", "wrist_acc", "note")}
    assert "11.5 m/s^2" in diagnosis.findings[0].sentence
    assert clinic.examine(clinic.put(recording, "wrist_acc", still * 9.81 / 11.5)).findings == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wrist_acc", 900.0),
        ("wrist_gyro", -90.0),
        ("skin_temp", 0.0),
        ("heart_rate", 0.0),
        ("eda", -1e-4),
        ("spo2", 0.0),
    ],
)
def test_impossible_values_are_counted(clinic, name, value):
    recording = clinic.sound()
    values = recording.signals[name].values.copy()
    values[:: len(values) // 12] = value
    diagnosis = clinic.examine(clinic.put(recording, name, values))
    assert clinic.told(diagnosis) == {("range", name, "warning")}
    share = diagnosis.findings[0].amount[0]
    assert share == pytest.approx((values == value).mean())


def test_an_electrode_without_skin_is_noticed_but_not_its_first_sample(clinic):
    recording = clinic.sound()
    values = recording.signals["eda"].values.copy()
    values[0] = 0.0
    assert clinic.examine(clinic.put(recording, "eda", values)).findings == ()
    values[100:148] = 2e-9
    diagnosis = clinic.examine(clinic.put(recording, "eda", values))
    assert clinic.told(diagnosis) == {("range", "eda", "warning")}
    assert diagnosis.findings[0].amount[0] == pytest.approx(49 / 480)


@pytest.mark.parametrize("name", ["belt", "ecg"])
def test_volts_are_suspect_where_the_body_makes_them(clinic, name):
    recording = clinic.sound()
    values = 2.0 + recording.signals["ecg"].values * 1000
    modality = Modality(name, ("lead",), "V", 100.0, "chest")
    found = list(check_values(modality, values.astype(np.float32)))
    assert [f.severity for f in found] == ["error" if name == "ecg" else "warning"]


def test_a_rate_that_is_no_heart_rate_has_no_limits():
    breath = Modality("breathing", ("rate",), "Hz", 1.0, "chest")
    heart = Modality("heart_rate", ("rate",), "Hz", 1.0, "chest")
    slow = np.full((100, 1), 0.2, dtype=np.float32)
    assert list(check_values(breath, slow)) == []
    assert [f.check for f in check_values(heart, slow)] == ["range"]


@pytest.mark.parametrize("name", ["wrist_acc", "ecg"])
def test_a_device_that_repeats_its_last_value_stands_still(clinic, name):
    recording = clinic.sound()
    values = recording.signals[name].values.copy()
    rate_hz = recording.signals[name].rate_hz
    begin, end = round(30 * rate_hz), round(42 * rate_hz)
    values[begin:end] = values[begin]
    diagnosis = clinic.examine(clinic.put(recording, name, values))
    assert clinic.told(diagnosis) == {("flat", name, "warning")}
    assert diagnosis.findings[0].amount == pytest.approx((12.0, 12.0), abs=0.05)


def test_one_channel_that_stands_still_is_named(clinic):
    recording = clinic.sound()
    values = recording.signals["wrist_acc"].values.copy()
    values[1000:2000, 1] = values[1000, 1]
    diagnosis = clinic.examine(clinic.put(recording, "wrist_acc", values))
    assert clinic.told(diagnosis) == {("flat", "wrist_acc", "warning")}
    assert "channel y stands still" in diagnosis.findings[0].sentence


def test_slow_and_coarse_sensors_repeat_their_values_rightly(clinic):
    recording = clinic.sound()
    still = np.full((480, 1), 306.15)
    still[240:] = 306.17
    recording = clinic.put(recording, "skin_temp", still)
    table = np.tile([0.0, 0.0, 64.0], (6000, 1))
    for channel, every in enumerate((1500, 1300, 1100)):  # a hand on a table, at 1/64 g
        table[::every, channel] += 1.0
    recording = clinic.put(recording, "wrist_acc", table * 9.80665 / 64)
    assert clinic.examine(recording).findings == ()


def test_a_sensor_at_its_limit_is_found(clinic):
    recording = clinic.sound()
    values = 3 * recording.signals["wrist_gyro"].values
    limit = float(np.quantile(values, 0.995))
    assert clinic.examine(clinic.put(recording, "wrist_gyro", values)).findings == ()
    diagnosis = clinic.examine(clinic.put(recording, "wrist_gyro", values.clip(-limit, limit)))
    assert clinic.told(diagnosis) == {("saturation", "wrist_gyro", "warning")}
    assert diagnosis.findings[0].amount[0] > 0.004
    assert f"{limit:.4g} rad/s" in diagnosis.findings[0].place(diagnosis.counts)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), step=st.sampled_from([0.0, 0.004, 0.05, 0.153]))
def test_noise_at_any_resolution_is_not_taken_for_a_limit(seed, step):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, rng.uniform(0.5, 3), (3000, 3)) + np.array([0, 0, 9.81])
    if step:
        values = np.round(values / step) * step
    assert list(check_values(ACC, values.astype(np.float32))) == []


def test_a_constant_channel_is_found_and_named(clinic):
    recording = clinic.sound()
    values = recording.signals["chest_acc"].values.copy()
    values[:, 0] = 0.25
    diagnosis = clinic.examine(clinic.put(recording, "chest_acc", values))
    assert clinic.told(diagnosis) == {("channels", "chest_acc", "warning")}
    assert "channel 'x' is constant" in diagnosis.findings[0].sentence


@pytest.mark.parametrize(
    ("factor", "how"), [(1.0, "the same as"), (-1.0, "the opposite of"), (2.5, "a multiple of")]
)
def test_a_channel_that_is_another_one_over_again_is_found(clinic, factor, how):
    recording = clinic.sound()
    values = recording.signals["wrist_gyro"].values.copy()
    values[:, 2] = factor * values[:, 0]
    diagnosis = clinic.examine(clinic.put(recording, "wrist_gyro", values))
    assert clinic.told(diagnosis) == {("channels", "wrist_gyro", "warning")}
    assert f"channel 'z' is {how} 'wrist_gyro x'" in diagnosis.findings[0].sentence


def test_a_channel_of_another_sensor_is_found_again(clinic):
    recording = clinic.sound()
    values = recording.signals["wrist_gyro"].values.copy()
    values[:, 1] = recording.signals["wrist_acc"].values[:, 0]
    diagnosis = clinic.examine(clinic.put(recording, "wrist_gyro", values))
    assert "channel 'y' is the same as 'wrist_acc x'" in diagnosis.findings[0].sentence
