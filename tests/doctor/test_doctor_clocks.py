"""Faults of time: rates, gaps, starts, labels and drifting clocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossl.data.recording import LabelInterval, Modality, Signal, Timing

TIMING = Timing(
    declared_hz=50.0,
    estimated_hz=50.0,
    jitter_s=0.001,
    duplicates=0,
    backwards=0,
    dropped=0,
    gaps=0,
    longest_gap_s=0.02,
)


@pytest.mark.parametrize(
    ("estimated_hz", "severity"), [(50.1, None), (50.3, "note"), (51.2, "warning")]
)
def test_timestamps_that_tell_another_rate(clinic, estimated_hz, severity):
    timing = replace(TIMING, estimated_hz=estimated_hz)
    diagnosis = clinic.examine(clinic.put(clinic.sound(), "wrist_acc", timing=timing))
    assert clinic.told(diagnosis) == ({("rate", "wrist_acc", severity)} if severity else set())
    if severity:
        assert diagnosis.findings[0].amount == (estimated_hz, estimated_hz)


def test_real_timestamps_tell_the_rate(clinic):
    recording = clinic.sound()
    times = np.arange(6144) / 51.2
    rng = np.random.default_rng(0)
    signal = Signal.from_timestamps(times, rng.normal(0, 2, (6144, 3)), rate_hz=50, resample=True)
    diagnosis = clinic.examine(clinic.put(recording, "wrist_gyro", signal.values,
                                          timing=signal.timing))  # fmt: skip
    assert clinic.told(diagnosis) == {("rate", "wrist_gyro", "warning")}
    assert "give 51.2 Hz, declared are 50 Hz" in diagnosis.findings[0].sentence


def test_samples_without_a_time_of_their_own_and_a_clock_that_jumps_back(clinic):
    timing = replace(TIMING, dropped=600, duplicates=590, backwards=3)
    diagnosis = clinic.examine(clinic.put(clinic.sound(), "wrist_acc", timing=timing))
    assert clinic.told(diagnosis) == {("timing", "wrist_acc", "warning")}
    assert len(diagnosis.findings) == 2
    assert {f.sentence for f in diagnosis.findings} >= {"the clock jumps back 3 times"}


def test_gaps_are_measured(clinic):
    recording = clinic.sound()
    values = recording.signals["wrist_acc"].values.copy()
    values[1000:1200] = np.nan
    diagnosis = clinic.examine(clinic.put(recording, "wrist_acc", values))
    assert clinic.told(diagnosis) == {("gaps", "wrist_acc", "note")}
    assert diagnosis.findings[0].amount == (4.0, 4.0)
    assert diagnosis.coverage.share[0][0] == pytest.approx(5800 / 6000)
    values[1200:4000] = np.nan
    diagnosis = clinic.examine(clinic.put(recording, "wrist_acc", values))
    assert clinic.told(diagnosis) == {("gaps", "wrist_acc", "warning")}


def test_a_gap_shorter_than_half_a_second_is_no_finding(clinic):
    recording = clinic.sound()
    values = recording.signals["wrist_acc"].values.copy()
    values[1000:1020] = np.nan
    assert clinic.examine(clinic.put(recording, "wrist_acc", values)).findings == ()


def test_a_channel_that_misses_samples_of_its_own_is_named(clinic):
    recording = clinic.sound()
    values = recording.signals["wrist_acc"].values.copy()
    values[::20, 1] = np.nan
    diagnosis = clinic.examine(clinic.put(recording, "wrist_acc", values))
    assert clinic.told(diagnosis) == {("gaps", "wrist_acc", "note")}
    assert "mostly 'y'" in diagnosis.findings[0].sentence


@pytest.mark.parametrize(
    ("name", "unit", "fast"),
    [("emg", "V", "ecg"), ("ankle_acc", "m/s^2", "chest_acc"), ("breathing", "V", None)],
)
def test_two_sensors_of_one_kind_at_very_different_rates(clinic, name, unit, fast):
    recording = clinic.sound()
    slow = Modality(name, ("a",), unit, 8.0, "ankle")
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1e-3, (960, 1)).astype(np.float32)
    recording = replace(
        recording,
        modalities={**recording.modalities, name: slow},
        signals={**recording.signals, name: Signal(values, 8.0)},
    )
    diagnosis = clinic.examine(recording)
    assert clinic.told(diagnosis) == ({("rates", name, "warning")} if fast else set())
    if fast:
        assert f"recorded at 8 Hz, '{fast}' at 100 Hz" in diagnosis.findings[0].sentence
        assert "holds 40 and 500 samples" in diagnosis.findings[0].sentence


def test_a_window_that_holds_hardly_a_sample_is_noted(clinic):
    spec = replace(clinic.spec, window_s=2.0, stride_s=1.0)
    diagnosis = clinic.examine(clinic.sound(), spec=spec)
    assert clinic.told(diagnosis) == {("rates", "heart_rate, spo2", "note")}
    assert "a window of 2 s holds 2 of its samples" in diagnosis.findings[0].sentence


def test_a_sensor_that_starts_late(clinic):
    recording = clinic.sound()
    late = recording.signals["heart_rate"].values[10:]
    recording = clinic.put(recording, "heart_rate", late, start_s=10.0)
    diagnosis = clinic.examine(recording)
    assert clinic.told(diagnosis) == {("clock", "heart_rate", "note")}
    assert diagnosis.findings[0].sentence == "starts 10 s after the other sensors"


def test_a_file_that_ends_early_warns(clinic):
    recording = clinic.sound()
    cut = recording.signals["wrist_acc"].values[:3000]
    diagnosis = clinic.examine(clinic.put(recording, "wrist_acc", cut))
    assert clinic.told(diagnosis) == {("clock", "wrist_acc", "warning")}
    assert diagnosis.findings[0].sentence == "ends 60 s before the other sensors"


@pytest.mark.parametrize(
    ("shift_s", "severity", "sentence"),
    [
        (0.5, None, ""),
        (30.0, "warning", "labels reach 30 s beyond the recording"),
        (500.0, "error", "every label lies outside the recording, the nearest 380 s away"),
    ],
)
def test_labels_on_another_clock(clinic, shift_s, severity, sentence):
    recording = clinic.sound()
    labels = [
        LabelInterval(i.start_s + shift_s, i.end_s + shift_s, i.label) for i in recording.labels
    ]
    diagnosis = clinic.examine(replace(recording, labels=labels), clinic.sound("S2", seed=1))
    clocks = [f for f in diagnosis.findings if f.check == "clock"]
    if severity is None:
        assert diagnosis.findings == ()
    else:
        assert [(f.where, f.severity, f.sentence) for f in clocks] == [
            ("labels", severity, sentence)
        ]


def test_a_late_first_label_is_noted(clinic):
    recording = clinic.sound(seconds=400.0)
    labels = [LabelInterval(150, 250, "rest"), LabelInterval(250, 400, "walk")]
    diagnosis = clinic.examine(replace(recording, labels=labels))
    assert clinic.told(diagnosis) == {("clock", "labels", "note")}
    assert diagnosis.findings[0].sentence == "the first label begins 150 s after the sensors"


def test_notes_of_the_reader_are_passed_on_and_told_together(clinic):
    recordings = [
        replace(clinic.sound(f"S{i}", seed=i), notes=(f"labels were moved by the clock's {i}.5 s",))
        for i in (1, 2, 3)
    ]
    diagnosis = clinic.examine(*recordings)
    assert clinic.told(diagnosis) == {("notes", "", "note")}
    (finding,) = diagnosis.findings
    assert finding.sentence == "labels were moved by the clock's 1.5 s"
    assert finding.place(diagnosis.counts) == "in all 3 recordings, e.g. subject S1, session a"


def two_devices(clinic, *, seconds, offset_s=0.0, drift=0.0):
    """A wrist and a chest that move together; the chest's clock is off."""
    rng = np.random.default_rng(5)
    recording = clinic.sound(seconds=60.0)
    names = {"wrist_acc": 0.0, "chest_acc": 1.0}
    signals = {}
    for name, off in names.items():
        modality = recording.modalities[name]
        shown = np.arange(round(seconds * modality.rate_hz)) / modality.rate_hz
        # what the clock shows, and when it was
        happened = (shown - off * offset_s) / (1 + off * drift)
        strength = clinic.bursts(np.clip(happened, 0, None), 9)
        values = strength[:, None] * np.sin(2 * np.pi * 1.7 * happened + off)[:, None]
        values = values * np.array([1.0, 0.6, 0.3]) + np.array([0, 0, 9.81])
        noisy = values + rng.normal(0, 0.05, values.shape)
        signals[name] = Signal(noisy.astype(np.float32), modality.rate_hz)
    modalities = {name: recording.modalities[name] for name in names}
    labels = (LabelInterval(0, seconds / 2, "rest"), LabelInterval(seconds / 2, seconds, "walk"))
    return replace(recording, signals=signals, modalities=modalities, labels=labels)


