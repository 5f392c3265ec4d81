"""Contenders with trials: validation people choose among settings, the strict budget does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossl.commands.estimate import estimates
from crossl.config import RunConfig
from crossl.contenders import Context, Outcome
from crossl.contenders.trees import Trees
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.evaluate.results import ResultBook
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.experiment.trials import trial_sentences

SETTINGS = (
    "evaluation.folds=3", "evaluation.label_fractions=[0.3]", "evaluation.methods=[crossl]",
    "evaluation.main_fraction=0.3", "evaluation.label_seeds=[0, 1]", "schedule.steps=7",
    "schedule.batch_size=32",
)  # fmt: skip
BASES = {
    "forest": "kind: forest, trees: 1",
    "network": "method: {kind: simclr, hidden: 8, dim: 8}",
    "twin": "kind: supervised, finetuning: {steps: 2, evaluations: 1}",
}
TRIALS = {
    "forest": ("trees: 2", "trees: 15"),
    "network": ("schedule.lr: 0.02", "method.hidden: 16"),
    "twin": ("finetuning.lr: 0.02", "finetuning: {keep_rate: 0.5}"),
}


def blocks(name: str) -> dict[str, str]:
    """Return a contender with its trials, and each of its settings as a contender."""
    tried = ", ".join(f"{{{change}}}" for change in TRIALS[name])
    whole = {name: f"{{{BASES[name]}, trials: [{tried}]}}", f"{name}-0": f"{{{BASES[name]}}}"}
    alone = {
        "forest": ("kind: forest, trees: 2", "kind: forest, trees: 15"),
        # steps and batch_size are those of the run file, not of Schedule
        "network": (f"{BASES['network']}, schedule: {{lr: 0.02, steps: 7, batch_size: 32}}",
                    "method: {kind: simclr, hidden: 16, dim: 8}"),
        "twin": ("kind: supervised, finetuning: {steps: 2, evaluations: 1, lr: 0.02}",
                 "kind: supervised, finetuning: {steps: 2, evaluations: 1, keep_rate: 0.5}"),
    }[name]  # fmt: skip
    return whole | {f"{name}-{i}": f"{{{one}}}" for i, one in enumerate(alone, start=1)}


def counts(task: FoldTask, name: str, budget: str) -> list[np.ndarray]:
    entries = ResultBook.load(task.scores(name)).entries
    return [e.confusion for e in entries if e.key.budget == budget]


@pytest.fixture(scope="module")
def task(
    store: Store, small: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> FoldTask:
    """Run each contender with its trials, and each of its settings alone."""
    every = [f"contenders.{name}={block}" for one in BASES for name, block in blocks(one).items()]
    config = small("crossl", *SETTINGS, *every)
    found = FoldTask(store.path, config, tmp_path_factory.mktemp("tuned") / "fold", 0)
    FoldRunner(found).run()
    return found


@pytest.mark.parametrize("name", BASES)
def test_validation_chooses_among_trials_and_strict_takes_what_is_given(
    name: str, task: FoldTask
) -> None:
    told = json.loads((task.home(name) / "trials.json").read_text())
    assert told["chosen"] == int(np.argmax(told["validation_scores"]))
    for budget, number in (("strict", 0), ("validation", told["chosen"])):
        tuned, alone = counts(task, name, budget), counts(task, f"{name}-{number}", budget)
        assert len(tuned) == len(alone) > 0
        for one, other in zip(tuned, alone, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(told["validation_scores"]) == 3
    assert bool(told["settings"]) == (told["chosen"] > 0)


def test_reports_say_which_settings_were_chosen(task: FoldTask) -> None:
    said = dict(zip(BASES, trial_sentences([task]), strict=True))
    for name, sentence in said.items():
        assert sentence.startswith(f"{name} was tried with 3 settings. Under")
        told = json.loads((task.home(name) / "trials.json").read_text())
        assert sentence.endswith(" (1 of 1 times).")
        assert ("the settings as given" in sentence) == (told["chosen"] == 0)


def test_trials_that_were_finished_are_not_pretrained_again(
    task: FoldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts(task, "network", "validation")
    task.scores("network").unlink()
    monkeypatch.setattr("crossl.contenders.networks.pretrain", None)
    FoldRunner(task).run()
    for one, other in zip(before, counts(task, "network", "validation"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_under_the_strict_budget_alone_nothing_is_tried(
    store: Store, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    name, block = next(iter(blocks("network").items()))
    config = small("crossl", *SETTINGS, f"contenders.{name}={block}", "evaluation.budgets=[strict]")
    task = FoldTask(store.path, config, tmp_path / "fold", 0)
    FoldRunner(task).run()
    assert [p.name for p in task.home(name).iterdir()] == ["trial-0"]
    assert counts(task, name, "strict")
    assert not counts(task, name, "validation")


def test_an_estimate_counts_trials(
    store: Store, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    name, block = next(iter(blocks("network").items()))
    each = {}
    for budgets in ("[strict]", "[strict, validation]"):
        asked = (f"contenders.{name}={block}", f"evaluation.budgets={budgets}")
        config = small("crossl", *SETTINGS, *asked)
        found = estimates(store.path, config, tmp_path, "0")
        each[budgets] = {e.contender: e.each_s or 0 for e in found}[name]
    assert each["[strict, validation]"] > 1.5 * each["[strict]"] > 0


@pytest.mark.parametrize(("trial", "message"), [
    ("{method.hiden: 16}", "contenders.own: trial 2: contenders.own.method.hiden: unknown key"),
    ("{method: {hidden: no}}", "trial 2: contenders.own.method.hidden: .*, got"),
    ("{kind: forest}", "trial 2: changes kind, which a contender's trials share"),
    ("{budgets: [strict]}", "trial 2: changes budgets, which"),
    ("{trials: []}", "trial 2: changes trials, which"),
    ("{head: encoders}", "trial 2: changes head, which"),
    ("{}", "trial 2: is the same as the settings as given"),
    ("{schedule.lr: 0.02}", "trial 2: is the same as trial 1"),
    ("{aggregator: {kind: mlp}, method: {kind: crossl}}", "trial 2: method.kind 'crossl' needs"),
])  # fmt: skip
def test_a_wrong_trial_is_refused_before_anything_is_trained(
    trial: str, message: str, small: Callable[..., RunConfig]
) -> None:
    first = "{schedule: {lr: 0.02}}"
    with pytest.raises(ConfigError, match=message):
        small("crossl", f"contenders.own={{method: {{kind: simclr}}, trials: [{first}, {trial}]}}")


def test_a_trial_does_not_change_what_another_seed_repeats(
    small: Callable[..., RunConfig],
) -> None:
    with pytest.raises(ConfigError, match="trial 1: changes what another pretraining seed repeats"):
        small("crossl", "contenders.own={kind: impute, trials: [{features: minirocket}]}")


def test_a_seed_that_has_no_label_draw_tries_nothing(
    store: Store, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    steps = "finetuning: {steps: 2, evaluations: 1}"
    own = f"{{kind: finetuned, {steps}, trials: [{{finetuning.lr: 0.1}}]}}"
    config = small("crossl", *SETTINGS, "evaluation.label_seeds=[0]",
                   "evaluation.pretraining_seeds=2", f"contenders.own={own}")  # fmt: skip
    for repeat in (0, 1):
        task = FoldTask(store.path, config, tmp_path / f"fold-{repeat}", 0, repeat=repeat)
        FoldRunner(task).run()
        assert (task.home("own") / "trials.json").is_file() == (repeat == 0)


def test_a_kind_that_tells_no_validation_score_cannot_be_tuned(
    store: Store, small: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trees.outcomes

    def silent(self: Trees, context: Context) -> Iterator[Outcome]:
        for one in whole(self, context):
            yield replace(one, validation_score=float("nan"))

    monkeypatch.setattr(Trees, "outcomes", silent)
    own = "contenders.own={kind: forest, trees: 1, trials: [{trees: 2}]}"
    config = small("crossl", *SETTINGS, own)
    with pytest.raises(ConfigError, match="tells no score on validation subjects"):
        FoldRunner(FoldTask(store.path, config, tmp_path / "fold", 0)).run()
