"""Empatica E4: folders and zips, Unix times, presses of the button, damaged files."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest

from crossl.data.formats import format_of, open_file
from crossl.data.recording import LabelInterval
from crossl.errors import DataError


@pytest.fixture
def session(real_data, tmp_path):
    shutil.copytree(real_data("biosignal_samples") / "flirt_e4", tmp_path / "e4")
    for path in (tmp_path / "e4").iterdir():
        path.chmod(0o644)
    (tmp_path / "e4").chmod(0o755)
    return tmp_path / "e4"


def test_a_real_session_has_five_sensors_on_unix_time(session):
    assert format_of(session) == "e4"
    content = open_file(session)
    assert content.streams[-1].name == "IBI"
    told = {s.name: (s.columns, s.units, s.rate_hz, s.start_s, s.length)
            for s in content.streams if not s.aside}  # fmt: skip
    assert told == {
        "ACC": (("x", "y", "z"), ("g/64",) * 3, 32.0, 1560279825.0, 9998),
        "BVP": (("bvp",), ("arbitrary",), 64.0, 1560279825.0, 9998),
        "EDA": (("eda",), ("uS",), 4.0, 1560279825.0, 9998),
        "TEMP": (("temp",), ("degC",), 4.0, 1560279825.0, 4998),
        "HR": (("hr",), ("bpm",), 1.0, 1560279835.0, 4998),
    }
    acc = content.stream("ACC").load(["z", "x"])
    assert acc[:2].tolist() == [[6.0, -61.0], [11.0, -62.0]]
    norm = np.linalg.norm(content.stream("ACC").load(["x", "y", "z"]), axis=1) / 64
    assert 0.9 < np.median(norm) < 1.1
    assert content.stream("EDA").load(["eda"])[:2, 0].tolist() == [0.0, 0.020499]


def load_all(session):
    return [stream.load(stream.columns) for stream in open_file(session).streams]


def test_no_press_of_the_button_is_no_label(session):
    assert (session / "tags.csv").read_bytes() == b""
    content = open_file(session)
    assert content.labels == ()
    assert content.about["tags_s"] == []


def test_a_temperature_that_the_sensor_cannot_measure_is_missing(session, real_data):
    path = real_data("wesad_wrist") / "S2/S2_E4_Data.zip"
    temp = open_file(path).stream("TEMP").load(["temp"])[:, 0]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("TEMP.csv").split()[2:7] == [b"382.18"] * 4 + [b"35.05"]
    assert np.flatnonzero(np.isnan(temp)).tolist() == [0, 1, 2, 3]
    assert 32 < np.nanmin(temp) < np.nanmax(temp) < 36


def test_a_press_of_the_button_begins_a_label_that_the_next_one_ends(session):
    (session / "tags.csv").write_text("1560279900.25\n1560280000.50\n")
    first, second = open_file(session).labels
    assert first == LabelInterval(1560279900.25, 1560280000.5, "tag 1")
    assert second == LabelInterval(1560280000.5, 1560279835.0 + 4998, "tag 2")


def test_a_zip_reads_as_its_folder(session, tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(session.iterdir()):
            archive.write(path, f"1560279825_A0001/{path.name}")
    folder, zipped = open_file(session), open_file(tmp_path / "s.zip")
    for one, other in zip(folder.streams, zipped.streams, strict=True):
        assert (one.name, one.length, one.start_s) == (other.name, other.length, other.start_s)
        np.testing.assert_array_equal(one.load(one.columns), other.load(other.columns))


def test_a_damaged_zip_is_refused(session, tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(session / "ACC.csv", "ACC.csv")
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:-30])
    with pytest.raises(DataError, match=r"s.zip: cannot .*: it is not a zip file, or is cut off"):
        open_file(path)
    data[500:520] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"s.zip: is damaged or cut off \("):
        open_file(path)


def test_two_sessions_in_a_zip_are_refused(session, tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.write(session / "EDA.csv", "a/EDA.csv")
        archive.write(session / "EDA.csv", "b/EDA.csv")
    with pytest.raises(DataError, match=r"holds a/EDA.csv and b/EDA.csv; one session a zip"):
        open_file(tmp_path / "s.zip")


def test_a_sensor_may_be_missing_but_not_all(session):
    (session / "HR.csv").unlink()
    assert [s.name for s in open_file(session).streams] == ["ACC", "BVP", "EDA", "TEMP", "IBI"]
    for name in ("ACC", "BVP", "EDA", "TEMP"):
        (session / f"{name}.csv").unlink()
    with pytest.raises(DataError, match=r"e4: is not an Empatica session; it holds none of ACC"):
        open_file(session, "e4")


def damage(session, name, change):
    path = session / f"{name}.csv"
    path.write_text(change(path.read_text()), encoding="latin1")


@pytest.mark.parametrize(("name", "change", "message"), [
    ("ACC", lambda t: t.replace("-62,24,11", "-62,24"), "line 4 is '-62,24'; expected 3 numbers"),
    ("ACC", lambda t: t.replace("-62,24,11", "-62,2\xff,1"), "ACC.csv: line 4 is "),
    ("ACC", lambda t: t.replace("-62,24,11", "nan,1,1"), "ACC.csv: line 4 is "),
    ("ACC", lambda t: t.replace("-62,24,11\n", "\n"), "line 4 is ''; expected 3 numbers"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(session, name, change, message):
    damage(session, name, change)
    with pytest.raises(DataError, match=message) as caught:
        load_all(session)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "change", "why"), [
    ("EDA", lambda t: "", "EDA.csv: line 1 is ''; expected 1 times the Unix time, or a date"),
    ("EDA", lambda t: t.split("\n", 1)[1], "EDA.csv: line 2 is "),
    ("EDA", lambda t: "1560279825000\n4\n1\n", "EDA.csv: line 1 is '1560279825000'; expected 1"),
    ("BVP", lambda t: t.split("\n", 1)[0] + "\n", "BVP.csv: line 2 is ''; expected 1 times"),
    ("ACC", lambda t: t.replace("32.000000", "0"), "ACC.csv: line 2 is '0, 0, 0'; expected 3"),
    ("ACC", lambda t: t.replace("32.000000", "31", 1), "ACC.csv: line 2 is '31, 32"),
])  # fmt: skip
def test_a_sensor_that_does_not_begin_as_it_should_is_left_out(session, name, change, why):
    damage(session, name, change)
    content = open_file(session)
    assert name not in [s.name for s in content.streams]
    assert len(content.streams) >= 4
    assert content.left_out[name].startswith(why)
    with pytest.raises(DataError, match=f"e4: '{name}' cannot be read: {name}.csv: line "):
        content.stream(name)


def test_presses_that_are_no_times_are_refused_and_leave_the_signals(session):
    (session / "tags.csv").write_text("abc\n")
    content = open_file(session)
    assert (len(content.streams), content.labels) == (5 + IBI, ())
    with pytest.raises(DataError, match=r"cannot be read: tags.csv: line 1 is 'abc'; expected "):
        content.check_labels()


IBI = 1


def test_the_last_line_of_a_file_counts_where_its_end_is_sure(session, tmp_path):
    whole = open_file(session).stream("EDA").load(["eda"])
    damage(session, "EDA", lambda t: t.rstrip("\n"))
    content = open_file(session)
    eda = content.stream("EDA")
    assert eda.length == len(whole) - 1
    np.testing.assert_array_equal(eda.load(["eda"]), whole[:-1])
    assert content.about["notes"] == [
        "EDA.csv ends without a line end; its last line may be cut off and is left out"
    ]
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:  # has a checksum
        archive.write(session / "EDA.csv", "EDA.csv")
    eda = open_file(tmp_path / "s.zip").stream("EDA")
    np.testing.assert_array_equal(eda.load(["eda"]), whole)


def test_a_last_press_counts_without_a_line_end_if_it_lies_in_the_session(session):
    (session / "tags.csv").write_text("1560279900.25\n1560280000.50")
    assert open_file(session).about["tags_s"] == [1560279900.25, 1560280000.5]
    (session / "tags.csv").write_text("1560279900.25\n156028")
    content = open_file(session)
    assert content.about["tags_s"] == [1560279900.25]
    assert content.about["notes"] == ["tags.csv ends inside a line, which is left out"]


def dated(session, zone=""):
    """Write starts and presses as dates, as published sets do."""
    for name in ("ACC", "BVP", "EDA", "TEMP", "HR", "IBI"):
        path = session / f"{name}.csv"
        start, rest = path.read_text().split("\n", 1)
        times = [cell for cell in start.split(",") if cell.strip() != "IBI"]
        date = f"2019-06-11 19:03:{'55' if name == 'HR' else '45'}{zone}"
        path.write_text(", ".join([date] * len(times)) + "\n" + rest)
    (session / "tags.csv").write_text(f"2019-06-11 19:05:00{zone}\n")


def test_a_start_may_be_a_date(session):
    unix = {s.name: s.start_s for s in open_file(session).streams}
    dated(session, "+00:00")
    content = open_file(session)
    assert {s.name: s.start_s for s in content.streams} == unix
    assert content.about["tags_s"] == [1560279900.0]
    assert not content.about["local_start"]
    dated(session)
    content = open_file(session)
    assert {s.name: s.start_s for s in content.streams} == unix
    assert content.about["local_start"]
    assert content.about["notes"] == [
        "e4: sensors begin with dates without a zone, which count as UTC unless the mapping has "
        "`timezone:`"
    ]


def test_dates_and_unix_time_in_one_session_are_refused(session):
    (session / "EDA.csv").write_text("2019-06-11 19:03:45\n4\n1\n2\n")
    with pytest.raises(DataError, match=r"EDA.csv begins with a date without a zone and ACC.csv w"):
        open_file(session)


def test_intervals_between_beats_are_there_for_who_asks(session):
    (session / "IBI.csv").write_text("1560279825.0, IBI\n1.5,0.75\n2.25,0.8\n9,0.7\n")
    stream = open_file(session).stream("IBI")
    assert (stream.aside, stream.rate_hz, stream.columns, stream.units) == (
        True, None, ("ibi",), ("s",))  # fmt: skip
    assert stream.timestamps_s.tolist() == [1560279826.5, 1560279827.25, 1560279834.0]
    assert stream.load(["ibi"])[:, 0].tolist() == [0.75, 0.8, 0.7]
    (session / "IBI.csv").write_text("1560279825.0, IBI\n1.5\n")
    content = open_file(session)
    assert "IBI" not in [s.name for s in content.streams]
    assert content.about["notes"] == [
        "beats are left out: IBI.csv: line 2 is '1.5'; expected 2 numbers"
    ]
