"""Scores of an experiment: collected as counts by subject, written as tidy records."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.boundary import reading
from crossl.errors import DataError, FormatError
from crossl.evaluate.budgets import VALIDATION
from crossl.evaluate.metrics import Interval, bootstrap_scores, paired_difference
from crossl.evaluate.resampling import Design, in_order
from crossl.evaluate.stacked import read_apart, stack, unstack
from crossl.files import writing
from crossl.tasks import Statistics, Task, classes_task, stored_task

Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """What a score is of.

    Attributes:
        method: name.
        recipe: of its network, if it has one.
        head: which embedding is read.
        label_fraction: of training subjects' labels.
        present: modalities that were shown at test time.
        budget: `strict`, where validation subjects' labels were not used, or `validation`.
        damage: what was done to some of them in every window, in words; None for nothing.
        severity: how much of it.
        damaged: to which modalities.
    """

    method: str
    recipe: str | None
    head: str | None
    label_fraction: float
    present: tuple[str, ...]
    budget: str = VALIDATION
    damage: str | None = None
    severity: float | None = None
    damaged: tuple[str, ...] = ()


Counts = Statistics
"""(subject, ...): what the task counts, such as (subject, true, predicted) of classes."""


@dataclass(frozen=True)
class Entry:
    """Predictions on one fold's test subjects by a classifier of one label draw.

    Attributes:
        key: what they are of.
        fold: whose test subjects.
        seed: of the label draw.
        subjects: names, in the order of the counts.
        confusion: counts of the windows that count under this key.
        whole: the same windows with everything shown that they have; None where that was not asked.
        complete: those of them that have every modality; None where that was not asked.
        model_seed: of the network or features that were read.
    """

    key: Key
    fold: int
    seed: int
    subjects: tuple[str, ...]
    confusion: Counts
    whole: Counts | None = None
    complete: Counts | None = None
    model_seed: int = 0


def design_of(rows: Sequence[Sequence[Entry]]) -> Design:
    """Tell how entries came about: for each label draw and pretraining, one of each fold."""
    units = [(row[0].model_seed, row[0].seed) for row in rows]
    fold = np.array([entry.fold for entry in rows[0] for _ in entry.subjects], dtype=np.int64)
    seeds, draws = ({unit[i] for unit in units} for i in (0, 1))
    if len(units) == len(seeds) * len(draws):
        return Design(fold, len(seeds), len(draws))
    return Design(fold, 1, len(units))  # each label draw with a training of its own


@dataclass
class ResultBook:
    """Every prediction of an experiment, as what its task counts of each subject.

    Attributes:
        dataset: name.
        classes: label names.
        modalities: names, in order.
        entries: what was added.
        other_task: what was predicted where it is not the class of each window.
    """

    dataset: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)
    other_task: Task | None = None
    _groups: tuple[tuple[int, int], dict[Key, list[Entry]]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @cached_property
    def task(self) -> Task:
        """What was predicted."""
        return self.other_task or classes_task(self.classes)

    @classmethod
    def of(cls, dataset: str, task: Task, modalities: tuple[str, ...]) -> ResultBook:
        """Make an empty book of a task."""
        plain = task.target.kind == "classes"
        return cls(dataset, task.names if plain else (), modalities, other_task=task)

    def add(  # noqa: PLR0913 - whose predictions of what
        self,
        key: Key,
        *,
        fold: int,
        seed: int,
        label: NDArray[Any],
        predicted: NDArray[Any],
        subject: NDArray[np.str_],
        whole: NDArray[Any] | None = None,
        complete: NDArray[np.bool_] | None = None,
        model_seed: int = 0,
    ) -> None:
        """Add the predictions of one classifier on one fold's test windows.

        Where no window counts, as when nobody was recorded with these modalities, there is no
        score and nothing is added.

        Args:
            key: what is predicted from what.
            fold: whose test windows.
            seed: of the label draw.
            label: (n, ...) true targets; a window of which nothing is known does not count.
            predicted: (n, ...) what was predicted from the modalities of the key.
            subject: (n,) names.
            whole: (n, ...) what was predicted from everything that each window has.
            complete: (n,) whether a window has every modality.
            model_seed: of the network or features that were read.
        """
        names, counts = self.task.by_subject(label, predicted, subject)
        if not len(names):
            return
        full = None if whole is None else self.task.by_subject(label, whole, subject)[1]
        inner = None
        if complete is not None:
            inner = np.zeros_like(counts)
            some, found = self.task.by_subject(self.task.only(label, complete), predicted, subject)
            inner[np.searchsorted(names, some)] = found
        people = tuple(names.tolist())
        self.entries.append(Entry(key, fold, seed, people, counts, full, inner, model_seed))

    def split(self) -> tuple[ResultBook, ResultBook]:
        """Return the scores of signals as they were recorded, and of damaged ones."""
        groups: tuple[list[Entry], list[Entry]] = ([], [])
        for entry in self.entries:
            groups[entry.key.damage is not None].append(entry)
        clean, damaged = (replace(self, entries=entries) for entries in groups)
        return clean, damaged

    def has(self, key: Key) -> bool:
        """Tell whether anything was scored under a key."""
        return key in self._grouped()

    def by_key(self) -> dict[Key, list[Entry]]:
        """Group the entries."""
        out: dict[Key, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            out[entry.key].append(entry)
        return dict(out)

    def pooled(self, key: Key) -> tuple[tuple[str, ...], Statistics]:
        """Join the folds of a key: subjects, and counts (unit, subject, ...).

        A unit is a label draw under a pretraining seed; only those that every fold has count.

        Raises:
            DataError: nothing was scored under this key.
        """
        rows = self.drawn(key)
        subjects = tuple(s for entry in rows[0] for s in entry.subjects)
        stacked = [np.concatenate([entry.confusion for entry in row]) for row in rows]
        return subjects, np.stack(stacked)

    def design(self, key: Key) -> Design:
        """Tell what varies between the units of `pooled`."""
        return design_of(self.drawn(key))

    def drawn(self, key: Key) -> list[list[Entry]]:
        """List the entries of a key: for each unit that every fold has, one of each fold.

        Raises:
            DataError: nothing was scored under this key.
        """
        entries = self._grouped().get(key, [])
        folds = sorted({e.fold for e in entries})
        units = [{(e.model_seed, e.seed) for e in entries if e.fold == fold} for fold in folds]
        shared = in_order(set.intersection(*units)) if units else []
        if not shared:
            raise DataError(
                f"results: method '{key.method}' at {key.label_fraction:g} of the labels with "
                f"{', '.join(key.present)} has no scores; at least one label draw must be scored "
                "on every fold"
            )
        chosen = {(e.fold, e.model_seed, e.seed): e for e in entries}
        return [[chosen[fold, *unit] for fold in folds] for unit in shared]

    def _grouped(self) -> dict[Key, list[Entry]]:
        """Group the entries once for every number of them; many keys are asked for."""
        of = id(self.entries), len(self.entries)
        if self._groups is None or self._groups[0] != of:
            self._groups = of, self.by_key()
        return self._groups[1]

    def save(self, path: Path) -> None:
        """Write to one `.npz`, replacing it whole."""
        places, arrays = stack([_parts(e) for e in self.entries])
        head = {
            "dataset": self.dataset,
            "classes": self.classes,
            "modalities": self.modalities,
            **({} if self.task.is_default else {"task": self.task.as_dict()}),
            "entries": [
                {
                    "key": asdict(e.key),
                    "fold": e.fold,
                    "seed": e.seed,
                    "subjects": e.subjects,
                    "model_seed": e.model_seed,
                    "at": place,
                }
                for e, place in zip(self.entries, places, strict=True)
            ],
        }
        with writing(path) as file:
            np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> ResultBook:
        """Read what `save` wrote.

        Raises:
            FormatError: not such a file.
        """
        with _again(path), path.open("rb") as file, np.load(file) as archive:
            head = json.loads(str(archive["head"]))
            places = [one.get("at") for one in head["entries"]]
            parts = read_apart(archive, len(places)) if None in places else unstack(places, archive)
            entries = [_entry(*one) for one in zip(head["entries"], parts, strict=True)]
            told = head.get("task")
            task = None if told is None else stored_task(told, where=str(path))
            return cls(head["dataset"], tuple(head["classes"]), tuple(head["modalities"]), entries,
                       task)  # fmt: skip


@contextmanager
def _again(path: Path) -> Iterator[None]:
    """Say of whatever goes wrong with a file of scores that the experiment makes it anew."""
    try:
        with reading(path, "scores"):
            yield
    except DataError as error:
        raise FormatError(f"{error}; run the experiment again") from error


def _parts(entry: Entry) -> dict[str, Counts]:
    """Return the arrays of an entry by name."""
    parts = {"all": entry.confusion, "whole": entry.whole, "complete": entry.complete}
    return {name: counts for name, counts in parts.items() if counts is not None}


def _entry(values: dict[str, Any], parts: Mapping[str, Counts]) -> Entry:
    told = values["key"]
    lists = {name: tuple(told.get(name, ())) for name in ("present", "damaged")}
    key = Key(**{**told, **lists})
    return Entry(
        key, values["fold"], values["seed"], tuple(values["subjects"]), parts["all"],
        parts.get("whole"), parts.get("complete"), values.get("model_seed", 0),
    )  # fmt: skip


def record_of(
    book: ResultBook,
    key: Key,
    metric: str,
    score: Interval | float,
    **where: Any,
) -> Record:
    """Make the record of a score; `where` has `n` and the fold, seeds and subject it is of."""
    interval = score if isinstance(score, Interval) else None
    return {
        "dataset": book.dataset,
        "method": key.method,
        "recipe": key.recipe,
        "head": key.head,
        "label_fraction": key.label_fraction,
        "present": list(key.present),
        "budget": key.budget,
        "fold": where.get("fold"),
        "model_seed": where.get("model_seed"),
        "seed": where.get("seed"),
        "subject": where.get("subject"),
        "metric": metric,
        "value": interval.value if interval else float(score),  # type: ignore[arg-type]
        "ci_low": interval.low if interval else None,
        "ci_high": interval.high if interval else None,
        "n": interval.n if interval else where["n"],
        "p": interval.p if interval else None,
        **_damage_of(key),
    }


def _damage_of(key: Key) -> Record:
    """Tell what was damaged, if anything was."""
    if key.damage is None:
        return {}
    return {"damage": key.damage, "severity": key.severity, "damaged": list(key.damaged)}


def detail_records(book: ResultBook) -> Iterator[Record]:
    """Yield scores by fold, pretraining and label draw, and the main one by subject.

    Of the smaller subsets of many modalities there would be millions; they are in the scores of
    the folds (`ResultBook.load`), and here those with at most one modality missing.
    """
    task, least = book.task, len(book.modalities) - 1
    for entry in book.entries:
        if len(entry.key.present) < least:
            continue
        where = {"fold": entry.fold, "model_seed": entry.model_seed, "seed": entry.seed}
        total = entry.confusion.sum(axis=0)
        n = int(task.windows(total))
        for name, metric in task.metrics.items():
            yield record_of(book, entry.key, name, float(metric(total)), n=n, **where)
        for subject, counts in zip(entry.subjects, entry.confusion, strict=True):
            score, n = float(task.metric(counts)), int(task.windows(counts))
            yield record_of(book, entry.key, task.main, score, n=n, subject=subject, **where)


def summary_records(book: ResultBook) -> Iterator[Record]:
    """Yield scores over all folds, label draws and pretrainings, with intervals."""
    for key in book.by_key():
        _, counts = book.pooled(key)
        design = book.design(key)
        metrics, main = book.task.metrics, book.task.main
        for name, found in bootstrap_scores(counts, metrics, main=main, design=design).items():
            yield record_of(book, key, name, found)


def difference_records(
    book: ResultBook, baselines: Sequence[str], main: str | None = None
) -> Iterator[Record]:
    """Yield paired differences by subject, everything present.

    Of every method minus the baselines, and of the main one minus every other.
    """
    keys = [key for key in book.by_key() if key.present == book.modalities]
    for key, base in ((a, b) for a in keys for b in compared_with(a, keys)):
        against = base.method in baselines and key.method not in baselines
        if not against and key.method != main:
            continue
        (subjects, first), (others, second) = book.pooled(key), book.pooled(base)
        if subjects == others:
            joint = replace(key, method=f"{key.method} - {base.method}")
            designs = (book.design(key), book.design(base))
            difference = paired_difference(first, second, book.task.metric, designs=designs)
            yield record_of(book, joint, f"{book.task.main}_difference", difference)


def compared_with(key: Key, keys: Iterable[Key]) -> list[Key]:
    """Return other methods with the same labels; of several heads, that of the key or the first."""
    found: dict[tuple[str, str | None], Key] = {}
    for other in keys:
        alike = (other.label_fraction, other.budget) == (key.label_fraction, key.budget)
        name = (other.method, other.recipe)
        if alike and other.method != key.method and (name not in found or other.head == key.head):
            found[name] = other
    return list(found.values())


def write_records(records: Iterable[Record], path: Path) -> None:
    """Write one JSON record a line, replacing the file whole."""
    with writing(path) as file:
        file.writelines(f"{json.dumps(record)}\n".encode() for record in records)
