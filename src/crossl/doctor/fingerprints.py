"""Fingerprints of the windows of recordings: what is kept to find copies at the end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Recording, Signal
from crossl.data.splits import group_subjects
from crossl.data.windows import WindowSpec, window_numbers
from crossl.doctor.finding import Finding
from crossl.doctor.leakage import (
    BUCKETS,
    RADIUS,
    Float64,
    Place,
    close_pairs,
    hash_windows,
    standardise,
    tell_twins,
)

MAX_PRINTS = 40_000
"""Windows whose prints are kept; beyond, every second one is dropped, again and again."""

BATCH_NUMBERS = 2_000_000


class Prints:
    """Hashes of every window and sensor.

    Args:
        spec: how windows are cut.
    """

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self._places: list[Place] = []
        self._grouped: list[dict[str, str]] = []
        self._number: list[int] = []
        self._prints: dict[str, list[tuple[int, Float64]]] = {}
        self.every = 1

    def add(self, recording: Recording) -> None:
        """Take the windows of one recording."""
        self._grouped.append({"subject": recording.subject, "group": recording.group})
        numbers = window_numbers(recording, self._spec)
        numbers = numbers[numbers % self.every == 0]
        starts = np.asarray(recording.start_s + numbers * self._spec.stride_s, dtype=np.float64)
        made = {name: self._hash(signal, starts) for name, signal in recording.signals.items()}
        telling = sorted({row for prints in made.values() for row in prints})
        place_of = {row: len(self._places) + at for at, row in enumerate(telling)}
        self._number += numbers[telling].tolist()
        self._places += [
            Place(recording.subject, recording.session, start) for start in starts[telling].tolist()
        ]
        for name, prints in made.items():
            kept = self._prints.setdefault(name, [])
            kept += [(place_of[row], made_of_row) for row, made_of_row in prints.items()]
        while len(self._places) > MAX_PRINTS:
            self._thin()

    def _hash(self, signal: Signal, starts: Float64) -> dict[int, Float64]:
        """Hash the windows of one signal that are whole and tell something, by their number."""
        samples, channels = round(self._spec.window_s * signal.rate_hz), signal.values.shape[1]
        if samples < 2 or samples * channels <= BUCKETS:
            return {}
        first = np.round((starts - signal.start_s) * signal.rate_hz).astype(np.int64)
        inside = np.flatnonzero((first >= 0) & (first + samples <= len(signal.values)))
        out: dict[int, Float64] = {}
        step = max(1, BATCH_NUMBERS // (samples * channels))
        for begin in range(0, len(inside), step):
            rows = inside[begin : begin + step]
            windows = signal.values[first[rows, None] + np.arange(samples)]
            whole = ~np.isnan(windows).any(axis=(1, 2))
            if whole.any():
                flat, telling = standardise(windows[whole])
                hashed = hash_windows(flat[telling])
                out.update(zip(rows[whole][telling].tolist(), hashed, strict=True))
        return out

    def _thin(self) -> None:
        """Keep every second window of each recording: copies at the same place stay together."""
        self.every *= 2
        keep = [row for row, number in enumerate(self._number) if number % self.every == 0]
        moved = {row: place for place, row in enumerate(keep)}
        self._places = [self._places[row] for row in keep]
        self._number = [self._number[row] for row in keep]
        for name, kept in self._prints.items():
            self._prints[name] = [(moved[row], made) for row, made in kept if row in moved]

    def findings(self) -> Iterator[Finding]:
        """Tell windows that agree in every sensor that both have and that can be recognised."""
        tables = [self._table(kept) for kept in self._prints.values() if kept]
        pairs: set[tuple[int, int]] = set()
        for table in tables:
            pairs |= close_pairs(table, ~np.isnan(table[:, 0]))
        twins = []
        for a, b in sorted(pairs):
            apart = np.array([np.linalg.norm(table[a] - table[b]) for table in tables])
            if not self._overlap(a, b) and (apart[~np.isnan(apart)] < RADIUS).all():
                twins.append((self._places[a], self._places[b]))
        yield from tell_twins(twins, group_subjects(self._grouped))

    def _table(self, kept: list[tuple[int, Float64]]) -> Float64:
        table: NDArray[np.float64] = np.full((len(self._places), BUCKETS), np.nan)
        for row, made in kept:
            table[row] = made
        return table

    def _overlap(self, a: int, b: int) -> bool:
        one, other = self._places[a], self._places[b]
        same = (one.subject, one.session) == (other.subject, other.session)
        return same and abs(one.start_s - other.start_s) < self._spec.window_s - 1e-6
