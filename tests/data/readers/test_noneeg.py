"""Non-EEG: published minutes of each state, the marks' clock, damaged files."""

from __future__ import annotations

import shutil
import struct
import zipfile

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader
from crossl.data.recording import LabelInterval
from tests.data.readers.conformance import check_reader, check_refuses, corrupt, read_all, truncate

READER = get_reader("noneeg")


@pytest.fixture(scope="module")
def published(real_data):
    return check_reader("noneeg", real_data("noneeg"))


@pytest.fixture
def copy(real_data, tmp_path):
    """Two subjects that may be damaged."""
    for subject in (1, 2):
        for path in real_data("noneeg").glob(f"Subject{subject}_*"):
            shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def test_the_states_last_as_long_as_published(published):
    assert [r.subject for r in published] == [f"Subject{n}" for n in range(1, 21)]
    minutes = dict.fromkeys(READER.CARD.classes, 0.0)
    for recording in published:
        for one in recording.labels:
            minutes[one.label] += (one.end_s - one.start_s) / 60
    assert {label: round(total, 1) for label, total in minutes.items()} == {
        "Relax": 399.9, "PhysicalStress": 108.8, "CognitiveStress": 118.2, "EmotionalStress": 141.5,
    }  # fmt: skip


def test_every_subject_goes_through_eight_states_to_the_end_of_the_record(published):
    for recording in published:
        assert [one.label[:3] for one in recording.labels] == [
            "Rel", "Phy", "Rel", "Emo", "Cog", "Rel", "Emo", "Rel"]  # fmt: skip
        assert recording.labels[-1].end_s == recording.signals["wrist_acc"].end_s
        briefing = recording.labels[3]
        assert 39 < briefing.end_s - briefing.start_s < 42
        assert recording.notes == []


