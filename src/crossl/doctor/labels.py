"""Checks of labels: who and what has some, how many, and whether a test by subject is possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Recording
from crossl.data.spellings import alike
from crossl.data.windows import WindowSpec, label_windows, window_starts
from crossl.doctor.finding import Finding, LabelTable, in_order, one

WARN_RATIO, NOTE_RATIO = 100.0, 10.0
"""Most frequent over rarest class. Beyond 10, accuracy says little and macro-F1 is noisy; beyond
100, the rarest class has too few windows to be learned or scored."""

FEW_LABELLED = 0.1


class LabelTally:
    """Counts windows by subject and class, recording after recording.

    Args:
        classes: expected label names, in order; empty to take them as they come.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._expected = tuple(classes)
        self.windows: dict[str, dict[str, int]] = {}
        self.unlabelled = 0
        self._seconds: dict[str, float] = {}
        self._holding: dict[tuple[str, str], int] = {}
        self._mixed = False
        self._stretches: dict[str, int] = {}
        self._spans: dict[str, int] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Expected classes, or those that were seen."""
        return self._expected or tuple(sorted(self._seconds))

    def add_recording(self, recording: Recording, spec: WindowSpec) -> None:
        """Count one recording's windows as `prepare` would label them."""
        starts = window_starts(recording, spec)
        self._spans[recording.subject] = self._spans.get(recording.subject, 0) + len(starts)
        seen = tuple(dict.fromkeys(interval.label for interval in recording.labels))
        for interval in recording.labels:
            before = self._seconds.get(interval.label, 0.0)
            self._seconds[interval.label] = before + interval.end_s - interval.start_s
            self._stretches[interval.label] = self._stretches.get(interval.label, 0) + 1
        usable = tuple(name for name in seen if not self._expected or name in self._expected)
        label = label_windows(recording.labels, starts, spec, usable)
        self.add(recording.subject, label.astype(np.int64), usable)

    def add(self, subject: str, label: NDArray[np.int64], classes: Sequence[str]) -> None:
        """Count the windows of one recording; -1 is unlabelled."""
        counts = np.bincount(label[label >= 0], minlength=len(classes)).tolist()
        mine = self.windows.setdefault(subject, {})
        self.unlabelled += int((label < 0).sum())
        held = [name for name, count in zip(classes, counts, strict=True) if count]
        for name, count in zip(classes, counts, strict=True):
            mine[name] = mine.get(name, 0) + count
            if count:
                self._seconds.setdefault(name, 0.0)
                self._holding[subject, name] = self._holding.get((subject, name), 0) + 1
        self._mixed |= len(held) > 1 or bool(held and (label < 0).any())

    def table(self) -> LabelTable:
        """Return windows by subject and class."""
        subjects = in_order(self.windows)
        amount = [[self.windows[s].get(name, 0) for name in self.classes] for s in subjects]
        return LabelTable(subjects, self.classes, amount, "windows")

    def findings(self) -> Iterator[Finding]:
        """Judge what was counted."""
        yield from self._without_windows()
        table = self.table()
        amount = np.array(table.amount, dtype=np.int64).reshape(len(table.subjects), -1)
        if not amount.any():
            yield Finding(
                "labels",
                "note",
                "",
                "no window is labelled",
                "Pretraining needs no labels; for a probe or a test, name your labels in the "
                "mapping.",
                scope="",
            )
            return
        yield from self._unknown()
        yield from self._alike()
        yield from _classes(table.classes, table.subjects, amount)
        yield from _subjects(table, amount)
        yield from self._share(int(amount.sum()))
        yield from self._confounded(amount)

    def _unknown(self) -> Iterator[Finding]:
        for name, seconds in sorted(self._seconds.items()):
            if self._expected and name not in self._expected:
                yield Finding(
                    "labels",
                    "warning",
                    name,
                    "is a label of {} but not among the classes: its time stays unlabelled",
                    "Add it to the classes, or map it to one of them.",
                    one(seconds),
                    "s",
                    scope="",
                )

    def _without_windows(self) -> Iterator[Finding]:
        silent = in_order(name for name, count in self._spans.items() if not count)
        if silent:
            yield Finding(
                "labels",
                "warning",
                "",
                "yields no window: what was recorded is shorter than one",
                "Look whether the file is cut off; else leave it out, or make windows shorter.",
                scope="subjects",
                count=len(silent),
                example=f"subject {silent[0]}",
            )

    def _alike(self) -> Iterator[Finding]:
        """Report classes that may be one, spelled in two ways, mistyped or cut off."""
        known = dict.fromkeys(self.classes, 2)  # how often those of a store occur is not kept
        for pair in alike({**known, **self._stretches}):
            yield Finding(
                "labels",
                "note" if pair.spelled else "warning",
                pair.name,
                pair.why,
                "If they are one class, say so by label_names in the mapping; if the file was cut "
                "off there, complete it.",
                scope="",
            )

    def _share(self, labelled: int) -> Iterator[Finding]:
        share = labelled / (labelled + self.unlabelled)
        if share < FEW_LABELLED:
            yield Finding(
                "labels",
                "note",
                "",
                "only {} of the windows are labelled",
                "The rest serves pretraining; check that labels and signals are on one clock.",
                one(share),
                "%",
                scope="",
            )

    def _confounded(self, amount: NDArray[np.int64]) -> Iterator[Finding]:
        """Tell where each class of a subject is one recording, and a recording one class."""
        several = (amount > 0).sum(axis=1) > 1
        if not self._mixed and several.any() and max(self._holding.values()) == 1:
            yield Finding(
                "labels",
                "warning",
                "",
                "each class of a subject is one whole recording",
                "Whatever differs between two recordings (electrodes, time of day) gives the class "
                "away, so scores are optimistic; and standardisation by recording takes away "
                "what tells classes apart.",
                scope="",
            )


