"""EDF, WFDB and Empatica files through a mapping: only what is asked for must be whole."""

from __future__ import annotations

import json

import edfio
import numpy as np
import pytest

from crossl.data.readers import open_dataset
from crossl.data.recording import LabelInterval
from crossl.errors import DataError
from tests.data.readers.conformance import read_all

RNG = np.random.default_rng(0)


def mapped(folder, modalities, file, **more):
    """Write a mapping of one kind of file, and read its only recording."""
    values = {
        "version": 1,
        "modalities": {
            name: {"channels": list(channels), "unit": unit, "rate_hz": rate_hz, **other}
            for name, (channels, unit, rate_hz, other) in modalities.items()
        },
        "files": [file],
        **more,
    }
    (folder / "recordings.yaml").write_text(json.dumps(values))
    (recording,) = read_all("folder", folder)
    return recording


# --- EDF

EEG = {"eeg": (("a",), "uV", 50, {})}
NIGHT = {"pattern": "{subject}.edf", "signals": {"eeg": ["EEG"]}}


def night(folder, *, notes=()):
    signals = [
        edfio.EdfSignal(RNG.normal(size=3000), 50, label=label, physical_dimension="uV")
        for label in ("EEG", "unused")
    ]
    notes = [edfio.EdfAnnotation(*note) for note in notes]
    edfio.Edf(signals, annotations=notes).write(folder / "anna.edf")
    return folder / "anna.edf"


def without_a_range(path):
    """Let the second channel have one physical value only."""
    data = bytearray(path.read_bytes())
    count = int(data[252:256])
    for field in (104, 112):
        at = 256 + field * count + 8
        data[at : at + 8] = b"0       "
    path.write_bytes(data)


def test_a_channel_that_nobody_asked_for_spoils_nothing(tmp_path):
    without_a_range(night(tmp_path))
    recording = mapped(tmp_path, EEG, NIGHT)
    assert len(recording.signals["eeg"].values) == 3000
    with pytest.raises(DataError, match="'unused' cannot be read: it has physical minimum 0 and"):
        mapped(tmp_path, EEG, NIGHT | {"signals": {"eeg": ["unused"]}})


def test_without_a_mapping_such_a_channel_is_left_out_and_named(tmp_path):
    without_a_range(night(tmp_path))
    (recording,) = read_all("edf", tmp_path)
    assert list(recording.signals) == ["eeg"]


def test_a_blink_does_not_end_rest(tmp_path):
    night(tmp_path, notes=[(0, None, "rest"), (10, None, "blink"), (40, None, "walk")])
    file = NIGHT | {"annotations": True}
    recording = mapped(tmp_path, EEG, file, classes=["rest", "walk"])
    assert list(recording.labels) == [
        LabelInterval(0.0, 40.0, "rest"), LabelInterval(40.0, 60.0, "walk")]  # fmt: skip
    assert recording.notes == (
        "3 annotations of anna.edf without a duration: each lasts until the next one that is among "
        "the classes",
        "labels that are not among the classes leave their time unlabelled: blink (1 time, within "
        "others)",
    )


def test_the_rate_of_the_mapping_counts_where_the_file_tells_none(tmp_path):
    path = night(tmp_path)
    data = bytearray(path.read_bytes())
    data[244:252] = b"0       "
    path.write_bytes(data)
    recording = mapped(tmp_path, EEG, NIGHT)
    assert (recording.signals["eeg"].rate_hz, recording.end_s) == (50, 60.0)
    assert "gives no length of its data records" in recording.notes[0]


# --- WFDB


def ecg(folder, marks=b""):
    raw = np.arange(1, 301, dtype="<i2")
    (folder / "anna.dat").write_bytes(raw.tobytes())
    (folder / "anna.hea").write_text(
        f"anna 1 10 300\nanna.dat 16 200/mV 16 0 1 {raw.sum() % 65536} 0 ECG\n"
    )
    (folder / "anna.atr").write_bytes(marks)


HEART = {"ecg": (("x",), "mV", 10, {})}
RECORD = {"pattern": "{subject}.hea", "signals": {"ecg": ["ECG"]}}


def test_damaged_annotations_spoil_no_signals(tmp_path):
    ecg(tmp_path, b"\x05\xfc")
    assert len(mapped(tmp_path, HEART, RECORD).signals["ecg"].values) == 300
    with pytest.raises(DataError, match=r"anna.hea: its annotations cannot be read: .*anna.atr: i"):
        mapped(tmp_path, HEART, RECORD | {"annotations": True}, classes=["rest"])


def test_points_in_time_of_a_record_are_told_where_its_labels_are_taken(tmp_path):
    marks = b"".join(
        (code << 10 | step).to_bytes(2, "little")
        + (63 << 10 | 2).to_bytes(2, "little") + note
        for step, code, note in ((0, 28, b"(N"), (100, 22, b"TS"), (100, 28, b"(A"))
    )  # fmt: skip
    ecg(tmp_path, marks + b"\0\0")
    recording = mapped(tmp_path, HEART, RECORD | {"annotations": True})
    assert list(recording.labels) == [
        LabelInterval(0.0, 20.0, "(N"), LabelInterval(20.0, 30.0, "(A")]  # fmt: skip
    assert "points in time, no labels, and they end none: TS" in recording.notes[0]
    assert mapped(tmp_path, HEART, RECORD).notes == ()


