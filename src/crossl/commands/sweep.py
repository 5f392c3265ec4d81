"""Sweep: settings tried one by one or on a cluster, judged by validation subjects alone.

A trial pretrains one fold in a run folder of its own, named by its settings. Its score is the
main metric of a linear probe on the fold's validation subjects; the fold's test subjects are not
looked at, so that what is chosen here can still be tested on them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from crossl.cluster import Cluster
from crossl.commands.pretrain import pretrain_run
from crossl.config import RunConfig
from crossl.contenders.contender import latent_table
from crossl.data.calibrated import calibrated
from crossl.data.manifest import read_manifest
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError, TrainingError
from crossl.evaluate.probe import fit_probe
from crossl.experiment.fold import Progress, folds_of, quiet
from crossl.files import json_sha256, read_json, working_in, write_whole
from crossl.nn.model import CrossModalModel
from crossl.run_folder import known_by, load_run
from crossl.stored import StoredTrial, check_stored
from crossl.tasks import task_of

Settings: TypeAlias = tuple[tuple[str, str], ...]
"""The varied keys of a trial, with their values as text."""


@dataclass(frozen=True)
class Trial:
    """One point of the grid.

    Attributes:
        settings: what was varied.
        config: all of it.
        fold: whose training subjects it learns from.
    """

    settings: Settings
    config: RunConfig
    fold: int

    @property
    def name(self) -> str:
        """Name its folder by everything that decides it but the data."""
        facts = {"config": known_by(self.config), "fold": self.fold}
        return f"trial-{json_sha256(facts)[:12]}"


def plan_trials(
    grid: Sequence[str],
    load: Callable[[list[str]], RunConfig],
    *,
    fold: int = 0,
    samples: int | None = None,
    seed: int = 0,
) -> list[Trial]:
    """Cross the values of every key, and check every point before any is tried.

    Args:
        grid: each `key=value,value`; a value in brackets may hold commas.
        load: makes a config of overrides `key=value`.
        fold: whose training subjects all learn from.
        samples: try so many points, drawn without putting back; None for all.
        seed: of that draw.

    Raises:
        ConfigError: not a grid, or a point that no run may have.
    """
    axes = [_parse_axis(text) for text in grid]
    keys = [key for key, _ in axes]
    if not axes or len(set(keys)) < len(keys):
        raise ConfigError(f"--grid: got keys {keys}; at least one is needed, each once")
    points = list(itertools.product(*([(key, value) for value in values] for key, values in axes)))
    if samples is not None and samples < len(points):
        drawn = np.random.default_rng(seed).choice(len(points), size=samples, replace=False)
        points = [points[i] for i in sorted(drawn.tolist())]
    try:
        trials = [Trial(p, load([f"{key}={value}" for key, value in p]), fold) for p in points]
    except ConfigError as error:
        raise ConfigError(f"--grid {str(error).removeprefix('--set ')}") from error
    return list({trial.name: trial for trial in trials}.values())


def _parse_axis(text: str) -> tuple[str, list[str]]:
    """Split `key=value,value`.

    Examples:
        >>> _parse_axis("schedule.lr=1e-3,2e-3")
        ('schedule.lr', ['1e-3', '2e-3'])
        >>> _parse_axis("method.augmentation={jitter: 0.1, scale: 0},{jitter: 0}")
        ('method.augmentation', ['{jitter: 0.1, scale: 0}', '{jitter: 0}'])
    """
    key, equals, rest = text.partition("=")
    key, values, depth = key.strip(), [""], 0
    for letter in rest:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            values.append("")
        else:
            values[-1] += letter
    values = [value.strip() for value in values]
    if not (key and equals and all(values)):
        raise ConfigError(f"--grid: got '{text}'; allowed is key=value,value")
    if key.split(".")[0] in ("evaluation", "recipe"):
        raise ConfigError(
            f"--grid {key}: would make scores that cannot be compared; set it for all trials"
        )
    return key, values


def sweep(
    store_path: Path,
    out: Path,
    trials: Sequence[Trial],
    *,
    cpus: int = 1,
    cluster: Cluster | None = None,
    progress: Progress = quiet,
) -> list[dict[str, Any]]:
    """Run trials that were not run yet, and write `out/sweep.jsonl`, the best first.

    Args:
        store_path: a prepared store.
        out: folder of the sweep; each trial has a run folder in it.
        trials: what to try.
        cpus: threads of a trial. The last bits of what is learned may depend on it.
        cluster: where trials run; None for here, one after another.
        progress: called with what is being done.

    Returns:
        A record per trial: settings, score, and where the run is. A trial whose loss was not
        finite has no score, and its record says why.

    Raises:
        CrosslError: what one of the runs refused.
    """
    with working_in(out, "is running a sweep in this folder"):
        return _sweep(store_path, out, trials, cpus=cpus, cluster=cluster, progress=progress)


def _sweep(
    store_path: Path,
    out: Path,
    trials: Sequence[Trial],
    *,
    cpus: int,
    cluster: Cluster | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    calls = [(store_path.resolve(), out.resolve(), trial, cpus) for trial in trials]
    records = []
    done = _here(calls, progress) if cluster is None else cluster.completed(run_trial, calls)
    for record in done:
        records.append(record)
        progress("trials: done", len(records) / len(trials))
    records.sort(key=_rank)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_whole(out / "sweep.jsonl", lines.encode())
    return records


def _rank(record: dict[str, Any]) -> tuple[bool, float, str]:
    """Order trials by their score, the best first; equal ones by name, those without one last."""
    score = record["score"]
    if score is None:
        return True, 0.0, record["trial"]
    return False, score if record.get("lower_is_better") else -score, record["trial"]


def _here(
    calls: Iterable[tuple[Path, Path, Trial, int]], progress: Progress
) -> Iterator[dict[str, Any]]:
    for call in calls:
        name = call[2].name

        def tell(what: str, share: float, name: str = name) -> None:
            progress(f"{name}: {what}", share)

        yield run_trial(*call, progress=tell)


def run_trial(
    store_path: Path, out: Path, trial: Trial, cpus: int, progress: Progress = quiet
) -> dict[str, Any]:
    """Pretrain and score one trial, or return what was found when it was run before.

    One that was killed resumes from its last checkpoint.
    """
    folder = out / trial.name
    store_sha256 = read_manifest(store_path)["sha256"]
    kept = _read_record(folder / "trial.json", store_sha256)
    if kept is not None:
        return kept
    before = torch.get_num_threads()
    torch.set_num_threads(cpus)
    try:
        record = _run(store_path, folder, trial, progress)
    finally:
        torch.set_num_threads(before)
    record |= {"store_sha256": store_sha256, "threads": cpus}
    write_whole(folder / "trial.json", (json.dumps(record) + "\n").encode())
    return record


def _run(store_path: Path, folder: Path, trial: Trial, progress: Progress) -> dict[str, Any]:
    record: dict[str, Any] = {
        "trial": trial.name,
        "score": None,
        "settings": dict(trial.settings),
        "fold": trial.fold,
    }
    try:
        pretrain_run(store_path, trial.config, folder, fold=trial.fold, progress=progress)
    except TrainingError as error:  # such as a learning rate that is too high: that is a result
        return {**record, "error": str(error)}
    run = load_run(folder)
    store = calibrated(Store.open(store_path), run.calibration)
    fold = folds_of(store, trial.config)[trial.fold]
    return {
        **record,
        **validation_score(run.model, store, fold, trial.config),
        "weights_sha256": run.contract["files"]["weights.safetensors"],
    }


def validation_score(
    model: CrossModalModel, store: Store, fold: Fold, config: RunConfig
) -> dict[str, Any]:
    """Score a model by probes on training labels, asked of validation subjects.

    As in an experiment, a probe gets `evaluation.main_fraction` of the labels, once per
    `evaluation.label_seeds`; validation subjects also choose its regularisation.

    Returns:
        `score`, the mean of the task's main metric, and how it came about.
    """
    e = config.evaluation
    task = task_of(config.task, store)
    target = task.values(store)
    validation = latent_table(model, store, fold.validation, task)
    scores = []
    for seed in e.label_seeds:
        rows = task.draw(target, fold.train, store.subject, fraction=e.main_fraction, seed=seed)
        train = latent_table(model, store, rows, task)
        probe = fit_probe(train, validation, head=e.heads[0], seed=seed)
        scores.append(probe.validation_score)
    return {
        "score": float(np.mean(scores)),
        "scores": scores,
        "metric": f"{task.label()} of a linear probe on validation subjects",
        **({"lower_is_better": True} if task.lower_is_better else {}),
        "label_fraction": e.main_fraction,
        "validation_subjects": np.unique(store.subject[fold.validation]).tolist(),
    }


def _read_record(path: Path, store_sha256: str) -> dict[str, Any] | None:
    """Read what a finished trial left, if it is of this store."""
    if not path.is_file():
        return None
    cure = "delete it, the run stays"
    record = dict(check_stored(read_json(path, cure=cure), StoredTrial, path, cure=cure))
    return record if record["store_sha256"] == store_sha256 else None
