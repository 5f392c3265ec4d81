"""A run on another store than its own: probed on other people's recordings, or scored on them.

Other stores may lack modalities of the run. What must hold is that nobody is tested who was
learned from, as far as names tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.contenders.contender import latent_table
from crossl.data.contract import Fitted
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError, DataError, SplitError
from crossl.evaluate.latents import LatentTable, Subset, comparable, subsets
from crossl.evaluate.metrics import bootstrap_score
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.paired import Pairing, kept_records
from crossl.evaluate.probe import Probe
from crossl.evaluate.results import (
    Key,
    ResultBook,
    detail_records,
    summary_records,
    write_records,
)
from crossl.experiment.fold import MAX_EVERY_SUBSET, folds_of
from crossl.files import working_in, write_whole
from crossl.run_folder import Run
from crossl.stored import learned_from
from crossl.tasks import Task, task_of

Note: TypeAlias = Callable[[str], None]
"""Called with what a user should know, a sentence each."""


@dataclass(frozen=True)
class Elsewhere:
    """How a run is used on a store that it was not pretrained on.

    Attributes:
        fold: whose test people are tested.
        same_names: people of the same name as the run's are others.
    """

    fold: int = 0
    same_names: bool = False


def refuse_nonsense(run: Run, store: Store, elsewhere: Elsewhere | None) -> None:
    """Refuse a store that is not the run's unless that is meant, and the reverse.

    Raises:
        ContractError: one of both.
    """
    wanted = run.contract.get("store_sha256", "arrays in memory")
    if elsewhere is None and wanted != store.hash:
        raise ContractError(
            f"{store.path}: is not the store that {run.path} was trained on "
            f"({wanted[:16]}, got {store.hash[:16]}), so its folds would leak; to probe it on "
            "recordings of other people say --pretrained-elsewhere"
        )
    if elsewhere is not None and wanted == store.hash:
        raise ContractError(
            f"{store.path}: is the store that {run.path} was trained on; leave out "
            "--pretrained-elsewhere, and the run's own fold counts"
        )


@dataclass(frozen=True)
class Scored:
    """What a run's classifier scores on another store.

    Attributes:
        rows: a header and lines of a table.
        notes: who was scored, and what was left out.
        folder: where records and facts lie.
    """

    rows: list[list[str]]
    notes: list[str]
    folder: Path


def fold_elsewhere(run: Run, store: Store, how: Elsewhere) -> Fold:
    """Split another store's people, and refuse to test who trained the run.

    Args:
        run: pretrained on another store.
        store: whose people are split, with the run's number of folds and seed.
        how: which fold, and whether names tell.

    Raises:
        ConfigError: no such fold.
        SplitError: a test subject has the name of a person who trained the run.
    """
    folds = folds_of(store, run.config)
    if not 0 <= how.fold < len(folds):
        raise ConfigError(f"fold: got {how.fold}; allowed are 0 to {len(folds) - 1}")
    fold = folds[how.fold]
    tested = np.unique(store.subject[fold.test]).tolist()
    known = sorted(set(tested) & learned_from(run.contract))
    if known and not how.same_names:
        raise SplitError(
            f"{store.path}: fold {how.fold} tests {_some(known)}, and the run was trained on "
            "people of these names; choose another --fold, or say --same-names if these are others"
        )
    return fold


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def evaluate_elsewhere(
    run: Run, fitted: Fitted, probe: Probe, kept: Mapping[str, Any], *, same_names: bool
) -> Scored:
    """Score a run's classifier on people of another store, under every subset of their sensors.

    A subset is scored on windows that have all that is taken away and something beside it. Who
    trained the run or the classifier is not scored. Writes `results.jsonl` and `summary.json`
    into a folder of the run that is named after the store.

    Args:
        run: with the model.
        fitted: the store, as the model sees it.
        probe: the run's classifier; nothing is trained.
        kept: what `probe.json` says.
        same_names: people of the same name are others.

    Raises:
        SplitError: nobody is left to score.
        DataError: no window has a label that the classifier knows.
    """
    store = fitted.store
    people, left_out = _who(store, run, kept, same_names=same_names)
    here = task_of(probe.task.settings, store)
    target = here.values(store)
    rows = np.flatnonzero(np.isin(store.subject, people) & here.known(target))
    table = latent_table(run.model, store, rows, here)
    task, label, notes = known_targets(here, probe, kept["classes"], table.label)
    if not task.known(label).any():
        raise DataError(
            f"{store.path}: no window of {_some(people)} has a label that the classifier knows, "
            f"got {', '.join(here.names) or 'none'}; it knows {', '.join(task.names)}: prepare the "
            "store with classes of these names (--classes), or fit a classifier on its labels by "
            f"crossl probe {run.path} --store {store.path} --pretrained-elsewhere"
        )
    people = np.unique(table.subject[task.known(label)]).tolist()
    names = tuple(m.name for m in store.modalities)
    choices = held_choices(table)
    held = choices[0]
    book = ResultBook.of(store.manifest["dataset"], task, tuple(names[i] for i in held))
    present = np.asarray(table.present)[:, held]
    (found,) = predict_subsets([probe], table, choices)
    for subset, predicted in found.items():
        key = Key(run.config.recipe, run.config.recipe, probe.head, kept["label_fraction"],
                  tuple(names[i] for i in subset))  # fmt: skip
        book.add(
            key,
            fold=run.contract.get("fold", 0),
            seed=kept["seed"],
            label=task.only(label, comparable(present, tuple(map(held.index, subset)))),
            predicted=numbered(predicted, probe),
            subject=table.subject,
            whole=numbered(found[held], probe),
            complete=np.asarray(present.all(axis=1)),
        )
    notes = [f"scored on {len(people)} people that nothing was learned from: {_some(people)}",
             *left_out, *fitted.notes, *notes]  # fmt: skip
    folder = run.path / "elsewhere" / store.hash[:16]
    with working_in(run.path, "is evaluating this run"):
        _write(folder, book, store, people, notes)
    return Scored(_rows(book), notes, folder)


def _who(
    store: Store, run: Run, kept: Mapping[str, Any], *, same_names: bool
) -> tuple[list[str], list[str]]:
    """Choose whom to score, and note who is left out: the probe's own test subjects, or all new."""
    everybody = np.unique(store.subject).tolist()
    known = set() if same_names else learned_from(run.contract, kept)
    people = [name for name in everybody if name not in known]
    others = [name for name in everybody if name in known]
    if kept.get("store_sha256") == store.hash:
        people, others = list(kept["subjects"]["test"]), [] if kept["subjects"]["test"] else others
    if not people:
        raise SplitError(
            f"{store.path}: the run was trained on people of all its names ({_some(others)}), so "
            "a score would leak; give a store of other people, or say --same-names if these are "
            "others"
        )
    told = f"{_some(others)} left out: people of these names were learned from"
    return people, [told] if others else []


