"""What the command line's verbs do, one function each, from paths to files."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from crossl.collect import collect
from crossl.config import RunConfig
from crossl.contenders import contender_hashes
from crossl.contenders.contender import latent_table
from crossl.data.contract import Fitted, fit_store
from crossl.data.splits import draw_labels, fold_from_subjects
from crossl.data.store import Store
from crossl.elsewhere import (
    Elsewhere,
    Note,
    Scored,
    evaluate_elsewhere,
    fold_elsewhere,
    refuse_nonsense,
)
from crossl.errors import ConfigError, ContractError, FormatError, nearest
from crossl.evaluate.metrics import Interval, bootstrap_score, confusion_by_subject, macro_f1
from crossl.experiment import (
    FoldRunner,
    FoldTask,
    Progress,
    folds_of,
    quiet,
)
from crossl.files import telling_what_is_kept, working_in
from crossl.learn.latents import HEADS, Head
from crossl.learn.probe import fit_probe
from crossl.learn.processes import Processes
from crossl.run import (
    Run,
    begin,
    forgotten_if_refused,
    load_probe,
    load_run,
    run_facts,
    save_probe,
)
from crossl.workers import CONTEXT, worker_processes

OF_A_PROBE = ("scores-*.npz", "summary.json", "results.jsonl", "figures.npz")
"""Files of a run that are of its classifier: another one makes them anew."""


def run_experiment(
    store_path: Path,
    config: RunConfig,
    out: Path,
    *,
    folds: str = "all",
    workers: int | None = None,
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
        command: how to remake it, for the report.
        progress: told what each fold does.
    """
    store = Store.open(store_path)
    numbers = _fold_numbers(folds, len(folds_of(store, config)))
    with working_in(out, "is running an experiment in this folder"):
        begin(store, config, out, command=command)
        tasks = [FoldTask(store_path, config, out / f"fold-{n}", n) for n in numbers]
        with telling_what_is_kept(out, lambda: any(task.begun for task in tasks)):
            open_tasks = [task for task in tasks if not task.done]
            count = min(workers or os.cpu_count() or 1, len(open_tasks))
            if count > 1:
                _run_parallel(open_tasks, count, progress)
            else:
                for task in open_tasks:
                    _run_fold(task, _named(progress, task))
            if open_tasks or not _is_collected(out, numbers, config):
                progress("all folds: collecting", 1.0)
                collect(store, config, out, tasks)


def _is_collected(out: Path, folds: list[int], config: RunConfig) -> bool:
    """Tell whether the summary is of these folds and contenders; it is written last of all."""
    path = out / "summary.json"
    if not path.is_file():
        return False
    summary = json.loads(path.read_text(encoding="utf-8"))
    wanted = contender_hashes(config)
    return bool(summary["folds_run"] == folds and summary.get("contenders", {}) == wanted)


def _fold_numbers(text: str, available: int) -> list[int]:
    if text == "all":
        return list(range(available))
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise ConfigError(f"folds: got '{text}'; allowed are 'all' or numbers as 0,2") from error
    if not numbers or numbers[0] < 0 or numbers[-1] >= available:
        raise ConfigError(
            f"folds: got '{text}'; allowed are 0 to {available - 1}, there "
            f"{'is 1 fold' if available == 1 else f'are {available} folds'}"
        )
    return numbers


def _named(progress: Progress, task: FoldTask) -> Progress:
    return lambda what, share: progress(f"fold {task.fold}: {what}", share)


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
    _run_fold(task, _named(lambda *what: _TOLD[0].put(what), task))


def pretrain_run(
    store_path: Path,
    config: RunConfig,
    out: Path,
    *,
    fold: int = 0,
    processes: Processes | None = None,
    progress: Progress = quiet,
) -> None:
    """Pretrain on one fold's training subjects into a run folder.

    Of several processes each calls this alike, and the first writes.

    Raises:
        DataError: the folder holds another run.
        ConfigError: no such fold.
    """
    store = Store.open(store_path)
    _fold_numbers(str(fold), len(folds_of(store, config)))
    processes = processes or Processes()
    task = FoldTask(store_path, config, out, fold, processes)
    if not processes.writes:
        FoldRunner(task).pretrained()
        return
    command = f"crossl pretrain {store_path} --out {out} --fold {fold}"
    # a fold's pretraining is its first half, and here it is all
    told = _named(lambda what, share: progress(what, min(1.0, 2 * share)), task)
    with working_in(out, "is training in this folder"):
        begin(store, config, out, command=command, fold=fold)
        with forgotten_if_refused(out):
            FoldRunner(task, told).pretrained()


