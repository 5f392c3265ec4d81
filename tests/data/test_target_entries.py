"""The block `targets:`: what it may say, and one sentence for whatever it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossl.data.readers.card import Card
from crossl.data.recording import Modality
from crossl.data.target_entries import check_targets, read_targets
from crossl.data.target_plan import plan_targets
from crossl.data.targets import Target
from crossl.data.windows import WindowSpec
from crossl.errors import DataError
from crossl.yaml_text import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
CARD = Card(
    "made", "Made up", "Numbers.", "none", "none", "none",
    (Modality("acc", ("x", "y"), "m/s^2", 20.0), Modality("heart", ("rate",), "Hz", 4.0)),
    ("rest", "walk", "run"), WindowSpec(2.0, 1.0), person={"age": "year", "height": "m"},
)  # fmt: skip
TABLE = "name,years,group\nS1,34,a\nS2,51,b\nS3,,b\n"


def plan(text, folder=Path("nowhere"), card=CARD, **options):
    values = parse_yaml(text)
    return plan_targets(check_targets(values, where="t.yaml", folder=folder), card, **options)


def test_every_source_becomes_a_target_with_names_and_units(tmp_path):
    (tmp_path / "people.csv").write_text(TABLE)
    made = plan(
        """
        posture: {kind: labels, of: {upright: [walk, run], moving: [run]}}
        still: {kind: classes, of: {still: [rest], moving: [walk, run]}}
        heart: {kind: numbers, from: heart.rate, statistic: median}
        age: {kind: numbers, people: people.csv, subject: name, value: years, unit: years}
        grip: {kind: numbers, of_person: {S1: 300, S2: 450.5}}
        body: {kind: numbers, of: {age: {of_person: age}, sway: {from: acc.y, statistic: max}}}
        """,
        tmp_path,
    )
    assert made.targets == (
        Target("posture", "labels", ("upright", "moving")),
        Target("still", "classes", ("still", "moving")),
        Target("heart", "numbers", ("heart",), ("Hz",)),
        Target("age", "numbers", ("age",), ("year",)),
        Target("grip", "numbers", ("grip",), ("1",)),
        Target("body", "numbers", ("age", "sway"), ("year", "m/s^2")),
    )
    assert made.hidden == {"heart": "heart", "acc": "body"}
    assert made.rules[3].numbers[0].values_of == {"S1": 34.0, "S2": 51.0}


def test_units_are_converted_to_si():
    made = plan("height: {kind: numbers, of_person: {S1: 181}, unit: cm}")
    assert made.targets[0].units == ("m",)
    assert made.rules[0].numbers[0].values_of["S1"] == pytest.approx(1.81)


def test_a_modality_that_is_kept_is_said_to_tell_the_answer():
    kept = plan("heart: {kind: numbers, from: heart.rate, keep: true}")
    assert kept.hidden == {}
    assert kept.notes(["acc", "heart"]) == [
        "modality 'heart' is an input that gives the answer away: target 'heart' is read from it"
    ]
    assert kept.notes(["acc"]) == []
    both = plan("a: {kind: numbers, from: heart.rate, keep: true}\n"
                "b: {kind: numbers, from: heart.rate}")  # fmt: skip
    assert both.notes(["heart"]) == ["modality 'heart' is not an input: target 'b' is read from it"]


def test_a_block_is_made_again_from_what_the_manifest_holds():
    text = "heart: {kind: numbers, of: {x: {from: heart.rate}, y: {of_person: {1: 2}, unit: kg}}}"
    block = check_targets(parse_yaml(text), where="a", folder=Path())
    assert block.as_dict() == {
        "heart": {"kind": "numbers", "of": {"x": {"from": "heart.rate"},
                                            "y": {"of_person": {"1": 2.0}, "unit": "kg"}}}
    }  # fmt: skip
    again = check_targets(block.as_dict(), where="b", folder=Path())
    assert (
        plan_targets(again, CARD).rules[0].numbers[0]
        == plan_targets(block, CARD).rules[0].numbers[0]
    )


def test_labels_of_other_recordings_of_the_store_are_known():
    text = "posture: {kind: labels, of: {upright: [walk, stairs]}}"
    assert plan(text, more=["stairs"]).rules[0].classes == ("rest", "walk", "run", "stairs")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[a]", "t.yaml: targets: names and blocks are needed, got a list"),
        ("{}", "t.yaml: targets: names and blocks are needed, got an empty block"),
        ("a: 3", "t.yaml: targets.a: keys and values are needed, got a number"),
        ("a: {of: {b: [rest]}}", "targets.a.kind: is missing; allowed are 'classes', 'labels'"),
        ("a: {kind: label}", "targets.a.kind: 'label' is unknown; did you mean 'labels'"),
        ("label: {kind: classes, of: {a: [rest]}}", "'label' is what recordings name"),
        ("a/b: {kind: classes, of: {a: [rest]}}", "t.yaml: target 'a/b': its name is used for"),
        ("a: {kind: labels}", "targets.a.of: is missing; it is needed"),
        ("a: {kind: labels, of: {}}", "targets.a.of: "),
        ("a: {kind: labels, of: {b: []}}", "targets.a.of.b: names no class"),
        ("a: {kind: labels, of: {b: rest}}", "targets.a.of.b: a list is needed, got 'rest'"),
        ("a: {kind: labels, fo: {b: [rest]}, of: {b: [rest]}}", "a.fo: unknown key; allowed are"),
        ("a: {kind: labels, of: {b: [wlak]}}", "made has no class 'wlak'; did you mean 'walk'"),
        ("a: {kind: classes, of: {b: [run], c: [run]}}", "'run' is in two classes"),
        ("a: {kind: numbers}", "one of from, of_person and people is needed, got none of them"),
        ("a: {kind: numbers, from: heart.rate, of_person: age}", "got from and of_person"),
        ("a: {kind: numbers, from: heat.rate}", "made has no modality 'heat'; did you mean"),
        ("a: {kind: numbers, from: heart.rat}", "has no channel 'rat'; did you mean 'heart.rate'"),
        ("a: {kind: numbers, from: heart}", "'heart' is a modality, not a channel; did you mean"),
        ("a: {kind: numbers, from: acc.x, statistic: mode}", "a.statistic: Input should be 'mean'"),
        ("a: {kind: numbers, from: acc.x, unit: g}", "a.unit: means nothing where"),
        ("a: {kind: numbers, of_person: {S1: 3}, unit: stone}", "a.unit: 'stone' is unknown"),
        ("a: {kind: numbers, of_person: {S1: old}}", "a.of_person: the number of 'S1' is text"),
        ("a: {kind: numbers, of_person: {S1: yes}}", "the number of 'S1' is true or false"),
        ("a: {kind: numbers, of_person: {no: 3}}", "a.of_person: YAML reads a subject as"),
        ("a: {kind: numbers, of_person: 3}", "what the data set calls it, is needed, got 3"),
        ("a: {kind: numbers, of_person: {}}", "a.of_person: a number for each subject, or what"),
        ("a: {kind: numbers, of_person: {S1: .nan}}", "the number of 'S1' is nan; a finite one"),
        ("a: {kind: numbers, of_person: agee}", "made knows no 'agee' of its people; did you mean"),
        ("a: {kind: numbers, of_person: age, unit: year}", "the data set gives the unit of 'age'"),
        ("a: {kind: numbers, of_person: {S1: 1}, keep: true}", "a.keep: means nothing where"),
        ("a: {kind: numbers, of: {b: {from: acc.x}}, keep: true}", "several numbers go below"),
        ("a: {kind: numbers, of: {b: {form: acc.x}}}", "of.b.form: unknown key; did you mean"),
        ("a: {kind: numbers, people: people.csv}", "a.subject: is missing; name the column of"),
        ("a: {kind: numbers, people: people.csv, subject: name}", "a.value: is missing"),
        ("a: {kind: numbers, people: none.csv, subject: a, value: b}", "none.csv does not exist"),
        ("a: {kind: numbers, people: people.csv, subject: nam, value: years}", "no column 'nam'"),
        ("a: {kind: numbers, people: people.csv, subject: name, value: group}", "people.csv"),
        ("a: {kind: numbers, people: twice.csv, subject: name, value: years}",
         "says 34 and 35 for 'S1'; one is needed"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_in_one_sentence(tmp_path, text, told):
    (tmp_path / "people.csv").write_text(TABLE)
    (tmp_path / "twice.csv").write_text("name,years\nS1,34\nS2,51\nS1,35\n")
    with pytest.raises(DataError) as caught:
        plan(text, tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_holds_nothing_but_targets(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("posture: {kind: labels}")
    with pytest.raises(DataError, match=r"t.yaml: posture: unknown key; allowed is targets"):
        read_targets(file)
    file.write_text("")
    with pytest.raises(DataError, match="names and blocks are needed, got nothing"):
        read_targets(file)
    with pytest.raises(DataError, match=r"absent.yaml: there is no such file"):
        read_targets(tmp_path / "absent.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "targets").glob("*.yaml")), ids=str)
def test_shipped_targets_fit_the_data_set_that_they_are_named_after(path):
    from crossl.data.readers import get_reader

    card = get_reader(path.stem).CARD
    targets = plan_targets(read_targets(path), card).targets
    assert {target.kind for target in targets} >= {"labels", "numbers"}