def known_targets(
    here: Task, probe: Probe, classes: Sequence[str], label: NDArray[Any]
) -> tuple[Task, NDArray[Any], list[str]]:
    """Number classes as the classifier does; those that it does not know are -1, and noted.

    Of several labels and of numbers all must be the same.

    Returns:
        The task with the names that the classifier knows, the targets, and notes.

    Raises:
        ContractError: other labels or numbers than those of the classifier.
    """
    if here.target.kind != "classes":
        if here.target != probe.task.target:
            raise ContractError(
                f"target '{here.target.name}': the store has {', '.join(here.names)} and the "
                f"classifier was fitted on {', '.join(probe.task.names)}; they must be the same, "
                "in the same units and order"
            )
        return here, label, []
    names = tuple(classes)
    number = np.array([*(names.index(c) if c in names else -1 for c in here.names), -1])
    notes = []
    for place, name in enumerate(here.names):
        count = int((label == place).sum())
        if name not in names and count:
            notes.append(f"class {name} is unknown to the classifier: {count} windows left out")
    return replace(here, target=replace(here.target, names=names)), number[label], notes


def numbered(predicted: NDArray[Any], probe: Probe) -> NDArray[Any]:
    """Number predicted classes from 0, as the classifier's outputs are."""
    if probe.task.target.kind != "classes":
        return predicted
    return np.searchsorted(probe.classes, predicted).astype(np.int64)


def held_choices(table: LatentTable) -> list[Subset]:
    """List subsets of what anybody has, the full one first."""
    held = np.flatnonzero(np.asarray(table.present.any(dim=0))).tolist()
    if len(held) <= MAX_EVERY_SUBSET:
        return [tuple(held[i] for i in chosen) for chosen in subsets(len(held))]
    without = [tuple(i for i in held if i != one) for one in held]
    return [tuple(held), *without, *((one,) for one in held)]


def _rows(book: ResultBook) -> list[list[str]]:
    """Return a line for each subset: who has what is taken away, and what they score with all."""
    task = book.task
    header = ["sensors", "people", "windows", task.told(), "95% interval", "the same with all"]
    rows = [header]
    pairing = Pairing(book)
    for key in book.by_key():
        subjects, counts = book.pooled(key)
        score = bootstrap_score(counts, task.metric)
        pair = pairing.pair(key)
        windows = int(task.windows(counts[0]).sum())
        rows.append([", ".join(key.present), str(len(subjects)), str(windows),
                     f"{score.value:.3f}", score.told(),
                     f"{pair.scores[1].value:.3f}" if pair else ""])  # fmt: skip
    return rows if len(rows) > 2 else [row[:-1] for row in rows]


def _write(
    folder: Path, book: ResultBook, store: Store, people: Sequence[str], notes: Sequence[str]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    records = [*detail_records(book), *summary_records(book), *kept_records(book)]
    write_records(records, folder / "results.jsonl")
    facts = {
        "dataset": book.dataset,
        "store_sha256": store.hash,
        "people": list(people),
        "classes": list(book.task.names),
        **({} if book.task.is_default else {"task": book.task.facts()}),
        "notes": list(notes),
    }
    write_whole(folder / "summary.json", (json.dumps(facts, indent=1) + "\n").encode())
