"""EEGMAT: units by header, labels by file, regions, damaged files."""

from __future__ import annotations

import shutil
import zipfile

import edfio
import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.formats import open_file
from crossl.data.readers import detect_reader, get_reader
from crossl.data.recording import LabelInterval
from tests.data.readers.conformance import check_reader, check_refuses, read_all, truncate

READER = get_reader("eegmat")


@pytest.fixture(scope="module")
def published(real_data):
    return check_reader("eegmat", real_data("eegmat"))


@pytest.fixture
def copy(real_data, tmp_path):
    for name in ("Subject00_2.edf", "Subject31_1.edf"):
        shutil.copyfile(real_data("eegmat") / name, tmp_path / name)
    return tmp_path


def test_whatever_subjects_are_there_are_read_with_a_label_by_file(published):
    assert [(r.subject, r.session, r.labels) for r in published] == [
        ("Subject00", "1", (LabelInterval(0.0, 182.0, "rest"),)),
        ("Subject00", "2", (LabelInterval(0.0, 62.0, "arithmetic"),)),
        ("Subject01", "1", (LabelInterval(0.0, 182.0, "rest"),)),
        ("Subject01", "2", (LabelInterval(0.0, 62.0, "arithmetic"),)),
        ("Subject31", "1", (LabelInterval(0.0, 80.0, "rest"),)),
        ("Subject31", "2", (LabelInterval(0.0, 62.0, "arithmetic"),)),
    ]


def test_eeg_is_from_microvolt_and_ecg_from_millivolt(published, real_data):
    (stream,) = open_file(real_data("eegmat") / "Subject01_2.edf").streams
    units = dict(zip(stream.columns, stream.units, strict=True))
    assert (units["EEG Fp1"], units["ECG ECG"]) == ("uV", "mV")
    signals = published[3].signals
    assert {name: s.values.shape for name, s in signals.items()} == {
        "eeg": (31000, 19), "ecg": (31000, 1)}  # fmt: skip
    assert all(s.rate_hz == 500.0 for s in signals.values())
    names = READER.CARD.modalities[0].channels
    assert len(set(names)) == 19
    for name in ("Fp1", "Cz", "Pz"):
        got = signals["eeg"].values[:, names.index(name)]
        np.testing.assert_allclose(got, stream.load([f"EEG {name}"])[:, 0] * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(signals["ecg"].values, stream.load(["ECG ECG"]) * 1e-3, rtol=1e-6)
    for recording in published:
        assert 3e-6 < np.std(recording.signals["eeg"].values) < 5e-5
        assert 1e-4 < np.abs(recording.signals["ecg"].values).max() < 3e-3


def test_eeg_shares_what_was_published_at_100_hz(published, real_data):
    """The same recordings, resampled by someone else, correlate with these."""
    from scipy.signal import resample_poly

    with np.load(real_data("eegmat") / "eegmat_100hz.npz") as archive:
        theirs = archive["Subject00_1__EEG"][:, 0] * 1e-7
    ours = resample_poly(published[0].signals["eeg"].values[:, 0].astype(np.float64), 1, 5)
    np.testing.assert_allclose(ours, theirs, atol=3e-7)


def test_regions_split_the_same_channels(real_data, published):
    recordings = check_reader("eegmat", real_data("eegmat"), {"regions": "yes"})
    one = recordings[0].signals
    assert list(one) == ["eeg_frontal", "eeg_central", "eeg_posterior", "ecg"]
    together = np.concatenate([s.values for name, s in one.items() if name != "ecg"], axis=1)
    np.testing.assert_array_equal(together, published[0].signals["eeg"].values)


def test_windows_of_the_card_have_both_modalities(published):
    card = READER.CARD
    cuts = [cut_recording(r, card.modalities, card.classes, card.spec) for r in published]
    assert [len(cut.start_s) for cut in cuts] == [90, 30, 90, 30, 39, 30]
    assert all(cut.present.all() for cut in cuts)


def write(path, *, seconds=10, rate_hz=500, ecg_unit="mV"):
    """Write a file in the official layout: 19 EEG, their reference, an ECG."""
    names = [f"EEG {name}" for name in (*READER.CARD.modalities[0].channels, "A2-A1")]
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(rng.normal(0, 10, seconds * rate_hz), rate_hz, label=name,
                        physical_dimension="uV", physical_range=(-100, 100))
        for name in names
    ]  # fmt: skip
    signals.append(
        edfio.EdfSignal(rng.normal(0, 0.1, seconds * rate_hz), rate_hz, label="ECG ECG",
                        physical_dimension=ecg_unit, physical_range=(-1, 1)))  # fmt: skip
    edfio.Edf(signals, annotations=[]).write(path)
    return [signal.data for signal in signals]


