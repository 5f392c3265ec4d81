"""Files for which a mapping was not written: found by their names, or by what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossl.data.own.mapping.schema import Mapping, validate
from crossl.data.own.new_files import Wanted, files_dataset, folder_dataset, for_any_file
from crossl.errors import DataError

MODALITIES = {
    "acc": {"channels": ["x", "y", "z"], "unit": "m/s^2", "rate_hz": 10},
    "ecg": {"channels": ["lead"], "unit": "mV", "rate_hz": 20},
}


def wanted(*files: dict[str, object], resample: tuple[str, ...] = ()) -> Wanted:
    mapping: Mapping = validate({"modalities": MODALITIES, "files": list(files)}, where="m.yaml")
    return Wanted(for_any_file(mapping, resample=resample), Path("m.yaml"), "m.yaml", ("rest",))


ACC = {"pattern": "{subject}/acc_{session}.csv", "signals": {"acc": ["ax", "ay", "az"]},
       "required": True, "label": "what"}  # fmt: skip
ECG = {"pattern": "{subject}/ecg_{session}.csv", "signals": {"ecg": "lead"}}


def write(path: Path, columns: str, rows: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = columns.split(",")
    cells = np.random.default_rng(0).normal(size=(rows, len(names)))
    lines = [",".join(f"{x:.3f}" for x in row) for row in cells]
    path.write_text("\n".join([columns, *lines]) + "\n")
    return path


def test_files_are_found_by_the_end_of_their_paths_and_belong_together(tmp_path: Path) -> None:
    files = [write(tmp_path / "a/b/ann/acc_1.csv", "ax,ay,az"),
             write(tmp_path / "a/b/ann/ecg_1.csv", "lead", 200),
             write(tmp_path / "c/bob/ecg_2.csv", "lead", 200)]  # fmt: skip
    dataset = files_dataset(wanted(ACC, ECG), files)
    assert [part.name for part in dataset.parts] == ["ann/1", "bob/2"]
    ann, bob = dataset.read()
    assert sorted(ann.signals) == ["acc", "ecg"]
    assert sorted(bob.signals) == ["ecg"]
    assert ann.labels == ()
    assert dataset.notes == ()


def test_names_count_in_a_folder_of_people_too(tmp_path: Path) -> None:
    phone = {"pattern": "{subject}_{session}_sp.csv", "signals": {"acc": ["x", "y", "z"]}}
    watch = {"pattern": "{subject}_{session}_sw.csv", "signals": {"ecg": "x"}}
    write(tmp_path / "ann/ann_1_sp.csv", "x,y,z")
    write(tmp_path / "ann/ann_1_sw.csv", "x,y,z", 200)  # the columns say nothing
    dataset = folder_dataset(wanted(phone, watch), tmp_path)
    assert [part.name for part in dataset.parts] == ["ann/1"]
    (ann,) = dataset.read()
    assert sorted(ann.signals) == ["acc", "ecg"]


def test_a_file_of_another_name_is_known_by_its_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "today.csv", "lead,extra", 200)
    (recording,) = files_dataset(wanted(ACC, ECG), [file]).read()
    assert (recording.subject, recording.session) == ("today", "1")
    assert list(recording.signals) == ["ecg"]
    pair = [write(tmp_path / "x/rec.csv", "lead"), write(tmp_path / "y/rec.csv", "lead")]
    names = [part.name for part in files_dataset(wanted(ACC, ECG), pair).parts]
    assert names == ["x_rec/1", "y_rec/1"]


def test_a_folder_without_such_names_is_read_by_what_is_in_it(tmp_path: Path) -> None:
    write(tmp_path / "one.csv", "ax,ay,az")
    write(tmp_path / "two.csv", "lead")
    write(tmp_path / "notes.csv", "a,b")
    (tmp_path / "README.txt").write_text("nothing\n")
    dataset = folder_dataset(wanted(ACC, ECG), tmp_path)
    assert [part.name for part in dataset.parts] == ["one/1", "two/1"]
    assert any("notes.csv: is of no kind that m.yaml reads" in note for note in dataset.notes)


def test_a_file_of_two_kinds_or_of_none_is_refused(tmp_path: Path) -> None:
    other = {**ECG, "pattern": "{subject}/chest_{session}.csv"}
    file = write(tmp_path / "today.csv", "lead")
    match = r"today.csv: holds what several kinds .* m.yaml hold, '.*ecg_.*' and '.*chest_"
    with pytest.raises(DataError, match=match):
        files_dataset(wanted(ECG, other), [file])
    strange = write(tmp_path / "other.csv", "a,b")
    with pytest.raises(DataError, match=r"other.csv: is of no kind .* which hold ax, ay, az, lead"):
        files_dataset(wanted(ACC, ECG), [strange])


def test_a_channel_that_lacks_makes_its_sensor_absent(tmp_path: Path) -> None:
    both = {"pattern": "{subject}.csv", "signals": {"acc": ["ax", "ay", "az"], "ecg": ["lead"]}}
    mapping = {**both, "label": "what"}
    files = [write(tmp_path / "ann.csv", "ax,ay,lead")]
    told = {"acc": {**MODALITIES["acc"]}, "ecg": {**MODALITIES["ecg"], "rate_hz": 10}}
    checked = validate({"modalities": told, "files": [mapping]}, where="m.yaml")
    how = Wanted(for_any_file(checked), Path("m.yaml"), "m.yaml", ("rest",))
    (recording,) = files_dataset(how, files).read()
    assert list(recording.signals) == ["ecg"]
    assert any("'acc' counts as not recorded" in note for note in recording.notes)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file of a known format"):
        folder_dataset(wanted(ACC), tmp_path)