def test_devices_that_share_a_clock_do_not_drift(clinic):
    assert clinic.examine(two_devices(clinic, seconds=1800.0)).findings == ()


@pytest.mark.parametrize("drift", [2e-4, -1e-4])
def test_a_clock_that_drifts_is_measured(clinic, drift):
    diagnosis = clinic.examine(two_devices(clinic, seconds=1800.0, drift=drift))
    assert clinic.told(diagnosis) == {("drift", "wrist_acc, chest_acc", "warning")}
    (finding,) = diagnosis.findings
    assert finding.amount[0] == pytest.approx(abs(drift) * 3600e3, rel=0.1)
    way = "runs ahead" if drift > 0 else "falls behind"
    assert f"the clock of 'chest_acc' {way} by" in finding.sentence


def test_an_offset_between_two_devices_is_measured(clinic):
    diagnosis = clinic.examine(two_devices(clinic, seconds=900.0, offset_s=2.0))
    assert clinic.told(diagnosis) == {("drift", "wrist_acc, chest_acc", "warning")}
    (finding,) = diagnosis.findings
    # arm and chest move a sixth of a stride apart
    assert finding.amount[0] == pytest.approx(2.0, abs=0.15)
    assert "'chest_acc' feels the same motion 1.91 s later" in finding.sentence


