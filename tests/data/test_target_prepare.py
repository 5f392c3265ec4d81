"""Targets from files to a store: any workers, resumed, appended, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from crossl.data.counting import describe_targets
from crossl.data.manifest import read_manifest
from crossl.data.plan import plan_for
from crossl.data.prepare import prepare_store, working_folder
from crossl.data.readers import open_dataset
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.target_entries import check_targets
from crossl.data.windows import WindowSpec
from crossl.errors import ConfigError, DataError
from crossl.yaml_text import parse_yaml
from tests.data.own.study import MAPPING, make_study

ACC = Modality("acc", ("x", "y"), "m/s^2", 10.0, "wrist")
HEART = Modality("heart", ("rate",), "Hz", 2.0, "chest")
CARD = Card("made", "Made up", "Numbers.", "none", "none", "none", (ACC, HEART), ("rest", "run"),
            WindowSpec(window_s=2.0, stride_s=1.0), person={"age": "year"})  # fmt: skip
TARGETS = """
effort: {kind: labels, of: {moving: [run], labelled: [rest, run]}}
any: {kind: classes, of: {any: [rest, run]}}
heart: {kind: numbers, from: heart.rate}
body: {kind: numbers, of: {age: {of_person: age}, grip: {of_person: {s0: 1, s1: 2}}}}
"""


def read_one(number):
    """Make a recording up; module level, so that workers can."""
    rng = np.random.default_rng(number)
    signals = {"acc": Signal(rng.normal(size=(200, 2)).astype(np.float32), 10.0),
               "heart": Signal(rng.normal(size=(40, 1)).astype(np.float32), 2.0)}  # fmt: skip
    labels = (LabelInterval(0, 10, "rest"), LabelInterval(10, 16, "run"))
    yield Recording(f"s{number}", "1", {"acc": ACC, "heart": HEART}, signals, labels,
                    person={"age": 20.0 + number})  # fmt: skip


def die(number):
    if number == 1:
        raise KeyboardInterrupt
    yield from read_one(number)


def dataset(*numbers, text=TARGETS, read=read_one, folder=None, **card):
    parts = tuple(Part(f"p{number}", partial(read, number)) for number in numbers)
    block = check_targets(parse_yaml(text), where="t.yaml", folder=folder) if text else None
    return Dataset(replace(CARD, **card), parts, targets=block)


def prepare(data, out, *, workers=1, append=False, **options):
    return prepare_store(data, out, plan_for(data, "made", **options), workers=workers,
                         append=append)  # fmt: skip


def bytes_of(path):
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in files}


def test_a_store_tells_what_the_block_says(tmp_path):
    store = prepare(dataset(0, 1), tmp_path / "store")
    assert [target.name for target in store.targets] == ["label", "effort", "any", "heart", "body"]
    assert [m.name for m in store.modalities] == ["acc"]
    assert not (store.path / "segments/00000/signals/heart.npy").exists()
    told = {-1: [-1, -1], 0: [0, 1], 1: [1, 1]}
    np.testing.assert_array_equal(store.target_values("effort"), [told[c] for c in store.label])
    known = store.target_values("any")
    assert (known[store.label >= 0] == 0).all()
    assert (store.label == -1).sum() > (known == -1).sum() > 0  # from 9 to 11 s it is any, not both
    heart = next(read_one(1)).signals["heart"].values[:, 0]
    assert store.start_s[20] == 1.0
    np.testing.assert_allclose(store.target_values("heart")[20], heart[2:6].mean(), rtol=1e-5)
    np.testing.assert_array_equal(store.target_values("body")[[0, 19]], [[20, 1], [21, 2]])
    assert store.manifest["notes"] == [
        "modality 'heart' is not an input: target 'heart' is read from it"
    ]
    rows = {(name, of): tuple(told) for name, _, of, *told in describe_targets(store)}
    assert rows["body", "age (year)"] == ("38 of 38", "20 to 21, median 20.5")
    assert rows["effort", "moving"] == ("28 of 38", "10 windows")
    assert rows["any", "any"] == ("30 of 38", "30 windows")


def test_bytes_are_the_same_by_workers_and_after_an_interruption(tmp_path):
    whole = prepare(dataset(0, 1, 2), tmp_path / "whole")
    workers = prepare(dataset(0, 1, 2), tmp_path / "workers", workers=2)
    assert bytes_of(workers.path) == bytes_of(whole.path)
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset(0, 1, 2, read=die), out)
    journal = (working_folder(out) / "journal.jsonl").read_text().splitlines()
    assert json.loads(journal[1])["lengths"]["targets/body.npy"] == 19
    assert bytes_of(prepare(dataset(0, 1, 2), out).path) == bytes_of(whole.path)


def test_work_that_was_begun_with_other_numbers_is_not_resumed(tmp_path):
    out = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset(0, 1, read=die), out)
    store = prepare(dataset(0, 1, text=TARGETS.replace("s0: 1", "s0: 7")), out)
    assert store.target_values("body")[[0, 19], 1].tolist() == [7, 2]


def test_a_modality_that_is_kept_is_an_input_and_a_note_says_so(tmp_path):
    text = "heart: {kind: numbers, from: heart.rate, keep: true}"
    store = prepare(dataset(0, text=text), tmp_path / "store")
    assert [m.name for m in store.modalities] == ["acc", "heart"]
    assert "gives the answer away" in store.manifest["notes"][0]


def test_classes_that_were_chosen_change_the_label_and_no_target(tmp_path):
    data = dataset(0, 1)
    plain = prepare(data, tmp_path / "plain")
    chosen = prepare_store(data, tmp_path / "s", plan_for(data, "made").choosing(["all=rest+run"]))
    assert chosen.classes == ("all",)
    for name in ("effort", "any", "heart", "body"):
        np.testing.assert_array_equal(chosen.target_values(name), plain.target_values(name))


# --- appending


def test_targets_are_told_of_recordings_that_come_later_too(tmp_path):
    out, whole = tmp_path / "store", prepare(dataset(0, 1, 2), tmp_path / "whole")
    prepare(dataset(0, 1), out)
    store = prepare(dataset(2, text=""), out, append=True)  # the store knows what it tells
    assert [m.name for m in store.modalities] == ["acc"]
    assert Store.open(out, verify=True).hash == store.hash
    for target in whole.targets:
        np.testing.assert_array_equal(
            store.target_values(target.name), whole.target_values(target.name)
        )
        across = store.target_values(target.name, 30, 45)  # from one segment into the next
        np.testing.assert_array_equal(across, whole.target_values(target.name)[30:45])
    assert read_manifest(out)["target_sources"] == read_manifest(whole.path)["target_sources"]


def test_other_people_may_be_named_for_what_is_appended(tmp_path):
    prepare(dataset(0, 1), tmp_path / "store")
    later = TARGETS.replace("{s0: 1, s1: 2}", "{s2: 3}")
    store = prepare(dataset(2, text=later), tmp_path / "store", append=True)
    assert store.target_values("body")[-1].tolist() == [22, 3]


def test_labels_that_later_recordings_lack_stay_known(tmp_path):
    prepare(dataset(0, 1), tmp_path / "store")
    store = prepare(dataset(2, text="", classes=("rest",)), tmp_path / "store", append=True)
    assert len(store) == 57


def test_a_store_without_targets_stays_as_it_is_when_it_is_added_to(tmp_path):
    out = tmp_path / "store"
    prepare(dataset(0, text=""), out)
    store = prepare(dataset(1, text=""), out, append=True)
    assert read_manifest(out)["version"] == 2
    assert [target.name for target in store.targets] == ["label"]
    before = bytes_of(out)
    with pytest.raises(DataError, match="has no target 'heart', it was prepared without targets"):
        prepare(dataset(2, text="heart: {kind: numbers, of_person: age}"), out, append=True)
    assert bytes_of(out) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TARGETS.replace("any:", "all:"), "has no target 'all', allowed are 'any'"),
        ("heart: {kind: numbers, from: heart.rate}", "has target 'effort', which is not given for"),
        (TARGETS.replace("moving: [run]", "moving: [rest]"), "target 'effort': source is"),
        (TARGETS.replace("moving:", "move:"), "target 'effort': names is move, labelled"),
        (TARGETS.replace("heart.rate", "heart.rate, statistic: max"), "target 'heart': source is"),
    ],
)
def test_other_targets_are_not_appended(tmp_path, text, told):
    prepare(dataset(0, 1), tmp_path / "store")
    with pytest.raises(DataError, match=told) as caught:
        prepare(dataset(2, text=text), tmp_path / "store", append=True)
    assert "\n" not in str(caught.value)


def test_a_table_of_people_is_named_again_when_people_are_added(tmp_path):
    (tmp_path / "people.csv").write_text("who,age\ns0,20\ns1,30\ns9,50\n")
    text = "age: {kind: numbers, people: people.csv, subject: who, value: age, unit: year}"
    prepare(dataset(0, text=text, folder=tmp_path), tmp_path / "store")
    with pytest.raises(DataError, match="'age' is from a table of people; name the table again"):
        prepare(dataset(1, text=""), tmp_path / "store", append=True)
    store = prepare(dataset(1, text=text, folder=tmp_path), tmp_path / "store", append=True)
    assert np.unique(store.target_values("age")).tolist() == [20, 30]


# --- refusing


def test_a_number_of_a_person_who_was_not_recorded_is_refused(tmp_path):
    text = "grip: {kind: numbers, of_person: {s0: 1, S1: 2}}"
    with pytest.raises(DataError, match=r"targets.grip: no recording is of subject 'S1'; allowed"):
        prepare(dataset(0, 1, text=text), tmp_path / "store")
    assert not list(tmp_path.iterdir())
    (tmp_path / "p.csv").write_text("who,age\nx0,20\nx1,30\n")
    text = "age: {kind: numbers, people: p.csv, subject: who, value: age}"
    with pytest.raises(DataError, match="no recording is of subject 'x0'"):
        prepare(dataset(0, 1, text=text, folder=tmp_path), tmp_path / "store")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"only": ("acc", "heart")}, "read from modality 'heart', which would give the answer"),
        ({"only": ("heart",)}, "read from modality 'heart', which would give the answer"),
        ({"without": ("acc",)}, "targets are read from every modality; leave at least one"),
        ({"resample": {"heart": 1.0}}, "'heart', which is not an input and is not resampled"),
    ],
)
def test_an_input_that_tells_the_answer_is_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        plan_for(dataset(0), "made", **options)


# --- people's own files


def test_a_mapping_has_the_same_block(tmp_path):
    root = tmp_path / "study"
    make_study(root)
    (root / "people.csv").write_text("who,age\nanna,34\nben,51\ncleo,29\n")
    (root / "recordings.yaml").write_text(
        MAPPING
        + """
