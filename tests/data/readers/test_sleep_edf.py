"""Sleep-EDF: real hypnograms, polysomnograms that the tests write beside them."""

from __future__ import annotations

import datetime
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossl.data.counting import count_windows
from crossl.data.formats import open_file
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import detect_reader, get_reader, open_dataset
from crossl.data.readers.published.sleep_cassette import SHA256
from crossl.data.recording import LabelInterval
from crossl.data.target_entries import read_targets
from crossl.data.write import write_store
from crossl.errors import ConfigError
from tests.data.readers.conformance import (
    check_reader,
    check_recording,
    check_refuses,
    corrupt,
    read_all,
    truncate,
)

READER = get_reader("sleep_edf")
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
START = datetime.datetime(1989, 4, 24, 16, 13)
CASSETTE = {
    "EEG Fpz-Cz": ("uV", 100, 192), "EEG Pz-Oz": ("uV", 100, 197),
    "EOG horizontal": ("uV", 100, 1009),
    "Resp oro-nasal": ("", 1, 2048), "EMG submental": ("uV", 1, 5), "Temp rectal": ("DegC", 1, 40),
    "Event marker": ("", 1, 2048),
}  # fmt: skip
TELEMETRY = {
    "EEG Fpz-Cz": ("uV", 100, 192), "EEG Pz-Oz": ("uV", 100, 197),
    "EOG horizontal": ("uV", 100, 1009),
    "EMG submental": ("uV", 100, 50), "Marker": ("", 1, 2048),
}  # fmt: skip


def write_psg(path, seconds, signals=CASSETTE, start=START):
    """Write a PSG with the official labels, units and rates; every sample tells its second."""
    found = []
    for label, (unit, rate_hz, high) in signals.items():
        values = np.repeat(np.arange(seconds) % 2000 - 1000, rate_hz).astype(np.int16)
        found.append(edfio.EdfSignal.from_digital(
            values, rate_hz, label=label, physical_dimension=unit, digital_range=(-2048, 2047),
            physical_range=(34, 40) if unit == "DegC" else (-high, high)))  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(
        found, patient=edfio.Patient(additional=["Female_33yr"]),
        recording=edfio.Recording(startdate=start.date()), starttime=start.time(),
        data_record_duration=30).write(path)  # fmt: skip
    return path


def write_hypnogram(path, stages, start=START):
    notes = [edfio.EdfAnnotation(*stage) for stage in stages]
    edfio.Edf(
        [], annotations=notes, recording=edfio.Recording(startdate=start.date()),
        starttime=start.time()).write(path)  # fmt: skip
    return path


SHORT = [
    (0, 4200, "Sleep stage W"), (4200, 60, "Sleep stage 1"), (4260, 90, "Sleep stage 3"),
    (4350, 30, "Sleep stage 4"), (4380, 30, "Movement time"), (4410, 60, "Sleep stage R"),
    (4470, 2430, "Sleep stage W"), (6900, 300, "Sleep stage ?"),
]  # fmt: skip


@pytest.fixture
def short(tmp_path):
    """Two nights of one person and one of another, two hours each."""
    for name in ("SC4001E0", "SC4002E0", "SC4131E0"):
        write_psg(tmp_path / f"sleep-cassette/{name}-PSG.edf", 7200)
        write_hypnogram(tmp_path / f"sleep-cassette/{name[:-1]}C-Hypnogram.edf", SHORT)
    return tmp_path


@pytest.fixture(scope="module")
def first_person(real_data, tmp_path_factory):
    """The two real hypnograms of a person, beside written polysomnograms of their lengths."""
    out = tmp_path_factory.mktemp("sleep-edfx") / "sleep-cassette"
    for night, seconds in (("SC4001", 79500), ("SC4002", 52980)):
        (source,) = (real_data("sleep_edf") / "sleep-cassette").glob(f"{night}*-Hypnogram.edf")
        about = open_file(source).about["start"]
        write_psg(out / f"{night}E0-PSG.edf", seconds, start=datetime.datetime.fromisoformat(about))
        shutil.copyfile(source, out / source.name)
    return out.parent


def minutes(recording):
    found = dict.fromkeys(READER.CARD.classes, 0.0)
    for one in recording.labels:
        found[one.label] += (one.end_s - one.start_s) / 60
    return found


def epochs(recording):
    return {stage: round(total * 2) for stage, total in minutes(recording).items()}


