"""What compares a score with sensors missing to the score with all: on the same windows only.

A person who never wore the watch loses nothing when it is missing, and has nothing left when the
phone is: such windows are in neither score of a comparison.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from crossl.evaluate.metrics import (
    Interval,
    bootstrap_score,
    difference_interval,
    interval_of,
    score_kept,
)
from crossl.evaluate.missing import shapley_values
from crossl.evaluate.resampling import Design, Resampling
from crossl.evaluate.results import (
    Counts,
    Entry,
    Key,
    Record,
    ResultBook,
    compared_with,
    design_of,
    detail_records,
    difference_records,
    record_of,
    summary_records,
)
from crossl.tasks import Task

Present = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Scores of the same windows of the same people.

    Attributes:
        left: counts with only some modalities shown, (unit, subject, ...).
        whole: with everything shown that the windows have.
        task: whose counts they are.
        design: what varies between units.
    """

    left: Counts
    whole: Counts
    task: Task
    design: Design

    @property
    def kept(self) -> Interval:
        """The share of the score that is left."""
        task = self.task
        return score_kept(self.left, self.whole, task.metric, design=self.design,
                          lower_is_better=task.lower_is_better)  # fmt: skip

    @property
    def scores(self) -> tuple[Interval, Interval]:
        """The score with only some modalities, and with everything."""
        return self.score, self.with_all

    @property
    def with_all(self) -> Interval:
        """The score with everything."""
        return bootstrap_score(self.whole, self.task.metric, design=self.design)

    @property
    def score(self) -> Interval:
        """The score with only some modalities."""
        return bootstrap_score(self.left, self.task.metric, design=self.design)


class Pairing:
    """Finds what may be compared in a book.

    Results that were kept before entries knew their windows are paired by the people whose counts
    of windows are the same under every subset: their windows have every modality.

    Args:
        book: all scores.
    """

    def __init__(self, book: ResultBook) -> None:
        self.book = book
        self.keys = book.by_key()
        self._alike: dict[tuple[Key, int, int, int], list[Entry]] = defaultdict(list)
        for entry in book.entries:
            self._alike[self._group(entry)].append(entry)

    def _group(self, entry: Entry) -> tuple[Key, int, int, int]:
        key = replace(entry.key, present=self.book.modalities)
        return key, entry.fold, entry.model_seed, entry.seed

    def pair(self, key: Key) -> Pair | None:
        """Pair the windows of a key with the same ones as they are; None where there are none."""
        if key not in self.keys:
            return None
        drawn = self.book.drawn(key)
        rows = [[self._known(entry) for entry in row] for row in drawn]
        if [[e.subjects for e in row] for row in rows] != [[e.subjects for e in r] for r in drawn]:
            return None  # of older results, whose score is of others than can be compared
        left = np.stack([np.concatenate([e.confusion for e in row]) for row in rows])
        whole = np.stack([np.concatenate([np.asarray(e.whole) for e in row]) for row in rows])
        return Pair(left, whole, self.book.task, design_of(rows)) if left.shape[1] else None

    def complete(self, keys: Sequence[Key]) -> tuple[list[Counts], Design]:
        """Return the counts of the windows that have every modality, alike for all keys.

        Returns:
            For each key (unit, subject, ...), of the same subjects; and what varies.
        """
        tables = []
        for key in keys:
            drawn = self.book.drawn(key)
            rows = [[e if e.complete is not None else self._known(e) for e in r] for r in drawn]
            people = [(entry.fold, name) for entry in rows[0] for name in entry.subjects]
            counts = np.stack([np.concatenate([np.asarray(e.complete) for e in r]) for r in rows])
            tables.append({who: counts[:, i] for i, who in enumerate(people) if counts[:, i].any()})
        shared = sorted(set[tuple[int, str]].intersection(*(set(table) for table in tables)))
        fold = np.array([number for number, _ in shared], dtype=np.int64)
        design = replace(self.book.design(keys[0]), fold=fold)
        if not shared:
            return [np.zeros((1, 0, 1, 1), dtype=np.int64) for _ in tables], design
        return [np.stack([table[who] for who in shared], axis=1) for table in tables], design

    def _known(self, entry: Entry) -> Entry:
        """Return an entry that knows its windows with everything shown, and its complete ones."""
        if entry.whole is not None and entry.complete is not None:
            return entry
        alike = self._alike[self._group(entry)]
        full = next((e for e in alike if e.key.present == self.book.modalities), None)
        names = [name for name in entry.subjects
                 if full is not None and len({_windows(e, name) for e in alike}) == 1]  # fmt: skip
        own = entry.confusion[[entry.subjects.index(name) for name in names]]
        whole = own if full is None else full.confusion[[full.subjects.index(n) for n in names]]
        return replace(entry, subjects=tuple(names), confusion=own, whole=whole, complete=own)


def _windows(entry: Entry, name: str) -> tuple[int, ...]:
    """Count a subject's windows by true class."""
    if name not in entry.subjects:
        return ()
    return tuple(entry.confusion[entry.subjects.index(name)].sum(axis=1).tolist())


