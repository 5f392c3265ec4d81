"""The Python of README and docs runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = [
    pytest.param(block, id=f"{path.name}-{i}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    # whose blocks follow on each other, see test_tutorial.py
    if path.name not in ("tutorial.md", "messy.md")
    for i, block in enumerate(python_blocks(path))
]


def test_the_readme_has_an_example():
    assert python_blocks(ROOT / "README.md")


@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert capsys.readouterr().out.strip()


def test_the_classifier_of_the_readme_survives_the_sensor_that_died(capsys):
    (block,) = python_blocks(ROOT / "README.md")
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert float(capsys.readouterr().out.split()[-1]) > 0.9


def tables(text: str) -> list[list[list[str]]]:
    """Read the tables of a page: rows of cells, the header first."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [[[cell.strip() for cell in line.strip("|").split("|")] for line in one.splitlines()]
            for one in found]  # fmt: skip
    return [[one[0], *one[2:]] for one in rows]


def number(cell: str) -> float | None:
    match = re.fullmatch(r"\**(\d*\.\d+)\**", cell)
    return float(match[1]) if match else None


def bold(cell: str) -> bool:
    return "**" in cell


README_TABLES = tables((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_readme_has_tables_of_scores():
    assert len([t for t in README_TABLES if number(t[1][1]) is not None]) == 4


@pytest.mark.parametrize("rows", README_TABLES, ids=lambda rows: rows[0][0] or rows[0][-1])
def test_what_is_bold_is_the_best_of_its_column(rows):
    for column in range(1, len(rows[0])):
        scores = [number(row[column]) for row in rows[1:]]
        known = [score for score in scores if score is not None]
        for row, score in zip(rows[1:], scores, strict=True):
            if score is not None:
                assert bold(row[column]) == (score == max(known)), (rows[0][column], row)
    for row in rows[1:]:  # a method's name is bold only where all of its scores are
        if bold(row[0]):
            assert all(bold(cell) for cell in row[1:]), row


def test_numbers_of_the_readme_are_those_of_the_results():
    for name, people in (("sp_sw_har", 23), ("uci_har", 30)):
        lines = (ROOT / "benchmarks" / "results" / f"{name}.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        full = max((r["present"] for r in records), key=len)
        (table,) = [t for t in README_TABLES if t[0][-1].endswith("missing")
                    and number(t[1][1]) == _score(records, "crossl", 0.01, full)]  # fmt: skip
        assert all(r["n"] == people for r in records)
        for row, method in zip(table[1:], ("crossl", "supervised", "untrained"), strict=True):
            wanted = [_score(records, method, f, full) for f in (0.01, 0.05, 0.1, 1.0)]
            assert [number(cell) for cell in row[1:5]] == wanted


def _score(records, method, fraction, present):
    (found,) = [r for r in records if (r["method"], r["label_fraction"], r["present"], r["metric"])
                == (method, fraction, present, "macro_f1")]  # fmt: skip
    return round(found["value"], 3)