def test_a_written_pair_has_its_values_and_labels(tmp_path):
    rest = write(tmp_path / "Subject05_1.edf", seconds=12)
    write(tmp_path / "Subject05_2.edf", ecg_unit="uV")
    first, second = check_reader("eegmat", tmp_path)
    assert first.labels == (LabelInterval(0.0, 12.0, "rest"),)
    assert second.labels == (LabelInterval(0.0, 10.0, "arithmetic"),)
    assert first.subject == second.subject == "Subject05"
    np.testing.assert_allclose(first.signals["eeg"].values.T, np.stack(rest[:19]) * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(first.signals["ecg"].values[:, 0], rest[20] * 1e-3, rtol=1e-6)
    assert np.abs(second.signals["ecg"].values).max() < 1e-6


def test_another_rate_is_refused(tmp_path):
    write(tmp_path / "Subject05_1.edf", rate_hz=250)
    check_refuses("eegmat", tmp_path, match=r"has signals of 250 Hz; the official file has 500 Hz")


def test_the_official_archive_is_read(tmp_path):
    stem = "eeg-during-mental-arithmetic-tasks-1.0.0"
    assert READER.CARD.files[0].name == f"{stem}.zip"
    write(tmp_path / "made.edf")
    (tmp_path / "archive").mkdir()
    path = tmp_path / "archive" / f"{stem}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "made.edf", f"{stem}/Subject07_2.edf")
    assert detect_reader(path) == "eegmat"
    assert [r.subject for r in read_all("eegmat", path)] == ["Subject07"]


def test_the_folder_is_recognised(copy):
    assert detect_reader(copy) == "eegmat"


@pytest.mark.parametrize("name", ["Subject00_2.edf", "Subject31_1.edf"])
def test_a_truncated_file_is_refused(copy, name):
    truncate(copy / name)
    check_refuses("eegmat", copy, match=rf"{name}: is cut off")


@pytest.mark.parametrize(("old", "new", "message"), [
    (b"ECG ECG", b"ECG EKG", "Subject00_2.edf: has no signal 'ECG ECG'; the official file has 19"),
    (b"mV      ", b"uS      ", "'ECG ECG' is in 'uS'; volts are needed"),
    (b"uV      ", b"mV      ", "'EEG Fp2' is in 'uV'; volts are needed, of one kind for all"),
    (b"uV      ", b"??      ", r"unit of 'EEG Fp1': '\?\?' is unknown"),
    (b"-32768  ", b"abc     ", "'EEG Fp1' cannot be read: it has digital minimum nan"),
])  # fmt: skip
def test_a_corrupted_header_is_refused(copy, old, new, message):
    path = copy / "Subject00_2.edf"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    check_refuses("eegmat", copy, match=message)


def test_a_folder_without_recordings_is_refused(tmp_path):
    check_refuses("eegmat", tmp_path, match=r"holds neither 'Subject\[0-9\]\[0-9\]_\[12\].edf'")


def test_a_name_that_only_looks_like_a_recording_is_left_alone(copy):
    shutil.copyfile(copy / "Subject00_2.edf", copy / "Subject00_3.edf")
    assert len(read_all("eegmat", copy)) == 2