def _classes(
    classes: Sequence[str], subjects: Sequence[str], amount: NDArray[np.int64]
) -> Iterator[Finding]:
    total = amount.sum(axis=0)
    for name, count, holders in zip(classes, total, (amount > 0).sum(axis=0), strict=True):
        if count == 0:
            yield Finding(
                "labels",
                "warning",
                name,
                "has no window",
                "Check its spelling, or make windows shorter: it may never fill "
                "min_label_share of one.",
                scope="",
            )
        elif holders == 1 and len(amount) > 1:
            who = int((amount[:, classes.index(name)] > 0).argmax())
            yield Finding(
                "labels",
                "warning",
                name,
                f"only one of {len(amount)} subjects has it",
                "A test by subject cannot score it: merge it with another class or leave it out.",
                scope="",
                example=f"subject {subjects[who]}",
            )
    some = total[total > 0]
    ratio = float(some.max() / some.min())
    if ratio > NOTE_RATIO:
        rare, often = classes[_at(total, some.min())], classes[_at(total, some.max())]
        yield Finding(
            "labels",
            "warning" if ratio > WARN_RATIO else "note",
            rare,
            f"has {int(some.min())} windows, '{often}' has {{}} times as many",
            "Report macro-F1 or balanced accuracy, not accuracy; consider a shorter stride or "
            "merging classes.",
            one(ratio),
            scope="",
        )


def _at(total: NDArray[np.int64], value: int) -> int:
    return int(np.flatnonzero(total == value)[0])


def _subjects(table: LabelTable, amount: NDArray[np.int64]) -> Iterator[Finding]:
    empty = [s for s, row in zip(table.subjects, amount, strict=True) if not row.any()]
    if empty:
        yield Finding(
            "labels",
            "note",
            "",
            "no window is labelled",
            "They serve pretraining only; folds for a test need labelled subjects.",
            scope="subjects",
            count=len(empty),
            example=f"subject {empty[0]}",
        )
