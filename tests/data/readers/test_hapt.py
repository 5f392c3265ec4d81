"""HAPT: raw signals whole, intervals with both ends inside, damaged files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader
from tests.data.readers.conformance import check_reader, check_refuses, corrupt, read_all, truncate
from tests.data.readers.motion import GRAVITY, change_cell, change_line, save, walk

READER = get_reader("hapt")
LABELS = """1 1 5 250 500
1 1 7 501 620
1 1 4 621 900
2 1 1 10 700
3 2 12 1 100
3 2 3 300 1000
"""
EXPERIMENTS = ((1, 1, 1000), (2, 1, 700), (3, 2, 1000))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("hapt") / "HAPT Data Set"
    for experiment, user, rows in EXPERIMENTS:
        acc, gyro, _ = walk(rows, 50, seed=experiment)
        name = f"exp{experiment:02d}_user{user:02d}.txt"
        save(root / f"RawData/acc_{name}", acc / GRAVITY, fmt="%.16g")
        save(root / f"RawData/gyro_{name}", gyro, fmt="%.16g")
    (root / "RawData/labels.txt").write_text(LABELS)
    names = [f"{i} {name}          " for i, name in enumerate(READER.ACTIVITIES, 1)]
    (root / "activity_labels.txt").write_text("\n".join(names))
    return root


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written, tmp_path / "HAPT Data Set")
    return tmp_path / "HAPT Data Set"


def test_signals_are_whole_and_in_si_units(written):
    recordings = check_reader("hapt", written)
    keys = [(r.subject, r.session) for r in recordings]
    assert keys == [("user01", "exp01"), ("user01", "exp02"), ("user02", "exp03")]
    for recording, (experiment, user, rows) in zip(recordings, EXPERIMENTS, strict=True):
        name = f"exp{experiment:02d}_user{user:02d}.txt"
        acc = np.loadtxt(written / f"RawData/acc_{name}") * 9.80665
        gyro = np.loadtxt(written / f"RawData/gyro_{name}")
        np.testing.assert_array_equal(recording.signals["acc"].values, acc.astype("f4"))
        np.testing.assert_array_equal(recording.signals["gyro"].values, gyro.astype("f4"))
        assert recording.signals["acc"].values.shape == (rows, 3)
        assert recording.notes == ()


def test_intervals_hold_their_first_and_their_last_sample(written):
    first, second, third = read_all("hapt", written)
    spans = [(round(i.start_s * 50), round(i.end_s * 50), i.label) for i in first.labels]
    assert spans == [
        (249, 500, "STANDING"), (500, 620, "STAND_TO_SIT"), (620, 900, "SITTING"),
    ]  # fmt: skip
    assert second.labels[0].end_s == second.end_s == 14.0
    assert [(i.start_s, i.label) for i in third.labels] == [
        (0.0, "LIE_TO_STAND"), (5.98, "WALKING_DOWNSTAIRS"),
    ]  # fmt: skip


def test_windows_are_labelled_where_somebody_named_what_happened(written):
    card = READER.CARD
    first = read_all("hapt", written)[0]
    cut = cut_recording(first, card.modalities, card.classes, card.spec)
    assert len(cut.start_s) == 14
    assert (cut.offsets >= 0).all()
    names = [card.classes[i] if i >= 0 else "" for i in cut.label]
    assert names[0] == ""
    assert set(names) == {"", "STANDING", "STAND_TO_SIT", "SITTING"}


def test_the_set_is_found_wherever_the_user_points(written, tmp_path):
    wanted = [(r.subject, r.session) for r in read_all("hapt", written)]
    old = shutil.make_archive(str(tmp_path / "a/HAPT Data Set"), "zip", written.parent)
    new = shutil.make_archive(
        str(tmp_path / "b/smartphone+based+recognition+of+human+activities"), "zip", written
    )
    for root in (written.parent, tmp_path / old, tmp_path / new, tmp_path / "a", tmp_path / "b"):
        assert detect_reader(root) == "hapt"
        assert [(r.subject, r.session) for r in read_all("hapt", root)] == wanted


def test_raw_data_alone_suffices(copy):
    wanted = read_all("hapt", copy)
    (copy / "activity_labels.txt").unlink()
    assert [r.labels for r in read_all("hapt", copy)] == [r.labels for r in wanted]


def test_a_last_line_without_its_end_is_noted(copy):
    path = copy / "RawData/labels.txt"
    path.write_text(path.read_text().rstrip("\n"))
    for recording in read_all("hapt", copy):
        (note,) = recording.notes
        assert note.startswith("labels.txt ends without a line break")


def in_labels(old, new):
    def change(copy):
        path = copy / "RawData/labels.txt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def in_file(name, change):
    return lambda copy: change(copy / name)


ACC, GYRO = "RawData/acc_exp01_user01.txt", "RawData/gyro_exp01_user01.txt"


@pytest.mark.parametrize(("damage", "message"), [
    (in_file(ACC, truncate), r"acc_exp01_user01.txt: (is not in the official|has \d+ lines but)"),
    (in_file(GYRO, truncate), r"(gyro|acc)_exp01_user01.txt: (is not in the official|has 1000)"),
    (in_file("RawData/labels.txt", truncate), r"labels.txt: is not in the official|labels samples"),
    (in_file(ACC, corrupt), r"acc_exp01_user01.txt: is not in the official format; line \d+"),
    (in_file("RawData/labels.txt", corrupt), "labels.txt: is not in the official format"),
    (in_file("activity_labels.txt", corrupt), "activity_labels.txt: lists '1 WALKING"),
    (in_file(ACC, lambda p: p.write_text("")), "acc_exp01_user01.txt: is empty"),
    (in_file(GYRO, lambda p: p.unlink()), "gyro_exp01_user01.txt: does not exist"),
    (in_file(ACC, lambda p: change_line(p, 4, lambda line: line.split(" ", 1)[1])),
     "line 4 has 2 columns, expected 3"),
    (in_file(ACC, lambda p: change_line(p, 4, lambda line: "")),
     "acc_exp01_user01.txt: has 999 lines but gyro_exp01_user01.txt has 1000"),
    (in_file(ACC, lambda p: change_cell(p, 4, 2, "1..5")), "line 4, column 2 is '1..5', not a"),
    (in_file(ACC, lambda p: p.rename(p.with_name("acc_1.txt"))), "acc_1.txt: names no experiment"),
    (in_labels("1 1 5 250", "1 1 13 250"), "line 1 has activity 13; allowed are 1 to 12"),
    (in_labels("1 1 5 250", "1 1 0 250"), "line 1 has activity 0; allowed are 1 to 12"),
    (in_labels("1 1 5 250", "1 1 5.5 250"), r"line 1 holds \[5.5, 250.0, 500.0\]; whole numbers"),
    (in_labels("1 1 5 250", "1 9 5 250"), "line 1 gives experiment 1 to user 9; its files are of"),
    (in_labels("501 620", "500 620"), "line 2 labels samples 500 to 620 of 1000, after 500"),
    (in_labels("501 620", "620 501"), "line 2 labels samples 620 to 501 of 1000"),
    (in_labels("1 1 5 250", "1 1 5 0"), "line 1 labels samples 0 to 500 of 1000, after 0"),
    (in_labels("10 700", "10 701"), "line 4 labels samples 10 to 701 of 700"),
    (in_labels("1 1 5 250 500", "1 1 5 250"), "line 1 has 4 columns, expected 5"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(copy, damage, message):
    damage(copy)
    check_refuses("hapt", copy, match=message)


def test_a_folder_without_labels_or_experiments_is_refused(copy):
    for path in (copy / "RawData").glob("acc_*"):
        path.unlink()
    check_refuses("hapt", copy, match=r"RawData: holds no file acc_exp01_user01.txt")
    (copy / "RawData/labels.txt").unlink()
    check_refuses("hapt", copy, match="holds neither 'RawData/labels.txt' nor an archive 'HAPT")
