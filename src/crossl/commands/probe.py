"""`crossl probe`: a linear classifier on a run's frozen embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from crossl.commands.other_store import Elsewhere, Note, fold_elsewhere, refuse_nonsense
from crossl.config import with_overrides
from crossl.contenders.contender import latent_table
from crossl.data.calibrated import recorded
from crossl.data.contract import Fitted, fit_store
from crossl.data.splits import fold_from_subjects
from crossl.data.store import Store
from crossl.doctor.usable import usable_facts
from crossl.errors import ConfigError, nearest
from crossl.evaluate.confidence import Temperatures, reliability_by_set
from crossl.evaluate.latents import HEADS, Head, LatentTable
from crossl.evaluate.metrics import Interval, bootstrap_score
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.probe import Probe, fit_probe
from crossl.evaluate.probe_facts import probe_facts, told_of
from crossl.files import working_in, write_signed_json
from crossl.report.confidence import FILE as RELIABILITY
from crossl.report.confidence import FORMAT
from crossl.run_folder import Run, load_run, run_facts, save_probe
from crossl.tasks import Task, task_of

OF_A_PROBE = ("scores-*.npz", "summary.json", "results.jsonl", "figures.npz", RELIABILITY)
"""Files of a run that are of its classifier: another one writes them again."""

RELIABILITY_IS = {"format": FORMAT, "version": 1}


def open_pair(run_path: Path, store_path: Path) -> tuple[Run, Fitted]:
    """Load a run, and a store as its model sees it."""
    run, store = load_run(run_path), Store.open(store_path)
    fitted = fit_store(
        store, run.model.modalities, window_s=run.model.window_s, calibration=run.calibration
    )
    return run, fitted


def probe_run(
    run_path: Path,
    store_path: Path,
    *,
    label_fraction: float,
    head: str = "aggregator",
    label_seed: int = 0,
    elsewhere: Elsewhere | None = None,
    overrides: Sequence[str] = (),
    note: Note = lambda _sentence: None,
) -> tuple[Task, Interval]:
    """Fit a probe on the run's training subjects, keep it, and score it on its test subjects.

    With `elsewhere`, on subjects of another store, which may lack modalities of the run. What is
    learned is the run's task, as `overrides` (`task.KEY=VALUE`) change it.

    Returns:
        The task and the score of its main metric.

    Raises:
        ContractError: another store than the run's, where that is not said; or one that does not
            fit the model.
        SplitError: a test subject of another store has the name of a person who trained the run.
        ConfigError: unknown head, or a task that the store has no target for.
    """
    run, fitted = open_pair(run_path, store_path)
    store = fitted.store
    refuse_nonsense(run, store, elsewhere)
    if head not in HEADS:
        raise ConfigError(f"head '{head}': unknown; {nearest(head, HEADS)}")
    if elsewhere is None:
        fold = fold_from_subjects(store.subject, **run.contract["subjects"])
    else:
        fold = fold_elsewhere(run, store, elsewhere)
    for sentence in fitted.notes:
        note(sentence)
    task = _task_asked(run, store, overrides)
    rows = task.draw(
        task.values(store), fold.train, store.subject, fraction=label_fraction, seed=label_seed
    )
    train, validation, test = (
        latent_table(run.model, store, r, task) for r in (rows, fold.validation, fold.test)
    )
    probe = fit_probe(train, validation, head=cast(Head, head), seed=label_seed)
    about: dict[str, Any] = {
        "label_fraction": label_fraction, "seed": label_seed, "windows": len(rows),
        **probe_facts(probe, train, validation, store),
        **usable_facts(store.modalities, recorded(store),
                       np.union1d(fold.train, fold.validation)),
    }  # fmt: skip
    if elsewhere is not None:
        about |= {key: value for key, value in run_facts(store, fold).items()
                  if key in ("dataset", "store_sha256", "fold", "subjects")}  # fmt: skip
    _keep(run_path, probe, test, about)
    for sentence in told_of(about):
        note(sentence)
    (found,) = predict_subsets([probe], test, [tuple(range(test.present.shape[1]))])
    _, counts = task.by_subject(test.label, next(iter(found.values())), test.subject)
    return task, bootstrap_score(counts[None], task.metric)


def _task_asked(run: Run, store: Store, overrides: Sequence[str]) -> Task:
    """Return what is learned: the run's task, as overrides change it."""
    for override in overrides:
        if override.split("=")[0].split(".")[0].strip() != "task":
            raise ConfigError(
                f"--set {override}: a run is trained already; allowed is task.KEY=VALUE"
            )
    return task_of(with_overrides(run.config, overrides).task, store)


def _keep(run_path: Path, probe: Probe, test: LatentTable, about: dict[str, Any]) -> None:
    """Write a probe into its run; what was of the probe before goes."""
    with working_in(run_path, "is writing into this run"):
        for name in OF_A_PROBE:
            for stale in run_path.glob(name):
                stale.unlink()
        save_probe(run_path, probe, about=about)
        _keep_reliability(run_path, probe, test, about)


def _keep_reliability(
    run_path: Path, probe: Probe, test: LatentTable, about: Mapping[str, Any]
) -> None:
    """Measure on test subjects how sure a probe is and how often it is right, and write it down."""
    if "temperatures" not in about:
        return
    sets = reliability_by_set(probe, test, Temperatures.from_dict(about["temperatures"]))
    facts = {"label_fraction": float(about["label_fraction"]), "sets": sets,
             "people": len(np.unique(test.subject))}  # fmt: skip
    if sets:
        write_signed_json(run_path / RELIABILITY, {**RELIABILITY_IS, **facts})
