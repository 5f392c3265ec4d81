"""Test subjects serve the final score only: what is learned and chosen does not depend on them.

The labels of test subjects are shuffled and their signals replaced by noise. Whatever a fold
learns or chooses must then be the same to the byte; only its test scores may differ.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.ensemble._forest import ForestClassifier, ForestRegressor

from crossl import registry
from crossl.commands.probe import probe_run
from crossl.commands.sweep import validation_score
from crossl.config import RunConfig
from crossl.contenders import Outcome
from crossl.contenders.boosting import EachColumn
from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.evaluate.probe import Probe
from crossl.evaluate.results import ResultBook
from crossl.experiment.fold import FoldRunner, FoldTask, folds_of
from crossl.run_folder import load_run
from crossl.tasks import Task

from .conftest import CLASSES, MODALITIES, make_recording
from .targets import RULES, TASKS

METHODS = ("crossl", "untrained", "supervised", "finetuned", "subset_probes")
ADDED = {
    "simclr": "{method: {kind: simclr, hidden: 8, dim: 8}}",
    "forest": "{kind: forest, trees: 5}",
    "extra": "{kind: extra_trees, trees: 5}",
    "impute": "{kind: impute}",
    "logistic": "{kind: logistic}",
    "minirocket": "{kind: minirocket, features: 84}",
    "hydra": "{kind: hydra, groups: 2}",
    "twin": "{kind: supervised, read: probe, finetuning: {steps: 4, evaluations: 2}}",
    "tuned": "{kind: finetuned, fractions: [1.0], finetuning: {steps: 4, evaluations: 2}}",
    "other": "{kind: untrained, encoder: {kind: tcn, dim: 8}}",
    "mlp": "{kind: mlp, steps: 10, hidden: 8}",
    "rough": "{kind: pretrained, damage: {share: 1}}",
    "beside": "{features: {kernels: 1, width: 4}}",
    "begun": "{kind: transferred, run: RUN}",
    "trials": "{kind: forest, trees: 2, trials: [{trees: 4}]}",
}
BENCH = {
    "boosting": ("lightgbm", "{kind: boosting, rounds: 2}"),
    "catch22": ("pycatch22", "{kind: catch22}"),
}
"""What the extra `bench` brings."""
ADDED |= {name: text for name, (package, text) in BENCH.items() if find_spec(package)}
CONTENDERS = (*METHODS, *ADDED)
SETTINGS = (
    "evaluation.folds=3",
    f"evaluation.methods=[{','.join(METHODS)}]",
    "evaluation.heads=[aggregator,encoders]",
    "evaluation.label_fractions=[0.3,1.0]",
    "evaluation.main_fraction=0.3",
    "evaluation.label_seeds=[0]",
    "finetuning.steps=6",
    "finetuning.evaluations=3",
    "evaluation.damages=[{kind: noise, severity: 2, modalities: all}]",
    *(f"contenders.{name}={settings}" for name, settings in ADDED.items()),
)


def settings_with(run: Path) -> tuple[str, ...]:
    """Name the run that a contender begins as."""
    return tuple(one.replace("RUN", str(run)) for one in SETTINGS)


OTHER_TASKS = (
    "evaluation.heads=[aggregator]",
    "contenders={forest: {kind: forest, trees: 5}, logistic: {kind: logistic}, minirocket: "
    "{kind: minirocket, features: 84}}",
)
CALIBRATED = ("standardisation.kind=recording", "evaluation.label_fractions=[0.3]")
KEPT = ("weights.safetensors", "config.yaml", "probe.safetensors", "probe.json")
FACTS = (
    "classes",
    "statistics",
    "standardisation",
    "fold",
    "subjects",
    "modalities",
    "window_s",
    "files",
)


def nonsense(recording: Recording) -> Recording:
    """Replace signals by noise of another size, and give every label to another stretch."""
    rng = np.random.default_rng(99)
    signals = {
        name: Signal(
            np.where(np.isnan(s.values), np.nan, rng.normal(50, 30, s.values.shape)).astype("f4"),
            s.rate_hz,
        )
        for name, s in recording.signals.items()
    }
    names = np.roll([one.label for one in recording.labels], 1)
    labels = [
        LabelInterval(one.start_s, one.end_s, str(name))
        for one, name in zip(recording.labels, names, strict=True)
    ]
    return replace(recording, signals=signals, labels=labels)


@dataclass
class Learned:
    """What one fold learned and chose, and how it scored."""

    files: dict[str, bytes]
    facts: dict[str, Any]
    metrics: list[dict[str, Any]]
    fitted: dict[str, bytes]
    scores: dict[str, list[np.ndarray]]
    sweep: dict[str, Any]
    probed: list[bytes]


class Watched(FoldRunner):
    """Keeps all that contenders learned or chose."""

    def __init__(self, task: FoldTask) -> None:
        super().__init__(task)
        self.fitted: dict[str, bytes] = {}

    def _add(self, book: ResultBook, name: str, outcome: Outcome) -> None:
        super()._add(book, name, outcome)
        fraction, seed, rows = outcome.draw
        told = f"{name} {outcome.head} {fraction} {seed} {sorted(outcome.predicted)}"
        told += f" {outcome.budget}"
        assert told not in self.fitted
        assert outcome.fitted
        self.fitted[told] = pickle.dumps([plain(part) for part in outcome.fitted]) + rows.tobytes()


def plain(part: Any) -> Any:
    """Turn what was fitted into bytes and numbers."""
    if isinstance(part, dict):
        return [(name, tensor.numpy().tobytes()) for name, tensor in part.items()]
    if isinstance(part, Task):
        return repr(part)
    if isinstance(part, EachColumn):
        return [plain(getattr(one, "booster_", one)) for one in part.fitted]
    if hasattr(part, "model_to_string"):  # of LightGBM
        return part.model_to_string().encode()
    if is_dataclass(part):
        return [plain(getattr(part, f.name)) for f in fields(part)]
    if isinstance(part, ForestClassifier | ForestRegressor):
        return [tree.tree_.__getstate__()["nodes"].tobytes() for tree in part.estimators_]
    return np.asarray(part).tobytes()


@pytest.fixture(scope="module", params=["crossl", "paper", "calibrated", *TASKS])
def outcomes(
    request: pytest.FixtureRequest,
    small: Callable[..., RunConfig],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Learned, Learned]:
    """Run one fold twice: as recorded, and with nonsense for its test subjects."""
    if request.param in TASKS:
        task = f"task={TASKS[request.param]}"
        config = small("crossl", *SETTINGS[:8], *OTHER_TASKS, task)
    elif request.param == "calibrated":
        config = small("crossl", *SETTINGS[:8], *OTHER_TASKS, *CALIBRATED)
    folder = tmp_path_factory.mktemp("leaks")
    recorded = write([make_recording(number) for number in range(6)], folder / "recorded")
    if request.param in ("crossl", "paper"):
        before = pretrained_before(recorded, small, folder / "before")
        config = small(request.param, *settings_with(before))
    test = set(recorded.subject[folds_of(recorded, config)[0].test])
    spoilt = [
        nonsense(one) if one.subject in test else one
        for one in (make_recording(number) for number in range(6))
    ]
    return run(recorded, config, folder / "a"), run(write(spoilt, folder / "spoilt"), config,
                                                    folder / "b")  # fmt: skip


def pretrained_before(store: Store, small: Callable[..., RunConfig], out: Path) -> Path:
    """Pretrain a run on the fold's training people, for what begins as another."""
    FoldRunner(FoldTask(store.path, small("crossl", "evaluation.folds=3"), out, 0)).pretrained()
    return out


