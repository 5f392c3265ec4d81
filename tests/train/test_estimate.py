"""What a pretraining will cost, from a few of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crossl.commands import estimate
from crossl.config import RunConfig
from crossl.data.store import Store
from crossl.experiment.fold import FoldRunner, FoldTask


@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_a_pretraining_costs_all_its_steps(
    recipe: str, store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    sizes = ("schedule.batch_size=8", "schedule.epochs=40", "evaluation.folds=3")
    to_the_end = "schedule.patience=null"  # the estimate is of all steps
    config = small(recipe, *sizes, to_the_end, "evaluation.methods=[crossl]")
    (found,) = estimate.estimates(store.path, config, runs / "none", "0")
    assert found.each_s is not None
    begun = time.process_time()
    FoldRunner(FoldTask(store.path, config, runs / "run", 0)).pretrained()
    took = time.process_time() - begun
    assert took / 4 < found.each_s < 4 * took  # epochs for steps are 9 times too few


def test_an_optimiser_within_another_counts_once(
    store: Store, small: Callable[..., RunConfig]
) -> None:
    config = small("crossl", "schedule.batch_size=8", "evaluation.folds=3")
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # from now on its steps are told, too
    times = []
    for _ in range(3):
        begun = time.process_time()
        seconds = estimate.step_seconds(config, store, 0)
        times.append(seconds / (time.process_time() - begun))
    assert max(times) > 0.02  # a step of less than ten, and not the moment between two calls


def test_only_a_few_steps_are_run_of_however_large_a_store(
    store: Store, small: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    run = estimate.pretrain

    def counted(*args: object, **named: object) -> object:
        seen.append((len(named["train"]), named["schedule"].steps, named["schedule"].epochs))  # type: ignore[arg-type,attr-defined]
        return run(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(estimate, "pretrain", counted)
    config = small("crossl", "schedule.batch_size=2", "evaluation.folds=3")
    assert estimate.step_seconds(config, store, 0) > 0
    assert seen == [(18, 9, None)]
