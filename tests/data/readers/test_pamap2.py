"""PAMAP2: official columns at their own rates, losses that stay losses, damaged files."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader
from crossl.data.readers.table import Published
from tests.data.readers.conformance import check_reader, check_refuses, corrupt, read_all, truncate
from tests.data.readers.motion import change_cell, change_line, save, walk

READER = get_reader("pamap2")
START_S = 8.38
ROWS = 3000
DEVICES = {"hand": 3, "chest": 20, "ankle": 37}


def session(rows=ROWS, *, seed=0, activities=(1, 4)):
    """Return 54 columns: transient, activity, transient, activity; heart rate in every 11th row."""
    table = np.full((rows, 54), np.nan)
    table[:, 0] = START_S + np.arange(rows) / 100
    table[:, 1] = np.repeat([0, activities[0], 0, activities[1]], rows // 4)
    table[::11, 2] = np.round(100 + 20 * np.sin(np.arange(0, rows, 11) / 500))
    for number, first in enumerate(DEVICES.values()):
        acc, gyro, mag = walk(rows, 100, seed=3 * seed + number)
        table[:, first] = 32.5
        table[:, first + 1 : first + 4] = acc
        table[:, first + 4 : first + 7] = np.clip(acc, -6, 6)
        table[:, first + 7 : first + 10] = gyro
        table[:, first + 10 : first + 13] = mag
        table[:, first + 13 : first + 17] = [1, 0, 0, 0]
    table[500:503, 3:20] = np.nan  # a short loss on the radio
    table[1000:1100, 37:54] = np.nan
    return table


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("pamap2")
    folder = root / "PAMAP2_Dataset"
    save(folder / "Protocol/subject101.dat", session())
    save(folder / "Protocol/subject102.dat", session(400, seed=1, activities=(24, 16)))
    save(folder / "Optional/subject101.dat", session(400, seed=2, activities=(9, 18)))
    return root


@pytest.fixture
def copy(written, tmp_path):
    """One short session, to be damaged."""
    target = tmp_path / "copy/PAMAP2_Dataset/Protocol"
    target.mkdir(parents=True)
    shutil.copy(written / "PAMAP2_Dataset/Protocol/subject102.dat", target)
    return target.parent


FILE = "Protocol/subject102.dat"


def test_every_modality_holds_its_official_columns(written):
    first, second = check_reader("pamap2", written)
    assert (first.subject, first.session, second.subject) == (
        "subject101",
        "protocol",
        "subject102",
    )
    table = np.loadtxt(written / "PAMAP2_Dataset/Protocol/subject101.dat")
    for device, column in DEVICES.items():
        for sensor, offset, factor in (("acc", 1, 1.0), ("gyro", 7, 1.0), ("mag", 10, 1e-6)):
            signal = first.signals[f"{device}_{sensor}"]
            wanted = table[:, column + offset : column + offset + 3] * factor
            np.testing.assert_array_equal(signal.values, wanted.astype(np.float32))
            assert (signal.rate_hz, signal.start_s) == (100.0, START_S)


def test_samples_lost_on_the_radio_stay_missing(written):
    first = read_all("pamap2", written)[0]
    lost = np.isnan(first.signals["hand_gyro"].values).any(axis=1)
    assert np.flatnonzero(lost).tolist() == [500, 501, 502]
    assert np.isnan(first.signals["ankle_acc"].values).sum() == 300
    assert np.isfinite(first.signals["chest_mag"].values).all()


def test_rows_that_are_not_there_stay_missing_too(copy):
    path = copy / FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:150] + lines[180:]))
    (recording,) = read_all("pamap2", copy)
    missing = np.isnan(recording.signals["chest_acc"].values).all(axis=1)
    assert np.flatnonzero(missing).tolist() == list(range(150, 180))
    assert len(missing) == 400
    labels = [(round(i.start_s - START_S, 6), i.label) for i in recording.labels]
    assert labels == [(1.0, "rope jumping"), (1.8, "rope jumping"), (3.0, "vacuum cleaning")]


def test_heart_rate_has_a_rate_of_its_own(written):
    first = read_all("pamap2", written)[0]
    table = np.loadtxt(written / "PAMAP2_Dataset/Protocol/subject101.dat")
    known = np.isfinite(table[:, 2])
    signal = first.signals["heart_rate"]
    assert signal.rate_hz == 9.0
    assert signal.timing.estimated_hz == pytest.approx(100 / 11, rel=1e-3)
    assert signal.start_s == START_S
    times = signal.start_s + np.arange(len(signal.values)) / 9
    wanted = np.interp(times, table[known, 0], table[known, 2]) / 60
    np.testing.assert_allclose(signal.values[:, 0], wanted, rtol=1e-5)
    assert len(signal.values) == int((ROWS - 1) // 11 * 11 / 100 * 9) + 1


def test_gaps_in_heart_rate_stay_gaps(copy):
    for number in range(100, 301):
        change_cell(copy / FILE, number, 3, "NaN")
    (recording,) = read_all("pamap2", copy)
    signal = recording.signals["heart_rate"]
    times = np.arange(len(signal.values)) / 9
    inside = (times > 0.88) & (times < 3.08)
    assert np.isnan(signal.values[inside]).all()
    assert np.isfinite(signal.values[(times < 0.88) | (times > 3.08)]).all()


def test_only_activities_are_labelled(written):
    first = read_all("pamap2", written)[0]
    spans = [(round(i.start_s - START_S, 6), round(i.end_s - START_S, 6), i.label)
             for i in first.labels]  # fmt: skip
    assert spans == [(7.5, 15.0, "lying"), (22.5, 30.0, "walking")]


def test_windows_have_their_modalities_and_labels(written):
    card = READER.CARD
    first = read_all("pamap2", written)[0]
    cut = cut_recording(first, card.modalities, card.classes, card.spec)
    assert len(cut.start_s) == 10
    ankle = [m.name for m in card.modalities].index("ankle_acc")
    assert cut.present[:, ankle].tolist() == [not 4.88 < s < 11.0 for s in cut.start_s - START_S]
    assert cut.present[:, -1].all()
    assert sorted(set(cut.label.tolist())) == [-1, 0, 3]


def test_optional_sessions_and_their_classes_are_read_when_asked_for(written):
    recordings = check_reader("pamap2", written, {"optional": "yes"})
    keys = [(r.subject, r.session) for r in recordings]
    assert keys == [
        ("subject101", "optional"), ("subject101", "protocol"), ("subject102", "protocol"),
    ]  # fmt: skip
    assert [i.label for i in recordings[0].labels] == ["watching TV", "folding laundry"]
    assert len(READER.CARD.classes) == 12


def test_heart_rate_can_be_left_out(written):
    for recording in check_reader("pamap2", written, {"heart_rate": "no"}):
        assert len(recording.modalities) == len(recording.signals) == 9
        assert "heart_rate" not in recording.modalities


def test_somebody_without_a_heart_rate_lacks_only_that(copy):
    for number in range(1, 401, 11):
        change_cell(copy / FILE, number, 3, "NaN")
    (recording,) = read_all("pamap2", copy)
    assert len(recording.signals) == 9
    assert "heart_rate holds no sample" in recording.notes


def test_the_set_is_found_wherever_the_user_points(written, tmp_path):
    folder = written / "PAMAP2_Dataset"
    wanted = read_all("pamap2", written)
    archive = shutil.make_archive(str(tmp_path / "a/PAMAP2_Dataset"), "zip", written)
    outer = shutil.make_archive(
        str(tmp_path / "b/pamap2+physical+activity+monitoring"), "zip", tmp_path / "a"
    )
    for root in (folder, Path(archive), Path(outer), tmp_path / "b"):
        assert detect_reader(root) == "pamap2"
        got = read_all("pamap2", root)
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(
                one.signals["hand_acc"].values, other.signals["hand_acc"].values
            )


def test_the_real_first_line_is_read_as_documented(real_data):
    root = real_data("fixtures") / "pamap2_excerpt"
    (recording,) = check_reader("pamap2", root)
    for name, wanted in (
        ("hand_acc", [2.37223, 8.60074, 3.51048]),
        ("hand_gyro", [-0.0922174, 0.0568115, -0.0158445]),
        ("chest_acc", [0.23808, 9.80003, -1.68896]),
        ("ankle_mag", [-61.1888e-6, -38.9599e-6, -58.1438e-6]),
        ("heart_rate", [104 / 60]),
    ):
        np.testing.assert_allclose(recording.signals[name].values[0], wanted, rtol=1e-6)
        assert recording.signals[name].start_s == 8.38
    assert recording.labels == ()
    assert "subject101.dat is not the published file: 386 bytes" in recording.notes[0]


def test_a_copy_that_is_not_the_published_file_gets_a_note(copy, monkeypatch):
    (recording,) = read_all("pamap2", copy)
    size = (copy / FILE).stat().st_size
    assert recording.notes == (
        f"subject102.dat is not the published file: {size} bytes, not 207349310",
    )
    digest = hashlib.sha256((copy / FILE).read_bytes()).hexdigest()
    monkeypatch.setitem(READER.PUBLISHED, FILE, Published(digest, size))
    (recording,) = read_all("pamap2", copy)
    assert recording.notes == ()
    monkeypatch.setitem(READER.PUBLISHED, FILE, Published("0" * 64, size))
    (recording,) = read_all("pamap2", copy)
    assert f"its SHA-256 is {digest}" in recording.notes[0]


def test_the_published_file_may_lack_its_last_line_end(copy, monkeypatch):
    path = copy / FILE
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    check_refuses("pamap2", copy, match=r"subject102.dat: ends inside a line")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(READER.PUBLISHED, FILE, Published(digest, path.stat().st_size))
    assert len(read_all("pamap2", copy)[0].signals["hand_acc"].values) == 400


def test_the_reader_knows_the_published_checksums(real_data):
    text = (real_data("format_docs") / "pamap2/lfs_pointers_sha256.txt").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    wanted = {
        path.removeprefix("PAMAP2_Dataset/"): Published(digest.removeprefix("sha256:"), int(size))
        for path, digest, size in rows
    }
    assert wanted == READER.PUBLISHED
    assert len(wanted) == 14


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"subject102.dat: ends inside a line; it is cut off"),
    (corrupt, r"subject102.dat: is not in the official format; line \d+"),
    (lambda p: p.write_text(""), "subject102.dat: is empty"),
    (lambda p: change_line(p, 7, lambda line: line[: len(line) // 2] + "\n"),
     r"line 7 has \d+ columns, expected 54"),
    (lambda p: p.write_text(p.read_text().replace(" 1 0 0 0\n", "\n")),
     "line 1 has 50 columns, expected 54"),
    (lambda p: change_cell(p, 9, 5, "x"), "line 9, column 5 is 'x', not a number"),
    (lambda p: change_cell(p, 9, 2, "25"), "row 9 has label 25; allowed are 0, 1, 2"),
    (lambda p: change_cell(p, 9, 2, "NaN"), "row 9 has label nan"),
    (lambda p: change_cell(p, 9, 1, "NaN"), "row 9 has timestamp nan s"),
    (lambda p: change_cell(p, 9, 1, "8.38"), r"row 9 has timestamp 8.38 s; rows lie 0.01 s"),
    (lambda p: change_cell(p, 9, 1, "8.465"), "row 9 has timestamp 8.465 s"),
    (lambda p: p.write_text(p.read_text().replace("NaN", "90")),
     "has 100 heart rates a second; the published files have about 9"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(copy, damage, message):
    damage(copy / FILE)
    sentence = check_refuses("pamap2", copy, match=message)
    assert "subject102.dat" in sentence


def test_a_folder_without_sessions_is_refused(copy):
    (copy / FILE).unlink()
    check_refuses("pamap2", copy, match=r"holds neither 'Protocol/subject\*.dat' nor an archive")
