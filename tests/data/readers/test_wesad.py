"""WESAD: published minutes of each condition, both sources, pickles that are damaged or hostile."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader, open_dataset
from crossl.data.recording import LabelInterval
from tests.data.readers.conformance import (
    check_reader,
    check_recording,
    check_refuses,
    corrupt,
    read_all,
    truncate,
)

READER = get_reader("wesad")
SUBJECTS = [f"S{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17)]
WRIST = ["wrist_acc", "wrist_bvp", "wrist_eda", "wrist_temp"]
CHEST = ["chest_acc", "chest_ecg", "chest_emg", "chest_eda", "chest_resp", "chest_temp"]


@pytest.fixture(scope="module")
def published(real_data):
    return read_all("wesad", real_data("wesad_wrist"))


@pytest.fixture
def copy(real_data, tmp_path):
    """A subject's wristband and questionnaire, which may be damaged."""
    (tmp_path / "S4").mkdir()
    for name in ("S4_E4_Data.zip", "S4_quest.csv"):
        shutil.copyfile(real_data("wesad_wrist") / "S4" / name, tmp_path / "S4" / name)
    return tmp_path


# --- the wristband alone


def test_the_conditions_last_as_long_as_published(published):
    minutes = dict.fromkeys(READER.CARD.classes, 0.0)
    for recording in published:
        for one in recording.labels:
            minutes[one.label] += (one.end_s - one.start_s) / 60
    assert {label: round(total, 1) for label, total in minutes.items()} == {
        "baseline": 293.5, "stress": 166.1, "amusement": 92.9, "meditation": 196.8}  # fmt: skip
    paper = np.array([minutes[label] for label in ("baseline", "stress", "amusement")])
    np.testing.assert_allclose(paper / paper.sum() * 100, [53.1, 30.1, 16.8], atol=0.05)


def test_labels_lie_where_the_pulse_wave_was_found(published, real_data):
    told = json.loads((real_data("wesad_wrist") / "e4_label_intervals.json").read_text())
    names = {1: "baseline", 2: "stress", 3: "amusement", 4: "meditation"}
    assert [r.subject for r in published] == SUBJECTS == list(READER.OFFSET_S)
    for recording in published:
        wanted = told["subjects"][recording.subject]
        assert READER.OFFSET_S[recording.subject] == wanted["e4_offset_s"]
        rows = sorted((begin, end, names[c]) for c, _, begin, end in wanted["label_intervals_e4_s"])
        assert [one.label for one in recording.labels] == [row[2] for row in rows]
        got = [(one.start_s, one.end_s) for one in recording.labels]
        np.testing.assert_allclose(got, [row[:2] for row in rows], atol=1e-6)
        assert recording.labels[-1].end_s <= recording.end_s
        offset, impossible = recording.notes
        assert f"{wanted['e4_offset_s']:g} s later, each 20 s shorter" in offset
        assert impossible.startswith("wrist_temp: 4 samples are impossible")


def test_signals_are_those_of_the_wristband_in_si_units(published, real_data):
    recording = published[0]
    with zipfile.ZipFile(real_data("wesad_wrist") / "S2/S2_E4_Data.zip") as archive:
        raw = {
            name: np.loadtxt(io.BytesIO(archive.read(f"{name}.csv")), delimiter=",", ndmin=2)[2:]
            for name in ("ACC", "EDA", "TEMP")
        }
    signals = recording.signals
    assert list(signals) == WRIST
    np.testing.assert_allclose(signals["wrist_acc"].values, raw["ACC"] / 64 * 9.80665, rtol=1e-6)
    np.testing.assert_allclose(signals["wrist_eda"].values, raw["EDA"] * 1e-6, rtol=1e-6)
    temp = signals["wrist_temp"].values
    np.testing.assert_allclose(temp[4:], raw["TEMP"][4:] + 273.15, rtol=1e-6)
    assert np.isnan(temp[:4]).all()
    for recording in published:
        assert all(signal.start_s == 0 for signal in recording.signals.values())
        norm = np.linalg.norm(recording.signals["wrist_acc"].values, axis=1)
        assert 9.3 < np.median(norm) < 10.3


