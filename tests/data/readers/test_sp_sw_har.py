"""sp-sw-har: two clocks on one grid, counts of the published recordings, damaged files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from crossl.data.counting import count_windows
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import get_reader, open_dataset, read_recordings
from crossl.data.target_entries import read_targets
from crossl.data.write import write_store
from crossl.errors import DataError

READER = get_reader("sp_sw_har")
CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def write(root, out):
    card = READER.CARD
    return write_store(
        read_recordings("sp_sw_har", root),
        out,
        modalities=card.modalities,
        classes=card.classes,
        spec=card.spec,
        about={},
    )


@pytest.fixture(scope="module")
def fixture_folder(real_data):
    return real_data("fixtures") / "sp_sw_har"


@pytest.fixture
def copy(fixture_folder, tmp_path):
    shutil.copytree(fixture_folder, tmp_path / "sp_sw_har")
    return tmp_path / "sp_sw_har"


def test_all_published_recordings_give_the_known_windows(real_data, tmp_path):
    store = write(real_data("sp_sw_har"), tmp_path / "store")
    counts = count_windows(store)
    assert counts["windows"] == 4696
    assert len(counts["subjects"]) == 23
    assert store.present.all()
    assert set(counts["classes"]) == set(READER.CARD.classes)
    assert min(counts["classes"].values()) > 100
    assert len(store.manifest["recordings"]) == 223


def test_the_shipped_targets_follow_from_the_activities(fixture_folder, tmp_path):
    block = read_targets(CONFIGS / "targets" / "sp_sw_har.yaml")
    with open_dataset("sp_sw_har", fixture_folder) as dataset:
        told = replace(dataset, targets=block)
        store = prepare_store(told, tmp_path / "s", plan_for(told, "sp_sw_har"), workers=1)
    # upright, moving, changing
    told_of = {"SEATED": [0, 0, 0], "STANDING_UP": [0, 1, 1], "WALKING": [1, 1, 0],
               "TURNING": [1, 1, 0], "SITTING_DOWN": [0, 1, 1], "": [-1, -1, -1]}  # fmt: skip
    activity = [store.classes[code] if code >= 0 else "" for code in store.label]
    assert store.target_values("posture").tolist() == [told_of[one] for one in activity]
    intensity = store.target_values("intensity")
    assert (intensity[store.label == store.classes.index("WALKING")] == 2).all()
    # between walking and turning no activity fills enough of a window, gait does
    assert (intensity >= 0).sum() > (store.label >= 0).sum() > 40


def test_both_devices_lie_on_one_grid_of_their_common_time(fixture_folder):
    recordings = list(read_recordings("sp_sw_har", fixture_folder))
    assert [(r.subject, r.session) for r in recordings] == [("s01", "01"), ("s14", "02")]
    for recording in recordings:
        files = {
            device: np.genfromtxt(
                fixture_folder / f"DATA/{recording.subject}"
                / f"{recording.subject}_{recording.session}_{ending}.csv",
                delimiter=",", skip_header=1, usecols=range(7))
            for ending, device in (("sp", "phone"), ("sw", "watch"))
        }  # fmt: skip
        start = max(f[:, 6].min() for f in files.values()) / 1000
        stop = min(f[:, 6].max() for f in files.values()) / 1000
        for device, file in files.items():
            time, first = np.unique(file[:, 6] / 1000, return_index=True)
            for kind, columns in (("acc", [0, 1, 2]), ("gyro", [3, 4, 5])):
                signal = recording.signals[f"{device}_{kind}"]
                assert signal.rate_hz == 100
                assert abs(len(signal.values) - (stop - start) * 100) <= 1
                grid = start + np.arange(len(signal.values)) / 100
                for channel, column in enumerate(columns):
                    wanted = np.interp(grid, time, file[first, column])
                    np.testing.assert_allclose(signal.values[:, channel], wanted, atol=1e-4)


def test_values_are_plausible_physically(fixture_folder):
    for recording in read_recordings("sp_sw_har", fixture_folder):
        for device in ("phone", "watch"):
            size = np.linalg.norm(recording.signals[f"{device}_acc"].values, axis=1)
            assert 9 < np.median(size) < 11
            assert np.abs(recording.signals[f"{device}_gyro"].values).max() < 20


def test_labels_cover_the_recording_without_a_hole(fixture_folder):
    for recording in read_recordings("sp_sw_har", fixture_folder):
        edges = [(one.start_s, one.end_s) for one in recording.labels]
        assert edges[0][0] == 0
        assert abs(edges[-1][1] - recording.end_s) < 0.02
        for (_, end), (start, _) in pairwise(edges):
            assert end == start
        assert recording.labels[0].label == "SEATED"


def test_a_phone_without_its_watch_is_read_with_the_watch_absent(copy, tmp_path):
    (copy / "DATA/s01/s01_01_sw.csv").unlink()
    alone, both = read_recordings("sp_sw_har", copy)
    assert sorted(alone.signals) == ["phone_acc", "phone_gyro"]
    assert len(both.signals) == 4
    store = write(copy, tmp_path / "store")
    mine = store.subject == "s01"
    assert store.present[mine][:, :2].all()
    assert not store.present[mine][:, 2:].any()
    assert store.present[~mine].all()


def test_a_watch_without_its_phone_is_read_with_the_phone_absent(copy, tmp_path):
    (copy / "DATA/s01/s01_01_sp.csv").unlink()
    alone, both = read_recordings("sp_sw_har", copy)
    assert (alone.subject, alone.session) == ("s01", "01")
    assert sorted(alone.signals) == ["watch_acc", "watch_gyro"]
    assert len(both.signals) == 4
    assert alone.labels[0].label == "SEATED"
    store = write(copy, tmp_path / "store")
    mine = store.subject == "s01"
    assert mine.any()
    assert not store.present[mine][:, :2].any()
    assert store.present[mine][:, 2:].all()


def test_recordings_know_when_they_were_made(copy, tmp_path):
    first, _ = read_recordings("sp_sw_har", copy)
    # the phone begins at ...813 ms, the watch at ...810: the common time begins with the phone
    assert first.origin_unix_s == 1657533977.813
    assert first.zone == "UTC"
    store = write(copy, tmp_path / "store")
    assert store.start_unix_s[0] == pytest.approx(1657533977.813 + store.start_s[0], abs=1e-6)


def test_times_that_do_not_count_from_1970_tell_no_date(copy):
    for path in (copy / "DATA/s01").glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        split = [line.split(",") for line in lines]
        early = [[*p[:6], str(int(p[6]) - 1657533977000), p[7]] for p in split]
        path.write_text("\n".join([header, *(",".join(p) for p in early)]))
    first, _ = read_recordings("sp_sw_har", copy)
    assert (first.origin_unix_s, first.zone) == (None, "")


def in_lines(change):
    def changed(text):
        lines = text.splitlines(keepends=True)
        change(lines)
        return "".join(lines)

    return changed


def with_line(number, old, new):
    def change(lines):
        lines[number] = lines[number].replace(old, new)

    return in_lines(change)


FORMAT = r"s01_01_sp.csv: is not in the official format \("


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t[: t.rindex(",") - 4], FORMAT),
    (lambda t: t[: t.rindex(",") + 3], "s01_01_sp.csv: label 'SE'; allowed are SEATED, STANDING"),
    (lambda t: "", "first line is ''; expected 'x_acc,y_acc"),
    (lambda t: t.splitlines()[0] + "\n", "s01_01_sp.csv: holds no sample, only the first line"),
    (lambda t: t.split("\n", 1)[1], "first line is '.*'; expected 'x_acc"),
    (lambda t: t.replace("x_acc", "acc_x", 1), "first line is 'acc_x,"),
    (with_line(9, ",SEATED", ",FLYING"), "label 'FLYING'; allowed are SEATED"),
    (with_line(9, ",SEATED", ",SEATED,1"), FORMAT),
    (with_line(9, ",", ",a", ), FORMAT),
    (with_line(9, "SEATED", "SEATÉD"), FORMAT),
    (in_lines(lambda lines: lines.__setitem__(
        slice(1, None), [line.strip() + ",1\n" for line in lines[1:]])), FORMAT),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(copy, change, message):
    path = copy / "DATA/s01/s01_01_sp.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        list(read_recordings("sp_sw_har", copy))
    assert "\n" not in str(caught.value)


def test_infinite_values_are_refused(copy):
    path = copy / "DATA/s01/s01_01_sp.csv"
    lines = path.read_text().splitlines()
    lines[300] = ",".join(["inf", *lines[300].split(",")[1:]])
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="signal 'phone_acc' holds infinite values"):
        list(read_recordings("sp_sw_har", copy))


def test_devices_that_never_recorded_together_are_refused(copy):
    path = copy / "DATA/s01/s01_01_sw.csv"
    header, *lines = path.read_text().splitlines()
    late = [line.split(",") for line in lines]
    for parts in late:
        parts[6] = str(int(parts[6]) + 10_000_000)
    path.write_text("\n".join([header, *(",".join(parts) for parts in late)]))
    with pytest.raises(DataError, match=r"s01_01_sp.csv: its devices never recorded at the same"):
        list(read_recordings("sp_sw_har", copy))


def test_a_folder_without_recordings_is_refused(copy):
    for path in (copy / "DATA").glob("s*/*.csv"):
        path.unlink()
    with pytest.raises(DataError, match=r"DATA: holds no file s\*/s\*_sp.csv or s\*/s\*_sw"):
        list(read_recordings("sp_sw_har", copy))
