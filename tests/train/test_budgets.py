"""One label budget alone: the same numbers, less work, and a report that knows no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.commands.benchmark import check_experiment, run_experiment
from crossl.config import RunConfig
from crossl.contenders import trees
from crossl.data.recording import Recording
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import ConfigError, SplitError
from crossl.experiment.fold import folds_of
from crossl.report import build_report
from crossl.run_folder import load_probe

from .conftest import CLASSES, MODALITIES, make_recording

SETTINGS = (
    "finetuning.steps=2", "evaluation.folds=3", "evaluation.label_fractions=[1.0]",
    "evaluation.main_fraction=1.0", "evaluation.label_seeds=[0]",
    "evaluation.methods=[crossl, finetuned, subset_probes]",
)  # fmt: skip
CONTENDERS = (
    "contenders.forest={kind: forest, trees: 5}",
    "contenders.logistic={kind: logistic}",
    "contenders.minirocket={kind: minirocket, features: 84}",
    "contenders.impute={kind: impute}",
    "contenders.twin={kind: supervised, read: probe, finetuning: {steps: 2}}",
    "contenders.authors={kind: mlp, steps: 4, hidden: 8}",
)


def scores(out: Path) -> dict[tuple, float]:
    """Return every score by what it is of."""
    found = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return {tuple((k, str(v)) for k, v in row.items()
                  if k not in ("value", "ci_low", "ci_high", "n", "p")): row["value"]
            for row in found}  # fmt: skip


@pytest.fixture(scope="module")
def both(
    store: Store, small: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple, float]:
    """Return the scores under both budgets."""
    out = tmp_path_factory.mktemp("budgets") / "both"
    run_experiment(store.path, small("crossl", *SETTINGS, *CONTENDERS), out, folds="0", workers=1)
    return scores(out)


@pytest.mark.parametrize("budget", ["strict", "validation"])
def test_one_budget_alone_has_the_scores_that_it_has_beside_the_other(
    budget: str, both: dict[tuple, float], store: Store, small: Callable[..., RunConfig],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fitted: list[Any] = []
    fit = trees.Trees._fit

    def counted(*given: Any) -> Any:
        fitted.append(given)
        return fit(*given)

    monkeypatch.setattr(trees.Trees, "_fit", counted)
    config = small("crossl", *SETTINGS, *CONTENDERS, f"evaluation.budgets=[{budget}]")
    run_experiment(store.path, config, tmp_path / "one", folds="0", workers=1)
    assert len(fitted) == (1 if budget == "strict" else 6)
    expected = {key: value for key, value in both.items() if ("budget", budget) in key}
    assert len({dict(key)["method"] for key in expected}) > 7
    assert scores(tmp_path / "one") == expected
    assert "NaN" not in (tmp_path / "one" / "fold-0" / "probe.json").read_text()
    probe = load_probe(tmp_path / "one" / "fold-0")[0]
    assert np.isnan(probe.validation_score) == (budget == "strict")
    page = build_report(tmp_path / "one").read_text(encoding="utf-8")
    assert "other label budget" not in page


def test_a_contender_can_have_one_budget_where_others_have_both(
    both: dict[tuple, float], store: Store, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    asked = ("evaluation.methods=[crossl]",
             "contenders.forest={kind: forest, trees: 5, budgets: [strict]}")  # fmt: skip
    run_experiment(store.path, small("crossl", *SETTINGS[:-1], *asked), tmp_path, folds="0",
                   workers=1)  # fmt: skip
    found = {(dict(k)["method"], dict(k)["budget"]): v for k, v in scores(tmp_path).items()}
    assert ("forest", "strict") in found
    assert ("forest", "validation") not in found
    assert {("crossl", "strict"), ("crossl", "validation")} <= set(found)
    assert all(both[k] == v for k, v in scores(tmp_path).items() if ("method", "forest") in k)
    build_report(tmp_path)


def test_without_any_budget_nothing_could_be_scored(small: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError, match="budgets"):
        small("crossl", "evaluation.budgets=[]")


def test_validation_subjects_without_labels_are_refused_before_anything_is_computed(
    small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    recordings = [make_recording(number) for number in range(6)]
    whole = write(recordings, tmp_path / "whole")
    config = small("crossl", *SETTINGS)
    asked = set(whole.subject[folds_of(whole, config)[0].validation])
    unlabelled = [replace(r, labels=[]) if r.subject in asked else r for r in recordings]
    store, out = write(unlabelled, tmp_path / "store").path, tmp_path / "out"
    told = rf"fold 0: .*\({', '.join(sorted(asked))}\).*evaluation.budgets to \[strict\]"
    with pytest.raises(SplitError, match=told):
        run_experiment(store, config, out, folds="0", workers=1)
    with pytest.raises(SplitError, match=told):
        check_experiment(store, config, out, "0")
    assert not out.exists()
    strict = small("crossl", *SETTINGS, "evaluation.budgets=[strict]")
    run_experiment(store, strict, out, folds="0", workers=1)
    assert scores(out)
    one = "contenders.forest={kind: forest, trees: 2, budgets: [validation]}"
    with pytest.raises(SplitError, match=told):
        check_experiment(store, small("crossl", *SETTINGS, "evaluation.budgets=[strict]", one),
                         tmp_path / "other", "0")  # fmt: skip


def test_a_store_without_any_label_is_refused_before_anything_is_computed(
    small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    recordings = [replace(make_recording(number), labels=[]) for number in range(6)]
    store, out = write(recordings, tmp_path / "store").path, tmp_path / "out"
    for budgets in ("[strict]", "[validation]"):
        config = small("crossl", *SETTINGS, f"evaluation.budgets={budgets}")
        with pytest.raises(SplitError, match="store: no window has a label"):
            check_experiment(store, config, out, "all")
        with pytest.raises(SplitError, match="store: no window has a label"):
            run_experiment(store, config, out, folds="all", workers=1)
    assert not out.exists()


def write(recordings: Sequence[Recording], out: Path) -> Store:
    return write_store(
        recordings, out, modalities=MODALITIES, classes=CLASSES,
        spec=WindowSpec(window_s=2.0, stride_s=2.0), about={"dataset": "tiny", "reader": "none"},
    )  # fmt: skip