def test_real_hypnograms_have_the_known_stages(first_person):
    first, second = read_all("sleep_edf", first_person)
    assert [(r.subject, r.session) for r in (first, second)] == [("SC400", "1"), ("SC400", "2")]
    found = epochs(first)
    assert (found["N1"], found["N2"], found["N3"], found["REM"]) == (58, 250, 220, 125)
    assert found["W"] == 188
    for recording in (first, second):
        check_recording(recording, READER.CARD)
    assert first.notes == []
    assert second.notes == [
        "SC4002EC-Hypnogram.edf scores 31920 s behind the end of SC4002E0-PSG.edf, which are left "
        "out"
    ]


def test_all_real_hypnograms_are_read(real_data):
    folder = real_data("sleep_edf") / "sleep-cassette"
    scored = np.load(folder.parent / "sleep_edf20_eeg_bandpower_features.npz")
    number = {stage: i for i, stage in enumerate(READER.CARD.classes)}
    paths = sorted(folder.glob("*-Hypnogram.edf"))
    assert len(paths) == 20
    for path in paths:
        stages = READER.read_stages(open_file(path))
        sequence = np.concatenate(
            [np.full(round((s.end_s - s.start_s) / 30), number[s.label]) for s in stages]
        )
        wanted = scored[f"{path.name[:6]}E0__y"]
        np.testing.assert_array_equal(sequence[: len(wanted)], wanted)
        assert len(sequence) == len(wanted) or path.name.startswith("SC4011")


def test_windows_are_the_epochs_of_the_hypnogram(first_person, tmp_path):
    with open_dataset("sleep_edf", first_person) as dataset:
        card = dataset.card
        (recording,) = dataset.parts[0].read()
    store = write_store([recording], tmp_path / "s", modalities=card.modalities,
                        classes=card.classes, spec=card.spec, about={})  # fmt: skip
    assert count_windows(store)["classes"] == epochs(recording)
    assert recording.start_s % 30 == 0
    assert recording.start_s == 30630 - 1800


def test_the_shipped_targets_are_told_of_the_epochs(short, tmp_path):
    block = read_targets(CONFIGS / "targets" / "sleep_edf.yaml")
    with open_dataset("sleep_edf", short) as dataset:
        told = replace(dataset, targets=block)
        store = prepare_store(told, tmp_path / "s", plan_for(told, "sleep_edf"), workers=1)
    stage = [store.classes[code] if code >= 0 else "" for code in store.label]
    asleep = {"W": 0, "N1": 1, "N3": 1, "REM": 1, "": -1}
    assert store.target_values("asleep").tolist() == [asleep[one] for one in stage]
    sleep = {"W": [0, 0, 0], "N1": [1, 0, 0], "N3": [1, 1, 0], "REM": [1, 0, 1], "": [-1, -1, -1]}
    assert store.target_values("sleep").tolist() == [sleep[one] for one in stage]
    assert set(stage) == set(sleep)
    assert (store.target_values("age") == 33).all()


def test_a_whole_folder_reads_the_same_in_any_order(short):
    recordings = check_reader("sleep_edf", short)
    assert [(r.subject, r.session) for r in recordings] == [
        ("SC400", "1"), ("SC400", "2"), ("SC413", "1")]  # fmt: skip
    flat = check_reader("sleep_edf", short / "sleep-cassette")
    assert [r.labels for r in flat] == [r.labels for r in recordings]


def test_the_official_archive_is_read(short, tmp_path_factory):
    stem = "sleep-edf-database-expanded-1.0.0"
    path = tmp_path_factory.mktemp("archive") / f"{stem}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((short / "sleep-cassette").glob("SC4131*")):
            archive.write(file, f"{stem}/sleep-cassette/{file.name}")
    assert detect_reader(path) == "sleep_edf"
    assert [(r.subject, r.session) for r in read_all("sleep_edf", path)] == [("SC413", "1")]


def test_stages_3_and_4_are_one_and_unscored_epochs_have_no_label(short):
    recording = read_all("sleep_edf", short)[0]
    assert recording.labels == (
        LabelInterval(2400.0, 4200.0, "W"), LabelInterval(4200.0, 4260.0, "N1"),
        LabelInterval(4260.0, 4380.0, "N3"), LabelInterval(4410.0, 4470.0, "REM"),
        LabelInterval(4470.0, 6270.0, "W"),
    )  # fmt: skip


