"""A device that nobody carried is absent: patterns, modalities and cells that find nothing."""

from __future__ import annotations

import json

import pytest
import yaml

from crossl.data.own.mapping import load_mapping
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import open_dataset
from crossl.doctor import examine_recordings
from crossl.errors import DataError
from tests.data.own.study import MAPPING, make_study

ACC = {"channels": ["x"], "unit": "g", "rate_hz": 50}


@pytest.fixture
def study(tmp_path):
    root = make_study(tmp_path / "study")
    (root / "recordings.yaml").write_text(MAPPING)
    return root


def without_phones(root):
    for path in root.glob("*/*_phone.csv"):
        path.unlink()
    return root


def prepared(root, out, **options):
    with open_dataset("folder", root) as dataset:
        return prepare_store(dataset, out, plan_for(dataset, "folder"), **options)


def test_a_pattern_that_finds_no_file_is_an_absent_device_and_a_note(study, tmp_path):
    without_phones(study)
    store = prepared(study, tmp_path / "store")
    assert [m.name for m in store.modalities] == ["watch_acc", "phone_gyro"]
    assert store.present.any(axis=0).tolist() == [True, False]
    assert store.manifest["notes"] == [
        "pattern '{subject}/{session}_phone.csv' finds no file: phone_gyro is absent"]  # fmt: skip


def test_a_note_names_files_that_no_pattern_takes(study):
    for path in study.glob("*/*_phone.csv"):
        path.rename(path.with_name(path.name.replace("phone", "fone")))
    mapped = load_mapping(study / "recordings.yaml")
    assert mapped.notes == (
        "pattern '{subject}/{session}_phone.csv' finds no file: phone_gyro is absent; not taken by "
        "any pattern: anna/day1_fone.csv and 3 more",)  # fmt: skip


def test_a_note_names_the_file_of_one_person_that_a_pattern_misses(study):
    path = study / "anna" / "day2_watch.csv"
    path.rename(path.with_name("Day2_Watch.csv"))
    (study / "anna" / "notes.txt").write_text("was ill")
    mapped = load_mapping(study / "recordings.yaml")
    assert mapped.notes == (
        "anna/day2: pattern '{subject}/{session}_watch.csv' finds no file; not taken by any "
        "pattern: anna/Day2_Watch.csv",)  # fmt: skip


def test_a_modality_that_no_rule_names_is_absent(study):
    values = yaml.safe_load(MAPPING)
    del values["files"][1]
    (study / "recordings.yaml").write_text(json.dumps(values))
    mapped = load_mapping(study / "recordings.yaml")
    assert mapped.notes == ("modality 'phone_gyro' is in no file: it is absent",)
    assert [m.name for m in mapped.modalities] == ["watch_acc", "phone_gyro"]


def test_labels_that_nobody_wrote_are_a_note(study):
    for path in study.glob("*/*_labels.csv"):
        path.unlink()
    mapped = load_mapping(study / "recordings.yaml")
    assert mapped.classes == ()
    (note,) = mapped.notes
    assert note == (
        "pattern '{subject}/{session}_labels.csv' finds no file: there are no labels from it"
    )


def test_an_offset_of_a_device_that_is_not_there_moves_nothing_and_is_told(study):
    values = yaml.safe_load(MAPPING)
    values["offsets"] = [{"subject": "ben", "device": "phone", "offset_s": 3}]
    (study / "recordings.yaml").write_text(json.dumps(values))
    notes = [plan.notes for plan in load_mapping(study / "recordings.yaml").plans]
    assert notes[2] == ("offsets.0 moves nothing: ben has no device 'phone'",)


def test_the_doctor_tells_what_is_absent_once(study):
    without_phones(study)
    with open_dataset("folder", study) as dataset:
        found = examine_recordings(dataset)
    told = [f.sentence for f in found.findings if "finds no file" in f.sentence]
    assert told == ["pattern '{subject}/{session}_phone.csv' finds no file: phone_gyro is absent"]
    assert not [f for f in found.of("error") if f.check == "coverage"]


def test_a_recording_may_list_a_file_as_not_there(study):
    values = yaml.safe_load(MAPPING)
    for entry, name in zip(values["files"], ("watch", "phone", "labels"), strict=True):
        entry["name"] = name
        del entry["pattern"]
    values["recordings"] = [
        {"subject": "x", "files": {"watch": "anna/day1_watch.csv", "phone": None}}]  # fmt: skip
    (study / "recordings.yaml").write_text(json.dumps(values))
    mapped = load_mapping(study / "recordings.yaml")
    assert [len(plan.sources) for plan in mapped.plans] == [1]
    assert mapped.notes == ("modality 'phone_gyro' is in no file: it is absent",)


HEAD = "subject,modality,file,columns,unit,rate_hz"


def rows(root, *lines):
    for name in ("a.csv", "b.csv"):
        (root / name).write_text("x\n1\n2\n")
    (root / "recordings.csv").write_text("\n".join((HEAD, *lines)) + "\n")
    return load_mapping(root / "recordings.csv")


def test_an_empty_cell_of_a_file_is_an_absent_device(tmp_path):
    mapped = rows(tmp_path, "S1,acc,a.csv,x,g,50", "S1,ecg,a.csv,x,V,50", "S2,acc,b.csv,x,g,50",
                  "S2,ecg,,,,", "S2,labels,,,,", "S2,eda,,eda,uS,4")  # fmt: skip
    assert [sorted(n for s in plan.sources for n in s.entry.signals) for plan in mapped.plans] == [
        ["acc", "ecg"], ["acc"]]  # fmt: skip
    assert [m.name for m in mapped.modalities] == ["acc", "ecg", "eda"]
    assert mapped.notes == ("modality 'eda' is in no file: it is absent",)


def test_where_nothing_at_all_is_found_every_pattern_is_named(study):
    values = yaml.safe_load(MAPPING)
    values["files"] = [{**values["files"][0], "pattern": "{subject}/none.csv"}]
    (study / "recordings.yaml").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"pattern '{subject}/none.csv' finds no file; .* holds"):
        load_mapping(study / "recordings.yaml")