def test_signals_are_those_of_the_files_in_si_units(published, real_data):
    recording = published[0]
    assert {name: (s.values.shape, s.rate_hz) for name, s in recording.signals.items()} == {
        "wrist_acc": ((18343, 3), 8.0), "wrist_temp": ((18343, 1), 8.0),
        "wrist_eda": ((18343, 1), 8.0), "finger_spo2": ((2299, 1), 1.0),
        "finger_heart_rate": ((2299, 1), 1.0),
    }  # fmt: skip
    raw = np.fromfile(real_data("noneeg") / "Subject1_AccTempEDA.dat", "<i2").reshape(-1, 5)
    gain = np.array([19679.8798799, 24093.3823529, 23239.0070922, 17245.7894737, 25361.4551084])
    wanted = (raw - np.array([-21943, 11082, 11851, -551865, -34770])) / gain
    signals = recording.signals
    np.testing.assert_allclose(
        signals["wrist_acc"].values, wanted[:, :3] * 9.80665, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(signals["wrist_temp"].values[:, 0], wanted[:, 3] + 273.15, rtol=1e-6)
    np.testing.assert_allclose(signals["wrist_eda"].values[:, 0], wanted[:, 4] * 1e-6, rtol=1e-5)
    assert signals["finger_heart_rate"].values[0, 0] == pytest.approx(89 / 60, abs=1e-4)
    assert signals["finger_spo2"].values[0, 0] == pytest.approx(0.97, abs=1e-5)


def test_acceleration_is_in_g_as_its_size_tells(published):
    sizes = [
        np.median(np.linalg.norm(r.signals["wrist_acc"].values, axis=1)) / 9.80665
        for r in published
    ]
    assert 0.95 < min(sizes) < max(sizes) < 1.20


def test_windows_of_the_card_are_as_many_as_fit(published):
    card = READER.CARD
    cuts = [cut_recording(r, card.modalities, card.classes, card.spec) for r in published]
    for recording, cut in zip(published, cuts, strict=True):
        assert len(cut.start_s) == (recording.end_s - 30) // 15 + 1
    assert np.concatenate([cut.present for cut in cuts]).mean() > 0.99
    assert min(np.bincount(np.concatenate([cut.label for cut in cuts]) + 1, minlength=5)[1:]) > 400


def test_the_marks_of_the_oximeter_are_never_read(copy, published):
    (copy / "Subject1_SpO2HR.atr").write_bytes(b"\0\0")
    assert read_all("noneeg", copy)[0].labels == published[0].labels
    (copy / "Subject1_SpO2HR.atr").unlink()
    assert read_all("noneeg", copy)[0].labels == published[0].labels


def test_a_subject_without_the_oximeter_is_read_with_it_absent(copy):
    (copy / "Subject2_SpO2HR.hea").unlink()
    whole, half = read_all("noneeg", copy)
    assert len(whole.signals) == 5
    assert sorted(half.signals) == ["wrist_acc", "wrist_eda", "wrist_temp"]
    assert half.notes == [
        "Subject2_SpO2HR.hea is not there; its oxygen saturation and heart rate are absent"
    ]


def test_the_official_archive_is_read(copy, tmp_path_factory):
    stem = "non-eeg-dataset-for-assessment-of-neurological-status-1.0.0"
    assert READER.CARD.files[0].name == f"{stem}.zip"
    path = tmp_path_factory.mktemp("archive") / f"{stem}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in copy.iterdir():
            archive.write(file, f"{stem}/{file.name}")
    assert detect_reader(path) == "noneeg"
    assert [r.subject for r in read_all("noneeg", path.parent)] == ["Subject1", "Subject2"]


MADE = {
    "AccTempEDA": (8, [("ax", 1e4, "NU", 0.6), ("ay", 1e4, "NU", -0.8), ("az", 1e4, "NU", 0.1),
                       ("temp", 1e3, "degC", 31.5), ("EDA", 1e4, "NU", 0.7)]),
    "SpO2HR": (1, [("SpO2", 100, "%", 97.0), ("hr", 100, "bpm", 72.0)]),
}  # fmt: skip


def make_subject(folder, number, *, seconds=80):
    """Write a subject in the official layout, each signal constant, eight states of 10 s."""
    for name, (rate_hz, signals) in MADE.items():
        record = f"Subject{number}_{name}"
        digital = np.array([round(gain * value) for _, gain, _, value in signals], "<i2")
        samples = np.tile(digital, (seconds * rate_hz, 1))
        (folder / f"{record}.dat").write_bytes(samples.tobytes())
        lines = [f"{record} {len(signals)} {rate_hz} {len(samples)}"]
        for (label, gain, unit, _), first, total in zip(
            signals, digital, samples.sum(axis=0, dtype=np.int64), strict=True
        ):
            lines.append(
                f"{record}.dat 16 {gain:g}(0)/{unit} 16 0 {first} {total % 65536} 0 {label}"
            )
        (folder / f"{record}.hea").write_text("\n".join(lines) + "\n")
        # both in 8 Hz, as published: code 22 (note), the text behind it
        marks = b""
        for place, state in enumerate(STATES):
            text = state.encode() + b"\0" * (len(state) % 2)
            marks += struct.pack("<HH", 22 << 10 | (80 if place else 1), 63 << 10 | len(state))
            marks += text
        (folder / f"{record}.atr").write_bytes(marks + bytes(2))


STATES = ("Relax", "PhysicalStress", "Relax", "EmotionalStress", "CognitiveStress", "Relax",
          "EmotionalStress", "Relax")  # fmt: skip


def test_a_written_subject_has_its_values_and_marks(tmp_path):
    for number in (10, 9):
        make_subject(tmp_path, number)
    first, second = check_reader("noneeg", tmp_path)
    assert (first.subject, second.subject) == ("Subject9", "Subject10")
    wanted = {
        "wrist_acc": [0.6 * 9.80665, -0.8 * 9.80665, 0.1 * 9.80665], "wrist_temp": [304.65],
        "wrist_eda": [0.7e-6], "finger_spo2": [0.97], "finger_heart_rate": [1.2],
    }  # fmt: skip
    for name, value in wanted.items():
        values = first.signals[name].values
        assert len(values) == 80 * first.signals[name].rate_hz
        np.testing.assert_allclose(values, np.tile(value, (len(values), 1)), rtol=1e-6)
    assert first.labels == tuple(
        LabelInterval(10.0 * place + 0.125, min(10.0 * place + 10.125, 80.0), state)
        for place, state in enumerate(STATES)
    )


def test_a_written_subject_with_one_sample_changed_is_refused(tmp_path):
    make_subject(tmp_path, 1)
    path = tmp_path / "Subject1_SpO2HR.dat"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    check_refuses("noneeg", tmp_path, match=r"Subject1_SpO2HR.dat: the checksum of 'SpO2' is")


def test_the_folder_is_recognised(copy):
    assert detect_reader(copy) == "noneeg"


def test_a_subject_without_marks_is_refused(copy):
    (copy / "Subject1_AccTempEDA.atr").unlink()
    check_refuses("noneeg", copy, match=r"Subject1_AccTempEDA.atr: does not exist; the official")


@pytest.mark.parametrize("name", [
    "Subject1_AccTempEDA.dat", "Subject1_AccTempEDA.atr", "Subject2_SpO2HR.dat",
    "Subject1_AccTempEDA.hea"])  # fmt: skip
def test_a_truncated_file_is_refused(copy, name):
    truncate(copy / name)
    check_refuses("noneeg", copy, match=name.split(".")[0])


@pytest.mark.parametrize("name", ["Subject1_AccTempEDA.dat", "Subject2_SpO2HR.dat"])
def test_corrupted_samples_fail_their_checksum(copy, name):
    corrupt(copy / name)
    check_refuses("noneeg", copy, match=rf"{name}: the checksum of '\w+' is \d+; the header says")


def test_corrupted_marks_are_refused(copy):
    path = copy / "Subject1_AccTempEDA.atr"
    path.write_bytes(path.read_bytes().replace(b"Relax", b"Rilax", 1))
    check_refuses("noneeg", copy, match=r"Subject1_AccTempEDA.atr: marks 'Rilax'; the official")


def test_other_signals_are_refused(copy):
    path = copy / "Subject1_AccTempEDA.hea"
    path.write_text(path.read_text().replace("EDA\n", "GSR\n"))
    check_refuses("noneeg", copy, match=r"holds ax, ay, az, temp, GSR at 8 Hz; the official file")


def test_subjects_who_hold_the_same_seconds_are_a_group_that_no_fold_parts(published, tmp_path):
    from crossl.config import load_config
    from crossl.data.write import write_store
    from crossl.experiment.fold import folds_of

    grouped = {recording.subject: recording.group for recording in published}
    assert {name for name, group in grouped.items() if group} == {
        "Subject2",
        "Subject3",
        "Subject4",
    }
    assert len({group for group in grouped.values() if group}) == 1
    store = write_store(published, tmp_path / "store", modalities=READER.CARD.modalities,
                        classes=READER.CARD.classes, spec=READER.CARD.spec, about={})  # fmt: skip
    for seed in range(5):
        for fold in folds_of(store, load_config(overrides=[f"evaluation.fold_seed={seed}"])):
            for rows in (fold.train, fold.validation, fold.test):
                here = {"Subject2", "Subject3", "Subject4"} & set(store.subject[rows].tolist())
                assert len(here) in (0, 3)
