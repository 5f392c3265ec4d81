"""MHEALTH: real rows against the official column list, units, labels, damaged files."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader
from tests.data.readers.conformance import check_reader, check_refuses, corrupt, read_all, truncate
from tests.data.readers.motion import change_cell, change_line, save, walk

READER = get_reader("mhealth")
DEGREE = np.pi / 180
OFFICIAL = {
    "chest_acc": ((1, 2, 3), 1.0),
    "ecg": ((4, 5), 1e-3),
    "ankle_acc": ((6, 7, 8), 1.0),
    "ankle_gyro": ((9, 10, 11), DEGREE),
    "ankle_mag": ((12, 13, 14), 1.0),
    "arm_acc": ((15, 16, 17), 1.0),
    "arm_gyro": ((18, 19, 20), DEGREE),
    "arm_mag": ((21, 22, 23), 1.0),
}
"""Columns from 1, as the README counts them, and the factor to SI."""


def log(rows, *, seed=0, activities=(1, 4)):
    table = np.zeros((rows, 24))
    for number, column in enumerate((0, 5, 14)):
        acc, gyro, mag = walk(rows, 50, seed=3 * seed + number)
        table[:, column : column + 3] = acc
        if column:
            table[:, column + 3 : column + 6] = gyro
            table[:, column + 6 : column + 9] = mag
    beat = np.exp(-(((np.arange(rows) % 42) - 20) ** 2) / 4.0)
    table[:, 3], table[:, 4] = beat - 0.2, 0.5 * beat
    table[:, 23] = np.repeat([0, activities[0], 0, activities[1]], rows // 4)
    return table


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("mhealth")
    for number in (1, 2, 10):
        path = root / f"MHEALTHDATASET/mHealth_subject{number}.log"
        save(path, log(1000, seed=number, activities=(3, 12)), fmt="%.5g", delimiter="\t")
    return root


@pytest.fixture
def copy(written, tmp_path):
    target = tmp_path / "MHEALTHDATASET"
    target.mkdir()
    shutil.copy(written / "MHEALTHDATASET/mHealth_subject1.log", target)
    return target / "mHealth_subject1.log"


def assert_holds_the_official_columns(recording, table):
    assert list(recording.signals) == list(OFFICIAL)
    for name, (columns, factor) in OFFICIAL.items():
        wanted = table[:, np.array(columns) - 1] * factor
        np.testing.assert_allclose(recording.signals[name].values, wanted, rtol=1e-6, atol=1e-12)


def test_every_modality_holds_its_official_columns(written):
    recordings = check_reader("mhealth", written)
    assert [r.subject for r in recordings] == ["subject01", "subject02", "subject10"]
    for recording, number in zip(recordings, (1, 2, 10), strict=True):
        table = np.loadtxt(written / f"MHEALTHDATASET/mHealth_subject{number}.log")
        assert_holds_the_official_columns(recording, table)
        spans = [(i.start_s, i.end_s, i.label) for i in recording.labels]
        assert spans == [(5.0, 10.0, "lying down"), (15.0, 20.0, "jump front and back")]


def test_the_real_rows_hold_what_their_readme_says(real_data):
    root = real_data("fixtures") / "mhealth_excerpt"
    recordings = check_reader("mhealth", root)
    for recording, number in zip(recordings, (1, 2), strict=True):
        table = np.loadtxt(root / f"mHealth_subject{number}.log")
        assert table.shape == (36, 24)
        assert_holds_the_official_columns(recording, table)
        # three rows of each activity, one after another
        assert [i.label for i in recording.labels] == list(READER.CARD.classes)
        assert all(i.end_s - i.start_s == pytest.approx(0.06) for i in recording.labels)
        standing = np.linalg.norm(recording.signals["chest_acc"].values[:3], axis=1)
        np.testing.assert_allclose(standing, 9.8, atol=0.2)
        assert np.abs(recording.signals["ecg"].values).max() < 5e-3
        assert "is not the published file" in recording.notes[0]


def test_real_rotation_is_about_one_in_the_files_whatever_a_person_does(real_data):
    """What the card warns of: standing still turns as fast as running."""
    for recording in read_all("mhealth", real_data("fixtures") / "mhealth_excerpt"):
        for name in ("ankle_gyro", "arm_gyro"):
            size = np.linalg.norm(recording.signals[name].values, axis=1) / DEGREE
            assert ((size > 0.4) & (size < 1.5)).all()
            assert size[:3].mean() > 0.5


def test_windows_are_whole_and_labelled(written):
    card = READER.CARD
    first = read_all("mhealth", written)[0]
    cut = cut_recording(first, card.modalities, card.classes, card.spec)
    assert len(cut.start_s) == 14
    assert (cut.offsets >= 0).all()
    assert set(cut.label.tolist()) == {-1, 2, 11}


def test_the_set_is_found_wherever_the_user_points(written, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "mhealth+dataset"), "zip", written)
    wanted = [r.subject for r in read_all("mhealth", written)]
    for root in (written / "MHEALTHDATASET", tmp_path, tmp_path / archive):
        assert detect_reader(root) == "mhealth"
        assert [r.subject for r in read_all("mhealth", root)] == wanted


def test_the_published_file_gets_no_note_and_may_lack_its_last_line_end(copy, monkeypatch):
    copy.write_bytes(copy.read_bytes().rstrip(b"\n"))
    check_refuses("mhealth", copy.parent, match=r"mHealth_subject1.log: ends inside a line")
    data = copy.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(READER.PUBLISHED, copy.name, blob)
    (recording,) = read_all("mhealth", copy.parent)
    assert recording.notes == ()


def test_the_reader_knows_the_published_checksums(real_data):
    text = (real_data("format_docs") / "mhealth/git_blob_sha1.txt").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert {path.rsplit("/", 1)[-1]: sha1 for sha1, path in rows} == READER.PUBLISHED
    assert len(rows) == 10


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"mHealth_subject1.log: ends inside a line; it is cut off"),
    (corrupt, r"mHealth_subject1.log: is not in the official format; line \d+"),
    (lambda p: p.write_text(""), "mHealth_subject1.log: is empty"),
    (lambda p: change_line(p, 5, lambda line: line.split("\t", 1)[1]),
     "line 5 has 23 columns, expected 24"),
    (lambda p: change_cell(p, 5, 8, "9,8", "\t"), "line 5, column 8 is '9,8', not a number"),
    (lambda p: change_cell(p, 5, 24, "13", "\t"), "row 5 has label 13; allowed are 0, 1, 2"),
    (lambda p: change_cell(p, 5, 24, "1.5", "\t"), "row 5 has label 1.5"),
    (lambda p: p.rename(p.with_name("mHealth_subjectX.log")), "has no subject number"),
])  # fmt: skip
def test_a_damaged_log_is_refused_in_one_sentence(copy, damage, message):
    damage(copy)
    check_refuses("mhealth", copy.parent, match=message)


def test_a_folder_without_logs_is_refused(copy):
    copy.unlink()
    check_refuses("mhealth", copy.parent, match=r"holds neither 'mHealth_subject\*.log' nor")
