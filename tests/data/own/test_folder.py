"""One's own recordings by a mapping: rates, units, clocks and labels; every format; refusals."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import polars
import pytest
import yaml
from scipy.io import savemat

from crossl.data.counting import count_windows
from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import detect_reader, open_dataset, reader_options
from crossl.data.recording import warnings_in
from crossl.errors import DataError
from tests.data.own.study import MAPPING, START, make_study, watch_values, write_csv
from tests.data.readers.conformance import check_reader, check_refuses, read_all, truncate

G = 9.80665


@pytest.fixture
def study(tmp_path):
    root = make_study(tmp_path / "study")
    (root / "recordings.yaml").write_text(MAPPING)
    return root


def change(root, edit):
    """Edit the mapping as a dictionary."""
    path = root / "recordings.yaml"
    values = yaml.safe_load(path.read_text())
    edit(values)
    path.write_text(yaml.safe_dump(values))


def one(root, mapping):
    """Write a mapping and read the first recording."""
    (root / "recordings.yaml").write_text(
        mapping if isinstance(mapping, str) else json.dumps(mapping)
    )
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[0], mapped.rules)


ACC = {"channels": ["x", "y", "z"], "unit": "g", "rate_hz": 50}


def simple(*files, **more):
    return {"modalities": {"acc": ACC}, "files": list(files), **more}


def test_a_folder_of_two_devices_is_read(study):
    recordings = check_reader("folder", study)
    assert [(r.subject, r.session) for r in recordings] == [
        (s, d) for s in ("anna", "ben", "cleo") for d in ("day1", "day2")]  # fmt: skip
    anna, ben = recordings[0], recordings[2]
    assert list(anna.signals) == ["watch_acc", "phone_gyro"]
    assert list(ben.signals) == ["watch_acc"]
    watch, phone = anna.signals["watch_acc"], anna.signals["phone_gyro"]
    assert (watch.rate_hz, watch.start_s, len(watch.values)) == (50, 0, 1000)
    assert (phone.rate_hz, len(phone.values)) == (25, 500)
    assert phone.start_s == pytest.approx(0.5)
    assert watch.timing.duplicates == 1
    assert watch.timing.gaps == 1
    assert [(x.start_s, x.end_s, x.label) for x in anna.labels] == [
        (0, 10, "rest"),
        (10, 19, "walk"),
    ]
    assert anna.notes == (
        "times in the files count from 1970; the store counts from each recording's start",
    )


def test_units_become_si_and_gaps_stay_gaps(study):
    watch = read_all("folder", study)[0].signals["watch_acc"].values
    gap = np.isnan(watch).any(axis=1)
    assert np.flatnonzero(gap).tolist() == list(range(400, 450))
    wanted = watch_values(0) * G
    # times in the file have a tenth of a millisecond
    np.testing.assert_allclose(watch[~gap], wanted[~gap], atol=5e-3)


def test_a_folder_becomes_a_store_in_any_number_of_processes(study, tmp_path):
    with open_dataset("folder", study) as dataset:
        plan = plan_for(dataset, "folder")
        stores = [prepare_store(dataset, tmp_path / f"store{n}", plan, workers=n) for n in (1, 2)]
    counts = [count_windows(store) for store in stores]
    assert counts[0] == counts[1]
    assert len(counts[0]["subjects"]) == 3
    assert stores[0].manifest["dataset"] == "my_study"
    absent = ~stores[0].present[stores[0].subject == "ben"][:, 1]
    assert absent.all()


def test_the_mapping_is_a_file_of_every_part(study):
    with open_dataset("folder", study) as dataset:
        assert all(study / "recordings.yaml" in part.files for part in dataset.parts)
        assert [p.name for p in dataset.parts][:2] == ["anna/day1", "anna/day2"]
        assert len(dataset.parts[0].files) == 4


def test_a_folder_tells_its_reader_and_data_sets_come_first(study, real_data, tmp_path):
    assert detect_reader(study) == "folder"
    assert reader_options("folder") == {"mapping": ""}
    assert detect_reader(real_data("drivedb")) == "wfdb"
    assert detect_reader(real_data("biosignal_samples")) == "e4"
    assert detect_reader(real_data("fixtures") / "sp_sw_har") == "sp_sw_har"


def test_another_mapping_can_be_named(study):
    (study / "recordings.yaml").rename(study / "other.yaml")
    check_refuses("folder", study, match="study: holds neither recordings.yaml nor recordings.csv; "
                  "write a first one with: crossl data init")  # fmt: skip
    assert len(read_all("folder", study, {"mapping": "other.yaml"})) == 6
    check_refuses(
        "folder", study, {"mapping": "x.yaml"}, match="x.yaml: does not exist, neither in"
    )


@pytest.mark.parametrize("root", [None, "nowhere"])
def test_a_root_that_is_no_folder_is_refused(root, tmp_path):
    path = None if root is None else tmp_path / root
    check_refuses("folder", path, match="is not a folder; name the folder of your recordings")


# --- formats


def arrays(rate_hz=50):
    return watch_values(3), np.arange(1000) / rate_hz


def write_parquet(root):
    values, t = arrays()
    when = (START * 1e3 + t * 1e3).round().astype("int64").astype("datetime64[ms]")
    polars.DataFrame({"t": when, **dict(zip("xyz", values.T, strict=True))}).write_parquet(
        root / "S1.parquet")  # fmt: skip
    return {"pattern": "{subject}.parquet", "clock": "t", "signals": {"acc": list("xyz")}}


def write_parquet_as_text(root):
    return write_parquet(root) | {"clock_unit": "datetime"}


def write_npz(root):
    values, t = arrays()
    np.savez(root / "S1.npz", acc=values.T, t=t)  # the longer axis is time
    return {"pattern": "{subject}.npz", "clock": "t", "signals": {"acc": "acc"}}


def write_npy(root):
    np.save(root / "S1.npy", arrays()[0])
    return {"pattern": "{subject}.npy", "signals": {"acc": ["0", 1, 2]}}


def write_mat5(root):
    values, t = arrays()
    savemat(root / "S1.mat", {"data": {"acc": values, "t": t}})
    return {
        "pattern": "{subject}.mat",
        "clock": "data.t",
        "signals": {"acc": {"stream": "data.acc"}},
    }


def write_mat73(root):
    values, t = arrays()
    with h5py.File(root / "S1.mat", "w", userblock_size=512) as file:
        for name, array in (("ax", values[:, :1]), ("ay", values[:, 1:2]), ("az", values[:, 2:]),
                            ("t", t[:, None])):  # fmt: skip
            file.create_dataset(name, data=array.T).attrs["MATLAB_class"] = np.bytes_("double")
    return {"pattern": "{subject}.mat", "clock": "t", "signals": {"acc": ["ax", "ay", "az"]}}


def write_edf(root):
    import edfio

    signals = [
        edfio.EdfSignal(column, 50, label=f"acc {name}", physical_dimension="g")
        for name, column in zip("xyz", arrays()[0].T, strict=True)
    ]
    edfio.Edf(signals, data_record_duration=1).write(root / "S1.edf")
    return {"pattern": "{subject}.edf", "signals": {"acc": ["acc x", "acc y", "acc z"]}}


@pytest.mark.parametrize("write", [
    write_parquet, write_parquet_as_text, write_npz, write_npy, write_mat5, write_mat73, write_edf,
])  # fmt: skip
def test_every_format_gives_the_same_signal(tmp_path, write):
    recording = one(tmp_path, simple(write(tmp_path)))
    signal = recording.signals["acc"]
    assert (signal.rate_hz, signal.start_s) == (50, 0)
    np.testing.assert_allclose(signal.values, arrays()[0] * G, atol=1e-3)


def test_formats_mix_in_one_recording(tmp_path):
    (tmp_path / "S1").mkdir()
    files = [write_npy(tmp_path), write_mat5(tmp_path)]
    for number, (file, ending) in enumerate(zip(files, ("npy", "mat"), strict=True)):
        file["signals"] = {f"acc{number}": file["signals"]["acc"]}
        assert file["pattern"].endswith(ending)
    recording = one(tmp_path, {"modalities": {"acc0": ACC, "acc1": ACC}, "files": files})
    np.testing.assert_allclose(
        recording.signals["acc0"].values, recording.signals["acc1"].values, atol=1e-5)  # fmt: skip


# --- clocks and rates


def table(root, rate_hz=50.0, *, start=0.0, seconds=20, name="S1.csv", label=None):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.sin(2 * np.pi * t)
    rows = [f"{a + start:.6f},{w:.5f},0,1" + (f",{label(a)}" if label else "")
            for a, w in zip(t, wave, strict=True)]  # fmt: skip
    head = "t,x,y,z" + (",what" if label else "")
    (root / name).write_text(head + "\n" + "\n".join(rows) + "\n")


CLOCKED = {"pattern": "{subject}.csv", "clock": "t", "signals": {"acc": ["x", "y", "z"]}}


def test_a_declared_rate_that_timestamps_contradict_is_refused_with_both(tmp_path):
    table(tmp_path, 60)
    with pytest.raises(DataError, match=r"S1.csv: signal 'acc': declares 50 Hz but its timestamps "
                       "give 60 Hz"):  # fmt: skip
        one(tmp_path, simple(CLOCKED))


def test_resampling_on_request_keeps_the_wave(tmp_path):
    table(tmp_path, 60)
    mapping = simple(CLOCKED)
    mapping["modalities"] = {"acc": ACC | {"resample": True}}
    signal = one(tmp_path, mapping).signals["acc"]
    assert signal.rate_hz == 50
    t = np.arange(len(signal.values)) / 50
    np.testing.assert_allclose(signal.values[100:-100, 0] / G, np.sin(2 * np.pi * t)[100:-100],
                               atol=0.01)  # fmt: skip


def test_a_rate_that_the_file_contradicts_is_refused_with_both(tmp_path):
    mapping = simple(write_edf(tmp_path))
    mapping["modalities"] = {"acc": ACC | {"rate_hz": 40}}
    with pytest.raises(DataError, match="has 50 Hz by its file but its modality declares 40 Hz"):
        one(tmp_path, mapping)
    mapping["modalities"]["acc"]["resample"] = True
    signal = one(tmp_path, mapping).signals["acc"]
    assert (signal.rate_hz, len(signal.values)) == (40, 800)


def test_a_unit_that_the_file_contradicts_is_refused(tmp_path):
    mapping = simple(write_edf(tmp_path))
    mapping["modalities"] = {"acc": ACC | {"unit": "mg"}}
    with pytest.raises(DataError, match="'acc x' is in 'g' by its file, the mapping says 'mg'"):
        one(tmp_path, mapping)


def test_offsets_move_one_device(tmp_path):
    table(tmp_path)
    table(tmp_path, 25, name="S1_b.csv")
    other = CLOCKED | {"pattern": "{subject}_b.csv", "offset_s": 3.5,
                       "signals": {"b": ["x", "y", "z"]}}  # fmt: skip
    mapping = simple(CLOCKED | {"pattern": "{subject}.csv", "subject": None}, other)
    mapping["modalities"]["b"] = ACC | {"rate_hz": 25}
    mapping["files"][0] = {k: v for k, v in mapping["files"][0].items() if v is not None}
    (tmp_path / "S1.csv").rename(tmp_path / "S1_a.csv")
    mapping["files"][0]["pattern"] = "{subject}_a.csv"
    recording = one(tmp_path, mapping)
    assert recording.signals["acc"].start_s == 0
    assert recording.signals["b"].start_s == 3.5


def test_times_since_1970_beside_times_from_zero_are_refused(study):
    change(study, lambda values: values["files"][1].update(clock_unit="ns"))
    change(study, lambda values: values["modalities"]["phone_gyro"].update(rate_hz=25e6))
    check_refuses("folder", study, match="which counts from 1970, and signal 'phone_gyro' at .*; "
                  "all must lie on one clock, correct `clock_unit`")  # fmt: skip


def test_sensors_of_several_rates_may_share_a_table(tmp_path):
    t = np.arange(1000) / 100
    rows = [f"{a:.3f},{a},0,1," if n % 2 else f"{a:.3f},,,,{n % 4 // 2}" for n, a in enumerate(t)]
    (tmp_path / "S1.csv").write_text("t,x,y,z,ppg\n" + "\n".join(rows) + "\n")
    mapping = simple(CLOCKED | {"sparse": True, "signals": {"acc": ["x", "y", "z"], "ppg": "ppg"}})
    mapping["modalities"]["ppg"] = {"channels": ["ppg"], "unit": 1, "rate_hz": 50}
    recording = one(tmp_path, mapping)
    assert not np.isnan(recording.signals["acc"].values).any()
    assert len(recording.signals["ppg"].values) == 500


def test_a_sensor_that_recorded_nothing_is_absent_with_a_note(tmp_path):
    table(tmp_path)
    path = tmp_path / "S1.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text(head + ",ppg\n" + "\n".join(line + "," for line in lines) + "\n")
    mapping = simple(CLOCKED | {"signals": {"acc": ["x", "y", "z"], "ppg": "ppg"}})
    mapping["modalities"]["ppg"] = {"channels": ["ppg"], "unit": "1", "rate_hz": 50}
    recording = one(tmp_path, mapping)
    assert list(recording.signals) == ["acc"]
    assert recording.notes == ("S1.csv: 'ppg' holds no sample that every channel recorded; it "
                               "counts as not recorded",)  # fmt: skip


# --- labels


def test_a_label_per_sample_becomes_intervals(tmp_path):
    table(tmp_path, label=lambda t: "" if t < 2 else "3.0" if t < 10 else "4.0")
    recording = one(tmp_path, simple(CLOCKED | {"label": "what"}, label_names={3: "rest"}))
    assert [(x.start_s, x.end_s, x.label) for x in recording.labels] == [
        (2, 10, "rest"), (10, pytest.approx(20), "4")]  # fmt: skip


def test_a_label_per_sample_without_a_clock_counts_at_the_rate_beside_it(tmp_path):
    table(tmp_path, label=lambda t: "a" if t < 5 else "b")
    file = {k: v for k, v in CLOCKED.items() if k != "clock"} | {"label": "what"}
    labels = one(tmp_path, simple(file)).labels
    assert [(x.start_s, x.end_s, x.label) for x in labels] == [(0, 5, "a"), (5, 20, "b")]


def test_a_whole_file_may_have_one_label_by_its_name(tmp_path):
    for label in ("walk", "rest"):
        table(tmp_path, name=f"S1_{label}.csv")
    mapping = simple(CLOCKED | {"pattern": "{subject}_{label}.csv"})
    (tmp_path / "recordings.yaml").write_text(json.dumps(mapping))
    recordings = read_all("folder", tmp_path)
    assert [(r.subject, r.session, [x.label for x in r.labels]) for r in recordings] == [
        ("S1", "rest", ["rest"]), ("S1", "walk", ["walk"])]  # fmt: skip
    assert recordings[0].labels[0].end_s == pytest.approx(20)


def test_labels_outside_of_the_classes_leave_time_unlabelled(study):
    change(study, lambda values: values.update(classes=["walk"]))
    recording = check_reader("folder", study)[0]
    assert [x.label for x in recording.labels] == ["walk"]
    assert any("leave their time unlabelled: rest (1 time, " in n for n in recording.notes)


def test_labels_may_count_from_the_start(study):
    for path in study.glob("*/*_labels.csv"):
        path.write_text("begin,length,activity\n1,5,rest\n6,100,walk\n")
    intervals = {"start": "begin", "duration": "length", "label": "activity", "count_from": "start"}
    change(study, lambda values: values["files"][2].update(intervals=intervals))
    recording = check_reader("folder", study)[0]
    assert [(x.start_s, x.end_s) for x in recording.labels] == [(1, 6), (6, pytest.approx(20.5))]
    assert "labels reach beyond the signals and were cut to them or left out" in recording.notes


@pytest.mark.parametrize(("text", "message"), [
    ("1,5,rest\n4,6,walk\n", "day1_labels.csv: label 'walk' from 1.7e.09 s overlaps 'rest'"),
    ("5,5,rest\n", r"day1_labels.csv: interval 1 \('rest'\) runs from .*; it must end after"),
    ("5,,rest\n", "day1_labels.csv: interval 1"),
    ("500,600,rest\n", "its labels lie from 500 to 600 s and its signals from 0 to 20.5 s"),
    ("5,x,rest\n", "day1_labels.csv: line 2, column 'end' holds 'x'; a number"),
])  # fmt: skip
def test_labels_that_cannot_be_are_refused(study, text, message):
    lines = [line.split(",") for line in text.splitlines()]
    moved = "\n".join(
        ",".join([*(str(START + float(c)) if c.isdigit() else c for c in cells[:2]), cells[2]])
        for cells in lines)  # fmt: skip
    (study / "anna/day1_labels.csv").write_text(f"begin,end,activity\n{moved}\n")
    check_refuses("folder", study, match=message)


def test_labels_that_files_carry_are_taken_on_request(real_data, tmp_path):
    for name in ("Subject1_AccTempEDA.hea", "Subject1_AccTempEDA.dat", "Subject1_AccTempEDA.atr"):
        shutil.copy(real_data("noneeg") / name, tmp_path)
    recording = one(tmp_path, {
        "modalities": {"acc": ACC | {"rate_hz": 8, "unit": "1"}},
        "files": [{"pattern": "{subject}_AccTempEDA.hea", "annotations": True,
                   "signals": {"acc": ["ax", "ay", "az"]}}],
    })  # fmt: skip
    assert [x.label for x in recording.labels][:2] == ["Relax", "PhysicalStress"]
    assert recording.signals["acc"].values.shape == (18343, 3)


# --- refusals


@pytest.mark.parametrize(("edit", "message"), [
    (lambda v: v["files"][0]["signals"].update(watch_acc=["ax", "ay", "azz"]),
     "day1_watch.csv: has no column 'azz'; did you mean 'az'"),
    (lambda v: v["files"][0].update(clock="tt"), "has no column 'tt'; did you mean 't'"),
    (lambda v: v["files"][2]["intervals"].update(label="activty"),
     "has no column 'activty'; did you mean 'activity'"),
    (lambda v: v["files"][1].update(pattern="{subject}/{session}_fone.csv", required=True),
     "files.1: pattern '.*' finds no file and is `required`; .* holds anna/day1_labels.csv"),
    (lambda v: [file.update(pattern="{subject}/none.csv") for file in v["files"]],
     "pattern '.*' and pattern '.*' and pattern '.*' find no file; .* holds anna/day1_labels.csv"),
    (lambda v: v["files"][0].update(pattern="*/{session}_watch.csv"), "has no {subject}; put it"),
    (lambda v: v["files"][0].update(pattern="{subject}/*_watch.csv"),
     "both are of subject anna, session 1; tell them apart by {session}"),
    (lambda v: v["files"][0].update(pattern="{subjct}/*_watch.csv"),
     "field {subjct}; did you mean 'subject'"),
    (lambda v: v["files"][2].update(pattern="{session}/{subject}_labels.csv"),
     r"has labels \(.*\) but no file with signals; do all patterns spell"),
    (lambda v: v["files"][1]["signals"].update(watch_acc=["gyro_x", "gyro_y", "gyro_z"]),
     "'watch_acc' is in day1_watch.csv and in day1_phone.csv; one file"),
    (lambda v: v["files"][0].update(clock_unit="datetime"), "is not a date with a time; ISO 8601"),
    (lambda v: v["files"][0].update(clock="ax"), "timestamps do not increase"),
])  # fmt: skip
def test_a_mapping_that_does_not_fit_the_files_is_refused(study, edit, message):
    change(study, edit)
    check_refuses("folder", study, match=message)


def test_the_last_row_of_a_truncated_file_is_left_out_and_told_with_its_line(study):
    truncate(study / "cleo/day2_watch.csv")
    path = study / "cleo/day2_watch.csv"
    path.write_bytes(path.read_bytes().rsplit(b",", 1)[0])
    told = [note for one in read_all("folder", study) for note in warnings_in(one.notes)]
    rows = len(path.read_bytes().splitlines())
    (warning,) = told
    assert f"day2_watch.csv: line {rows} is cut off (it has " in warning
    path.write_bytes(path.read_bytes() + b"\n")  # by its line end a row, and a wrong one
    check_refuses("folder", study, match=r"day2_watch.csv: line \d+ has \d cells, got ")


def test_a_table_of_text_in_place_of_numbers_is_refused(study):
    path = study / "anna/day1_watch.csv"
    path.write_text(path.read_text().replace("0", "O", 40))
    check_refuses(
        "folder", study, match="day1_watch.csv: line 2, column '.*' holds '.*O.*'; a number"
    )


# --- real files


def test_neurokit_tables_in_zips_are_read(real_data, tmp_path):
    for path in (real_data("biosignal_samples") / "neurokit").glob("*.zip"):
        shutil.copy(path, tmp_path)
    recording = one(tmp_path, {
        "modalities": {"ecg": {"channels": ["ecg"], "unit": "mV", "rate_hz": 100},
                       "resp": {"channels": ["resp"], "unit": "1", "rate_hz": 100}},
        "files": [{"pattern": "bio_{subject}_100hz.csv.zip",
                   "signals": {"ecg": "ECG", "resp": "RSP"}}],
    })  # fmt: skip
    assert recording.subject == "eventrelated"
    assert recording.signals["ecg"].values.shape == (15000, 1)
    assert recording.signals["ecg"].values[0, 0] == pytest.approx(-0.015869140625e-3)


def test_both_rates_of_drive_17_come_to_one(real_data, tmp_path):
    for path in real_data("drivedb").glob("drive17*"):
        shutil.copy(path, tmp_path)
    (tmp_path / "recordings.yaml").write_text("""