@pytest.mark.parametrize(("margin", "begin", "end"), [
    ("0", 4200, 4470), ("0.6", 4170, 4500), ("30", 2400, 6270), ("1000", 0, 7200),
    ("inf", 0, 7200)])  # fmt: skip
def test_the_wake_around_sleep_is_cut_to_the_margin(short, margin, begin, end):
    recording = read_all("sleep_edf", short, {"wake_margin_min": margin})[0]
    assert (recording.start_s, recording.end_s) == (begin, end)
    for name, signal in recording.signals.items():
        assert len(signal.values) == (end - begin) * signal.rate_hz, name
    # each written sample tells its second
    one_hz = recording.signals["resp"].values[:, 0]
    seconds = np.round((one_hz + 2048) / 4096 * 4095).astype(int) - 2048
    np.testing.assert_array_equal(seconds, np.arange(begin, end) % 2000 - 1000)
    fast = recording.signals["eeg_fpz_cz"].values[::100, 0] * 1e6
    np.testing.assert_allclose(fast, (seconds + 2048) / 4095 * 384 - 192, atol=1e-3)


@given(st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["W", "N1", "REM", ""])), min_size=1),
       st.floats(0, 100))  # fmt: skip
def test_what_is_kept_holds_all_sleep_and_lies_on_the_grid(runs, margin_min):
    at, labels = 0.0, []
    for length, stage in runs:
        if stage:
            labels.append(LabelInterval(at, at + 30.0 * length, stage))
        at += 30.0 * length
    begin, end = READER.sleep_span(labels, at, margin_min * 60)
    assert begin % 30 == end % 30 == 0
    asleep = [one for one in labels if one.label != "W"]
    assert 0 <= begin < end <= at
    if asleep:
        assert begin <= asleep[0].start_s <= begin + margin_min * 60 + 30
        assert end - margin_min * 60 - 30 <= asleep[-1].end_s <= end


def test_stages_behind_the_end_of_the_polysomnogram_are_left_out_and_told(short):
    write_psg(short / "sleep-cassette/SC4001E0-PSG.edf", 4440)
    recording = read_all("sleep_edf", short)[0]
    assert recording.end_s == recording.labels[-1].end_s == 4440
    assert recording.notes == [
        "SC4001EC-Hypnogram.edf scores 2460 s behind the end of SC4001E0-PSG.edf, which are left "
        "out"
    ]


def test_telemetry_has_emg_at_100_hz_and_no_temperature(tmp_path):
    write_psg(tmp_path / "sleep-telemetry/ST7011J0-PSG.edf", 7200, TELEMETRY)
    write_hypnogram(tmp_path / "sleep-telemetry/ST7011JP-Hypnogram.edf", SHORT)
    write_psg(tmp_path / "sleep-cassette/SC4001E0-PSG.edf", 7200)
    write_hypnogram(tmp_path / "sleep-cassette/SC4001EC-Hypnogram.edf", SHORT)
    with open_dataset("sleep_edf", tmp_path, {"study": "telemetry"}) as dataset:
        (recording,) = dataset.read()
        check_recording(recording, dataset.card)
    assert {name: s.rate_hz for name, s in recording.signals.items()} == dict.fromkeys(
        ("eeg_fpz_cz", "eeg_pz_oz", "eog", "emg"), 100.0
    )
    assert (recording.subject, recording.session) == ("ST701", "1")


def test_a_signal_that_is_not_there_is_absent_and_told(short):
    signals = {label: told for label, told in CASSETTE.items() if label != "Temp rectal"}
    write_psg(short / "sleep-cassette/SC4001E0-PSG.edf", 7200, signals)
    recording = read_all("sleep_edf", short)[0]
    assert "temp" not in recording.signals
    assert recording.notes == ["SC4001E0-PSG.edf has no signal 'Temp rectal'"]


@pytest.mark.parametrize(("gone", "message"), [
    ("SC4002E0-PSG.edf", r"SC4002EC-Hypnogram.edf: there is no SC4002\*-PSG.edf beside it"),
    ("SC4131EC-Hypnogram.edf", r"SC4131E0-PSG.edf: there is no SC4131\*-Hypnogram.edf beside it"),
])  # fmt: skip
def test_half_a_night_is_refused(short, gone, message):
    (short / "sleep-cassette" / gone).unlink()
    check_refuses("sleep_edf", short, match=message)


