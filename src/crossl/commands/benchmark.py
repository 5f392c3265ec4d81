"""`crossl benchmark` and `demo`: every fold of an experiment, then what joins them."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossl.cluster import Cluster
from crossl.config import RunConfig, tried
from crossl.contenders import contender_hashes
from crossl.data.store import Store
from crossl.errors import SplitError
from crossl.evaluate.budgets import VALIDATION
from crossl.experiment.collect import collect
from crossl.experiment.fold import (
    FoldRunner,
    FoldTask,
    Progress,
    fold_folder,
    fold_numbers,
    folds_of,
    named,
    quiet,
)
from crossl.files import telling_what_is_kept, working_in
from crossl.run_folder import begin
from crossl.tasks import task_of
from crossl.workers import CONTEXT, worker_processes


def run_experiment(
    store_path: Path,
    config: RunConfig,
    out: Path,
    *,
    folds: str = "all",
    workers: int | None = None,
    cluster: Cluster | None = None,
    command: str = "",
    progress: Progress = quiet,
) -> None:
    """Run folds of an experiment, at the same time where cores allow, and collect them.

    Args:
        store_path: a prepared store.
        config: what to run.
        out: folder of the experiment; one that was begun is resumed.
        folds: `all`, or numbers from 0, such as `0,2`.
        workers: folds computed at the same time; default: one per core.
        cluster: where folds are computed instead, which has its own `workers`.
        command: how to remake it, for the report.
        progress: called with what each fold does; on a cluster, with how many are done.

    Raises:
        ClusterError: there is no such cluster.
    """
    store = Store.open(store_path)
    numbers = fold_numbers(folds, len(folds_of(store, config)))
    repeats = range(config.evaluation.pretraining_seeds)
    tasks = [FoldTask(store_path, config, fold_folder(out, n, r), n, repeat=r)
             for r in repeats for n in numbers]  # fmt: skip
    if not all(task.done for task in tasks):
        _refuse_contenders(config)
        _refuse_unlabelled(store, config, numbers)
    with working_in(out, "is running an experiment in this folder"):
        begin(store, config, out, command=command)
        with telling_what_is_kept(out, lambda: any(task.begun for task in tasks)):
            open_tasks = [task for task in tasks if not task.done]
            _run(open_tasks, workers, cluster, progress)
            if open_tasks or not _is_collected(out, numbers, config):
                progress("all folds: collecting", 1.0)
                collect(store, config, out, tasks)


def _refuse_contenders(config: RunConfig) -> None:
    """Refuse, before anything is written, contenders that lack a package or a run."""
    for name, settings in config.contenders.items():
        told = f"contenders.{name}"
        for number, one in enumerate(tried(name, settings, config, where=told)):
            one.build(name)
            one.look_up(where=f"{told}: trial {number}" if number else told)


def _refuse_unlabelled(store: Store, config: RunConfig, numbers: Sequence[int]) -> None:
    """Refuse, before hours of pretraining, folds in which those who choose have no label."""
    task = task_of(config.task, store)
    known, folds = task.known(task.values(store)), folds_of(store, config)
    if not known.any():
        raise SplitError(
            f"{store.path}: no window has a label, and classifiers are to be compared; `crossl "
            "pretrain` needs none"
        )
    names = (*config.evaluation.methods, *config.contenders)
    if not any(VALIDATION in config.budgets_of(name) for name in names):
        return
    for number in numbers:
        rows = folds[number].validation
        if not known[rows].any():
            people = ", ".join(np.unique(store.subject[rows]))
            raise SplitError(
                f"fold {number}: its validation subjects ({people}) have no labelled window, and "
                "label budget 'validation' lets them choose; set evaluation.budgets to [strict], "
                "which uses none of their labels, or another evaluation.fold_seed"
            )


def check_experiment(store_path: Path, config: RunConfig, out: Path, folds: str) -> None:
    """Refuse an experiment that could not be run, before anything is computed or written.

    Args:
        store_path: a prepared store.
        config: what to run.
        out: its folder, which may not exist yet.
        folds: `all`, or numbers.

    Raises:
        ConfigError: there are no such folds.
        DataError: the folder holds another experiment, or the store cannot be read.
        PackageError: a contender lacks its package.
        SplitError: there are too few subjects, or validation subjects without labels are to choose.
    """
    store = Store.open(store_path)
    numbers = fold_numbers(folds, len(folds_of(store, config)))
    _refuse_contenders(config)
    _refuse_unlabelled(store, config, numbers)
    if (out / "experiment.json").is_file():
        begin(store, config, out, command="")  # it is there: nothing is written


def _is_collected(out: Path, folds: list[int], config: RunConfig) -> bool:
    """Tell whether the summary is of these folds, contenders and damages; it is written last."""
    path = out / "summary.json"
    if not path.is_file():
        return False
    summary = json.loads(path.read_text(encoding="utf-8"))
    seeds = [config.seed + i for i in range(config.evaluation.pretraining_seeds)]
    damages = [one.model_dump(mode="json") for one in config.evaluation.damages]
    return bool(
        summary["folds_run"] == folds
        and summary.get("contenders", {}) == contender_hashes(config)
        and summary.get("pretraining_seeds", seeds[:1]) == seeds
        and summary.get("damages", []) == damages
        and summary["main"].get("budget") == config.evaluation.reported_budget
    )


def _run(
    tasks: Sequence[FoldTask], workers: int | None, cluster: Cluster | None, progress: Progress
) -> None:
    """Compute folds on a cluster, in processes of their own, or one after the other."""
    count = min(workers or os.cpu_count() or 1, len(tasks))
    if cluster is not None and tasks:
        calls = [(_found_anywhere(task), cluster.cpus) for task in tasks]
        progress("folds: starting", 0.0)
        for done, _ in enumerate(cluster.completed(run_fold, calls), start=1):
            progress(f"folds: {done} of {len(tasks)} done", done / len(tasks))
    elif count > 1:
        _run_parallel(tasks, count, progress)
    else:
        for task in tasks:
            _run_fold(task, named(progress, task))


def _found_anywhere(task: FoldTask) -> FoldTask:
    return replace(task, store=task.store.resolve(), folder=task.folder.resolve())


def run_fold(task: FoldTask, cpus: int) -> None:
    """Compute one fold on a worker of a cluster; one that was killed resumes."""
    torch.set_num_threads(cpus)
    _run_fold(task, quiet)


def _run_fold(task: FoldTask, progress: Progress) -> None:
    with working_in(task.folder, "is running this fold"):
        FoldRunner(task, progress).run()


def _run_parallel(tasks: Sequence[FoldTask], workers: int, progress: Progress) -> None:
    """Compute folds in processes of their own, each with its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    told = CONTEXT.Queue()
    with worker_processes(workers, _set_up_worker, threads, told) as pool:
        _watch([pool.submit(_run_in_worker, task) for task in tasks], told, progress)


def _watch(futures: list[Future[None]], told: Any, progress: Progress) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        while True:
            try:
                progress(*told.get_nowait())
            except queue.Empty:
                break
        for future in done:
            future.result()


_TOLD: list[Any] = []
"""In a worker: the queue that its progress goes to."""


def _set_up_worker(threads: int, told: Any) -> None:
    torch.set_num_threads(threads)
    _TOLD[:] = [told]


def _run_in_worker(task: FoldTask) -> None:
    _run_fold(task, named(lambda *what: _TOLD[0].put(what), task))
