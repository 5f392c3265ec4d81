"""Recordings in one format without a mapping: real files, what is assumed, what is refused."""

from __future__ import annotations

import shutil

import edfio
import numpy as np
import pytest

from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import OWN, get_reader, open_dataset
from crossl.errors import DataError
from tests.data.readers.conformance import check_reader, check_refuses, read_all, truncate

FORMATS = [name for name in OWN if name != "folder"]


def card_of(name, root):
    with open_dataset(name, root) as dataset:
        return dataset.card


def write_edf(path, labels, *, rate_hz=100, unit="uV", annotations=(), length_s=10):
    values = np.random.default_rng(0).normal(size=length_s * rate_hz)
    signals = [edfio.EdfSignal(values, rate_hz, label=label, physical_dimension=unit)
               for label in labels]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(*one) for one in annotations]).write(path)


def test_an_empatica_session_is_read_on_one_clock(real_data):
    (recording,) = check_reader("e4", real_data("biosignal_samples"))
    assert (recording.subject, recording.session) == ("flirt_e4", "1")
    assert {name: (s.rate_hz, len(s.values)) for name, s in recording.signals.items()} == {
        "acc": (32, 9998),
        "bvp": (64, 9998),
        "eda": (4, 9998),
        "temp": (4, 4998),
        "hr": (1, 4998),
    }
    assert recording.signals["acc"].start_s == 0
    assert recording.signals["hr"].start_s == 10
    assert recording.notes == (
        "times in the files count from 1970; the store counts from each recording's start",
    )


def test_folders_name_subjects_where_there_are_several(real_data):
    with open_dataset("e4", real_data("wesad_wrist")) as dataset:
        assert len(dataset.parts) == 15
        assert [part.name for part in dataset.parts][:2] == ["S2/S2_E4_Data", "S3/S3_E4_Data"]
        assert "Assumed: 15 people, named after folders" in dataset.card.description
        (recording,) = dataset.parts[0].read()
    assert recording.signals["bvp"].values.shape == (503943, 1)


def test_rates_that_contradict_are_refused_in_one_sentence(real_data):
    check_refuses("wfdb", real_data("drivedb"), match=(
        "drive17b.hea: 'ecg' has 496 Hz, in drive17a.hea 480 Hz; write a mapping with `resample: "
        "true`, or prepare them one at a time"))  # fmt: skip


def test_one_record_of_several_rates_is_read_alone(real_data, tmp_path):
    root = real_data("drivedb") / "drive17a.hea"
    (recording,) = check_reader("wfdb", root, implausible={"emg", "resp", "hr"})
    assert {name: s.rate_hz for name, s in recording.signals.items()} == {
        "ecg": 480,
        **dict.fromkeys(("emg", "hr"), 15),
        **dict.fromkeys(("foot_gsr", "hand_gsr", "resp"), 30),
    }
    with open_dataset("wfdb", root) as dataset:
        store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "wfdb"))
        assert root.with_suffix(".dat") in dataset.parts[0].files
    assert store.manifest["classes"] == []
    assert len(store) == 1741


def test_edf_channels_are_grouped_by_what_they_measure(real_data):
    with open_dataset("edf", real_data("eegmat")) as dataset:
        card = dataset.card
        (recording,) = dataset.parts[0].read()
    assert [(m.name, len(m.channels), m.unit, m.rate_hz) for m in card.modalities] == [
        ("eeg", 20, "V", 500), ("ecg", 1, "V", 500)]  # fmt: skip
    assert recording.signals["eeg"].values.shape == (91000, 20)
    assert 1e-6 < np.abs(recording.signals["eeg"].values).mean() < 1e-4
    assert any(trap.startswith("Subject00_1 and Subject00_2 count as two people")
               for trap in card.traps)  # fmt: skip