def test_the_real_folder_without_polysomnograms_is_refused(real_data):
    root = real_data("sleep_edf")
    assert READER.recognises(root)
    check_refuses("sleep_edf", root, match=r"there is no SC4001\*-PSG.edf beside it")


def test_halves_of_two_nights_are_refused(short):
    path = short / "sleep-cassette/SC4001EC-Hypnogram.edf"
    write_hypnogram(path, SHORT, start=START + datetime.timedelta(days=1))
    check_refuses(
        "sleep_edf", short, match=r"starts at 1989-04-25T16:13:00 but SC4001E0-PSG.edf at"
    )


@pytest.mark.parametrize(("stages", "message"), [
    ([(0, 30, "Sleep stage 5")], "scores 'Sleep stage 5'; allowed are Sleep stage W"),
    ([(0, 31, "Sleep stage 1")], "lasts from 0 to 31 s; epochs are 30 s long"),
    ([(0, 60, "Sleep stage 1"), (30, 30, "Sleep stage 2")], "overlaps the stage before it"),
    ([(0, 30, "")], "scores nothing; is it a hypnogram"),
])  # fmt: skip
def test_a_hypnogram_that_is_none_is_refused(short, stages, message):
    write_hypnogram(short / "sleep-cassette/SC4001EC-Hypnogram.edf", stages)
    check_refuses("sleep_edf", short, match=message)


@pytest.mark.parametrize("name", ["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf"])
def test_a_truncated_file_is_refused(short, name):
    truncate(short / "sleep-cassette" / name)
    check_refuses("sleep_edf", short, match=f"{name}: (is cut off|scores nothing)")


def test_a_corrupted_hypnogram_is_refused(short, real_data):
    path = short / "sleep-cassette/SC4001EC-Hypnogram.edf"
    shutil.copyfile(real_data("sleep_edf") / "sleep-cassette" / path.name, path)
    corrupt(path)
    check_refuses("sleep_edf", short, match=r"SC4001EC-Hypnogram.edf: scores ")


def test_a_hole_in_a_hypnogram_is_told(short):
    write_hypnogram(
        short / "sleep-cassette/SC4001EC-Hypnogram.edf",
        [(0, 4200, "Sleep stage W"), (4260, 600, "Sleep stage 2")],
    )
    recording = read_all("sleep_edf", short)[0]
    assert [one.label for one in recording.labels] == ["W", "N2"]
    assert recording.notes == ["SC4001EC-Hypnogram.edf scores nothing from 4200 to 4260 s"]


@pytest.mark.parametrize(("signals", "message"), [
    ({"EEG Fpz-Cz": ("uV", 50, 192)}, "'EEG Fpz-Cz' has 50 Hz; the official files have 100 Hz"),
    ({"EEG Fpz-Cz": ("uS", 100, 192)}, "unit of 'EEG Fpz-Cz': got 'uS'; V is needed"),
    ({"EEG Fpz-Cz": ("xy", 100, 192)}, "unit of 'EEG Fpz-Cz': 'xy' is unknown"),
])  # fmt: skip
def test_another_rate_or_unit_is_refused(short, signals, message):
    write_psg(short / "sleep-cassette/SC4001E0-PSG.edf", 7200, signals)
    check_refuses("sleep_edf", short, match=message)


@pytest.mark.parametrize(("options", "message"), [
    ({"wake_margin_min": "-1"}, "got -1; allowed are 0 or more minutes, inf keeps everything"),
    ({"wake_margin_min": "nan"}, "got nan; allowed are 0 or more minutes"),
    ({"study": "cassete"}, "'cassete'; did you mean 'cassette'"),
])  # fmt: skip
def test_an_impossible_option_is_refused(short, options, message):
    with pytest.raises(ConfigError, match=message), open_dataset("sleep_edf", short, options):
        pass


def test_the_card_lists_the_published_files(real_data):
    published = (real_data("sleep_edf") / "SHA256SUMS.physionet.txt").read_text().split("\n")
    wanted = {line.split()[1]: line.split()[0] for line in published if "sleep-cassette" in line}
    assert {f"sleep-cassette/{f.name}": f.sha256 for f in READER.CARD.files} == wanted
    assert len(SHA256) == 306
    assert len({name[:5] for name in SHA256}) == READER.CARD.subjects
