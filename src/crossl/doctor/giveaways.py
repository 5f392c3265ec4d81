"""Channels that give the label away: what a model would read instead of the sensors.

Compared are medians over short stretches of one label. A channel is named where its classes lie
far apart for how much one spreads. Of seven public data sets no sensor is: the largest gap between
two classes is 3 times the spread (lying down, by gravity), and people differ (F is at least 18
where the gap is larger than the spread). A code has a larger gap, or the same levels in everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Recording
from crossl.doctor.finding import Finding

EXACT, FAR, APART = 20.0, 6.0, 2.0
"""Gap between classes over half of what one spreads: an error, a warning, one if all are alike."""

ALIKE = 3.0
"""Variance between people over that within, up to which everybody has the same levels."""

LEAST_STRETCHES, LEAST_ROWS, LEAST_OF_CLASS = 4, 16, 3
PIECES, PIECE_S = 8, 5.0
"""Pieces that a stretch of one label is cut into at most, and how long they are at least."""

Key = tuple[str, str]


@dataclass
class _Rows:
    """Medians of one channel, and whose of what they are."""

    labels: list[str]
    subjects: list[str]
    values: list[float]


class Giveaways:
    """Collects medians, recording after recording."""

    def __init__(self) -> None:
        self._rows: dict[Key, _Rows] = {}
        self._stretches = 0

    def add_recording(self, recording: Recording) -> None:
        """Take the stretches of a recording that have a label."""
        for interval in recording.labels:
            self._stretches += 1
            length = interval.end_s - interval.start_s
            count = min(PIECES, max(1, int(length / PIECE_S)))
            edges = np.linspace(interval.start_s, interval.end_s, count + 1)
            for begin, end in pairwise(edges.tolist()):
                self._piece(recording, interval.label, begin, end)

    def _piece(self, recording: Recording, label: str, begin_s: float, end_s: float) -> None:
        for name, signal in recording.signals.items():
            first = max(0, int(np.ceil((begin_s - signal.start_s) * signal.rate_hz - 1e-6)))
            stop = max(0, int((end_s - signal.start_s) * signal.rate_hz))
            values = signal.values[first:stop]
            if len(values):
                medians = window_medians(values[None])[0]
                keys = [(name, channel) for channel in recording.modalities[name].channels]
                self._take(dict(zip(keys, medians, strict=True)), label, recording.subject)

    def add_windows(
        self, subject: str, labels: Sequence[str], medians: Mapping[Key, NDArray[np.float64]]
    ) -> None:
        """Take windows of one recording in their order.

        Args:
            subject: whose.
            labels: of the windows; empty where there is none.
            medians: (window,) by modality and channel, NaN where absent.
        """
        before = ""
        for row, label in enumerate(labels):
            self._stretches += bool(label) and label != before
            before = label
            if label:
                self._take({key: float(m[row]) for key, m in medians.items()}, label, subject)

    def _take(self, medians: Mapping[Key, float], label: str, subject: str) -> None:
        for key, value in medians.items():
            if np.isfinite(value):
                rows = self._rows.setdefault(key, _Rows([], [], []))
                rows.labels.append(label)
                rows.subjects.append(subject)
                rows.values.append(float(value))

    def findings(self) -> Iterator[Finding]:
        """Name the channels that tell the label."""
        if self._stretches < LEAST_STRETCHES:
            return
        for (modality, channel), rows in self._rows.items():
            ratio = _ratio(rows)
            if ratio < FAR and not (ratio >= APART and _same_in_all(rows)):
                continue
            yield Finding(
                "giveaway",
                "error" if ratio >= EXACT else "warning",
                modality,
                f"channel '{channel}' gives the label away by its value alone, in every subject: "
                "it looks like a copy of the labels",
                "A model reads it instead of the sensors, and scores are worthless: leave it out, "
                "unless you know which sensor it is.",
                scope="",
            )


def window_medians(windows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of each channel of each window: (B, T, C) to (B, C); NaN where none."""
    known = np.isfinite(windows)
    out = np.full((windows.shape[0], windows.shape[2]), np.nan)
    whole = known.all(axis=1)
    if whole.any():
        medians = np.median(windows, axis=1)
        out[whole] = medians[whole]
    for row, channel in zip(*np.nonzero(~whole & known.any(axis=1)), strict=True):
        out[row, channel] = np.median(windows[row, known[row, :, channel], channel])
    return out


def _ratio(rows: _Rows) -> float:
    """Return the largest gap between classes over half of what the widest class spreads."""
    values, labels = np.array(rows.values), np.array(rows.labels)
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or len(values) < LEAST_ROWS or counts.min() < LEAST_OF_CLASS:
        return 0.0
    centres = np.sort([np.median(values[labels == name]) for name in names])
    gap = float(np.diff(centres).max())
    ends = [np.percentile(values[labels == name], (2, 98)) for name in names]
    spread = max(float(high - low) / 2 for low, high in ends)
    if spread <= 1e-6 * gap:
        return np.inf if gap > 0 else 0.0
    return gap / spread


def _same_in_all(rows: _Rows) -> bool:
    """Tell whether people differ by no more than chance, within each class."""
    values, labels, subjects = map(np.array, (rows.values, rows.labels, rows.subjects))
    if len(np.unique(subjects)) < 2:
        return False
    between = within = 0.0
    free_between = free_within = 0
    for name in np.unique(labels):
        mine = labels == name
        middle = values[mine].mean()
        for subject in np.unique(subjects[mine]):
            group = values[mine & (subjects == subject)]
            between += len(group) * float(group.mean() - middle) ** 2
            within += float(((group - group.mean()) ** 2).sum())
            free_within += len(group) - 1
            free_between += 1
        free_between -= 1
    if free_between < 1 or free_within < LEAST_ROWS or within == 0:
        return False
    return (between / free_between) / (within / free_within) <= ALIKE
