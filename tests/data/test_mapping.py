"""Mappings: what may be said, what is refused and how; rows of a table; patterns; dates."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crossl.data.own.mapping import (
    FileEntry,
    IntervalsEntry,
    ModalityEntry,
    RecordingEntry,
    SignalEntry,
    WindowsEntry,
    load_mapping,
)
from crossl.data.own.mapping.entries import LongEntry, OffsetEntry
from crossl.data.own.mapping.guess import group_columns
from crossl.data.own.mapping.labels import check_overlap, runs
from crossl.data.own.mapping.plan import natural
from crossl.data.own.mapping.rows import NEEDED, OPTIONAL, read_rows
from crossl.data.own.mapping.schema import Mapping, read_yaml
from crossl.data.own.mapping.times import parse_datetimes
from crossl.data.recording import LabelInterval
from crossl.errors import DataError
from tests.data.own.study import MAPPING, make_study


def check(tmp_path, edit, text=MAPPING):
    values = yaml.safe_load(text)
    edit(values)
    (tmp_path / "recordings.yaml").write_text(json.dumps(values))
    return read_yaml(tmp_path / "recordings.yaml")


def test_a_mapping_says_what_it_says(tmp_path):
    mapping = check(tmp_path, lambda values: None)
    assert isinstance(mapping, Mapping)
    assert mapping.modalities["watch_acc"].declared("watch_acc").unit == "m/s^2"
    assert mapping.files[0].signals["watch_acc"].columns == ("ax", "ay", "az")
    assert mapping.windows.spec().window_s == 2
    assert pickle.loads(pickle.dumps(mapping)) == mapping  # noqa: S301 - our own


def test_numbers_and_words_stand_for_names(tmp_path):
    mapping = check(tmp_path, lambda values: (
        values["modalities"]["watch_acc"].update(channels=[0, 1, 2], unit=1),
        values["files"][0].update(signals={"watch_acc": [0, 1, 2], "phone_gyro": {"stream": "g"}}),
        values.update(label_names={1: "walk", 2.5: "run"}),
    ))  # fmt: skip
    assert mapping.modalities["watch_acc"].channels == ("0", "1", "2")
    assert mapping.modalities["watch_acc"].unit == "1"
    assert mapping.label_names == {"1": "walk", "2.5": "run"}


@pytest.mark.parametrize(("edit", "message"), [
    (lambda v: v.update(modalites={}), "modalites: unknown key; did you mean 'modal"),
    (lambda v: v["modalities"]["watch_acc"].update(rate=5),
     "modalities.watch_acc.rate: unknown key; did you mean 'rate_hz'"),
    (lambda v: v["files"][0].update(signal={}), "files.0.signal: unknown key; did you mean 'sig"),
    (lambda v: v["files"][2]["intervals"].update(stop="x"),
     "files.2.intervals.stop: unknown key; allowed are 'count_from', 'duration', 'end'"),
    (lambda v: v["modalities"]["watch_acc"].update(unit="furlong"),
     "modalities.watch_acc.unit: 'furlong' is unknown"),
    (lambda v: v["modalities"]["watch_acc"].update(unit="uT"),
     "modalities.watch_acc.unit: 'watch_acc' is an acceleration by its name, got the unit 'uT'"),
    (lambda v: v["modalities"]["watch_acc"].update(unit="G"), "did you mean 'g'"),
    (lambda v: v["modalities"]["watch_acc"].update(unit="m/s^"), "did you mean 'm/s.2'"),
    (lambda v: v["modalities"]["watch_acc"].pop("unit"), "modalities.watch_acc.unit: is missing"),
    (lambda v: v["modalities"]["watch_acc"].update(rate_hz=None), "rate_hz: is empty; it is"),
    (lambda v: v["modalities"]["watch_acc"].update(rate_hz=0), "greater than 0, got 0"),
    (lambda v: v["modalities"]["watch_acc"].update(rate_hz="fast"), "valid number.*, got 'fast'"),
    (lambda v: v["modalities"].update({"a/b": v["modalities"]["watch_acc"]}), "modality 'a/b'"),
    (lambda v: v["files"][0]["signals"].update(watch_ac=["ax"]),
     "files.0.signals.watch_ac: no such modality; did you mean 'watch_acc'"),
    (lambda v: v["files"][0]["signals"].update(watch_acc=["ax", "ay"]),
     r"names 2 columns \(ax, ay\); the modality has 3 channels \(x, y, z\)"),
    (lambda v: v["files"][0].pop("signals"), "files.0: takes nothing from its files"),
    (lambda v: v["files"][0].pop("pattern"), "files.0: needs a `pattern` that finds"),
    (lambda v: v["files"][0].update(clock_unit="min"), "clock_unit: .*'s', 'ms'.*, got 'min'"),
    (lambda v: v["files"][0].update(format="xls"), "files.0: format 'xls' is unknown"),
    (lambda v: v["files"][2]["intervals"].pop("end"), "intervals need a column `end` or a"),
    (lambda v: v["files"][2].update(label="x"), "files.2: has `intervals` beside other contents"),
    (lambda v: v["files"][0].update(label="x", annotations=True), "takes labels from several"),
    (lambda v: (v["files"][0].pop("clock"), v["files"][0].update(sparse=True)), "is `sparse` wi"),
    (lambda v: v.update(windows={"window_s": -1}), "windows: window_s is -1"),
    (lambda v: v.update(classes=["a", "a"]), "classes: a, a; names must be unique"),
    (lambda v: v.update(classes=[True]), "YAML reads this word as true or false"),
    (lambda v: v.update(version=2), "version: .* got 2"),
    (lambda v: v.update(recordings=[{"subject": "a", "files": {"watch": "x.csv"}}]),
     "recordings.0.files.watch: no such kind; none of `files` has a `name`"),
    (lambda v: v.update(files=[]), "files: .*at least 1"),
    (lambda v: v.update(modalities="watch"), "modalities: keys and values are needed, got 'watch'"),
    (lambda v: v.update(classes="walk"), "classes: a list is needed, got 'walk'"),
    (lambda v: v["files"][0].update(sparse="perhaps"), "true or false is needed, got 'perhaps'"),
    (lambda v: v["files"][0].update(pattern=True), "pattern: text is needed, got true"),
])  # fmt: skip
def test_a_wrong_mapping_is_refused_by_its_key(tmp_path, edit, message):
    with pytest.raises(DataError, match=message) as told:
        check(tmp_path, edit)
    assert "\n" not in str(told.value)
    assert str(told.value).startswith(str(tmp_path / "recordings.yaml: "))


@pytest.mark.parametrize(("text", "message"), [
    ("a: [1", "cannot be read as YAML"), ("- 1", "holds a list; keys and values are needed"),
    ("", "is empty; keys and values are needed"),
    ("!!python/object:os.system {}", "cannot be read as YAML"),
    ("name: a\nname: b", r"\(line 2: key 'name' is a duplicate, first in line 1\)"),
])  # fmt: skip
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, message):
    (tmp_path / "recordings.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_yaml(tmp_path / "recordings.yaml")


# --- irregular names


def irregular(values):
    for file, name in zip(values["files"], ("watch", "phone", "labels"), strict=True):
        file["name"] = name
        del file["pattern"]
    values["recordings"] = [
        {"subject": "Anna B.", "files": {"watch": "anna/day1_watch.csv",
                                         "labels": "anna/day1_labels.csv"}},
        {"subject": "Cleo", "session": "late", "offset_s": {"phone": -0.5},
         "files": {"watch": "cleo/day2_watch.csv", "phone": "cleo/day2_phone.csv"}},
    ]  # fmt: skip


def test_irregular_names_are_listed(tmp_path):
    make_study(tmp_path / "study")
    check(tmp_path / "study", irregular)
    plans = load_mapping(tmp_path / "study/recordings.yaml").plans
    assert [(p.subject, p.session, len(p.sources)) for p in plans] == [
        ("Anna B.", "1", 2), ("Cleo", "late", 2)]  # fmt: skip
    assert [s.offset_s for s in plans[1].sources] == [0, -0.5]


@pytest.mark.parametrize(("edit", "message"), [
    (lambda v: v["recordings"][0]["files"].update(wach="x"), "no such kind; did you mean 'watch'"),
    (lambda v: v["recordings"][0]["files"].update(watch="x.csv"), "recordings.0: .*x.csv does"),
    (lambda v: v["files"][1].update(name="watch"), "files: names are watch, watch, labels"),
    (lambda v: v.update(recordings=[]), "names no recording; give `files` patterns or list"),
])  # fmt: skip
def test_a_list_that_does_not_fit_is_refused(tmp_path, edit, message):
    make_study(tmp_path / "study")
    check(tmp_path / "study", irregular)
    path = tmp_path / "study/recordings.yaml"
    values = yaml.safe_load(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=message):
        load_mapping(path)


# --- rows

HEAD = "subject,session,modality,file,columns,unit,rate_hz"


def rows(tmp_path, *lines, head=HEAD):
    (tmp_path / "recordings.csv").write_text("\n".join([head, *lines]) + "\n")
    return read_rows(tmp_path / "recordings.csv")


def test_rows_of_one_file_and_several_modalities_are_one_file(tmp_path):
    mapping = rows(tmp_path, "S1,1,acc,a.csv,x y z,g,50", "S1,1,ppg,a.csv,light,1,50",
                   "S1,1,labels,a.csv,what,,", "S2,,acc,b.csv,x y z,g,50")  # fmt: skip
    assert [(len(f.signals), f.label) for f in mapping.files] == [(2, "what"), (1, None)]
    assert [(r.subject, r.session, list(r.files.values())) for r in mapping.recordings] == [
        ("S1", "1", ["a.csv"]), ("S2", "1", ["b.csv"])]  # fmt: skip


def test_semicolons_and_bars_serve_where_commas_and_blanks_do_not(tmp_path):
    mapping = rows(tmp_path, "S1;;gsr;a.hea;foot GSR|hand GSR;mV;30;yes",
                   head="subject;session;modality;file;columns;unit;rate_hz;resample")  # fmt: skip
    assert mapping.modalities["gsr"].channels == ("foot GSR", "hand GSR")
    assert mapping.modalities["gsr"].resample


@pytest.mark.parametrize(("lines", "head", "message"), [
    ((), HEAD, "has no row; one a recording and modality"),
    (("S1,1,acc",), HEAD, "line 2 has 3 cells; the first line has 7"),
    (("S1,1,acc,a.csv,x,g,50",), HEAD.replace("unit", "units"), "column 'units'; did you mean"),
    (("S1,1,acc,a.csv,x,g",), HEAD.replace("subject,", ""), "has no column 'subject'; needed are"),
    (("S1,1,acc,,x,g,50",), HEAD, "subject S1, session 1 has no file in any row; remove its rows"),
    (("S1,1,acc,a.csv,,g,50",), HEAD, "line 2: 'columns' is empty; it is needed"),
    (("S1,1,acc,a.csv,x,g,",), HEAD, "line 2: 'rate_hz' is empty; a modality needs it"),
    (("S1,1,acc,a.csv,x,g,50", "S2,1,acc,b.csv,x,g,60"), HEAD,
     "line 3: 'acc' has rate_hz 60; line 2 has 50, and all rows of it must agree"),
    (("S1,1,acc,a.csv,x,g,50", "S1,1,acc,a.csv,y,g,50"), HEAD, "line 3: 'acc' is a duplicate"),
    (("S1,1,acc,a.csv,x,g,50", "S1,1,labels,b.csv,a b,,"), HEAD, "line 3: labels name 2 columns"),
    (("S1,1,acc,a.csv,x,furlong,50",), HEAD, "modalities.acc.unit: 'furlong' is unknown"),
    (("S1,1,acc,a.csv,x,g,50,perhaps",), HEAD + ",resample", "resample is 'perhaps'; allowed are"),
    (("S1,1,acc,a.csv,x,g,50,min",), HEAD + ",clock_unit", "line 2.clock_unit: .*, got 'min'"),
])  # fmt: skip
def test_wrong_rows_are_refused_with_their_line(tmp_path, lines, head, message):
    with pytest.raises(DataError, match=message) as told:
        rows(tmp_path, *lines, head=head)
    assert str(told.value).startswith(str(tmp_path / "recordings.csv"))


# --- patterns, dates, labels


def test_names_sort_by_their_numbers():
    assert sorted(["S10", "S2", "10", "S1b", "S1"], key=natural) == ["10", "S1", "S1b", "S2", "S10"]


def test_dates_become_seconds():
    cells = np.array(
        ["2024-01-01T00:00:00Z", "2024-01-01 01:00:00+01:00", "2024-01-01T00:00:00.5Z"]
    )
    assert parse_datetimes("t", cells).tolist() == [1704067200, 1704067200, 1704067200.5]
    with pytest.raises(DataError, match="t, sample 2: 'noon' is not a date with a time; ISO 8601"):
        parse_datetimes("t", np.array(["2024-01-01", "noon"]))


@given(st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=60))
def test_runs_cover_every_labelled_sample_once(names):
    times = np.arange(len(names), dtype=np.float64)
    found = runs(times, names, step_s=1.0)
    check_overlap("labels", found)
    told = ["".join(i.label for i in found if i.start_s <= t < i.end_s) for t in times]
    assert told == names


def test_a_gap_in_the_clock_ends_a_run():
    times = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    assert runs(times, ["a"] * 5, step_s=1.0) == [
        LabelInterval(0.0, 3.0, "a"), LabelInterval(10.0, 12.0, "a")]  # fmt: skip


@pytest.mark.parametrize(("columns", "groups"), [
    (["acc_x", "acc_y", "acc_z", "hr"], {"acc": 3, "hr": 1}),
    (["accX", "accY", "accZ", "gyrX", "gyrY", "gyrZ"], {"acc": 3, "gyr": 3}),
    (["ax", "ay", "az", "gx", "gy", "gz"], {"acc": 3, "gyro": 3}),
    (["x_acc", "y_acc", "z_acc"], {"acc": 3}),
    (["x", "y", "z"], {"xyz": 3}),
    (["userAcceleration.x", "userAcceleration.y"], {"useracceleration": 2}),
    (["EEG Fp1", "EEG Cz", "ECG ECG", "Resp nasal"], {"eeg": 2, "ecg": 1, "resp_nasal": 1}),
    (["Fp1", "Cz", "O2", "ppg1", "ppg2"], {"eeg": 3, "ppg": 2}),
    (["max", "temp1"], {"max": 1, "temp1": 1}),
])  # fmt: skip
def test_columns_of_one_sensor_are_grouped(columns, groups):
    found = group_columns(columns)
    assert {name: len(members) for name, members in found.items()} == groups
    assert sorted(c for members in found.values() for c in members.values()) == sorted(columns)


# --- the documentation

DOCS = Path(__file__).resolve().parents[2] / "docs/mapping.md"


def test_the_mapping_in_the_documentation_is_one_and_has_every_key(tmp_path):
    text = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
    (tmp_path / "recordings.yaml").write_text(text)
    mapping = read_yaml(tmp_path / "recordings.yaml")
    assert mapping.label_names == {"1": "rest", "2": "walk"}
    entries = (FileEntry, IntervalsEntry, LongEntry, Mapping, ModalityEntry, OffsetEntry,
               RecordingEntry, SignalEntry, WindowsEntry)  # fmt: skip
    for entry in entries:
        for key in entry.model_fields:
            assert re.search(rf"\b{key}:", text), key
    for key in (*NEEDED, *OPTIONAL):
        assert re.search(rf"\b{key}\b", DOCS.read_text(encoding="utf-8")), key


def test_a_file_that_two_patterns_call_different_people_is_refused(tmp_path):
    make_study(tmp_path)
    text = (
        MAPPING
        + """
  - pattern: "{session}/{subject}_watch.csv"
    clock: t
    signals: {watch_acc: [ax, ay, az]}
"""
    )
    (tmp_path / "recordings.yaml").write_text(text)
    with pytest.raises(
        DataError, match=r"watch.csv is of subject .* by one pattern and of subject"
    ):
        load_mapping(tmp_path / "recordings.yaml")


def test_a_cell_that_no_table_has_is_refused_with_its_line(tmp_path):
    path = tmp_path / "recordings.csv"
    path.write_text(
        "subject,modality,file,columns,unit,rate_hz\na,acc,a.csv," + "x" * 200_000 + ",g,5\n"
    )
    with pytest.raises(DataError, match=r"recordings.csv: line 2 is not a row of a table"):
        load_mapping(path)