def kept_records(book: ResultBook) -> Iterator[Record]:
    """Yield for every subset the score of the same windows with everything, and the share kept."""
    pairing = Pairing(book)
    for key in pairing.keys:
        found = None if key.present == book.modalities else pairing.pair(key)
        if found is not None:
            yield record_of(book, key, f"{book.task.main}_with_all", found.with_all)
            yield record_of(book, key, f"{book.task.main}_kept", found.kept)


def shapley_records(book: ResultBook) -> Iterator[Record]:
    """Yield each modality's Shapley value, for every method scored on every subset.

    Of the windows that have every modality: by how much the modality betters the main score.
    Nothing present is worth what guessing is worth, such as the most frequent class.
    """
    pairing = Pairing(book)
    groups: dict[Key, dict[Present, Key]] = defaultdict(dict)
    for key in pairing.keys:
        groups[replace(key, present=book.modalities)][key.present] = key
    m = len(book.modalities)
    for full, found in groups.items():
        if len(found) < 2**m - 1 or m < 2:
            continue
        complete, design = pairing.complete(list(found.values()))
        if not complete[0].shape[1]:
            continue
        counts = dict(zip(found, complete, strict=True))
        worth = _shapley_intervals(counts, book.modalities, book.task, design)
        for index, interval in enumerate(worth):
            key = replace(full, present=(book.modalities[index],))
            yield record_of(book, key, "shapley", interval)


def _shapley_intervals(
    counts: dict[Present, Counts], modalities: tuple[str, ...], task: Task, design: Design
) -> list[Interval]:
    m = len(modalities)
    subjects = next(iter(counts.values())).shape[1]
    samples = Resampling.of(design)
    worth = {
        chosen: task.gain(samples.scores(counts[tuple(modalities[i] for i in chosen)], task.metric))
        for size in range(1, m + 1)
        for chosen in combinations(range(m), size)
    }
    guess = task.guess(counts[modalities][0])
    worth[()] = task.gain(samples.scores(guess[None], task.metric))
    return [interval_of(float(v[0]), v[1:], subjects) for v in shapley_values(worth, m)]


@dataclass(frozen=True)
class OneMissing:
    """The mean over all ways to lose one modality, of subjects who are scored without each.

    Attributes:
        subjects: names.
        values: (unit, subject) main metric, averaged over the modality that is missing.
        design: what varies between units.
    """

    subjects: tuple[str, ...]
    values: np.ndarray
    design: Design


def one_missing(book: ResultBook, full: Key) -> OneMissing | None:
    """Average each person's score over every one modality missing.

    Of people who are scored without each: who never wore a sensor loses nothing with it.

    Returns:
        None where a modality is never missing, or nobody is scored without each.
    """
    left = [replace(full, present=tuple(n for n in full.present if n != gone))
            for gone in full.present]  # fmt: skip
    if len(left) < 2 or not all(book.has(key) for key in left):
        return None
    found = [book.pooled(key) for key in left]
    shared = set[str].intersection(*(set(subjects) for subjects, _ in found))
    if not shared or len({len(counts) for _, counts in found}) > 1:
        return None
    rows = [[i for i, name in enumerate(subjects) if name in shared] for subjects, _ in found]
    values = np.mean([book.task.metric(counts[:, some])
                      for (_, counts), some in zip(found, rows, strict=True)], axis=0)  # fmt: skip
    design = book.design(left[0])
    names = tuple(found[0][0][i] for i in rows[0])
    return OneMissing(names, values, replace(design, fold=design.fold[rows[0]]))


def one_missing_records(book: ResultBook, main: str | None = None) -> Iterator[Record]:
    """Yield the mean score of people with one modality missing, and the main method's lead."""
    keys = [key for key in book.by_key() if key.present == book.modalities]
    found = {key: one for key in keys if (one := one_missing(book, key)) is not None}
    name = f"{book.task.main}_one_missing"
    for key, one in found.items():
        value = Resampling.of(one.design).means(one.values)
        interval = interval_of(float(value[0]), value[1:], len(one.subjects))
        yield record_of(book, key, name, interval)
        for other in compared_with(key, found) if key.method == main else ():
            two = found[other]
            if one.subjects == two.subjects:
                designs = (one.design, two.design)
                difference = difference_interval(one.values, two.values, designs=designs)
                joint = replace(key, method=f"{key.method} - {other.method}")
                yield record_of(book, joint, f"{name}_difference", difference)


def damage_records(book: ResultBook) -> Iterator[Record]:
    """Yield the main score of damaged windows, of the same ones undamaged, and the share kept.

    Args:
        book: of damaged windows alone.
    """
    task, pairing = book.task, Pairing(book)
    for key in pairing.keys:
        found = pairing.pair(key)
        if found is None:
            continue
        whole = float(task.metric(found.whole.sum(axis=1)).mean())
        yield record_of(book, key, task.main, found.score)
        yield record_of(book, key, f"{task.main}_with_all", whole, n=found.whole.shape[1])
        yield record_of(book, key, f"{task.main}_kept", found.kept)
    yield from detail_records(book)


def all_records(book: ResultBook, main: str | None = None) -> list[Record]:
    """List summary, difference, comparison, Shapley and detail records."""
    book, damaged = book.split()
    return [
        *summary_records(book),
        *difference_records(book, ("supervised", "untrained"), main),
        *one_missing_records(book, main),
        *kept_records(book),
        *shapley_records(book),
        *detail_records(book),
        *damage_records(damaged),
    ]