def test_windows_of_the_card_have_the_classes_of_the_paper(published):
    spec, card = READER.CARD.spec, published[0].modalities
    cuts = [cut_recording(r, list(card.values()), READER.CARD.classes, spec) for r in published]
    counts = np.bincount(np.concatenate([cut.label for cut in cuts]) + 1, minlength=5)[1:]
    assert counts.tolist() == [581, 327, 181, 380]
    np.testing.assert_allclose(counts[:3] / counts[:3].sum(), [0.531, 0.301, 0.168], atol=0.005)
    assert np.concatenate([cut.present for cut in cuts]).mean() > 0.99


def test_one_subject_passes_conformance_and_is_recognised(copy):
    (recording,) = check_reader("wesad", copy)
    assert detect_reader(copy) == "wesad"
    assert (recording.subject, recording.session) == ("S4", "1")


def test_an_unpacked_session_reads_as_its_zip(copy):
    (zipped,) = read_all("wesad", copy)
    with zipfile.ZipFile(copy / "S4/S4_E4_Data.zip") as archive:
        archive.extractall(copy / "S4/S4_E4_Data")
    (copy / "S4/S4_E4_Data.zip").unlink()
    (folder,) = check_reader("wesad", copy)
    assert folder.labels == zipped.labels
    for name, signal in folder.signals.items():
        np.testing.assert_array_equal(signal.values, zipped.signals[name].values)


def test_a_subject_whose_clock_is_unknown_is_unlabelled_and_told(copy):
    (copy / "S4").rename(copy / "S99")
    for path in (copy / "S99").iterdir():
        path.rename(path.with_name(path.name.replace("S4", "S99")))
    (recording,) = read_all("wesad", copy)
    assert recording.labels == ()
    assert recording.notes[:1] == (
        "unlabelled: how much earlier the wristband of S99 started than the protocol is not "
        "known, and S99.pkl is not there",
    )


@given(st.integers(0, 200), st.integers(0, 59))
def test_times_are_minutes_and_seconds_without_a_trailing_zero(minutes, seconds):
    text = f"{minutes}.{seconds:02d}"
    for written in {text, text.rstrip("0").rstrip(".") if "." in text else text}:
        assert READER._seconds("quest", written) == 60 * minutes + seconds


@pytest.mark.parametrize(("text", "seconds"), [("50.3", 3030), ("2.5", 170), ("53", 3180)])
def test_times_of_the_questionnaires_are_read(text, seconds):
    assert READER._seconds("quest", text) == seconds


@pytest.mark.parametrize(("old", "new", "message"), [
    ("# END", "# STOP", "has 8 ORDER, 8 START; expected lines # ORDER, # START and # END"),
    ("TSST", "TXST", "has condition 'TXST'; allowed are Base, TSST"),
    ("# START;", "# START;x", "is not a time; expected minutes.seconds like 50.3"),
    ("# START;", "# START;9", "its conditions overlap or end before they start"),
])  # fmt: skip
def test_a_damaged_questionnaire_is_refused(copy, old, new, message):
    path = copy / "S4/S4_quest.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    check_refuses("wesad", copy, match=f"S4_quest.csv: .*{message}")


def test_a_truncated_questionnaire_is_refused(copy):
    path = copy / "S4/S4_quest.csv"
    path.write_text(path.read_text()[:40])
    check_refuses("wesad", copy, match=r"S4_quest.csv: has .*; expected lines")


def test_a_missing_questionnaire_is_refused(copy):
    (copy / "S4/S4_quest.csv").unlink()
    check_refuses("wesad", copy, match=r"S4_quest.csv: does not exist; the official data set has")


