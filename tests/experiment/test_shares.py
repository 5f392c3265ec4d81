"""What a fold has kept, when pretraining seeds or label budgets came later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossl.config import RunConfig, load_config
from crossl.evaluate.results import Key, ResultBook
from crossl.experiment.collect import kept_entries
from crossl.experiment.fold import FoldTask, fold_folder

LABEL = np.array([0, 1, 0, 1])


def config_of(seeds: int, *more: str) -> RunConfig:
    return load_config(overrides=[
        "evaluation.methods=[crossl, finetuned]", "evaluation.label_seeds=[0,1,2,3]",
        "evaluation.label_fractions=[0.1,1.0]", f"evaluation.pretraining_seeds={seeds}", *more,
    ])  # fmt: skip


def keep(task: FoldTask, name: str, draws: list[tuple[float, int]], *budgets: str) -> None:
    """Keep the scores of a contender as a fold does."""
    book = ResultBook("tiny", ("a", "b"), ("acc",))
    people = np.array([f"P{2 * task.fold}"] * 2 + [f"P{2 * task.fold + 1}"] * 2)
    for budget in budgets:
        for fraction, seed in draws:
            key = Key(name, "crossl", "aggregator", fraction, ("acc",), budget)
            book.add(key, fold=task.fold, seed=seed, label=LABEL, predicted=LABEL, subject=people,
                     model_seed=task.seed)  # fmt: skip
    task.folder.mkdir(parents=True, exist_ok=True)
    book.save(task.scores(name))


def task_of(out: Path, config: RunConfig, fold: int = 0, repeat: int = 0) -> FoldTask:
    return FoldTask(out, config, fold_folder(out, fold, repeat), fold, repeat=repeat)


EVERY = [(0.1, 0), (0.1, 1), (0.1, 2), (0.1, 3), (1.0, 0)]


def test_a_seed_that_is_added_recomputes_no_draw_and_counts_none_twice(tmp_path: Path) -> None:
    keep(task_of(tmp_path, config_of(1)), "finetuned", EVERY, "strict", "validation")
    two = [task_of(tmp_path, config_of(2), repeat=r) for r in (0, 1)]
    for task in two:
        keep(task, "crossl", EVERY, "strict", "validation")
    assert two[0].is_scored("finetuned")
    assert not two[1].is_scored("finetuned")
    keep(two[1], "finetuned", [(0.1, 1), (0.1, 3)], "strict", "validation")
    assert all(task.is_scored("finetuned") for task in two)
    found = [(e.model_seed, e.key.label_fraction, e.seed) for e in kept_entries(two)
             if (e.key.method, e.key.budget) == ("finetuned", "strict")]  # fmt: skip
    assert found == [(0, 0.1, 0), (0, 0.1, 2), (0, 1.0, 0), (1, 0.1, 1), (1, 0.1, 3)]


@pytest.mark.parametrize(("kept", "seeds", "scored"), [
    ([(0.1, 0), (0.1, 2), (1.0, 0)], 2, True),
    ([(0.1, 0), (0.1, 2), (1.0, 0)], 1, False),  # the others were another seed's
    ([(0.1, 0), (0.1, 2), (1.0, 0)], 3, False),
    (EVERY, 3, True),
])  # fmt: skip
def test_a_share_of_the_draws_is_not_taken_for_another(
    kept: list[tuple[float, int]], seeds: int, tmp_path: Path, *, scored: bool
) -> None:
    task = task_of(tmp_path, config_of(seeds))
    keep(task, "finetuned", kept, "strict")
    assert task.is_scored("finetuned") is scored


def test_only_fractions_that_are_fine_tuned_are_asked_for(tmp_path: Path) -> None:
    task = task_of(tmp_path, config_of(2, "evaluation.finetuned_fractions=[1.0]"))
    keep(task, "finetuned", [(1.0, 0)], "strict")
    assert task.is_scored("finetuned")


def test_a_budget_that_some_folds_were_not_scored_under_does_not_count(tmp_path: Path) -> None:
    config = config_of(1, "evaluation.methods=[crossl, untrained]")
    tasks = [task_of(tmp_path, config, fold) for fold in (0, 1)]
    keep(tasks[0], "crossl", EVERY, "validation")  # of an earlier version
    keep(tasks[1], "crossl", EVERY, "strict", "validation")
    for task in tasks:
        keep(task, "untrained", EVERY, "strict", "validation")
    found = {(e.key.method, e.key.budget, e.fold) for e in kept_entries(tasks)}
    assert found == {
        ("crossl", "validation", 0), ("crossl", "validation", 1),
        *(("untrained", budget, fold) for budget in ("strict", "validation") for fold in (0, 1)),
    }  # fmt: skip
