"""UCI HAR: official windows in, the same windows out."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crossl.data.counting import count_windows
from crossl.data.readers import get_reader, read_recordings
from crossl.data.write import write_store
from crossl.errors import DataError

READER = get_reader("uci_har")
GRAVITY = 9.80665


def write(root, out):
    card = READER.CARD
    return write_store(
        read_recordings("uci_har", root),
        out,
        modalities=card.modalities,
        classes=card.classes,
        spec=card.spec,
        about={},
    )


def official(folder, part, name):
    """Parse a file of windows without numpy's reader."""
    lines = (folder / part / "Inertial Signals" / f"{name}_{part}.txt").read_text().splitlines()
    return np.array([line.split() for line in lines], dtype=np.float64)


def stored(store, part, name, axis):
    """Return a channel of the windows of one official part, in the official order."""
    rows = np.flatnonzero(np.char.startswith(store.session, part))
    return store.gather_zeroed(rows)[name][:, :, axis], rows


def assert_equals_the_official_windows(store, folder, part, wanted):
    for file, (name, axis, factor) in wanted.items():
        got, rows = stored(store, part, name, axis)
        np.testing.assert_array_equal(got, (official(folder, part, file) * factor).astype("f4"))
        for column, values in (("y", store.label + 1), ("subject", store.subject)):
            text = (folder / part / f"{column}_{part}.txt").read_text().split()
            if column == "subject":
                assert [f"S{int(t):02d}" for t in text] == values[rows].tolist()
            else:
                np.testing.assert_array_equal(values[rows], np.array(text, dtype=int))


@pytest.fixture(scope="module")
def fixture_folder(real_data):
    return real_data("fixtures") / "UCI HAR Dataset"


@pytest.fixture
def copy(fixture_folder, tmp_path):
    shutil.copytree(fixture_folder, tmp_path / "UCI HAR Dataset")
    return tmp_path


def test_the_small_excerpt_gives_exactly_its_windows(fixture_folder, tmp_path):
    store = write(fixture_folder, tmp_path / "store")
    assert len(store) == 96
    assert sorted(set(store.subject)) == ["S01", "S02", "S03", "S04"]
    assert store.present.all()
    axes = [("x", 0), ("y", 1), ("z", 2)]
    wanted = {f"total_acc_{a}": ("total_acc", i, GRAVITY) for a, i in axes}
    wanted |= {f"body_gyro_{a}": ("gyro", i, 1.0) for a, i in axes}
    for part in ("train", "test"):
        assert_equals_the_official_windows(store, fixture_folder, part, wanted)


def test_all_official_windows_come_back(real_data, tmp_path):
    root = real_data("uci_har")
    store = write(root, tmp_path / "store")
    counts = count_windows(store)
    assert counts["windows"] == counts["labelled"] == 10299
    assert len(counts["subjects"]) == 30
    assert counts["classes"] == {
        "WALKING": 1722, "UPSTAIRS": 1544, "DOWNSTAIRS": 1406,
        "SITTING": 1777, "STANDING": 1906, "LAYING": 1944,
    }  # fmt: skip
    assert counts["present"] == {"total_acc": 1.0, "gyro": 1.0}
    assert (np.char.startswith(store.session, "train")).sum() == 7352
    wanted = {"total_acc_x": ("total_acc", 0, GRAVITY), "body_gyro_z": ("gyro", 2, 1.0)}
    with READER.open_root(root, marker=READER.MARKER, stem=READER.STEM) as folder:
        assert_equals_the_official_windows(store, folder, "test", wanted)


def replace(copy, name, change):
    path = copy / "UCI HAR Dataset" / name
    path.write_text(change(path.read_text()))


SIGNAL = "train/Inertial Signals/total_acc_y_train.txt"
LABELS = "test/y_test.txt"
SUBJECTS = "train/subject_train.txt"


@pytest.mark.parametrize(("name", "change", "message"), [
    (SIGNAL, lambda t: t[:-20], "total_acc_y_train.txt: is not in the official format"),
    (SIGNAL, lambda t: t.replace("e-001", "e-0o1", 1), "is not in the official format"),
    (SIGNAL, lambda t: "", "total_acc_y_train.txt: is empty"),
    (SIGNAL, lambda t: "\n".join(t.splitlines()[:-3]), r"total_acc has shapes \(48, 128\), \(45,"),
    (SIGNAL, lambda t: "\n".join(line[:-16] for line in t.splitlines()), r"\(48, 127\)"),
    (LABELS, lambda t: t[: len(t) // 2], "48 windows, 48 subjects and 24 activities"),
    (LABELS, lambda t: "7" + t[1:], "test: activities must be 1 to 6"),
    (LABELS, lambda t: "0" + t[1:], "test: activities must be 1 to 6"),
    (LABELS, lambda t: "1.5" + t[1:], "y_test.txt: is not in the official format; one whole"),
    (LABELS, lambda t: "nan" + t[1:], "y_test.txt: is not in the official format; one whole"),
    (SUBJECTS, lambda t: t.replace("\n", " 1\n"), "subject_train.txt: is not in the official"),
    (SUBJECTS, lambda t: t.replace("1", "one", 1), "subject_train.txt: is not in the official"),
    (SUBJECTS, lambda t: "", "subject_train.txt: is empty"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(copy, name, change, message):
    replace(copy, name, change)
    with pytest.raises(DataError, match=message) as caught:
        list(read_recordings("uci_har", copy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [SIGNAL, LABELS, SUBJECTS])
def test_a_missing_file_is_refused(copy, name):
    (copy / "UCI HAR Dataset" / name).unlink()
    with pytest.raises(DataError, match="does not exist; the official archive has it"):
        list(read_recordings("uci_har", copy))


def test_windows_are_joined_only_within_one_subject_and_activity(copy):
    whole = [r.session for r in read_recordings("uci_har", copy)]
    replace(copy, SUBJECTS, lambda t: "9\n" + t.split("\n", 1)[1])
    apart = {r.session: r for r in read_recordings("uci_har", copy)}
    assert set(whole) < set(apart) or set(whole) == set(apart)
    assert apart["train-00000"].subject == "S09"
    assert len(apart["train-00000"].signals["gyro"].values) == 128


def test_the_official_split_is_an_option_of_the_protocol(real_data, tmp_path):
    from crossl.config import load_config
    from crossl.experiment.fold import folds_of

    folder = real_data("uci_har")
    store = write(folder, tmp_path / "store")
    (fold,) = folds_of(store, load_config(overrides=["evaluation.split=official"]))
    tested = set(store.subject[np.char.startswith(store.session, "test")].tolist())
    assert len(tested) == 9
    assert set(store.subject[fold.test].tolist()) == tested
    assert len(fold.test) == 2947
    assert len(set(store.subject[fold.train])) == 17  # of 21, 4 validate