def relabelled(recording: Recording) -> Recording:
    """Give every label of a recording to another of its stretches."""
    names = np.roll([one.label for one in recording.labels], 1)
    return replace(recording, labels=[
        LabelInterval(one.start_s, one.end_s, str(name))
        for one, name in zip(recording.labels, names, strict=True)
    ])  # fmt: skip


def unlabelled(recording: Recording) -> Recording:
    """Take every label away."""
    return replace(recording, labels=[])


def test_of_the_strict_budget_nothing_depends_on_labels_of_validation_subjects(
    small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    recordings = [make_recording(number) for number in range(6)]
    recorded = write(recordings, tmp_path / "recorded")
    config = small("crossl", *settings_with(pretrained_before(recorded, small, tmp_path / "run")))
    alone = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"budgets": ("strict",)})}
    )
    asked = set(recorded.subject[folds_of(recorded, config)[0].validation])
    changed = {
        change.__name__: [change(one) if one.subject in asked else one for one in recordings]
        for change in (relabelled, unlabelled)
    }
    stores = {name: write(some, tmp_path / name) for name, some in changed.items()}
    fitted = []
    for store, how in (
        (recorded, config), (stores["relabelled"], config), (stores["unlabelled"], alone)
    ):  # fmt: skip
        runner = Watched(FoldTask(store.path, how, tmp_path / f"{store.path.name}-fold", 0))
        runner.run()
        fitted.append(runner.fitted)
    one, other, nobody = ({name: held for name, held in each.items() if name.endswith(" strict")}
                          for each in fitted)  # fmt: skip
    assert len(one) == len(fitted[0]) // 2
    assert [name for name, held in one.items() if held != other[name]] == []
    assert [name for name, held in one.items() if held != nobody[name]] == []
    chosen = [name for name in fitted[0].keys() - one.keys() if fitted[0][name] != fitted[1][name]]
    assert chosen  # of the other budget something does


