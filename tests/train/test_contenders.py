"""Several contenders in one experiment: side by side in its records, each known by its settings."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from crossl.commands.benchmark import run_experiment
from crossl.config import RunConfig, build_model, load_config
from crossl.config.schema import EvaluationConfig
from crossl.contenders import Context
from crossl.contenders.features import feature_tables
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.evaluate.results import ResultBook
from crossl.experiment import fold as fold_module
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.registry import CONTENDERS
from crossl.report import build_report

SETTINGS = (
    "finetuning.steps=2", "evaluation.folds=3", "evaluation.label_fractions=[1.0]",
    "evaluation.main_fraction=1.0", "evaluation.label_seeds=[0]",
)  # fmt: skip
RIVALS = (
    "contenders.simclr={method: {kind: simclr, hidden: 8, dim: 8}}",
    "contenders.forest={kind: forest, trees: 5}",
    "contenders.minirocket={kind: minirocket, features: 84}",
)


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def test_run_files_of_the_protocol_page_are_some(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {}
    for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        if example.startswith("# study.yaml"):  # of several stores: tests/cli/test_study.py
            continue
        (tmp_path / "rivals.yaml").write_text(example, encoding="utf-8")
        contenders = load_config(tmp_path / "rivals.yaml").contenders
        for name, block in contenders.items():
            block.build(name)
        named[example.partition(":")[0]] = list(contenders)
    assert named["# rivals.yaml"] == ["simclr", "long", "forest", "minirocket"]
    # the page names every kind, every method and the defaults
    own = {kind for kind, block in CONTENDERS.items() if block.__module__.startswith("crossl.")}
    methods = get_args(get_args(EvaluationConfig.model_fields["methods"].annotation)[0])
    assert all(f"| `{name}`" in text for name in (*own, *methods))


@pytest.mark.parametrize("path", sorted((PAGE.parents[1] / "configs").glob("*.yaml")), ids=str)
def test_run_files_that_come_along_are_some(path: Path) -> None:
    for name, block in load_config(path).contenders.items():
        block.build(name)


TWINS = (
    "contenders.half={kind: supervised, finetuning: {steps: 4, evaluations: 2, keep_rate: 0.5}}",
    "contenders.all={kind: supervised, finetuning: {steps: 4, evaluations: 2, keep_rate: 1.0}}",
    "contenders.probed={kind: supervised, read: probe}",
    "contenders.further={kind: finetuned, finetuning: {steps: 4, evaluations: 2}}",
    "contenders.authors={kind: mlp, steps: 20, hidden: 8}",
    "contenders.joined={kind: mlp, steps: 20, hidden: 8, head: aggregator}",
)


class Cut(Store):
    """A store whose windows can be read so often, and then the process is told to end."""

    left = -1

    def gather_zeroed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        Cut.left -= signal.getsignal(signal.SIGTERM) != signal.SIG_DFL  # while something trains
        if Cut.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().gather_zeroed(rows)


def test_several_twins_and_readers_stand_in_one_experiment_that_can_be_stopped(
    store: Store, small: Callable[..., RunConfig], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("crossl", *SETTINGS, *TWINS, "evaluation.methods=[crossl]")
    FoldRunner(FoldTask(store.path, config, runs / "whole", 0)).run()
    monkeypatch.setattr(fold_module, "Store", Cut)
    stops = 0
    for at in (12, 3, 5, 8, 9):
        Cut.left = at
        try:
            FoldRunner(FoldTask(store.path, config, runs / "cut", 0)).run()
            break
        except SystemExit:
            stops += 1
    assert stops > 1
    Cut.left = -1
    task = FoldTask(store.path, config, runs / "cut", 0)
    FoldRunner(task).run()
    assert not (runs / "cut" / "unfinished").exists()
    found = {}
    for name in task.names:
        one, two = (ResultBook.load(replace(task, folder=runs / which).scores(name)).entries
                    for which in ("whole", "cut"))  # fmt: skip
        found[name] = np.concatenate([entry.confusion.ravel() for entry in one])
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a.confusion, b.confusion)
    heads = {name: ResultBook.load(task.scores(name)).entries[0].key.head for name in found}
    assert heads["authors"] == "encoders"
    assert {heads[n] for n in ("half", "probed", "further", "joined")} == {"aggregator"}
    assert not np.array_equal(found["half"], found["all"])


@pytest.mark.parametrize("recipe", ["crossl"])
def test_rivals_stand_beside_the_methods_of_the_evaluation_and_are_not_computed_twice(
    recipe: str, store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    out = runs / "experiment"
    run_experiment(store.path, small(recipe, *SETTINGS), out, folds="0", workers=1)
    weights = (out / "fold-0" / "weights.safetensors").stat().st_mtime_ns
    run_experiment(store.path, small(recipe, *SETTINGS, *RIVALS), out, folds="0", workers=1)
    assert (out / "fold-0" / "weights.safetensors").stat().st_mtime_ns == weights
    found = {row["method"] for row in rows(out) if row["metric"] == "macro_f1"}
    assert {"crossl", "untrained", "supervised", "simclr", "forest", "minirocket"} <= found
    full = [r for r in rows(out) if r["method"] == "forest" and len(r["present"]) == 1]
    assert full  # scored with sensors missing as well
    kept = sorted(p.name for p in (out / "fold-0").glob("scores-forest-*.npz"))
    assert len(kept) == 1
    other = (*RIVALS[:1], "contenders.forest={kind: forest, trees: 6}", RIVALS[2])
    run_experiment(store.path, small(recipe, *SETTINGS, *other), out, folds="0", workers=1)
    assert len(list((out / "fold-0").glob("scores-forest-*.npz"))) == 2
    assert len(list((out / "fold-0" / "contenders").glob("simclr-*"))) == 1
    page = build_report(out).read_text(encoding="utf-8")
    for name in ("simclr", "forest", "minirocket"):
        assert name in page


def test_features_of_absent_modalities_are_zeros_and_statistics_are_of_training_subjects(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    runner = FoldRunner(FoldTask(store.path, small("crossl", *SETTINGS), runs, 0))
    context = runner._context("forest", None)  # type: ignore[arg-type]
    assert isinstance(context, Context)
    tables = feature_tables(context, lambda modality, train, repeat: lambda x: x.mean(axis=1))
    train = tables["train"]
    assert not train.latent[~train.present].any()
    acc = train.latent[:, 0][train.present[:, 0]].numpy()
    np.testing.assert_allclose(acc.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(acc.std(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("main", ["null", "{}"])
def test_a_twin_is_read_beside_the_features_that_it_asks_for(
    main: str, store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    asked = {"as": "", "off": ", features: 'off'", "own": ", features: {kernels: 1, width: 4}"}
    twins = (
        f"contenders.{name}={{kind: supervised, read: probe, finetuning: {{steps: 2}}{more}}}"
        for name, more in asked.items()
    )
    config = small("crossl", *SETTINGS, *twins, f"features={main}")
    runner = FoldRunner(FoldTask(store.path, config, runs, 0))
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    model.fit(store, runner.fold.train)
    width = {}
    for name, block in config.contenders.items():
        found = next(iter(block.build(name).outcomes(runner._context(name, model.eval()))))
        width[name] = found.fitted[0].weight.shape[1]
    assert width["own"] > width["off"]
    assert (width["as"] == width["off"]) == (main == "null")
    assert width["as"] != width["own"]


@pytest.mark.parametrize(("contender", "message"), [
    ("{aggregator: {kind: mlp}}", "method.kind 'crossl' needs .*, got 'mlp'"),
    ("{schedule: {patience: 3, patience_share: 0.1}}", "schedule.patience is 3 epochs and sched"),
])  # fmt: skip
def test_a_contender_whose_parts_do_not_fit_is_refused_before_anything_is_trained(
    contender: str, message: str, small: Callable[..., RunConfig]
) -> None:
    with pytest.raises(ConfigError, match=rf": contenders.other: {message}"):
        small("crossl", f"contenders.other={contender}")