def test_segments_are_no_recordings_of_their_own(tmp_path):
    ecg(tmp_path)
    (tmp_path / "night.hea").write_text("night/2 1 10 600\nanna 300\nanna 300\n")
    with open_dataset("wfdb", tmp_path) as dataset:
        (part,) = dataset.parts
        assert part.name == "night/1"
        assert {path.name for path in part.files} == {"night.hea", "anna.hea", "anna.dat"}
        (recording,) = part.read()
    assert len(recording.signals["ecg"].values) == 600


# --- Empatica


@pytest.fixture
def session(tmp_path):
    """Two minutes; heart rate begins 10 s later, beats come when they come."""
    folder = tmp_path / "wrist" / "anna"
    folder.mkdir(parents=True)
    kinds = (("ACC", 3, 32), ("BVP", 1, 64), ("EDA", 1, 4), ("TEMP", 1, 4), ("HR", 1, 1))
    for name, width, rate in kinds:
        start = f"2024-07-16 10:00:{'10' if name == 'HR' else '00'}"
        head = [", ".join([start] * width), ", ".join([f"{rate}.000000"] * width)]
        seconds = 110 if name == "HR" else 120
        rows = RNG.integers(30, 60, (seconds * rate, width))
        lines = [*head, *(",".join(map(str, row)) for row in rows)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    beats = np.cumsum(RNG.uniform(0.7, 0.9, 140))
    text = "".join(f"{t:.6f},{d:.6f}\n" for t, d in zip(beats[1:], np.diff(beats), strict=True))
    (folder / "IBI.csv").write_text("2024-07-16 10:00:00, IBI\n" + text)
    (folder / "tags.csv").write_text("2024-07-16 10:00:30\n")
    return tmp_path


HR = {"hr": (("x",), "bpm", 1, {})}
STREAMS = {
    "pattern": "wrist/{subject}",
    "signals": {"hr": {"stream": "HR"}, "acc": {"stream": "ACC"}},
}
WRIST = HR | {"acc": (("x", "y", "z"), "g/64", 32, {})}


def test_a_session_of_dates_is_of_the_zone_of_the_mapping(session):
    file = STREAMS | {"annotations": True}
    bare = mapped(session, WRIST, file)
    berlin = mapped(session, WRIST, file | {"timezone": "Europe/Berlin"})
    for recording in (bare, berlin):
        starts = {name: signal.start_s for name, signal in recording.signals.items()}
        assert starts == {"acc": 0.0, "hr": 10.0}
        assert list(recording.labels) == [LabelInterval(30.0, 120.0, "tag 1")]
    assert any("count as UTC unless the mapping has `timezone:`" in note for note in bare.notes)
    assert not any("timezone" in note for note in berlin.notes)


def test_dates_without_a_zone_beside_unix_time_are_asked_about(session):
    rows = "".join(f"{1721116800 + t / 10:.1f},{t % 7}\n" for t in range(1200))
    (session / "anna.csv").write_text("t,x\n" + rows)
    values = {
        "version": 1,
        "modalities": {
            "chest": {"channels": ["x"], "unit": "1", "rate_hz": 10},
            "hr": {"channels": ["x"], "unit": "bpm", "rate_hz": 1},
        },
        "files": [
            {"pattern": "{subject}.csv", "clock": "t", "signals": {"chest": ["x"]}},
            {"pattern": "wrist/{subject}", "signals": {"hr": {"stream": "HR"}}},
        ],
    }
    (session / "recordings.yaml").write_text(json.dumps(values))
    with pytest.raises(DataError, match="those of anna are dates without a zone, such as 2024-07-"):
        read_all("folder", session)
    values["files"][1]["timezone"] = "Europe/Berlin"
    (session / "recordings.yaml").write_text(json.dumps(values))
    (recording,) = read_all("folder", session)
    # 10:00:10 in Berlin is 08:00:10 in UTC, and 1721116800 is 08:00
    assert {n: s.start_s for n, s in recording.signals.items()} == {"chest": 0.0, "hr": 10.0}


def test_beats_can_be_a_modality_of_a_steady_rate(session):
    beats = {"ibi": (("x",), "s", 4, {"resample": True})}
    file = {"pattern": "wrist/{subject}", "signals": {"ibi": {"stream": "IBI"}}}
    signal = mapped(session, beats, file, windows={"max_gap_s": 3}).signals["ibi"]
    assert signal.rate_hz == pytest.approx(4, rel=1e-3)
    assert 0.65 < np.nanmin(signal.values) < np.nanmax(signal.values) < 0.95
    assert np.isfinite(signal.values).mean() > 0.95


def test_a_wrong_start_of_one_sensor_is_told_and_costs_nothing(session):
    path = session / "wrist" / "anna" / "EDA.csv"
    path.write_text(path.read_text().replace("2024", "2034", 1))
    modalities = WRIST | {"eda": (("x",), "uS", 4, {})}
    file = {**STREAMS, "signals": STREAMS["signals"] | {"eda": {"stream": "EDA"}}}
    recording = mapped(session, modalities, file)
    assert any("acc and eda share no time" in note for note in recording.notes)


def test_a_sensor_that_nobody_asked_for_spoils_nothing(session):
    (session / "wrist" / "anna" / "EDA.csv").write_text("")
    assert set(mapped(session, WRIST, STREAMS).signals) == {"hr", "acc"}
