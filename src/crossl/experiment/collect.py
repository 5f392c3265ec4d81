"""What the folds of an experiment found, joined into the files that a report is drawn from."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crossl.config import RunConfig
from crossl.contenders import contender_hashes
from crossl.contenders.contender import latent_table
from crossl.data.calibrated import calibrated
from crossl.data.store import Store
from crossl.errors import FormatError, counted
from crossl.evaluate.budgets import STRICT, VALIDATION
from crossl.evaluate.paired import all_records
from crossl.evaluate.pictures import counted_pictures, predicted_pictures
from crossl.evaluate.results import Entry, Key, ResultBook, write_records
from crossl.evaluate.summary import (
    describe_store,
    embedding_map,
    example_windows,
    findings_in_words,
)
from crossl.experiment.cost import mean_costs, read_costs
from crossl.experiment.fold import FoldTask, folds_of
from crossl.experiment.trials import trial_sentences
from crossl.files import write_whole, writing
from crossl.run_folder import load_probe, load_run, package_versions, read_begun
from crossl.tasks import Task, task_of


def collect(store: Store, config: RunConfig, out: Path, tasks: Sequence[FoldTask]) -> None:
    """Join the scores of folds into results.jsonl, summary.json and figures.npz.

    Args:
        store: what was learned from.
        config: settings of the experiment.
        out: folder to write to.
        tasks: the folds to join, computed.

    Raises:
        FormatError: a fold has no scores.
    """
    task = task_of(config.task, store)
    book = ResultBook.of(store.manifest["dataset"], task, tuple(m.name for m in store.modalities))
    book.entries += kept_entries(tasks)
    write_records(all_records(book, config.recipe), out / "results.jsonl")
    book, _ = book.split()
    main = _main_key(config, book)
    examples, arrays = example_windows(store, task)
    rows = folds_of(store, config)[tasks[0].fold].test
    run = load_run(tasks[0].folder)
    table = latent_table(run.model, calibrated(store, run.calibration), rows, task)
    facts = describe_store(store, task)
    group = task.groups(task.values(store))[1][rows]
    arrays |= embedding_map(table, group, facts["subjects"], seed=config.seed)
    arrays |= counted_pictures(task, book.pooled(main)[1][0].sum(axis=0))
    if (tasks[0].folder / "probe.json").is_file():
        arrays |= predicted_pictures(load_probe(tasks[0].folder)[0], table, store, rows)
    with writing(out / "figures.npz") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    summary = {**facts, **_experiment_facts(store, config, out, tasks), "examples": examples,
               "notes": findings_in_words(book, main, facts["modalities"]),
               "in_short": findings_in_words(book, main, facts["modalities"], numbers=False),
               "main": {"method": main.method, "head": main.head,
                        "label_fraction": main.label_fraction,
                        "budget": main.budget}}  # fmt: skip
    write_whole(out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())


def kept_entries(tasks: Sequence[FoldTask]) -> list[Entry]:
    """Read what folds have kept of each contender, as far as all of them have it.

    Of label draws that pretraining seeds share out, each repeat counts its own alone. Folds that
    were scored before there were two label budgets have one: then there is no other of that
    contender, as it would be of some of the people.

    Raises:
        FormatError: a fold has no scores.
    """
    kept: dict[tuple[int, str], list[Entry]] = {}
    budgets: dict[str, set[str]] = {}
    for number, one in enumerate(tasks):
        for name in one.names:
            path = one.scores(name)
            if not path.is_file():
                raise FormatError(f"{path}: is missing; run fold {one.fold} first")
            seeds = one.label_seeds_of(name)
            found = [e for e in ResultBook.load(path).entries if e.seed in seeds]
            kept[number, name] = found
            if found:
                here = {e.key.budget for e in found}
                budgets[name] = budgets.get(name, here) & here
    return [e for (_, name), some in kept.items() for e in some if e.key.budget in budgets[name]]


def _main_key(config: RunConfig, book: ResultBook) -> Key:
    """Return what the report is about; scores of earlier versions know one label budget."""
    e = config.evaluation
    asked = Key(config.recipe, config.recipe, e.heads[0], e.main_fraction, book.modalities,
                e.reported_budget)  # fmt: skip
    return asked if book.has(asked) else replace(asked, budget=VALIDATION)


def _experiment_facts(
    store: Store, config: RunConfig, out: Path, tasks: Sequence[FoldTask]
) -> dict[str, Any]:
    head = _beginning(store, out)
    weights = {
        f"weights, {t.told}": load_run(t.folder).contract["files"]["weights.safetensors"]
        for t in tasks
    }
    e, folds = config.evaluation, len({t.fold for t in tasks})
    calibration = config.standardisation.build()
    return {
        "recipe": config.recipe,
        "contenders": contender_hashes(config),
        **({"standardisation": calibration.told} if calibration is not None else {}),
        **({"damages": [one.model_dump(mode="json") for one in e.damages]} if e.damages else {}),
        "label_fractions": list(e.label_fractions),
        "label_seeds": list(e.label_seeds),
        "pretraining_seeds": sorted({t.seed for t in tasks}),
        "costs": mean_costs(
            [read_costs(t.folder) for t in tasks],
            {
                config.recipe if name == "crossl" else name: tasks[0].known_as(name)
                for name in tasks[0].names
            },
            main=config.recipe,
        ),
        "folds_run": sorted({t.fold for t in tasks}),
        "n_folds": len(folds_of(store, config)),
        "protocol": [
            *protocol_sentences(config, folds, task_of(config.task, store)),
            *trial_sentences(tasks),
        ],
        "command": head["command"],
        "versions": package_versions(),
        "seed": config.seed,
        "hashes": {"store": store.hash, **weights},
        "started": head["started"],
        "wall_s": round(time.time() - head["began"], 1),
    }


def _beginning(store: Store, out: Path) -> dict[str, Any]:
    """Return when and by which command this began; of a run that Python saved, by its scoring."""
    path = out / "experiment.json"
    if path.is_file():
        return read_begun(path)
    now = datetime.now(UTC)
    return {"command": f"crossl evaluate {out} --store {store.path}",
            "started": now.isoformat(timespec="seconds"), "began": now.timestamp()}  # fmt: skip


def protocol_sentences(config: RunConfig, folds: int, task: Task) -> list[str]:
    """Say what makes the numbers count."""
    e, s = config.evaluation, config.schedule
    stopping = "" if s.patience is s.patience_share is None else " and stop training"
    who = (
        f"Subjects are split into {e.folds} folds; {folds} of them "
        f"{'was' if folds == 1 else 'were'} run."
        if e.split == "subjects"
        else "Test subjects are those of the published split; a sixth of its training subjects "
        "validate, where it names none who do."
    )
    return [
        f"{who} Test subjects serve the final score and nothing else: not pretraining, not "
        "standardisation, not any choice.",
        *_standardisation_sentences(config),
        f"Label fractions are drawn from training subjects, {task.drawn_by}, "
        f"with {counted(len(e.label_seeds), 'seed')} (all labels: one); pretraining has "
        f"{counted(e.pretraining_seeds, 'seed')}.",
        *_budget_sentences(config, stopping),
        "Scores pool the test windows of all folds run; intervals are 95% bootstrap intervals "
        "over subjects, label draws and pretraining seeds.",
        "What a missing sensor costs is measured on the windows that have it and something beside "
        "it, with it and without; Shapley values on the windows that have every sensor.",
        "Classifiers are trained once, with sensors missing at random; no subset of sensors "
        "retrains anything, except where a row says 'probe per subset'.",
    ]


def _standardisation_sentences(config: RunConfig) -> list[str]:
    calibration = config.standardisation.build()
    if calibration is None:
        return []
    return [
        f"Every contender sees signals that are calibrated without labels, each window by "
        f"{calibration.told}, test subjects' windows by their own."
    ]


def _budget_sentences(config: RunConfig, stopping: str) -> list[str]:
    strict = (
        "strict: none of the validation subjects' labels is used; the strength of regularisation "
        "is fixed, and training with labels ends with its last step"
    )
    full = (
        f"validation: validation subjects, who keep all their labels at every fraction, choose the "
        f"strength of regularisation{stopping}"
    )
    e = config.evaluation
    main, other = (strict, full) if e.reported_budget == STRICT else (full, strict)
    told = [f"Label budget of the main numbers, {main}."]
    used = {*e.budgets, *(one for name in config.contenders for one in config.budgets_of(name))}
    return [*told, f"The other label budget, {other}."] if len(used) > 1 else told