def test_a_questionnaire_of_another_session_is_refused(copy):
    path = copy / "S4/S4_quest.csv"
    rows = [line.split(";") for line in path.read_text().splitlines()]
    last = rows[1].index("Medi 2")
    assert rows[3][0] == "# END"
    rows[3][last] = "300"
    path.write_text("\n".join(";".join(row) for row in rows))
    check_refuses("wesad", copy, match=r"both must be of one session")


@pytest.mark.parametrize("damage", [truncate, corrupt])
def test_a_damaged_zip_is_refused(copy, damage):
    damage(copy / "S4/S4_E4_Data.zip")
    check_refuses("wesad", copy, match=r"S4_E4_Data.zip: ")


def test_a_subject_without_either_source_is_refused(copy):
    (copy / "S5").mkdir()
    check_refuses("wesad", copy, match=r"S5: holds neither S5.pkl nor S5_E4_Data.zip")


# --- both devices


class Python2Pickler(pickle._Pickler):
    """Writes protocol 2 as Python 2 did: text and bytes alike are byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_binstring(self, value):
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_binstring


def as_pickle(content, *, python2=True):
    if not python2:
        data = pickle.dumps(content, protocol=2)
    else:
        out = io.BytesIO()
        Python2Pickler(out, 2).dump(content)
        data = out.getvalue()
    # as numpy 1 called it
    return data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def official(subject, seconds=130.0, seed=0):
    """Both devices in the layout and with the sizes of the official pickles."""
    rng = np.random.default_rng(seed)

    def noise(rate_hz, centre, width, channels=1):
        return rng.normal(centre, width, size=(round(seconds * rate_hz), channels))

    codes = np.repeat([0, 1, 0, 2, 5, 3, 6, 4, 7, 0], round(seconds * 70)).astype(np.int32)
    return {
        "signal": {
            "chest": {
                "ACC": noise(700, [0.9, 0.1, -0.3], 0.01, 3), "ECG": noise(700, 0, 0.2),
                "EMG": noise(700, 0, 0.02), "EDA": noise(700, 5, 0.1),
                "Temp": noise(700, 33, 0.1).astype(np.float32), "Resp": noise(700, 0, 3),
            },
            "wrist": {
                "ACC": np.round(noise(32, [60, 10, 20], 2, 3)), "BVP": noise(64, 0, 30),
                "EDA": noise(4, 1, 0.1), "TEMP": noise(4, 34, 0.1),
            },
        },
        "label": codes,
        "subject": subject,
    }  # fmt: skip


def write_subject(root, subject, content=None, **other):
    (root / subject).mkdir(parents=True, exist_ok=True)
    path = root / subject / f"{subject}.pkl"
    path.write_bytes(as_pickle(content or official(subject), **other))
    return path


@pytest.mark.parametrize("python2", [True, False])
def test_an_official_pickle_gives_both_devices_on_one_clock(tmp_path, python2):
    content = official("S2")
    write_subject(tmp_path, "S2", content, python2=python2)
    (recording,) = check_reader("wesad", tmp_path)
    assert list(recording.signals) == WRIST + CHEST
    chest, wrist = content["signal"]["chest"], content["signal"]["wrist"]
    for name, wanted in (
        ("chest_acc", chest["ACC"] * 9.80665), ("chest_ecg", chest["ECG"] * 1e-3),
        ("chest_emg", chest["EMG"] * 1e-3), ("chest_eda", chest["EDA"] * 1e-6),
        ("chest_resp", chest["Resp"] * 0.01), ("chest_temp", chest["Temp"] + 273.15),
        ("wrist_acc", wrist["ACC"] / 64 * 9.80665), ("wrist_bvp", wrist["BVP"]),
        ("wrist_eda", wrist["EDA"] * 1e-6), ("wrist_temp", wrist["TEMP"] + 273.15),
    ):  # fmt: skip
        np.testing.assert_allclose(recording.signals[name].values, wanted, rtol=1e-5, atol=1e-9)
    assert recording.labels == (
        LabelInterval(13.0, 26.0, "baseline"), LabelInterval(39.0, 52.0, "stress"),
        LabelInterval(65.0, 78.0, "amusement"), LabelInterval(91.0, 104.0, "meditation"),
    )  # fmt: skip
    assert recording.notes == ()
    assert {s.rate_hz for s in list(recording.signals.values())[4:]} == {700.0}


def test_subjects_without_a_pickle_have_the_chest_absent(copy):
    write_subject(copy, "S2")
    with open_dataset("wesad", copy) as dataset:
        both, wrist = dataset.read()
        assert [m.name for m in dataset.card.modalities] == WRIST + CHEST
        check_recording(wrist, dataset.card)
    assert list(both.signals) == WRIST + CHEST
    assert list(wrist.signals) == WRIST
    assert len(wrist.labels) == 5


def test_the_chest_can_be_left_out(tmp_path):
    write_subject(tmp_path, "S2")
    (recording,) = check_reader("wesad", tmp_path, {"chest": "no"})
    assert list(recording.signals) == WRIST
    assert len(recording.labels) == 4


def test_the_official_archive_is_read(tmp_path):
    assert [file.name for file in READER.CARD.files] == ["WESAD.zip"]
    path = write_subject(tmp_path / "made", "S2")
    (tmp_path / "fetched").mkdir()
    with zipfile.ZipFile(tmp_path / "fetched/WESAD.zip", "w") as archive:
        archive.write(path, "WESAD/S2/S2.pkl")
    assert detect_reader(tmp_path / "fetched") == "wesad"
    (recording,) = read_all("wesad", tmp_path / "fetched")
    assert list(recording.signals) == WRIST + CHEST


class Hostile:
    def __reduce__(self):
        return pytest.fail, ("the file was unpickled",)


def test_a_hostile_pickle_runs_nothing(tmp_path):
    write_subject(tmp_path, "S2")
    (tmp_path / "S2/S2.pkl").write_bytes(pickle.dumps({**official("S2"), "x": Hostile()}, 2))
    check_refuses("wesad", tmp_path, match=r"S2.pkl: pickle: names .*; only numpy arrays are read")


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.3, 0.999])
def test_a_truncated_pickle_is_refused(tmp_path, share):
    path = write_subject(tmp_path, "S2")
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    check_refuses("wesad", tmp_path, match=r"S2.pkl: is damaged or cut off \(")


def test_a_corrupted_pickle_is_refused(tmp_path):
    path = write_subject(tmp_path, "S2")
    path.write_bytes(b"\x80\x02}q\x00" + b"\xff\x00\xfe\x01" * 16 + path.read_bytes()[69:])
    check_refuses("wesad", tmp_path, match=r"S2.pkl: ")


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.update(subject="S3"), "is of subject 'S3'; expected S2"),
    (lambda c: c.pop("label"), r"is not in the official layout \(KeyError: 'label'\)"),
    (lambda c: c["signal"]["chest"].pop("ECG"), r"official layout \(KeyError: 'ECG'\)"),
    (lambda c: c["signal"]["wrist"].update(ACC=np.ones((9, 2))), r"wrist_acc has shape \(9, 2\)"),
    (lambda c: c["signal"]["chest"].update(ECG=np.ones((9, 1))), "chest_ecg lasts 0.0128571 s but"),
    (lambda c: c.update(label=np.full(91000, 9)), r"codes \[9\] that are unknown; allowed are"),
    (lambda c: c.update(signal="none"), "is not in the official layout"),
    (lambda c: c["signal"]["chest"].update(ECG=[[0.0]] * 9), "a list instead of an array"),
])  # fmt: skip
def test_a_pickle_in_another_layout_is_refused(tmp_path, change, message):
    content = official("S2")
    change(content)
    write_subject(tmp_path, "S2", content)
    check_refuses("wesad", tmp_path, match=rf"S2.pkl: .*{message}")
