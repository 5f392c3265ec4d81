"""Answers: inputs that give the number of each window away, so that nothing needs to be learned.

Compared is what a target may be read by (mean, median, highest and lowest sample of a channel in a
window) with the number, each less its mean over the windows of the person: what differs between
people alone (as age does, among few people) proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Modality
from crossl.data.targets import Target
from crossl.doctor.finding import Finding, one

STATISTICS = (np.mean, np.median, np.max, np.min)

EXACT, CLOSE = 0.999, 0.98
"""Correlation within people: an error, a warning."""

LEAST_WINDOWS = 16
"""Windows in which both are known."""

Sums: TypeAlias = dict[tuple[str, str], NDArray[np.float64]]
"""(window, statistic) by modality and channel, NaN where the modality is absent."""


class Answers:
    """Collects channels and numbers, recording after recording.

    Args:
        targets: of a store; those that are numbers are looked at.
    """

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self._numbers = [(target, column) for target in targets if target.kind == "numbers"
                         for column in range(len(target.names))]  # fmt: skip
        self._rows: list[tuple[str, Sums, list[NDArray[np.float64]]]] = []

    @property
    def wanted(self) -> set[str]:
        """Names of the targets that are looked at."""
        return {target.name for target, _ in self._numbers}

    def add_windows(
        self,
        subject: str,
        windows: Mapping[Modality, NDArray[np.float32]],
        values: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Take windows of one recording.

        Args:
            subject: whose.
            windows: (window, time, channel) by modality, NaN where absent.
            values: (window, number) of each target that is wanted, NaN where unknown.
        """
        if self._numbers:
            told = [values[target.name][:, column].astype(np.float64)
                    for target, column in self._numbers]  # fmt: skip
            sums = {
                (modality.name, channel): np.stack(
                    [statistic(samples[:, :, place], axis=1) for statistic in STATISTICS], axis=1
                ).astype(np.float64)
                for modality, samples in windows.items()
                for place, channel in enumerate(modality.channels)
            }
            self._rows.append((subject, sums, told))

    def findings(self) -> Iterator[Finding]:
        """Name the channels that give a number away."""
        if not self._rows:
            return
        subject = np.concatenate([np.full(len(t[0]), who) for who, _, t in self._rows])
        keys = dict.fromkeys(key for _, sums, _ in self._rows for key in sums)
        for number, (target, column) in enumerate(self._numbers):
            told = np.concatenate([values[number] for _, _, values in self._rows])
            several = len(target.names) > 1
            name = f"{target.name}.{target.names[column]}" if several else target.name
            for key in keys:
                channel = np.concatenate([sums[key] for _, sums, _ in self._rows])
                size = max(abs(_within_people(read, told, subject)) for read in channel.T)
                if size >= CLOSE:
                    yield Finding(
                        "giveaway",
                        "error" if size >= EXACT else "warning",
                        key[0],
                        f"channel '{key[1]}' gives target '{name}' away by its value alone: they "
                        "correlate at {}",
                        "A model copies it and learns nothing: leave the modality out, unless "
                        "this is what you want to know.",
                        amount=one(size),
                        scope="",
                    )


def _within_people(
    a: NDArray[np.float64], b: NDArray[np.float64], subject: NDArray[np.str_]
) -> float:
    """Correlate what is left of two numbers without the means of people; 0 where nothing varies."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < LEAST_WINDOWS:
        return 0.0
    _, who = np.unique(subject[known], return_inverse=True)
    counts = np.bincount(who)
    rest = [x[known] - (np.bincount(who, x[known]) / counts)[who] for x in (a, b)]
    norms = [float(np.sqrt((x**2).sum())) for x in rest]
    scales = [float(np.sqrt((x[known] ** 2).sum())) for x in (a, b)]
    if any(norm <= 1e-9 * scale for norm, scale in zip(norms, scales, strict=True)):
        return 0.0
    return float((rest[0] * rest[1]).sum() / (norms[0] * norms[1]))
