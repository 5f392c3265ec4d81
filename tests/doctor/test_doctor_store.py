"""Faults that show in a store: leaking windows, and what recordings show too."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from crossl.data.timing import Timing
from crossl.data.write import write_store
from crossl.doctor import examine_store
from crossl.doctor.leakage import ALIKE, RADIUS, hash_windows, standardise
from crossl.doctor.stores import MAX_WINDOWS


@pytest.fixture
def store_of(clinic, tmp_path):
    def write(*recordings, dtype="float32"):
        return write_store(
            recordings,
            tmp_path / "store",
            modalities=clinic.modalities,
            classes=clinic.classes,
            spec=clinic.spec,
            about={"dataset": "made up", "reader": "none"},
            dtype=dtype,
        )

    return write


def test_a_sound_store_passes_quietly(clinic, store_of):
    diagnosis = examine_store(store_of(clinic.sound(), clinic.sound("S2", seed=1)))
    assert diagnosis.findings == ()
    assert diagnosis.counts == {"windows": 94, "recordings": 2, "subjects": 2, "modalities": 8}
    assert diagnosis.hours == pytest.approx(240 / 3600)
    assert np.array(diagnosis.labels.amount).tolist() == [[23, 23], [23, 23]]
    assert len(diagnosis.limits) == 1


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_windows_of_one_subject_under_another_leak(clinic, store_of, dtype):
    copy = replace(clinic.sound(), subject="S9", session="z")
    signals = {
        name: replace(signal, values=1.5 * signal.values if signal.rate_hz > 10 else signal.values)
        for name, signal in copy.signals.items()
    }
    mixed = {**clinic.sound(seed=8).signals, **{k: v for k, v in signals.items() if k != "eda"}}
    store = store_of(
        clinic.sound(), clinic.sound("S2", seed=1), replace(copy, signals=mixed), dtype=dtype
    )
    leaks = [f for f in examine_store(store).findings if f.check == "leakage"]
    assert [(f.severity, f.amount) for f in leaks] == [("error", (94.0, 94.0))]
    assert leaks[0].example == ("subject S1, session a, at 0 s and subject S9, session z, at 0 s")


def test_copies_in_a_group_that_no_split_parts_are_a_note(clinic, store_of):
    first = replace(clinic.sound(), group="copies")
    copy = replace(first, subject="S9", session="z")
    recordings = [first, clinic.sound("S2", seed=1), copy]
    for diagnosis in (examine_store(store_of(*recordings)), clinic.examine(*recordings)):
        leaks = [f for f in diagnosis.findings if f.check == "leakage"]
        assert [f.severity for f in leaks] == ["note"]
        assert "keep a group on one side" in leaks[0].advice


def test_a_recording_that_stands_twice_under_one_subject_warns(clinic, store_of):
    again = replace(clinic.sound(), session="b")
    diagnosis = examine_store(store_of(clinic.sound(), again, clinic.sound("S2", seed=1)))
    leaks = [f for f in diagnosis.findings if f.check == "leakage"]
    assert [(f.severity, f.amount) for f in leaks] == [("warning", (94.0, 94.0))]


def test_flat_and_slow_windows_are_no_copies(clinic, store_of):
    def still(subject, seed):
        recording = clinic.sound(subject, seed=seed)
        for name, signal in recording.signals.items():
            if signal.rate_hz > 10:
                values = np.zeros_like(signal.values) + signal.values[0]
                times = np.arange(len(values)) / signal.rate_hz
                recording = clinic.put(recording, name, values + np.sin(times)[:, None])
        return recording

    diagnosis = examine_store(store_of(still("S1", 0), still("S2", 1)))
    assert "leakage" not in {f.check for f in diagnosis.findings}


def test_hashing_keeps_copies_close_and_others_apart():
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(400, 100, 3)).astype(np.float32)
    noisy = 2 * windows + rng.normal(0, 0.05, windows.shape).astype(np.float32)
    a, tells = standardise(windows)
    b, _ = standardise(noisy)
    assert tells.all()
    assert (np.einsum("bn,bn->b", a, b) > ALIKE).all()
    near = np.linalg.norm(hash_windows(a) - hash_windows(b), axis=1)
    far = np.linalg.norm(hash_windows(a) - hash_windows(np.roll(b, 1, axis=0)), axis=1)
    assert (near < RADIUS).mean() == 1
    assert far.min() > 3 * RADIUS


def test_values_of_a_store_are_looked_at(clinic, store_of):
    recording = clinic.sound()
    wrong = clinic.put(recording, "skin_temp", recording.signals["skin_temp"].values - 273.15)
    values = recording.signals["wrist_gyro"].values.copy()
    values[:, 2] = -values[:, 0]
    wrong = clinic.put(wrong, "wrist_gyro", values)
    diagnosis = examine_store(store_of(wrong, clinic.sound("S2", seed=1)))
    assert clinic.told(diagnosis) == {
        ("unit", "skin_temp", "error"),
        ("channels", "wrist_gyro", "warning"),
    }
    assert diagnosis.findings[0].example == "subject S1, session a"


def test_timing_and_notes_of_the_manifest_are_told(clinic, store_of):
    timing = Timing(50.0, 51.2, 0.001, 0, 0, 0, 1, 3.0)
    recording = clinic.put(clinic.sound(), "wrist_acc", timing=timing)
    recording = replace(recording, notes=("the clock was off by 3 s",))
    diagnosis = examine_store(store_of(recording, clinic.sound("S2", seed=1)))
    assert clinic.told(diagnosis) == {
        ("rate", "wrist_acc", "warning"),
        ("gaps", "wrist_acc", "note"),
        ("notes", "", "note"),
    }


def test_a_subject_without_a_sensor_is_on_the_map(clinic, store_of):
    without = clinic.sound("S2", seed=1)
    signals = {k: v for k, v in without.signals.items() if k != "ecg"}
    diagnosis = examine_store(store_of(clinic.sound(), replace(without, signals=signals)))
    assert clinic.told(diagnosis) == {("coverage", "ecg", "note")}
    column = list(diagnosis.coverage.modalities).index("ecg")
    assert [row[column] for row in diagnosis.coverage.share] == [1.0, 0.0]


def test_a_large_store_is_sampled_and_says_so(clinic, store_of, monkeypatch):
    assert MAX_WINDOWS == 20_000
    monkeypatch.setattr("crossl.doctor.stores.MAX_WINDOWS", 40)
    store = store_of(clinic.sound(), clinic.sound("S2", seed=1))
    seen = []
    gather = store.gather_zeroed
    monkeypatch.setattr(store, "gather_zeroed", lambda rows: seen.append(len(rows)) or gather(rows))
    diagnosis = examine_store(store)
    assert diagnosis.findings == ()
    assert diagnosis.limits[1:] == (
        "Values were looked at in 40 of 48 windows side by side.",
        "Copies were looked for among 40 of 94 windows.",
    )
    assert sum(seen) == 80


def test_a_store_written_before_timing_was_kept_is_examined(clinic, store_of):
    store = store_of(clinic.sound(), clinic.sound("S2", seed=1))
    plain = json.loads(json.dumps(store.manifest))
    for recording in plain["recordings"]:
        for key in ("timing", "notes", "seconds"):
            recording.pop(key)
    store.manifest = plain
    assert examine_store(store).findings == ()