def write(recordings: Sequence[Recording], out: Path) -> Store:
    return write_store(
        recordings, out, modalities=MODALITIES, classes=CLASSES,
        spec=WindowSpec(window_s=2.0, stride_s=2.0), about={"dataset": "tiny", "reader": "none"},
        targets=RULES,
    )  # fmt: skip


def run(store: Store, config: RunConfig, out: Path) -> Learned:
    task = FoldTask(store.path, config, out, 0)
    runner = Watched(task)
    runner.run()
    contract = json.loads((out / "model.json").read_text())
    # of the fold, and of contenders that pretrain in folders of their own
    kept = sorted(out.rglob("metrics.jsonl"))
    assert len(kept) == 1 + ("simclr" in config.contenders)
    lines = [line for path in kept for line in path.read_text().splitlines()]
    scores = {
        name: [entry.confusion for entry in ResultBook.load(task.scores(name)).entries]
        for name in task.names
    }
    held = load_run(out).model
    files = {name: (out / name).read_bytes() for name in KEPT}
    probe_run(out, store.path, label_fraction=0.5)
    return Learned(
        files=files,
        facts={name: contract.get(name) for name in FACTS},
        metrics=[json.loads(line) for line in lines],
        fitted=runner.fitted,
        scores=scores,
        sweep=validation_score(held, runner.store, runner.fold, config),
        probed=[(out / name).read_bytes() for name in KEPT],
    )


def test_the_stores_differ_in_their_test_subjects_enough_to_tell(
    outcomes: tuple[Learned, Learned],
) -> None:
    recorded, spoilt = outcomes
    for method in recorded.scores:
        pairs = zip(recorded.scores[method], spoilt.scores[method], strict=True)
        assert any(not np.array_equal(a, b) for a, b in pairs), method


def test_pretraining_does_not_depend_on_test_subjects(outcomes: tuple[Learned, Learned]) -> None:
    recorded, spoilt = outcomes
    assert recorded.files["weights.safetensors"] == spoilt.files["weights.safetensors"]
    assert recorded.metrics == spoilt.metrics
    assert all("val/loss" in line for line in recorded.metrics)


def test_what_the_run_folder_keeps_does_not_depend_on_test_subjects(
    outcomes: tuple[Learned, Learned],
) -> None:
    recorded, spoilt = outcomes
    assert recorded.files == spoilt.files
    assert recorded.facts == spoilt.facts


def test_no_classifier_and_no_choice_depends_on_test_subjects(
    outcomes: tuple[Learned, Learned],
) -> None:
    recorded, spoilt = outcomes
    assert len(recorded.fitted) >= 2 * len(recorded.scores)
    assert recorded.fitted.keys() == spoilt.fitted.keys()
    differing = [name for name, held in recorded.fitted.items() if held != spoilt.fitted[name]]
    assert differing == []


def test_neither_a_probe_nor_a_trial_of_a_sweep_depends_on_test_subjects(
    outcomes: tuple[Learned, Learned],
) -> None:
    recorded, spoilt = outcomes
    assert recorded.probed == spoilt.probed
    assert recorded.sweep == spoilt.sweep


def test_classifiers_carry_what_validation_subjects_said_of_them() -> None:
    """Without a score beside it, a choice by test subjects could pass for the same choice."""
    from crossl.train.finetune import LinearHead
    from crossl.train.mlp_head import MlpHead

    for kind in (Probe, LinearHead, MlpHead):
        assert "validation_score" in {field.name for field in fields(kind)}


def test_every_kind_of_task_is_tried_here() -> None:
    assert {"classes", *TASKS} == set(registry.TASKS)


def test_every_kind_of_contender_is_tried_here() -> None:
    tried = {settings.get("kind", "pretrained") for settings in map(yaml.safe_load, ADDED.values())}
    missing = {name for name, (package, _) in BENCH.items() if not find_spec(package)}
    assert tried == set(registry.CONTENDERS) - missing