targets:
  turning: {kind: numbers, from: phone_gyro.z, statistic: max}
  age: {kind: numbers, people: people.csv, subject: who, value: age, unit: year}
"""
    )
    with open_dataset("folder", root) as data:
        store = prepare_store(data, tmp_path / "store", plan_for(data, "folder"))
    assert [m.name for m in store.modalities] == ["watch_acc"]
    turning, age = store.target_values("turning")[:, 0], store.target_values("age")[:, 0]
    assert dict(zip(store.subject.tolist(), age.tolist(), strict=True)) == {
        "anna": 34, "ben": 51, "cleo": 29
    }  # fmt: skip
    assert np.isnan(turning[store.subject == "ben"]).all()  # who never carried the phone
    assert np.isfinite(turning[store.subject == "anna"]).mean() > 0.8


def test_a_table_of_people_is_no_recording_though_a_pattern_would_find_it(tmp_path):
    for name in ("S1", "S2"):
        rows = np.c_[np.arange(0, 20, 0.1), np.zeros(200)]
        np.savetxt(tmp_path / f"{name}.csv", rows, "%.2f", ",", header="t,x", comments="")
    (tmp_path / "people.csv").write_text("id,age\nS1,34\nS2,51\n")
    text = """
modalities: {acc: {channels: [x], unit: m/s^2, rate_hz: 10}}
files: [{pattern: "{subject}.csv", clock: t, signals: {acc: x}}]
targets:
  age: {kind: numbers, people: people.csv, subject: id, value: age, unit: year}
"""
    (tmp_path / "recordings.yaml").write_text(text)
    with open_dataset("folder", tmp_path) as data:
        assert [part.name for part in data.parts] == ["S1/1", "S2/1"]


def test_a_mapping_with_a_wrong_block_is_refused_by_name(tmp_path):
    root = tmp_path / "study"
    make_study(root)
    (root / "recordings.yaml").write_text(MAPPING + "\ntargets: {a: {kind: numbers, from: x.y}}\n")
    told = r"recordings.yaml: targets.a.from: my_study has no modality"
    with pytest.raises(DataError, match=told), open_dataset("folder", root):
        pass
