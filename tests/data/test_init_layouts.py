"""Layouts of devices and habits of people, made small: `data init` describes what `prepare` reads.

Verified against public code and files: Polar Sensor Logger, OpenBCI, phyphox, EmbracePlus (its
maker's script), Labfront's export of Garmin. From documentation: Sleep-EDF's names. From general
knowledge, not looked up anywhere: ActiGraph, GENEActiv, Axivity, Apple's electrocardiogram and
Movesense.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta

import edfio
import numpy as np
import pytest
from typer.testing import CliRunner

from crossl.cli.datasets import app
from crossl.data.cutting import cut_recording
from crossl.data.own.init import init_mapping
from crossl.data.own.init.layouts import layout_of
from crossl.data.own.init.trial import problems
from crossl.data.own.mapping import load_mapping
from crossl.data.own.mapping.read import read_recording
from crossl.data.readers import open_dataset, read_recordings
from crossl.doctor import examine_recordings
from crossl.errors import DataError

N = 600
RNG = np.random.default_rng(0)
ACC = RNG.normal([0, 0, 1], 0.05, (N, 3))


def rows(*columns):
    return "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))


def stamps(hz, form="%Y-%m-%d %H:%M:%S.%f", start=datetime(2024, 5, 31, 9, tzinfo=UTC)):
    return [(start + timedelta(seconds=i / hz)).strftime(form)[:-3] for i in range(N)]


def described(root):
    """Describe a folder, and check that what is described can be read."""
    mapped = load_mapping(init_mapping(root))
    assert problems(mapped) == {}
    return mapped


def kinds(mapped):
    return {name: (m.channels, m.unit, m.rate_hz) for name, m in mapped.mapping.modalities.items()}


def windows_of(mapped):
    for plan in mapped.plans:
        recording = read_recording(plan, mapped.rules)
        yield from cut_recording(recording, mapped.modalities, (), mapped.mapping.spec()).start_s


POLAR = "Phone timestamp;sensor timestamp [ns];"
UNIX_US = 1_687_343_523_000_000
XYZ = ("x", "y", "z")


def polar_acc():
    ns = 599_628_000_000_000_000 + (np.arange(N) * 1e9 / 50).astype(np.int64)
    phone = [stamps(50, "%Y-%m-%dT%H:%M:%S.%f")[i // 30 * 30] for i in range(N)]
    return POLAR + "X [mg];Y [mg];Z [mg]\n" + rows(phone, ns, *(1000 * ACC.T).round()).replace(
        ",", ";")  # fmt: skip


def openbci():
    head = "%OpenBCI Raw EXG Data\n%Number of channels = 2\n%Sample Rate = 250 Hz\n"
    names = "Sample Index, EXG Channel 0, EXG Channel 1, Accel Channel 0, Accel Channel 1, Other, "
    time = 1_641_376_800 + np.arange(N) // 10 * 10 / 250
    return head + names + "Timestamp\n" + rows(
        np.arange(N) % 256, *RNG.normal(0, 20, (2, N)).round(4), *ACC[:, 1:].T.round(4),
        np.zeros(N), time)  # fmt: skip


def geneactiv():
    head = ["Device Type,GENEActiv", "Measurement Frequency,100 Hz"]
    head += [f"Line {number}," for number in range(98)]
    time = [text[:-4] + ":" + text[-3:] for text in stamps(100)]
    return "\n".join(head) + "\n" + rows(time, *ACC.T.round(4), [3] * N, [0] * N, [25.8] * N)


def actigraph():
    head = "------------ Data File Created By ActiGraph GT3X+ at 30 Hz  Filter Normal -----------\n"
    head += "Serial Number: MOS2E\nStart Time 10:15:00\nStart Date 26.03.2020\n" + "-" * 20 + "\n"
    return head + "Accelerometer X,Accelerometer Y,Accelerometer Z\n" + rows(*ACC.T.round(3))


def labfront():
    names = "timezoneOffsetInMs,unixTimestampInMs,isoDate,beatsPerMinute_hr\n"
    ms = 1_683_576_120_000 + np.arange(N) * 1000
    iso = stamps(1, "%Y-%m-%dT%H:%M:%S.%f")
    return names + rows([7_200_000] * N, ms, iso, RNG.normal(70, 3, N).round())


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("s1_ACC.txt", polar_acc(), {"acc": (XYZ, "mg", 50)}),
    ("s1_watch.txt", openbci(), {"watch_exg": (("channel_0", "channel_1"), "uV", 250),
                                 "watch_accel_channel": (("0", "1"), "g", 250)}),
    ("s1/accelerometer.csv", "unix_timestamp,x,y,z\n" + rows(
        UNIX_US + (np.arange(N) * 1e6 / 64).astype(np.int64), *(2048 * ACC.T).round()),
     {"accelerometer": (XYZ, "g/2048", 64)}),
    ("s1/eda.csv", "unix_timestamp,eda\n" + rows(
        UNIX_US + np.arange(N) * 250_000, RNG.normal(2, 0.1, N)), {"eda": (("eda",), "uS", 4)}),
    ("s1/Raw Data.csv", '"Time (s)","Linear Acceleration x (m/s^2)","Linear Acceleration y (m/s^2)"'
     ',"Linear Acceleration z (m/s^2)"\n' + rows(np.arange(N) / 100, *ACC.T),
     {"linear_acceleration": (XYZ, "m/s^2", 100)}),
    ("s1.csv", geneactiv(), {"acc": (XYZ, "g", 100)}),
    ("s1.csv", actigraph(), {"accelerometer": (XYZ, "g", 30)}),
    ("s1.csv", "".join(f"{t},{a},{b},{c}\n" for t, (a, b, c) in zip(
        stamps(100), ACC.round(4).tolist(), strict=True)), {"c": (("1", "2", "3"), "1", 100)}),
    ("s1.csv", labfront(), {"beatsperminute_hr": (("beatsperminute_hr",), "bpm", 1)}),
    ("ecg_2024-05-31.csv", "Name,A\nSample Rate,512 hertz\nLead,Lead I\nUnit,µV\n\n" + "".join(
        f"{v:.3f}\n" for v in RNG.normal(0, 200, N)), {"ecg": (("ecg",), "µV", 512)}),
    ("s1.csv", "timestamp,x,y,z\n" + rows(np.arange(N) * 20, *(9.81 * ACC.T)),
     {"acc": (XYZ, "m/s^2", 50)}),
    ("s1.csv", "Zeitstempel;Beschl X (m/s²);Beschl Y (m/s²);Beschl Z (m/s²)\n" + rows(
        np.arange(N) / 50, *(9.81 * ACC.T).round(4)).replace(",", ";").replace(".", ","),
     {"beschl": (XYZ, "m/s²", 50)}),
    ("s1.csv", "Horodatage;Accélération X (m/s²);Accélération Y (m/s²)\n" + rows(
        stamps(50, "%d/%m/%Y %H:%M:%S.%f"), *(9.81 * ACC.T[:2]).round(4)).replace(",", ";"),
     {"acceleration": (("x", "y"), "m/s²", 50)}),
    ("s1.csv", "Tiempo;Acel X;Acel Y;Acel Z\n" + rows(np.arange(N) / 50, *ACC.T.round(4)).replace(
        ",", ";").replace(".", ","), {"acel": (XYZ, "g", 50)}),
    ("s1.csv", "Tempo (s);Accelerazione X (g);Accelerazione Y (g);Accelerazione Z (g)\n" + rows(
        np.arange(N) / 50, *ACC.T.round(4)).replace(",", ";"), {"accelerazione": (XYZ, "g", 50)}),
    ("s1/Gyroscope.csv", "time,seconds_elapsed,z,y,x\n" + rows(
        UNIX_US * 1000 + np.arange(N) * 10_000_000, np.arange(N) / 100, *(0.1 * ACC.T)),
     {"gyroscope": (("z", "y", "x"), "rad/s", 100)}),
    ("s1/eda.csv", "timestamp_unix,eda_scl_usiemens\n" + rows(
        UNIX_US // 1000 + np.arange(N) * 60_000, RNG.normal(2, 0.1, N)),
     {"eda_scl_usiemens": (("eda_scl_usiemens",), "uS", 0.01667)}),
])  # fmt: skip
def test_layouts_of_devices_are_known(tmp_path, name, text, expected):
    # another person's files, where the name tells one
    for one in ("s1", "s2"):
        other = tmp_path / "study" / name.replace("s1", one)
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text(text)
    mapped = described(tmp_path / "study")
    found = kinds(mapped)
    if max(m.rate_hz for m in mapped.modalities) < N / 4:
        assert list(windows_of(mapped))
    assert {key: found.get(key) for key in expected} == expected
    assert not {"sample_index", "timestamp", "button"} & set(found)


def sheet(path, names, *columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(names + "\n" + rows(*columns))


def test_row_numbers_counters_and_codes_are_no_signals(tmp_path):
    code = np.repeat([1, 2, 3], N // 3)
    sheet(tmp_path / "anna_watch.csv", ",counter,time,acc_x,acc_y,acc_z,phase code",
          range(N), np.arange(N) % 256, np.arange(N) / 50, *ACC.T, code)  # fmt: skip
    mapped = described(tmp_path)
    assert list(mapped.mapping.modalities) == ["acc"]
    assert mapped.mapping.files[0].clock == "time"
    text = (tmp_path / "recordings.yaml").read_text()
    assert "# not used: c0 (row number), counter (counter), " in text


def test_the_index_of_a_table_without_a_name_is_its_clock(tmp_path):
    sheet(tmp_path / "anna_watch.csv", ",acc_x,acc_y,acc_z", stamps(50), *ACC.T)
    mapped = described(tmp_path)
    assert (mapped.mapping.files[0].clock, mapped.mapping.files[0].clock_unit) == ("c0", "datetime")


@pytest.mark.parametrize("labels", [
    np.repeat([0, 1, 2], N // 3), np.repeat(["rest", "walk", "run"], N // 3),
])  # fmt: skip
def test_times_and_labels_among_arrays_are_clock_and_label(tmp_path, labels):
    for who in ("anna", "ben"):
        np.savez(tmp_path / f"{who}.npz", acc=ACC, t=np.arange(N) / 50, y=labels, x0=np.zeros(3))
    mapped = described(tmp_path)
    assert kinds(mapped) == {"acc": (("0", "1", "2"), "g", 50)}
    assert (mapped.mapping.files[0].clock, mapped.mapping.files[0].label) == ("t", "y")
    assert len(mapped.classes) == 3


def test_a_table_for_several_people_is_parted_by_its_column(tmp_path):
    who = np.tile(["P1", "P2", "P3"], N // 3)
    time = np.repeat(np.arange(N // 3) / 50, 3)
    label = np.where(time < 2, "rest", "walk")
    sheet(tmp_path / "all.csv", "Proband,Datum,t,acc_x,acc_y,acc_z,activity,site",
          who, ["2024-05-31"] * N, time, *ACC.T, label, ["lab"] * N)  # fmt: skip
    mapped = described(tmp_path)
    assert mapped.mapping.files[0].subject_column == "Proband"
    assert [plan.subject for plan in mapped.plans] == ["P1", "P2", "P3"]
    assert mapped.mapping.files[0].label == "activity"
    assert kinds(mapped) == {"acc": (XYZ, "g", 50)}


def test_a_constant_or_a_date_is_no_label(tmp_path):
    days = np.repeat(["2024-05-30", "2024-05-31"], N // 2)
    sheet(tmp_path / "anna.csv", "t,x,y,z,device,label,when", np.arange(N) / 50, *ACC.T,
          ["Fenix"] * N, ["walk"] * N, days)  # fmt: skip
    assert described(tmp_path).mapping.files[0].label is None


def test_a_table_of_labels_is_known_by_start_end_and_text(tmp_path):
    sheet(tmp_path / "anna_watch.csv", "t,x,y,z", np.arange(N) / 50, *ACC.T)
    (tmp_path / "anna_labels.csv").write_text("start,end,what\n0,5,rest\n5,10,walk\n")
    mapped = described(tmp_path)
    assert mapped.classes == ("rest", "walk")
    assert len(mapped.plans) == 1


def edf(path, labels=(), notes=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    signals = [edfio.EdfSignal(RNG.normal(0, 20, 6000), 100, label=label, physical_dimension="uV")
               for label in labels]  # fmt: skip
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(*one) for one in notes]).write(path)


def test_a_hypnogram_beside_its_night_gives_the_labels(tmp_path):
    for night, scorer in (("SC4001E0", "SC4001EC"), ("SC4011E0", "SC4011EH")):
        edf(tmp_path / f"{night}-PSG.edf", ["EEG Fpz-Cz", "EEG Pz-Oz", "Event marker"])
        edf(tmp_path / f"{scorer}-Hypnogram.edf", notes=[(0, 30, "W"), (30, 30, "N1")])
    mapped = described(tmp_path)
    assert [plan.subject for plan in mapped.plans] == ["SC4001", "SC4011"]
    assert mapped.classes == ("N1", "W")
    assert list(mapped.mapping.modalities) == ["eeg"]


def test_what_init_prints_runs_on_many_empatica_sessions(tmp_path, real_data):
    first = tmp_path / "study" / "S00"
    first.mkdir(parents=True)
    for name in ("ACC", "BVP", "EDA", "TEMP"):
        lines = (real_data("biosignal_samples") / "flirt_e4" / f"{name}.csv").read_text()
        keep = {"ACC": 640, "BVP": 1280, "EDA": 80, "TEMP": 80}[name]
        (first / f"{name}.csv").write_text("\n".join(lines.splitlines()[: keep + 2]) + "\n")
    for number in range(1, 35):
        shutil.copytree(first, tmp_path / "study" / f"S{number:02}")
    (tmp_path / "study" / "notes.txt").write_text("nothing\n")
    done = CliRunner().invoke(app, ["init", str(tmp_path / "study")], catch_exceptions=False)
    assert "35 recordings of 35 subjects" in done.output
    assert "crossl prepare folder" in done.output
    with open_dataset("folder", tmp_path / "study") as dataset:
        assert len(dataset.parts) == 35
        assert list(next(iter(dataset.parts[34].read())).signals) == ["acc", "bvp", "eda", "temp"]


def test_a_mapping_that_prepare_would_refuse_is_told_and_its_command_is_not_printed(tmp_path):
    path = tmp_path / "anna_50hz.csv"
    sheet(path, "time,x,y,z", np.r_[np.arange(300) / 50, 30 + np.arange(300) / 20], *ACC.T)
    done = CliRunner().invoke(app, ["init", str(tmp_path)], catch_exceptions=False)
    runs = "crossl prepare folder" in done.output
    readable = True
    try:
        list(read_recordings("folder", tmp_path))
    except Exception:  # noqa: BLE001 - whatever it says, the command must not be printed
        readable = False
    assert runs == readable


def test_one_bad_file_ends_nothing_and_is_named(tmp_path):
    for who in ("anna", "ben"):
        sheet(tmp_path / who / "watch.csv", "t,x,y,z", np.arange(N) / 50, *ACC.T)
    np.savez(tmp_path / "odd.npz", label=np.array(["a", "b"]))
    (tmp_path / "ben" / "bad.csv").write_text("a,b\n1\n2,3,4\n")
    (tmp_path / "cleo").mkdir()
    (tmp_path / "cleo" / "watch.xlsx").write_bytes(b"PK")
    (tmp_path / "dan" / "watch.csv").mkdir(parents=True)
    done = CliRunner().invoke(app, ["init", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert (
        "not read: cleo/watch.xlsx: nothing reads the ending .xlsx; save it as CSV" in done.output
    )
    assert "dan/watch.csv: is a folder that is named like a file; rename it" in done.output
    text = (tmp_path / "recordings.yaml").read_text()
    assert "# not read: ben/bad.csv: line 2" in text
    with open_dataset("folder", tmp_path) as dataset:
        told = [f.sentence for f in examine_recordings(dataset).findings if f.check == "notes"]
    assert any("cleo/watch.xlsx" in one for one in told)
    assert any("dan/watch.csv" in one for one in told)


def test_an_axis_with_few_values_is_no_label(tmp_path):
    sheet(tmp_path / "anna.csv", "t,x,y,z", np.arange(N) / 50, *(ACC.T * 4).round())
    mapped = described(tmp_path)
    assert mapped.mapping.files[0].label is None


@pytest.mark.parametrize(("labels", "text"), [
    ("{}_labels.csv", "start,end,what\n0,5,rest\n5,10,walk\n"),
    ("labels.csv", "subject,start,end,what\nanna,0,5,rest\nanna,5,9,walk\nben,0,9,walk\n"),
])  # fmt: skip
def test_labels_beside_files_that_are_named_after_people_are_no_people(tmp_path, labels, text):
    for who in ("anna", "ben"):
        sheet(tmp_path / f"{who}.csv", "t,x,y,z", np.arange(N) / 50, *ACC.T)
        (tmp_path / labels.format(who)).write_text(text)
    mapped = described(tmp_path)
    assert [plan.subject for plan in mapped.plans] == ["anna", "ben"]
    assert mapped.classes == ("rest", "walk")


def test_a_table_of_one_row_and_columns_of_one_number_are_no_signals(tmp_path):
    for who in ("anna", "ben"):
        sheet(tmp_path / who / "watch.csv", "t,x,y,z,other,worn", np.arange(N) / 50, *ACC.T,
              [0.0] * N, [1] * N)  # fmt: skip
        sheet(tmp_path / who / "about.csv", "version,platform", [1], ["android"])
    mapped = described(tmp_path)
    assert list(mapped.mapping.modalities) == ["watch_acc"]
    text = (tmp_path / "recordings.yaml").read_text()
    assert "other (one number), worn (one number)" in text
    assert "about.csv: no column that could be a signal; NOT READ, 1 row" in text


def long_table(*sensors):
    """Return rows of several sensors in turn: time, sensor, values."""
    return "".join(
        f"{i / 50},{name},{','.join(f'{v:.4f}' for v in values(i))}\n"
        for i in range(N) for name, values in sensors
    )  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [
    ("time,sensor,x,y,z\n" + long_table(("acc", lambda i: ACC[i]), ("gyro", lambda i: -ACC[i])),
     {"acc": (XYZ, "g", 50), "gyro": (XYZ, "rad/s", 50)}),
    ("time,variable,value\n" + long_table(
        *((f"acc_{a}", lambda i, at=at: ACC[i, at : at + 1]) for at, a in enumerate("xyz")),
        ("eda", lambda i: 2 + ACC[i, :1])), {"acc": (XYZ, "g", 50), "eda": (("eda",), "uS", 50)}),
])  # fmt: skip
def test_a_table_whose_column_names_the_sensor_of_a_row_is_long(tmp_path, text, expected):
    for who in ("anna", "ben"):
        (tmp_path / f"{who}.csv").write_text(text)
    assert kinds(described(tmp_path)) == expected
    recording = next(iter(read_recordings("folder", tmp_path)))
    assert recording.signals["acc"].values == pytest.approx(9.80665 * ACC, abs=1e-3)


def test_numbers_that_count_from_elsewhere_than_dates_beside_them_are_no_clock(tmp_path):
    # Polar's sensors count from 2000; its other files have the phone's dates only
    for who in ("s1", "s2"):
        (tmp_path / who).mkdir()
        (tmp_path / who / "ACC.txt").write_text(polar_acc())
        (tmp_path / who / "HR.txt").write_text("Phone timestamp;HR [bpm];\n" + "".join(
            f"{t};{70 + i % 3};\n" for i, t in enumerate(stamps(1, "%Y-%m-%dT%H:%M:%S.%f")[:12])
        ))  # fmt: skip
    assert {name: m[2] for name, m in kinds(described(tmp_path)).items()} == {"acc": 50, "hr": 1}
    recording = next(iter(read_recordings("folder", tmp_path)))
    assert recording.origin_unix_s == pytest.approx(
        datetime(2024, 5, 31, 9, tzinfo=UTC).timestamp(), abs=1
    )
    assert abs(recording.signals["acc"].start_s - recording.signals["hr"].start_s) < 1


@pytest.mark.parametrize("others", [["ben"], []])
def test_one_bad_cell_takes_no_channel_from_everybody(tmp_path, others):
    for who in ("anna", *others):
        sheet(tmp_path / f"{who}_50hz.csv", "t,acc_x,acc_y,acc_z", np.arange(N) / 50, *ACC.T)
    lines = (tmp_path / "anna_50hz.csv").read_text().splitlines()
    lines[300] = lines[300].replace(lines[300].split(",")[1], "0.0.1")
    (tmp_path / "anna_50hz.csv").write_text("\n".join(lines) + "\n")
    done = CliRunner().invoke(app, ["init", str(tmp_path)], catch_exceptions=False)
    assert "line 301, column 'acc_x' holds '0.0.1'" in done.output
    if others:
        assert "channels: [x, y, z]" in (tmp_path / "recordings.yaml").read_text()


def test_a_pipe_named_like_a_table_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv: is a pipe"):
        layout_of(tmp_path / "a.csv")
