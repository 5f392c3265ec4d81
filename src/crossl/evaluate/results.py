"""Scores of an experiment: collected as confusion matrices, written as tidy records."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError, FormatError
from crossl.evaluate.metrics import (
    METRICS,
    Interval,
    bootstrap_score,
    confusion_by_subject,
    macro_f1,
    paired_difference,
    resampled_scores,
    subject_draws,
)
from crossl.evaluate.missing import shapley_values

Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """What a score is of; `present` are the modalities that were shown at test time."""

    method: str
    recipe: str | None
    head: str | None
    label_fraction: float
    present: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """Predictions on one fold's test subjects by a classifier of one label draw."""

    key: Key
    fold: int
    seed: int
    subjects: tuple[str, ...]
    confusion: NDArray[np.int64]  # (subject, true, predicted)


@dataclass
class ResultBook:
    """Every prediction of an experiment, as confusion matrices by subject.

    Attributes:
        dataset: name.
        classes: label names.
        modalities: names, in order.
        entries: what was added.
    """

    dataset: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)

    def add(
        self,
        key: Key,
        *,
        fold: int,
        seed: int,
        label: NDArray[np.int64],
        predicted: NDArray[np.int64],
        subject: NDArray[np.str_],
    ) -> None:
        """Add the predictions of one classifier on one fold's test windows.

        Where no window counts, as when nobody was recorded with these modalities, there is no
        score and nothing is added.
        """
        names, counts = confusion_by_subject(label, predicted, subject, classes=len(self.classes))
        if len(names):
            self.entries.append(Entry(key, fold, seed, tuple(names.tolist()), counts))

    def by_key(self) -> dict[Key, list[Entry]]:
        """Group the entries."""
        out: dict[Key, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            out[entry.key].append(entry)
        return dict(out)

    def pooled(self, key: Key) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Join the folds of a key: subjects, and confusions (seed, subject, true, predicted).

        Only label draws that every fold has count.

        Raises:
            DataError: nothing was scored under this key.
        """
        entries = [e for e in self.entries if e.key == key]
        folds = sorted({e.fold for e in entries})
        draws = [{e.seed for e in entries if e.fold == fold} for fold in folds]
        seeds = sorted(set.intersection(*draws)) if draws else []
        if not seeds:
            raise DataError(
                f"results: method '{key.method}' at {key.label_fraction:g} of the labels with "
                f"{', '.join(key.present)} has no scores; at least one label draw must be scored "
                "on every fold"
            )
        chosen = {(e.fold, e.seed): e for e in entries}
        subjects = tuple(s for fold in folds for s in chosen[fold, seeds[0]].subjects)
        stacked = [
            np.concatenate([chosen[fold, seed].confusion for fold in folds]) for seed in seeds
        ]
        return subjects, np.stack(stacked)

    def save(self, path: Path) -> None:
        """Write to one `.npz`, replacing it whole."""
        head = {
            "dataset": self.dataset,
            "classes": self.classes,
            "modalities": self.modalities,
            "entries": [
                {"key": asdict(e.key), "fold": e.fold, "seed": e.seed, "subjects": e.subjects}
                for e in self.entries
            ],
        }
        arrays = {str(i): e.confusion for i, e in enumerate(self.entries)}
        with _replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> ResultBook:
        """Read what `save` wrote.

        Raises:
            FormatError: not such a file.
        """
        try:
            with path.open("rb") as file, np.load(file) as archive:
                head = json.loads(str(archive["head"]))
                entries = [_entry(e, archive[str(i)]) for i, e in enumerate(head["entries"])]
        except _DAMAGE as error:
            raise FormatError(f"{path}: is damaged ({error}); run the experiment again") from error
        return cls(head["dataset"], tuple(head["classes"]), tuple(head["modalities"]), entries)


_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    BadZipFile,
    zlib.error,
)
"""What reading a file raises that is not, or no longer, an archive of scores."""


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a sibling to write to, which replaces the file only if nothing failed."""
    partial = path.with_suffix(".partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _entry(values: dict[str, Any], confusion: NDArray[np.int64]) -> Entry:
    key = Key(**{**values["key"], "present": tuple(values["key"]["present"])})
    return Entry(key, values["fold"], values["seed"], tuple(values["subjects"]), confusion)


def _record(
    book: ResultBook,
    key: Key,
    metric: str,
    score: Interval | float,
    **where: Any,
) -> Record:
    interval = score if isinstance(score, Interval) else None
    return {
        "dataset": book.dataset,
        "method": key.method,
        "recipe": key.recipe,
        "head": key.head,
        "label_fraction": key.label_fraction,
        "present": list(key.present),
        "fold": where.get("fold"),
        "seed": where.get("seed"),
        "subject": where.get("subject"),
        "metric": metric,
        "value": interval.value if interval else float(score),  # type: ignore[arg-type]
        "ci_low": interval.low if interval else None,
        "ci_high": interval.high if interval else None,
        "n": interval.n if interval else where["n"],
    }


def detail_records(book: ResultBook) -> Iterator[Record]:
    """Yield scores by fold and label draw, and macro-F1 by subject."""
    for entry in book.entries:
        where = {"fold": entry.fold, "seed": entry.seed}
        total = entry.confusion.sum(axis=0)
        for name, metric in METRICS.items():
            score = float(metric(total))
            yield _record(book, entry.key, name, score, n=int(total.sum()), **where)
        for subject, counts in zip(entry.subjects, entry.confusion, strict=True):
            score, n = float(macro_f1(counts)), int(counts.sum())
            yield _record(book, entry.key, "macro_f1", score, n=n, subject=subject, **where)


def summary_records(book: ResultBook) -> Iterator[Record]:
    """Yield scores over all folds and label draws, with intervals over subjects."""
    for key in book.by_key():
        _, confusions = book.pooled(key)
        for name, metric in METRICS.items():
            yield _record(book, key, name, bootstrap_score(confusions, metric))


def difference_records(book: ResultBook, baselines: Sequence[str]) -> Iterator[Record]:
    """Yield paired differences by subject, everything present, of methods minus baselines."""
    keys = [key for key in book.by_key() if key.present == book.modalities]
    for key, base in ((a, b) for a in keys for b in keys):
        if base.method not in baselines or key.method in baselines:
            continue
        if key.label_fraction != base.label_fraction:
            continue
        (subjects, first), (others, second) = book.pooled(key), book.pooled(base)
        if subjects == others:
            name = f"{key.method} - {base.method}"
            joint = Key(name, key.recipe, key.head, key.label_fraction, key.present)
            difference = paired_difference(first, second)
            yield _record(book, joint, "macro_f1_difference", difference)


def shapley_records(book: ResultBook) -> Iterator[Record]:
    """Yield each modality's Shapley value, for every method scored on every subset.

    Nothing present is worth what guessing the most frequent class is worth.
    """
    groups: dict[Key, dict[tuple[str, ...], Key]] = defaultdict(dict)
    for key in book.by_key():
        full = Key(key.method, key.recipe, key.head, key.label_fraction, book.modalities)
        groups[full][key.present] = key
    m = len(book.modalities)
    for full, found in groups.items():
        if len(found) < 2**m - 1 or m < 2:
            continue
        subjects, _ = book.pooled(full)
        confusions = {
            present: _of_subjects(subjects, *book.pooled(key)) for present, key in found.items()
        }
        for index, interval in enumerate(_shapley_intervals(confusions, book.modalities)):
            key = Key(full.method, full.recipe, full.head, full.label_fraction,
                      (book.modalities[index],))  # fmt: skip
            yield _record(book, key, "shapley", interval)


def _of_subjects(
    wanted: Sequence[str], subjects: Sequence[str], confusions: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Order confusions by subject; who has no window with the modalities counts nothing."""
    seeds, _, *square = confusions.shape
    out = np.zeros((seeds, len(wanted), *square), dtype=np.int64)
    out[:, [wanted.index(one) for one in subjects]] = confusions
    return out


def _shapley_intervals(
    confusions: dict[tuple[str, ...], NDArray[np.int64]], modalities: tuple[str, ...]
) -> list[Interval]:
    m = len(modalities)
    subjects = next(iter(confusions.values())).shape[1]
    # the first "sample" counts every subject once: the value itself
    draws = np.concatenate([np.ones((1, subjects), dtype=np.int64), subject_draws(subjects)])
    worth = {
        chosen: resampled_scores(confusions[tuple(modalities[i] for i in chosen)], macro_f1, draws)
        for size in range(1, m + 1)
        for chosen in combinations(range(m), size)
    }
    worth[()] = _guess_score(confusions[modalities], draws)
    out = []
    for values in shapley_values(worth, m):
        low, high = np.percentile(values[1:], [2.5, 97.5])
        out.append(Interval(float(values[0]), float(low), float(high), subjects))
    return out


def _guess_score(confusions: NDArray[np.int64], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score of always naming the most frequent true class of the whole test."""
    truth = confusions[0].sum(axis=2)  # (subject, true)
    guess = np.zeros((*truth.shape, truth.shape[1]), dtype=np.int64)
    guess[:, :, truth.sum(axis=0).argmax()] = truth
    return resampled_scores(guess[None], macro_f1, draws)


def all_records(book: ResultBook) -> list[Record]:
    """List summary, difference, Shapley and detail records."""
    return [
        *summary_records(book),
        *difference_records(book, ("supervised", "untrained")),
        *shapley_records(book),
        *detail_records(book),
    ]


def write_records(records: Iterable[Record], path: Path) -> None:
    """Write one JSON record a line, replacing the file whole."""
    with _replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
