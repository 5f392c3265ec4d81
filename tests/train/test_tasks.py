"""Every kind of task from pretraining to a report, a probe of its own, and an embedding file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.commands.benchmark import run_experiment
from crossl.commands.embed import embed_store
from crossl.commands.evaluate import evaluate_run
from crossl.commands.probe import probe_run
from crossl.config import RunConfig
from crossl.contenders.contender import latent_table
from crossl.data.store import Store
from crossl.errors import ConfigError, FormatError
from crossl.evaluate.missing import predict_subsets
from crossl.files import write_signed_json
from crossl.report import build_report, summary_table, summary_title
from crossl.run_folder import load_probe, load_run

from .targets import TASKS

EVERY = (0, 1, 2)


@dataclass
class Done:
    """A small experiment of one kind of task, and its report."""

    kind: str
    folder: Path
    store: Store
    records: list[dict[str, Any]]
    page: str

    def pooled(self, metric: str, method: str = "crossl") -> list[dict[str, Any]]:
        whole = [r for r in self.records if r["fold"] is None and r["subject"] is None]
        return [r for r in whole if r["budget"] == "strict"
                and r["metric"] == metric and r["method"] == method]  # fmt: skip


@pytest.fixture(scope="module", params=list(TASKS))
def done(
    request: pytest.FixtureRequest,
    told_store: Store,
    small: Callable[..., RunConfig],
    tmp_path_factory: pytest.TempPathFactory,
) -> Done:
    config = small(
        "crossl", "evaluation.folds=3", "evaluation.methods=[crossl,untrained]",
        "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
        "evaluation.label_seeds=[0]", f"task={TASKS[request.param]}",
    )  # fmt: skip
    out = tmp_path_factory.mktemp("tasks") / "out"
    run_experiment(told_store.path, config, out, folds="0", workers=1, command="made up")
    lines = (out / "results.jsonl").read_text().splitlines()
    page = build_report(out).read_text()
    return Done(request.param, out, told_store, [json.loads(line) for line in lines], page)


MAIN = {"labels": "macro_f1", "numbers": "mae", "sequence": "macro_f1"}


def test_every_subset_is_scored_compared_and_every_sensor_has_its_worth(done: Done) -> None:
    main = MAIN[done.kind]
    assert len(done.pooled(main)) == 7
    assert len(done.pooled(f"{main}_with_all")) == len(done.pooled(f"{main}_kept")) == 6
    assert len(done.pooled("shapley")) == 3
    assert done.pooled(f"{main}_difference", "crossl - untrained")
    by_subject = [r for r in done.records if r["subject"] is not None]
    assert {r["metric"] for r in by_subject} == {main}
    full = [r for r in done.pooled(main) if len(r["present"]) == 3 and r["label_fraction"] == 1]
    if done.kind == "numbers":
        assert full[0]["value"] < 1.0  # bouts are 1.4 and more apart
        assert {r["metric"] for r in done.records} >= {"mae", "rmse", "r2", "concordance"}
    else:
        assert full[0]["value"] > 0.6
    assert all(r["ci_low"] <= r["value"] <= r["ci_high"] for r in full)


def test_the_worth_of_sensors_adds_up_to_what_all_gain_over_guessing(done: Done) -> None:
    worth = [r["value"] for r in done.pooled("shapley") if r["label_fraction"] == 1]
    assert sum(worth) > 0.1


def test_the_page_and_the_table_say_the_metric_and_what_was_learned(done: Done) -> None:
    words = {
        "labels": ("macro-F1", "How well each label is predicted", "upright"),
        "numbers": ("mean absolute error (m/s)", "Predicted and true numbers", "speed"),
        "sequence": ("macro-F1", "A recording over time", "Which classes are confused"),
    }
    for text in words[done.kind]:
        assert text in done.page
    assert summary_title(done.folder).lower().startswith(words[done.kind][0].lower())
    assert len(summary_table(done.folder)) > 3
    notes = json.loads((done.folder / "summary.json").read_text())["notes"]
    assert ("Macro-F1" in "".join(notes)) == (done.kind != "numbers")


def test_what_a_run_embeds_is_what_its_probe_says(done: Done, tmp_path: Path) -> None:
    run = done.folder / "fold-0"
    embed_store(run, done.store.path, tmp_path / "z.npz", workers=1, block_rows=7)
    probe, names = load_probe(run)
    rows = np.arange(len(done.store))
    table = latent_table(load_run(run).model, done.store, rows, probe.task)
    said = predict_subsets([probe], table, [EVERY])[0][EVERY]
    with np.load(tmp_path / "z.npz") as found:
        if done.kind == "numbers":
            np.testing.assert_allclose(found["predicted"], said, rtol=1e-4, atol=1e-4)
            assert found["units"].tolist() == ["m/s"]
        elif done.kind == "labels":
            np.testing.assert_array_equal(found["predicted"], said)
            assert found["labels"].tolist() == names == ["upright", "fast"]
            np.testing.assert_array_equal(found["probability"] > 0.5, said == 1)
        else:
            assert found["predicted"].tolist() == [done.store.classes[i] for i in said]
            np.testing.assert_allclose(found["probability"].sum(axis=1), 1, rtol=1e-5)


def test_a_kept_probe_says_its_task_and_is_refused_where_its_outputs_are_others(
    done: Done, tmp_path: Path
) -> None:
    path = shutil.copytree(done.folder / "fold-0", tmp_path / "run") / "probe.json"
    head = json.loads(path.read_bytes())
    assert head["task"]["kind"] == done.kind
    head.pop("sha256")
    names = [*head["task"]["names"][1:], "another"]
    write_signed_json(path, {**head, "task": {**head["task"], "names": names}})
    with pytest.raises(FormatError, match=r"probe.json: (its outputs are|its task cannot be)"):
        load_probe(path.parent)
    write_signed_json(path, {**head, "task": {**head["task"], "kind": "sorting"}})
    with pytest.raises(FormatError, match=r"probe.json: its task cannot be understood"):
        load_probe(path.parent)


def test_the_same_run_is_probed_for_another_task_and_evaluated_for_it(
    done: Done, tmp_path: Path
) -> None:
    run = shutil.copytree(done.folder / "fold-0", tmp_path / "run")
    with pytest.raises(ConfigError, match=r"--set schedule.steps=3: a run is trained already"):
        probe_run(run, done.store.path, label_fraction=1.0, overrides=["schedule.steps=3"])
    with pytest.raises(ConfigError, match=r"'posture' holds labels.* learns numbers"):
        probe_run(run, done.store.path, label_fraction=1.0,
                  overrides=["task={kind: numbers, target: posture}"])  # fmt: skip
    if done.kind == "numbers":
        return
    task, score = probe_run(run, done.store.path, label_fraction=1.0,
                            overrides=[f"task={TASKS['numbers']}"])  # fmt: skip
    assert task.told() == "mean absolute error (m/s)"
    assert 0 < score.value < 1.5
    evaluate_run(run, done.store.path)
    assert "mean absolute error (m/s)" in build_report(run).read_text()


def test_a_probe_of_before_tasks_is_of_classes(
    done: Done, told_store: Store, tmp_path: Path
) -> None:
    if done.kind != "sequence":
        return
    run = shutil.copytree(done.folder / "fold-0", tmp_path / "run")
    probe_run(run, told_store.path, label_fraction=1.0, overrides=["task={kind: classes}"])
    head = json.loads((run / "probe.json").read_text())
    del head["task"], head["sha256"]
    write_signed_json(run / "probe.json", head)
    probe, names = load_probe(run)
    assert probe.task.is_default
    assert names == ["rest", "walk", "run"]
    assert probe.decide(np.eye(3)).tolist() == [0, 1, 2]