def test_files_may_have_different_modalities(tmp_path):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1", "EEG Fp2", "SpO2"])
    write_edf(tmp_path / "ben.edf", ["EEG Fp1", "EEG Fp2"], annotations=[(0, 4, "N1"), (4, 6, "W")])
    anna, ben = read_all("edf", tmp_path)
    assert list(anna.signals) == ["eeg", "spo2"]
    assert list(ben.signals) == ["eeg"]
    assert list(ben.modalities) == ["eeg", "spo2"]
    assert [one.label for one in ben.labels] == ["N1", "W"]
    assert card_of("edf", tmp_path).classes == ("N1", "W")


def test_annotations_that_overlap_are_left_out_and_said_so(tmp_path):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1"], annotations=[(0, 5, "N1"), (4, 2, "arousal")])
    assert read_all("edf", tmp_path)[0].labels == ()
    assert "annotations of anna.edf, which overlap" in card_of("edf", tmp_path).description


def test_a_unit_that_nobody_knows_counts_as_none_and_is_said_so(tmp_path):
    write_edf(tmp_path / "anna.edf", ["Flow"], unit="furlong")
    card = card_of("edf", tmp_path)
    assert card.modalities[0].unit == "1"
    assert "Units that crossl does not know count as numbers without one: furlong (Flow)" in (
        card.description)  # fmt: skip


@pytest.mark.parametrize(("labels", "unit", "message"), [
    (["EEG Fp1", "EEG Cz"], "uV", "ben.edf: 'eeg' has channels fp1, cz, in anna.edf fp1, fp2"),
    (["EEG Fp1", "EEG Fp2"], "%", "ben.edf: 'eeg' has unit 1, in anna.edf V; write a mapping"),
    (["EEG Fp1", "EEG Fp2"], "degC", "ben.edf: 'EEG Fp1' is a voltage of the body by its name"),
])  # fmt: skip
def test_files_that_contradict_are_refused(tmp_path, labels, unit, message):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1", "EEG Fp2"])
    write_edf(tmp_path / "ben.edf", labels, unit=unit)
    check_refuses("edf", tmp_path, match=message)


def test_two_files_of_one_name_are_refused(tmp_path):
    write_edf(tmp_path / "all/x/anna.edf", ["EEG Fp1"])
    write_edf(tmp_path / "all/y/anna.edf", ["EEG Fp1"])
    check_refuses("edf", tmp_path, match="both are of subject anna, session 1; write a mapping")


def test_a_mapping_in_the_folder_counts(tmp_path):
    write_edf(tmp_path / "anna_1.edf", ["EEG Fp1"])
    (tmp_path / "recordings.yaml").write_text(
        "modalities: {eeg: {channels: [fp1], unit: uV, rate_hz: 100}}\n"
        "files: [{pattern: '{subject}_{session}.edf', signals: {eeg: EEG Fp1}}]\n"
    )
    (recording,) = read_all("edf", tmp_path)
    assert (recording.subject, recording.session) == ("anna", "1")


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_without_such_files_is_refused(name, tmp_path):
    assert not get_reader(name).recognises(tmp_path)
    check_refuses(name, tmp_path, match=f"holds no recording in the format {name}")
    check_refuses(name, tmp_path / "nowhere", match="nowhere: does not exist; name the folder")


def test_a_truncated_file_is_refused(tmp_path):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1"])
    truncate(tmp_path / "anna.edf")
    check_refuses("edf", tmp_path, match="anna.edf: is cut off")


def test_one_damaged_file_does_not_spoil_the_others(tmp_path):
    for name in ("anna", "ben", "carl"):
        write_edf(tmp_path / f"{name}.edf", ["EEG Fp1"])
    truncate(tmp_path / "ben.edf")
    with open_dataset("edf", tmp_path) as dataset:
        anna, ben, carl = dataset.parts
        assert [part.name for part in dataset.parts] == ["anna/1", "ben/1", "carl/1"]
        assert len([*anna.read(), *carl.read()]) == 2
        with pytest.raises(DataError, match=r"ben.edf: is cut off: "):
            list(ben.read())


