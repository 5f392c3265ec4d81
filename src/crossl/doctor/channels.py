"""Checks of channels: constant ones, and those that are another one over again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality, Recording
from crossl.doctor.finding import Finding
from crossl.doctor.values import is_fast

POINTS = 4096
"""Samples of a channel that are compared."""

ALIKE = 1 - 1e-6
"""Correlation from which two channels are the same but for factor and offset."""

LEAST_SAMPLES, LEAST_SLOW_S, LEAST_LEVELS = 50, 600.0, 5
"""What is needed to judge a channel. A slow one (heart rate) may stay the same for minutes."""


@dataclass(frozen=True)
class Column:
    """One channel, thinned: where it stands, when it was recorded, and its values."""

    modality: str
    channel: str
    grid: tuple[float, float, int]
    values: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Modality and channel."""
        return f"{self.modality} {self.channel}"


def check_channels(recording: Recording) -> Iterator[Finding]:
    """Check every channel of a recording against being constant and against all others."""
    columns = []
    for name, signal in recording.signals.items():
        modality = recording.modalities[name]
        yield from check_constant(modality, signal.values)
        columns += columns_of(modality, signal.values, signal.start_s)
    yield from check_twins(columns)


def columns_of(modality: Modality, values: Float32, start_s: float) -> list[Column]:
    """Thin the channels of a signal."""
    step = max(1, len(values) // POINTS)
    grid = round(start_s, 3), modality.rate_hz, len(values)
    return [
        Column(modality.name, name, grid, values[::step, i].astype(np.float64))
        for i, name in enumerate(modality.channels)
    ]


def check_constant(modality: Modality, values: Float32) -> Iterator[Finding]:
    """Check for channels that hold one value from beginning to end."""
    fast = is_fast(modality)
    least = LEAST_SAMPLES if fast else max(LEAST_SAMPLES, LEAST_SLOW_S * modality.rate_hz)
    for name, channel in zip(modality.channels, values.T, strict=True):
        known = channel[~np.isnan(channel)]
        if len(known) >= least and (known == known[0]).all():
            yield Finding(
                "channels",
                "warning" if fast else "note",
                modality.name,
                f"channel '{name}' is constant from beginning to end",
                "It carries no information; leave it out, or look for a sensor that was not "
                "connected.",
            )


def check_twins(columns: list[Column]) -> Iterator[Finding]:
    """Check for channels that are the same but for sign, factor and offset."""
    groups: dict[tuple[float, float, int], list[Column]] = {}
    for column in columns:
        groups.setdefault(column.grid, []).append(column)
    for group in groups.values():
        table = np.stack([column.values for column in group])
        known = ~np.isnan(table).any(axis=0)
        table = table[:, known]
        if table.shape[1] < LEAST_SAMPLES:
            continue
        moving = np.array([len(np.unique(row)) >= LEAST_LEVELS for row in table])
        table = table - table.mean(axis=1, keepdims=True)
        length = np.linalg.norm(table, axis=1, keepdims=True)
        table = np.where(length > 0, table / np.where(length > 0, length, 1), 0)
        alike = np.triu(np.abs(table @ table.T) >= ALIKE, 1) & moving[:, None] & moving
        for i, j in zip(*np.nonzero(alike), strict=True):
            yield _twins(group[i], group[j], opposite=bool(table[i] @ table[j] < 0))


def _twins(first: Column, second: Column, *, opposite: bool) -> Finding:
    same = np.array_equal(first.values, second.values, equal_nan=True)
    how = "the same as" if same else "the opposite of" if opposite else "a multiple of"
    return Finding(
        "channels",
        "warning",
        second.modality,
        f"channel '{second.channel}' is {how} '{first.name}'",
        "It adds no information, and a model learns to copy it; leave one of them out.",
    )
