"""The script of the paper's studies: its cells can be run, and a run goes on from what is kept."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from crossl.config import load_config

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "studies.py"


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which keeps its rows elsewhere."""
    spec = importlib.util.spec_from_file_location("studies", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROWS", tmp_path / "rows.jsonl")
    return module


def test_every_cell_is_a_contender_that_a_run_file_takes(
    studies: ModuleType, tmp_path: Path
) -> None:
    cells = {name: cell for make in studies.STUDIES.values() for name, cell in make()}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"contenders": cells}))
    config = load_config(tmp_path / "run.yaml", overrides=["seed=1"])
    assert len(cells) == 26 + 4 + 8
    assert [name for name in cells if name.endswith(".0")] == ["masks.spatial.0"]
    hidden = config.contenders["masks.random.0.9"].method  # type: ignore[attr-defined]
    assert (hidden.strategy, hidden.keep_rate) == ("random", 0.1)
    # the ablation ends at the default
    last = config.contenders["ablation.8-crossl"]
    ours = config.model_copy(update={"contenders": {}})
    assert last.within(config) == ours  # type: ignore[attr-defined]


def test_kept_rows_say_what_was_computed_and_are_told_in_the_table(
    studies: ModuleType, tmp_path: Path
) -> None:
    asked = argparse.Namespace(folds="0", draws=3)
    common = {"method": "masks.random.0.6", "head": "aggregator", "budget": "strict",
              "metric": "macro_f1", "n": 4, "ci_low": 0.4, "ci_high": 0.6, "fold": None,
              "seed": None, "subject": None, "label_fraction": 0.1}  # fmt: skip
    found = [
        {**common, "present": ["a", "b"], "value": 0.5},
        {**common, "present": ["a"], "value": 0.2},
        {**common, "present": ["b"], "value": 0.4},
        {**common, "present": ["a", "b"], "value": 0.9, "budget": "validation"},
        {**common, "present": ["a", "b"], "value": 0.9, "method": "crossl"},
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    rows = list(studies.rows_of("tiny", "masks.random.0.6", path, asked))
    for _ in range(2):  # a cell that is computed again takes the place of its rows
        studies.keep(rows)
    (row,) = studies.read_rows()
    assert (row["macro_f1"], row["one_missing"], row["people"]) == (0.5, 0.3, 4)
    assert studies.is_of(row, "tiny", asked)
    assert not studies.is_of(row, "tiny", argparse.Namespace(folds="0", draws=10))
    text = "\n".join(studies.table(studies.read_rows()))
    assert "## tiny: fold 0, 3 label draws, 4 people" in text
    assert "| random |  |  |  | 0.500 (0.300) |  |  |" in text


def test_without_a_mask_every_kind_has_the_same_score(studies: ModuleType) -> None:
    row = {"data": "tiny", "cell": "masks.spatial.0", "head": "aggregator", "folds": "0",
           "label_fraction": 0.1, "draws": 3, "people": 4, "macro_f1": 0.5,
           "one_missing": None}  # fmt: skip
    text = "\n".join(studies.table([row]))
    assert all(f"| {kind} | 0.500 |  |" in text for kind in studies.STRATEGIES)


def test_each_step_of_the_ablation_differs_from_the_one_before(studies: ModuleType) -> None:
    cells = dict(studies.ablation_cells())
    written = [yaml.safe_dump(cell) for cell in cells.values()]
    assert len(set(written)) == len(written)
    assert cells["ablation.6-views-expander"]["method"]["modality_weight"] == 0