def test_what_is_left_out_is_named_with_its_reason(tmp_path):
    path = tmp_path / "anna.edf"
    write_edf(path, ["EEG Fp1", "EEG Fp2"])
    data = bytearray(path.read_bytes())
    count = int(data[252:256])
    for at in (256 + 104 * count + 8, 256 + 112 * count + 8):  # the range of the second signal
        data[at : at + 8] = b"0       "
    path.write_bytes(data)
    with open_dataset("edf", tmp_path) as dataset:
        why = "it has physical minimum 0 and maximum 0"
        assert dataset.notes[0].startswith(f"left out: anna.edf: EEG Fp2, {why}")
    path.write_bytes(path.read_bytes()[:244] + b"0       " + path.read_bytes()[252:])
    check_refuses("edf", tmp_path, match=r"has signals that can be read without a mapping .*rate")


def test_files_without_signals_are_left_out_and_said_so(tmp_path):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1"])
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, 30, "N1")]).write(tmp_path / "scores.edf")
    assert [r.subject for r in read_all("edf", tmp_path)] == ["anna"]
    assert "Left out: scores.edf, which has no signals" in card_of("edf", tmp_path).description
    (tmp_path / "anna.edf").unlink()
    check_refuses("edf", tmp_path, match="none of 1 files of format edf has signals")


def test_xdf_streams_are_modalities(tmp_path):
    from tests.data.formats.test_xdf import write

    write(tmp_path / "anna.xdf")
    (recording,) = read_all("xdf", tmp_path)
    assert list(recording.signals) == ["eeg"]
    assert recording.modalities["eeg"].channels == ("fp1", "fp2")
    assert recording.modalities["eeg"].unit == "V"
    assert [one.label for one in recording.labels] == ["rest", "walk"]
    assert "stream Slow, of no regular rate" in card_of("xdf", tmp_path).description


def test_another_zip_is_no_empatica_session(real_data, tmp_path):
    shutil.make_archive(str(tmp_path / "photos"), "zip", real_data("drivedb"), "RECORDS")
    assert not get_reader("e4").recognises(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"no zip at all")
    with pytest.raises(DataError, match=r"photos.zip: .*it is not a zip file, or is cut off"):
        read_all("e4", tmp_path)


def test_impossible_temperatures_of_a_wristband_are_told_of(real_data):
    with open_dataset("e4", real_data("wesad_wrist") / "S2") as dataset:
        (recording,) = dataset.read()
    assert any("4 samples outside -40 to 115 degrees" in note for note in recording.notes)


@pytest.mark.parametrize(
    "name", ["Status", "TRIG", "STI 014", "Marker", "Sample Index", "Event marker"]
)
def test_triggers_and_counters_are_left_out_and_said_so(tmp_path, name):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1", "EEG Fp2", name])
    (recording,) = read_all("edf", tmp_path)
    assert list(recording.signals) == ["eeg"]
    assert f"{name} of anna.edf, by its name a " in card_of("edf", tmp_path).description


@pytest.mark.parametrize(("labels", "unit", "si"), [
    (["ACC X", "ACC Y", "ACC Z"], "G", "m/s^2"), (["EDA"], "us", "S"), (["EEG Fp1"], "UV", "V"),
    (["Mag X", "Mag Y"], "G", "T"),
])  # fmt: skip
def test_a_unit_is_read_by_what_is_measured(tmp_path, labels, unit, si):
    write_edf(tmp_path / "anna.edf", labels, unit=unit)
    assert [m.unit for m in card_of("edf", tmp_path).modalities] == [si]


def test_an_acceleration_in_tesla_is_refused(tmp_path):
    write_edf(tmp_path / "anna.edf", ["ACC X", "ACC Y", "ACC Z"], unit="uT")
    check_refuses("edf", tmp_path, match=(
        "anna.edf: 'ACC X' is an acceleration by its name, got the unit 'uT' .T.; such a signal "
        "has m/s.2 or V or 1, or rename what"))  # fmt: skip


def test_files_that_nobody_reads_are_named(tmp_path):
    write_edf(tmp_path / "anna.edf", ["EEG Fp1"])
    (tmp_path / "ben.gt3x").write_bytes(b"PK")
    with open_dataset("edf", tmp_path) as dataset:
        assert any("not read: ben.gt3x: nothing reads the ending" in one for one in dataset.notes)
