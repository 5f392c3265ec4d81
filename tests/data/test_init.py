"""A first mapping: names, clocks, rates, units and labels guessed; each guess said; it loads."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from crossl.cli.datasets import app
from crossl.data.own.init import init_mapping
from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.own.mapping.guess import group_columns
from crossl.data.own.mapping.measure import find_clock, guess_rate, guess_unit
from crossl.data.own.mapping.names import guess_kinds
from crossl.errors import DataError
from tests.data.own.study import make_study
from tests.data.readers.conformance import check_reader


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "my study")


def test_a_folder_is_described_so_that_it_reads(study):
    path = init_mapping(study)
    assert path == study / "recordings.yaml"
    mapped = load_mapping(path)
    assert {
        name: (m.channels, m.unit, m.rate_hz, m.device)
        for name, m in mapped.mapping.modalities.items()
    } == {
        "watch_acc": (("x", "y", "z"), "g", 50, "watch"),
        "phone_gyro": (("x", "y", "z"), "deg/s", 25, "phone"),
    }
    assert mapped.classes == ("rest", "walk")
    recordings = check_reader("folder", study)
    assert [(r.subject, r.session, len(r.signals)) for r in recordings] == [
        ("anna", "day1", 2), ("anna", "day2", 2), ("ben", "day1", 1), ("ben", "day2", 1),
        ("cleo", "day1", 2), ("cleo", "day2", 2)]  # fmt: skip
    assert [len(r.labels) for r in recordings] == [2] * 6
    assert recordings[0].signals["phone_gyro"].start_s == pytest.approx(0.5)


def test_every_guess_says_so(study):
    text = init_mapping(study).read_text()
    for line in text.splitlines():
        if line.strip().startswith(("- pattern", "clock", "intervals", "watch_acc:   ")):
            assert "# guessed" in line
    assert "clock_unit: ms   # guessed; correct me" in text
    assert "rate seen in 5 files; unit: median size 1; correct me" in text


def test_a_mapping_is_not_overwritten_unless_asked(study):
    path = init_mapping(study)
    path.write_text("mine")
    with pytest.raises(
        DataError, match=r"recordings.yaml: exists; move it away, or overwrite it wi"
    ):
        init_mapping(study)
    assert path.read_text() == "mine"
    assert init_mapping(study, force=True).read_text() != "mine"
    (study / "recordings.csv").touch()
    with pytest.raises(DataError, match=r"recordings.csv: exists; move it away$"):
        init_mapping(study, force=True)


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no file that could be a recording"):
        init_mapping(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1\n")
    with pytest.raises(
        DataError, match=r"no file that could be a recording; bad.csv: line 2 has 1"
    ):
        init_mapping(tmp_path)
    with pytest.raises(DataError, match="nowhere: is not a folder; name the folder of your"):
        init_mapping(tmp_path / "nowhere")
    assert not (tmp_path / "recordings.yaml").exists()


def test_what_nothing_tells_is_asked_for(tmp_path):
    (tmp_path / "S1.csv").write_text("ppg,subject_id,note\n" + "1,7,hm\n2,7,hm\n" * 20)
    (tmp_path / "S2.csv").write_text("ppg,label\n" + "1,a\n2,b\n" * 20)
    path = init_mapping(tmp_path)
    assert "ppg:   # guessed: rate NOT KNOWN: fill in rate_hz" in path.read_text()
    with pytest.raises(DataError, match=r"modalities.ppg.rate_hz: is empty; it is needed"):
        load_mapping(path)
    path.write_text(path.read_text().replace("rate_hz: \n", "rate_hz: 10\n"))
    (plan,) = load_mapping(path).plans
    recording = read_recording(plan, load_mapping(path).rules)
    assert [len(recording.labels), len(recording.signals["ppg"].values)] == [40, 40]


def test_real_files_of_every_kind_are_described(real_data, tmp_path):
    for name in ("drivedb", "eegmat"):
        (tmp_path / name).mkdir()
        for path in real_data(name).glob("*_1.edf" if name == "eegmat" else "drive*"):
            shutil.copy(path, tmp_path / name)
    drive = load_mapping(init_mapping(tmp_path / "drivedb")).mapping
    assert drive.files[0].pattern == "{subject}.hea"
    assert {n: (m.rate_hz, m.unit, m.resample) for n, m in drive.modalities.items()}["ecg"] == (
        480, "mV", True)  # fmt: skip
    eeg = load_mapping(init_mapping(tmp_path / "eegmat"))
    assert [p.subject for p in eeg.plans] == ["Subject00", "Subject01", "Subject31"]
    assert len(eeg.mapping.modalities["eeg"].channels) == 20
    shutil.copytree(real_data("biosignal_samples") / "neurokit", tmp_path / "neurokit")
    bio = load_mapping(init_mapping(tmp_path / "neurokit"))
    assert len(bio.plans) == 3
    assert {n: m.unit for n, m in bio.mapping.modalities.items()} == {
        "ecg": "mV",
        "eda": "uS",
        "ppg": "1",
        "rsp": "1",
    }
    assert {m.rate_hz for m in bio.mapping.modalities.values()} == {100}


def test_the_command_says_what_was_found_and_what_comes_next(study):
    done = CliRunner().invoke(app, ["init", str(study)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "6 recordings of 3 subjects; classes: rest, walk" in done.output
    assert "phone_gyro  3         deg/s          25 Hz  4" in done.output
    assert f"crossl data doctor '{study}'" in done.output
    assert f"crossl prepare folder --root '{study}' --out stores/my_study" in done.output


def test_the_command_says_what_is_left_to_do(tmp_path):
    (tmp_path / "S1.csv").write_text("ppg\n1\n2\n")
    done = CliRunner().invoke(app, ["init", str(tmp_path)], catch_exceptions=False)
    assert "still to do: " in done.output
    assert "ppg.rate_hz: is empty; it is needed" in done.output


# --- guesses


@pytest.mark.parametrize(("paths", "patterns"), [
    (["S1/d1_watch.csv", "S1/d2_watch.csv", "S2/d1_watch.csv"], ["{subject}/{session}_watch.csv"]),
    (["S1_watch.csv", "S1_phone.csv", "S2_watch.csv"],
     ["{subject}_watch.csv", "{subject}_phone.csv"]),
    (["watch/anna.csv", "phone/anna.csv", "watch/ben.csv", "phone/ben.csv"],
     ["watch/{subject}.csv", "phone/{subject}.csv"]),
    (["S1/S1_E4.zip", "S2/S2_E4.zip"], ["{subject}/{subject}_E4.zip"]),
    (["S1_walking.csv", "S1_sitting.csv", "S2_walking.csv"], ["{subject}_{label}.csv"]),
    (["p1_2024-01-02.csv", "p2_2024-03-04.csv", "p1_2024-05-04.csv"],
     ["{subject}_2024-{session}.csv"]),
    (["only.csv"], ["only.csv"]),
    (["a.csv.gz", "b.csv.gz"], ["{subject}.csv.gz"]),
])  # fmt: skip
def test_patterns_are_guessed_from_names(paths, patterns):
    kinds = guess_kinds(paths)
    assert sorted(kind.pattern for kind in kinds) == sorted(patterns)
    assert sorted(path for kind in kinds for path in kind.paths) == sorted(paths)


@pytest.mark.parametrize(("name", "first", "step", "unit"), [
    ("t", 0, 0.02, "s"), ("t", 0, 20, "ms"), ("time", 0, 20_000, "us"), ("timestamp", 0, 2e7, "ns"),
    ("t", 1.7e9, 0.02, "s"), ("t", 1.7e12, 20, "ms"), ("t", 1.7e15, 20_000, "us"),
    ("t", 1.7e18, 2e7, "ns"), ("time_ms", 0, 0.5, "ms"), ("Seconds", 0, 3, "s"),
])  # fmt: skip
def test_the_unit_of_a_clock_is_guessed(tmp_path, name, first, step, unit):
    from crossl.data.formats import open_file

    times = first + np.arange(50) * step
    (tmp_path / "a.csv").write_text(f"{name},x\n" + "".join(f"{t:.3f},1\n" for t in times))
    clock = find_clock(open_file(tmp_path / "a.csv").streams[0], [])
    assert (clock.column, clock.unit) == (name, unit)
    if step != 0.5 and step != 3:
        assert guess_rate(clock.times_s) == 50


def test_a_clock_increases(tmp_path):
    from crossl.data.formats import open_file

    (tmp_path / "a.csv").write_text("time,x\n5,1\n4,1\n3,1\n")
    assert find_clock(open_file(tmp_path / "a.csv").streams[0], []) is None


@pytest.mark.parametrize(("group", "size", "unit"), [
    ("acc", 9.8, "m/s^2"), ("wrist_acc", 1.0, "g"), ("acc", 1000, "mg"), ("acc", 64, "g/64"),
    ("gyro", 1, "rad/s"), ("gyr", 90, "deg/s"), ("mag", 45, "uT"), ("temp", 33, "degC"),
    ("hr", 70, "bpm"), ("eda", 2, "uS"), ("what", 5, "1"),
])  # fmt: skip
def test_the_unit_of_a_signal_is_guessed_by_its_size(group, size, unit):
    values = np.random.default_rng(0).normal(size=(500, 3))
    values *= size / np.linalg.norm(values, axis=1, keepdims=True)
    assert guess_unit(group, ["x", "y", "z"], values)[0] == unit


def test_a_unit_in_the_name_of_a_column_counts():
    assert guess_unit("acc", ["acc x (mg)"], np.ones((5, 1))) == ("mg", "by the column's name")


def test_folders_with_spaces_in_their_names_are_one_person_each(tmp_path):
    for name in ("José Müller", "anna b", "dora", "李雷"):
        (tmp_path / name).mkdir()
        rows = "\n".join(f"{i / 50},{1.0},{0.0},{0.0}" for i in range(200))
        (tmp_path / name / "watch left.csv").write_text(f"t,acc_x,acc_y,acc_z\n{rows}\n")
    text = init_mapping(tmp_path).read_text()
    assert 'pattern: "{subject}/watch left.csv"' in text
    assert text.count("pattern:") == 1


def test_phone_and_watch_of_one_person_are_two_devices(real_data, tmp_path):
    root = tmp_path / "DATA"
    shutil.copytree(real_data("fixtures/sp_sw_har") / "DATA", root)
    mapping = load_mapping(init_mapping(root), root)
    entries = mapping.mapping.modalities
    assert {name: one.device for name, one in entries.items()} == {
        "sp_acc": "sp", "sp_gyro": "sp", "sw_acc": "sw", "sw_gyro": "sw",
    }  # fmt: skip
    # by the samples that came, as reading counts them
    assert [one.rate_hz for one in entries.values()] == [102.5, 102.5, 104, 104]
    found = [read_recording(plan, mapping.rules) for plan in mapping.plans]
    assert [(one.subject, one.session, len(one.signals)) for one in found] == [
        ("s01", "01", 4), ("s14", "02", 4),
    ]  # fmt: skip
    # both tell the label of each sample, at times of their own
    assert [len({label.label for label in one.labels}) for one in found] == [5, 5]


@pytest.mark.parametrize(("columns", "groups"), [
    ("sp_acc_x sp_acc_y sp_acc_z sw_acc_x sw_acc_y sw_acc_z", "sp_acc sw_acc"),
    ("sp_ax sp_ay sp_az sw_ax sw_ay sw_az", "sp_acc sw_acc"),
    ("acc_x_sp acc_y_sp acc_z_sp acc_x_sw acc_y_sw acc_z_sw", "acc_sp acc_sw"),
    ("gyro_x_left gyro_y_left gyro_x_right gyro_y_right", "gyro_left gyro_right"),
    ("accX1 accY1 accZ1 accX2 accY2 accZ2", "acc_1 acc_2"),
    ("acc_x_1 acc_y_1 acc_x_2 acc_y_2", "acc_1 acc_2"),
    ("acc_x1 acc_x2 acc_x3", "acc_x"),
])  # fmt: skip
def test_columns_of_two_devices_are_two_sensors(columns, groups):
    assert list(group_columns(columns.split())) == groups.split()