def test_gaps_do_not_pass_for_motion(clinic):
    recording = two_devices(clinic, seconds=1800.0)
    for name, shift_s in (("wrist_acc", 0.0), ("chest_acc", 3.0)):
        signal = recording.signals[name]
        values = signal.values.copy()
        for begin_s in range(30, 1790, 120):
            begin = round((begin_s + shift_s) * signal.rate_hz)
            values[begin : begin + round(5 * signal.rate_hz)] = np.nan
        recording = clinic.put(recording, name, values)
    assert {f.check for f in clinic.examine(recording).findings} == {"gaps"}


def test_two_people_show_no_offset(clinic):
    recording = clinic.sound(seconds=600.0)
    stranger = clinic.sound(seconds=600.0, seed=77)
    mixed = clinic.put(recording, "chest_acc", stranger.signals["chest_acc"].values)
    assert clinic.examine(mixed).findings == ()


@pytest.mark.parametrize("shift_s", [7.3, -7.3])
def test_an_offset_is_measured_between_two_devices_and_told_once_with_the_key_that_mends_it(
    clinic, shift_s
):
    recording = clinic.sound()
    kept = {name: recording.signals[name] for name in ("wrist_acc", "chest_acc")}
    recording = clinic.put(replace(recording, signals=kept), "chest_acc", start_s=shift_s)
    modalities = {name: recording.modalities[name] for name in kept}
    recording = replace(recording, modalities=modalities)
    diagnosis = clinic.examine(recording)
    (finding,) = [f for f in diagnosis.findings if f.check == "clock"]
    side = "after" if shift_s > 0 else "before"
    assert finding.sentence == f"starts and ends 7.3 s {side} 'wrist_acc'"
    assert (finding.where, finding.amount) == ("chest_acc", (7.3, 7.3))
    assert f"offset_s: {-shift_s:g} for 'chest_acc'" in finding.place(diagnosis.counts)
    assert "rule in `files`" in finding.advice


def test_the_shift_of_a_device_that_feels_motion_later_is_signed(clinic):
    diagnosis = clinic.examine(two_devices(clinic, seconds=900.0, offset_s=2.0))
    (finding,) = diagnosis.findings
    assert finding.detail == "offset_s: -1.91 for 'chest_acc'"
