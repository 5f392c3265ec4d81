"""Several contenders in one experiment: side by side in its records, each known by its settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossl.config import RunConfig
from crossl.contenders import Context
from crossl.contenders.features import feature_tables
from crossl.data.store import Store
from crossl.experiment import FoldRunner, FoldTask
from crossl.report import build_report
from crossl.workflow import run_experiment

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
    tables = feature_tables(context, lambda modality, train: lambda x: x.mean(axis=1))
    train = tables["train"]
    assert not train.latent[~train.present].any()
    acc = train.latent[:, 0][train.present[:, 0]].numpy()
    np.testing.assert_allclose(acc.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(acc.std(axis=0), 1, atol=1e-3)
