"""MotionSense: total acceleration from its two parts, raw sensors on request, damaged files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader, open_dataset
from crossl.errors import ConfigError
from tests.data.readers.conformance import check_reader, check_refuses, corrupt, read_all, truncate
from tests.data.readers.motion import GRAVITY, change_cell, change_line, save, walk

READER = get_reader("motion_sense")
HEADER = ",attitude.roll,attitude.pitch,attitude.yaw," + ",".join(
    f"{group}.{axis}" for group in ("gravity", "rotationRate", "userAcceleration") for axis in "xyz"
)
TRIALS = (("dws_1", 1, 400), ("sit_13", 1, 300), ("wlk_7", 10, 300), ("ups_3", 2, 300))
FILE = "A_DeviceMotion_data/dws_1/sub_1.csv"


def fused(rows, seed):
    acc, gyro, _ = walk(rows, 50, seed=seed)
    gravity = np.tile([0.1, 0.97, -0.2], (rows, 1))
    attitude = np.tile([1.2, -0.4, 0.3], (rows, 1))
    return np.c_[np.arange(rows), attitude, gravity, gyro, acc / GRAVITY - gravity]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for seed, (trial, subject, rows) in enumerate(TRIALS):
        name = f"{trial}/sub_{subject}.csv"
        table = fused(rows, seed)
        save(root / "A_DeviceMotion_data" / name, table, delimiter=",", header=HEADER)
        raw = np.c_[table[:, 0], table[:, 4:7] + table[:, 10:13]]
        save(root / "B_Accelerometer_data" / name, raw, delimiter=",", header=",x,y,z")
        gyro = table[: rows - 3, [0, 7, 8, 9]]  # logged apart, a little shorter
        save(root / "C_Gyroscope_data" / name, gyro, delimiter=",", header=",x,y,z")
    return root


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written, tmp_path / "data")
    return tmp_path / "data"


def test_acceleration_is_gravity_and_the_users_together(written):
    recordings = check_reader("motion_sense", written)
    keys = [(r.subject, r.session) for r in recordings]
    assert keys == [
        ("sub_01", "dws_01"), ("sub_01", "sit_13"), ("sub_02", "ups_03"), ("sub_10", "wlk_07"),
    ]  # fmt: skip
    table = np.loadtxt(written / FILE, delimiter=",", skiprows=1)
    acc, gyro = recordings[0].signals["acc"], recordings[0].signals["gyro"]
    np.testing.assert_allclose(acc.values, (table[:, 4:7] + table[:, 10:13]) * 9.80665, rtol=1e-6)
    np.testing.assert_allclose(gyro.values, table[:, 7:10], rtol=1e-6)
    assert acc.rate_hz == gyro.rate_hz == 50


def test_people_are_known_where_their_table_is(copy, real_data):
    assert not any(recording.person for recording in read_all("motion_sense", copy))
    table = real_data("format_docs") / "motionsense" / "data_subjects_info.csv"
    shutil.copyfile(table, copy / "data_subjects_info.csv")
    people = {r.subject: r.person for r in read_all("motion_sense", copy)}
    assert people["sub_01"] == pytest.approx({"age": 46, "height": 1.88, "weight": 102})
    assert people["sub_10"]["age"] != people["sub_02"]["age"] == 28


def test_columns_are_found_by_name(copy):
    wanted = read_all("motion_sense", copy)[0].signals["acc"].values
    table = np.loadtxt(copy / FILE, delimiter=",", skiprows=1)
    order = [0, 10, 11, 12, 4, 5, 6, 7, 8, 9, 1, 2, 3]
    header = ",".join(np.array(HEADER.split(","))[order])
    save(copy / FILE, table[:, order], delimiter=",", header=header)
    got = read_all("motion_sense", copy)[0].signals["acc"].values
    np.testing.assert_array_equal(got, wanted)


def test_a_trial_has_one_activity(written):
    card = READER.CARD
    for recording in read_all("motion_sense", written):
        (interval,) = recording.labels
        assert (interval.start_s, interval.end_s) == (0, recording.end_s)
        assert interval.label == {
            "dws": "downstairs", "sit": "sitting", "ups": "upstairs", "wlk": "walking",
        }[recording.session[:3]]  # fmt: skip
        cut = cut_recording(recording, card.modalities, card.classes, card.spec)
        assert len(cut.start_s) >= 3
        assert set(cut.label.tolist()) == {card.classes.index(interval.label)}


def test_the_sensors_own_readings_come_on_request(written):
    options = {"source": "raw"}
    fused, raw = read_all("motion_sense", written), check_reader("motion_sense", written, options)
    for one, other in zip(fused, raw, strict=True):
        assert (one.subject, one.session, one.labels) == (
            other.subject, other.session, other.labels,
        )  # fmt: skip
        count = len(one.signals["gyro"].values) - 3
        assert len(other.signals["gyro"].values) == count
        np.testing.assert_array_equal(
            other.signals["gyro"].values, one.signals["gyro"].values[:count]
        )
        np.testing.assert_allclose(
            other.signals["acc"].values, one.signals["acc"].values, rtol=1e-4, atol=1e-3
        )


def test_a_raw_trial_without_a_gyroscope_lacks_only_that(copy):
    (copy / "C_Gyroscope_data/dws_1/sub_1.csv").unlink()
    first, second, *_ = read_all("motion_sense", copy, {"source": "raw"})
    assert list(first.signals) == ["acc"]
    assert list(second.signals) == ["acc", "gyro"]


def test_the_official_zips_are_opened(written, tmp_path):
    for name in ("A_DeviceMotion_data", "B_Accelerometer_data", "C_Gyroscope_data"):
        shutil.make_archive(str(tmp_path / name), "zip", written, name)
    wanted = [(r.subject, r.session) for r in read_all("motion_sense", written)]
    assert detect_reader(tmp_path) == "motion_sense"
    for root, source in (
        (tmp_path, "raw"), (tmp_path, "device_motion"),
        (tmp_path / "A_DeviceMotion_data.zip", "device_motion"),
    ):  # fmt: skip
        got = read_all("motion_sense", root, {"source": source})
        assert [(r.subject, r.session) for r in got] == wanted


def test_an_unknown_source_is_refused_with_the_nearest_name(written):
    message = r"option 'source' of motion_sense: 'rwa'; did you mean 'raw'"
    with (
        pytest.raises(ConfigError, match=message),
        open_dataset("motion_sense", written, {"source": "rwa"}),
    ):
        pytest.fail("an unknown source was opened")


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"sub_1.csv: ends inside a line; it is cut off"),
    (corrupt, r"sub_1.csv: is not in the official format; line \d+"),
    (lambda p: p.write_text(""), "sub_1.csv: has no column 'gravity.x'"),
    (lambda p: p.write_text(HEADER + "\n"), "sub_1.csv: holds no line of numbers"),
    (lambda p: change_line(p, 1, lambda line: line.replace("gravity", "G")),
     r"has no column 'gravity.x' in its first line, which reads ',attitude.roll"),
    (lambda p: change_line(p, 1, lambda line: ""), "has no column 'gravity.x'"),
    (lambda p: change_line(p, 9, lambda line: line.rsplit(",", 1)[0] + "\n"),
     "line 9 has 12 columns, expected 13"),
    (lambda p: change_cell(p, 9, 6, "", ","), "line 9, column 6 is '', not a number"),
    (lambda p: change_line(p, 9, lambda line: ""), "line 9 has row number 8 after 6"),
    (lambda p: p.rename(p.with_name("sub_x.csv")), "names no activity, trial and subject"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(copy, damage, message):
    damage(copy / FILE)
    check_refuses("motion_sense", copy, match=message)


def test_an_unknown_activity_is_refused(copy):
    (copy / "A_DeviceMotion_data/dws_1").rename(copy / "A_DeviceMotion_data/fly_1")
    check_refuses("motion_sense", copy, match=r"fly_1/sub_1.csv: names no activity")


def test_a_folder_without_trials_is_refused(tmp_path):
    check_refuses("motion_sense", tmp_path, match="holds neither 'A_DeviceMotion_data' nor")
    (tmp_path / "A_DeviceMotion_data").mkdir()
    check_refuses("motion_sense", tmp_path, match=r"holds no file such as dws_1/sub_1.csv")