def _open_pair(run_path: Path, store_path: Path) -> tuple[Run, Fitted]:
    run, store = load_run(run_path), Store.open(store_path)
    return run, fit_store(store, run.model.modalities, window_s=run.model.window_s)


def probe_run(
    run_path: Path,
    store_path: Path,
    *,
    label_fraction: float,
    head: str = "aggregator",
    label_seed: int = 0,
    elsewhere: Elsewhere | None = None,
    note: Note = lambda _sentence: None,
) -> Interval:
    """Fit a probe on the run's training subjects, keep it, and score it on its test subjects.

    With `elsewhere`, on subjects of another store, which may lack modalities of the run.

    Raises:
        ContractError: another store than the run's, where that is not said; or one that does not
            fit the model.
        SplitError: a test subject of another store has the name of somebody who trained the run.
        ConfigError: unknown head.
    """
    run, fitted = _open_pair(run_path, store_path)
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
    rows = draw_labels(
        store.label, fold.train, fraction=label_fraction, seed=label_seed,
        classes=len(store.classes),
    )  # fmt: skip
    train, validation, test = (
        latent_table(run.model, store, r) for r in (rows, fold.validation, fold.test)
    )
    probe = fit_probe(train, validation, head=cast(Head, head), seed=label_seed)
    about = {"label_fraction": label_fraction, "seed": label_seed, "windows": len(rows)}
    if elsewhere is not None:
        about |= {key: value for key, value in run_facts(store, fold).items()
                  if key in ("dataset", "store_sha256", "fold", "subjects")}  # fmt: skip
    with working_in(run_path, "is writing into this run"):
        for name in OF_A_PROBE:
            for stale in run_path.glob(name):
                stale.unlink()
        save_probe(run_path, probe, classes=store.classes, about=about)
    predicted = probe.predict(test.embed(probe.head))
    _, counts = confusion_by_subject(
        test.label, predicted, test.subject, classes=len(store.classes)
    )
    return bootstrap_score(counts[None], macro_f1)


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


def evaluate_run(
    run_path: Path, store_path: Path, *, same_names: bool = False, progress: Progress = quiet
) -> Scored | None:
    """Score a run's probe under every subset, with its baselines, into the run folder.

    Baselines get the labels that the probe got. On another store than the run's, the probe alone
    is scored, on people that nothing was learned from.

    Returns:
        None for the run's own store; what was scored, and on whom, for another.

    Raises:
        ContractError: a store that does not fit the model, or the run's own while its probe is of
            another.
        FormatError: the run has no probe.
        SplitError: another store has nobody but those who were learned from.
    """
    run, fitted = _open_pair(run_path, store_path)
    store = fitted.store
    probe, _ = load_probe(run_path)
    kept = json.loads((run_path / "probe.json").read_text(encoding="utf-8"))
    for key in ("label_fraction", "seed"):
        if kept.get(key) is None:
            raise FormatError(
                f"{run_path / 'probe.json'}: does not say its {key}, which a score must name; run "
                "`crossl probe` again"
            )
    own = run.contract.get("store_sha256")
    if store.hash != own:
        return evaluate_elsewhere(run, fitted, probe, kept, same_names=same_names)
    if kept.get("store_sha256", own) != own:
        raise ContractError(
            f"{run_path}: its classifier is of another store ({kept['dataset']}); evaluate it "
            f"there, or fit one here: crossl probe {run_path} --store {store_path}"
        )
    evaluation = run.config.evaluation.model_copy(update={
        "label_fractions": (kept["label_fraction"],),
        "main_fraction": kept["label_fraction"],
        "label_seeds": (kept["seed"],),
        "heads": (probe.head,),
    })  # fmt: skip
    config = run.config.model_copy(update={"evaluation": evaluation})
    _check_fold(run, store)
    task = FoldTask(store_path, config, run_path, run.contract["fold"])
    scores = [task.scores(name) for name in config.evaluation.methods]
    with (
        working_in(run_path, "is evaluating this run"),
        telling_what_is_kept(run_path, lambda: any(path.is_file() for path in scores)),
    ):
        FoldRunner(task, _named(progress, task)).run()
        progress(f"fold {task.fold}: collecting results", 0.99)
        collect(store, config, run_path, [task])
    return None
