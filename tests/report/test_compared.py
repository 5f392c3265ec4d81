"""Finished folders side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossl.report.compared import Compared, by_person, differences
from crossl.report.load import Inputs
from crossl.report.study_page import notes

SUMMARY: dict[str, Any] = {
    "main": {"method": "crossl", "head": "aggregator", "label_fraction": 0.1, "budget": "strict"},
    "modalities": [{"name": "acc"}], "classes": ["a", "b"],
}  # fmt: skip


def row(method: str, head: str | None, metric: str, value: float, **more: object) -> dict[str, Any]:
    return {
        "dataset": "tiny", "method": method, "recipe": None, "head": head, "label_fraction": 0.1,
        "present": ["acc"], "budget": "strict", "fold": None, "seed": None, "subject": None,
        "metric": metric, "value": value, "ci_low": None, "ci_high": None, "n": 2, **more,
    }  # fmt: skip


@pytest.fixture
def two_ways(tmp_path: Path) -> Compared:
    """The main method and a rival, each read in two ways; a forest that has one."""
    rows, heads = [], ("aggregator", "encoders")
    for number, head in enumerate(heads):
        for method in ("crossl - rival", "crossl - forest"):
            rows.append(row(method, head, "macro_f1_difference", 0.1 + number))
        for method in ("crossl", "rival"):
            rows.append(row(method, head, "macro_f1", 0.5 + number, fold=0, seed=0, subject="A"))
    rows.append(row("forest", None, "macro_f1", 0.4, fold=0, seed=0, subject="A"))
    text = "".join(f"{json.dumps(one)}\n" for one in rows)
    (tmp_path / "results.jsonl").write_text(text)
    return Compared("tiny", "", Inputs(tmp_path, SUMMARY, rows, {}, []))


def test_leads_are_of_the_way_that_the_main_method_is_read(two_ways: Compared) -> None:
    found = differences(two_ways, "strict")
    assert {at: one["value"] for at, one in found.items()} == {
        ("rival", 0.1): 0.1, ("forest", 0.1): 0.1,
    }  # fmt: skip


def test_people_are_of_one_way_to_read_a_method(two_ways: Compared) -> None:
    assert by_person(two_ways, "strict", 0.1) == {
        "crossl": {"A": 0.5}, "rival": {"A": 0.5}, "forest": {"A": 0.4},
    }  # fmt: skip


@pytest.mark.parametrize(("people", "told"), [(5, "ahead in 0"), (6, "ahead in 1")])
def test_no_lead_of_a_few_people_is_called_significant(
    people: int, told: str, tmp_path: Path
) -> None:
    lead = row("crossl - forest", "aggregator", "macro_f1_difference", 0.2, ci_low=0.1, ci_high=0.3)
    one = Compared("tiny", "", Inputs(tmp_path, SUMMARY, [{**lead, "n": people}], {}, []))
    (note,) = notes({"ranks": {}}, [one])
    assert told in note


def test_leads_are_under_the_budget_that_the_report_is_about(tmp_path: Path) -> None:
    lead = row("crossl - forest", "aggregator", "macro_f1_difference", 0.2, ci_low=0.1, ci_high=0.3,
               budget="validation")  # fmt: skip
    summary = {**SUMMARY, "main": {**SUMMARY["main"], "budget": "validation"}}
    one = Compared("tiny", "", Inputs(tmp_path, summary, [{**lead, "n": 6}], {}, []))
    (note,) = notes({"ranks": {}}, [one])
    assert "ahead in 1" in note