modalities:
  ecg: {channels: [ecg], unit: mV, rate_hz: 240, resample: true}
  gsr: {channels: [foot, hand], unit: mV, rate_hz: 30, resample: true}
files:
  - pattern: "drive{session}.hea"
    subject: driver17
    signals: {ecg: [ECG], gsr: [foot GSR, hand GSR]}
""")
    recordings = read_all("folder", tmp_path)
    assert [(r.subject, r.session) for r in recordings] == [
        ("driver17", "17a"),
        ("driver17", "17b"),
    ]
    assert [len(r.signals["ecg"].values) for r in recordings] == [418112, 366271]
    assert recordings[1].signals["gsr"].rate_hz == pytest.approx(30, rel=1e-5)


def test_rows_of_a_table_map_as_well(study):
    (study / "recordings.yaml").unlink()
    rows = ["subject,session,modality,file,columns,unit,rate_hz,clock,clock_unit,device"]
    for folder in ("anna", "ben"):
        rows.append(f"{folder},day1,watch_acc,{folder}/day1_watch.csv,ax ay az,g,50,t,s,watch")
        rows.append(f"{folder},day1,labels,{folder}/day1_labels.csv,begin end activity,,,,s,")
    (study / "recordings.csv").write_text("\n".join(rows) + "\n")
    recordings = check_reader("folder", study)
    assert [r.subject for r in recordings] == ["anna", "ben"]
    assert [x.label for x in recordings[1].labels] == ["rest", "walk"]
    assert recordings[0].modalities["watch_acc"].channels == ("ax", "ay", "az")
    assert recordings[0].modalities["watch_acc"].unit == "m/s^2"


def test_written_tables_have_the_columns_that_were_asked_for(tmp_path):
    write_csv(tmp_path / "a.csv", ["a", "b"], np.eye(2))
    assert (tmp_path / "a.csv").read_text().startswith("a,b\n1.0000,0.0000\n")
