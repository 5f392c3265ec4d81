"""`crossl evaluate`: a run's classifier and its baselines under every subset of sensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossl.commands.other_store import Scored, evaluate_elsewhere
from crossl.commands.probe import open_pair
from crossl.config import RunConfig, with_overrides
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError, FormatError
from crossl.evaluate.probe import Probe
from crossl.experiment.collect import collect
from crossl.experiment.fold import FoldRunner, FoldTask, Progress, folds_of, named, quiet
from crossl.files import telling_what_is_kept, working_in
from crossl.run_folder import Run, load_probe


def _check_fold(run: Run, store: Store) -> None:
    """Refuse to score another fold than the one that the run was trained on.

    Raises:
        FormatError: `model.json` names other people than its fold has.
    """
    folds, number = folds_of(store, run.config), run.contract["fold"]
    fold = folds[number] if number < len(folds) else None
    for part, told in run.contract["subjects"].items():
        rows = getattr(fold, part, None)
        if rows is None or np.unique(store.subject[rows]).tolist() != sorted(told):
            raise FormatError(
                f"{run.path / 'model.json'}: names {part} subjects that fold {number} of the store "
                "does not have; its scores would leak, train again"
            )


def _on_its_fold(kept: Mapping[str, Any], run: Run) -> bool:
    """Whether a probe was fitted on people who trained the run, and chosen by who chose it."""
    told, own = kept.get("subjects"), run.contract["subjects"]
    if told is None:
        return True
    return set(told["train"]) <= set(own["train"]) and told["validation"] == own["validation"]


def _refuse_overrides(overrides: Sequence[str]) -> None:
    for override in overrides:
        if override.split("=")[0].strip() != "evaluation.damages":
            raise ConfigError(
                f"--set {override}: a run is trained already; allowed is evaluation.damages=..."
            )


def _kept_facts(path: Path) -> dict[str, Any]:
    """Read what is kept of a probe; a score must name how many labels it had, and which."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for key in ("label_fraction", "seed"):
        if kept.get(key) is None:
            raise FormatError(
                f"{path}: does not say its {key}, which a score must name; run `crossl probe` again"
            )
    return kept


def _refuse_other_classifier(
    run_path: Path, store_path: Path, run: Run, kept: Mapping[str, Any]
) -> None:
    """Refuse a classifier of another store than the run's, or of other people than its fold."""
    own = run.contract.get("store_sha256")
    if kept.get("store_sha256", own) != own:
        raise ContractError(
            f"{run_path}: its classifier is of another store ({kept['dataset']}); evaluate it "
            f"there, or fit one here: crossl probe {run_path} --store {store_path}"
        )
    if not _on_its_fold(kept, run):
        raise ContractError(
            f"{run_path}: its classifier was fitted on other people than the run's fold; score it "
            "by crossl.evaluate_subsets in Python, or fit one on the fold: crossl probe "
            f"{run_path} --store {store_path}"
        )


def _config_of(
    run: Run, probe: Probe, kept: Mapping[str, Any], overrides: Sequence[str]
) -> RunConfig:
    """Return the run's settings, to score the labels and the head that its probe had."""
    evaluation = with_overrides(run.config, overrides).evaluation.model_copy(update={
        "label_fractions": (kept["label_fraction"],),
        "main_fraction": kept["label_fraction"],
        "label_seeds": (kept["seed"],),
        "heads": (probe.head,),
    })  # fmt: skip
    return run.config.model_copy(update={"evaluation": evaluation, "task": probe.task.settings})


def evaluate_run(
    run_path: Path,
    store_path: Path,
    *,
    same_names: bool = False,
    overrides: Sequence[str] = (),
    progress: Progress = quiet,
) -> Scored | None:
    """Score a run's probe under every subset, with its baselines, into the run folder.

    Baselines get the labels that the probe got. On another store than the run's, the probe alone
    is scored, on people that nothing was learned from.

    Args:
        run_path: the run.
        store_path: windows.
        same_names: people of another store are others, whatever their names.
        overrides: `evaluation.damages=...`, which damages to score.
        progress: called with what is being done, and the share of all.

    Returns:
        None for the run's own store; what was scored, and on whom, for another.

    Raises:
        ContractError: a store that does not fit the model, or the run's own while its probe is of
            another.
        FormatError: the run has no probe.
        SplitError: another store has nobody but those who were learned from.
        ConfigError: an override of something else, or damages on another store.
    """
    _refuse_overrides(overrides)
    run, fitted = open_pair(run_path, store_path)
    store = fitted.store
    probe, _ = load_probe(run_path)
    kept = _kept_facts(run_path / "probe.json")
    own = run.contract.get("store_sha256")
    if store.hash != own and overrides:
        raise ConfigError(
            f"--set {overrides[0]}: damages are scored on the run's own store; {store_path} is "
            "another"
        )
    if store.hash != own:
        return evaluate_elsewhere(run, fitted, probe, kept, same_names=same_names)
    _refuse_other_classifier(run_path, store_path, run, kept)
    config = _config_of(run, probe, kept, overrides)
    _check_fold(run, store)
    seen = run.model.modalities if fitted.unseen else None
    task = FoldTask(store_path, config, run_path, run.contract["fold"], modalities=seen)
    scores = [task.scores(name) for name in config.evaluation.methods]
    with (
        working_in(run_path, "is evaluating this run"),
        telling_what_is_kept(run_path, lambda: any(path.is_file() for path in scores)),
    ):
        FoldRunner(task, named(progress, task)).run()
        progress(f"fold {task.fold}: collecting results", 0.99)
        collect(store, config, run_path, [task])
    return None
