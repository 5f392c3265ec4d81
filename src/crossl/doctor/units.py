"""Units that are declared and cannot be, told wherever recordings are read.

The check of `crossl data doctor`, on some samples of each signal: it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil

import numpy as np

from crossl.data.readers.dataset import Dataset
from crossl.data.recording import WARNING, Float32, Modality, Recording, Signal
from crossl.doctor.values import suspected_unit

MOST_SAMPLES = 20_000
"""Samples of a signal that are looked at, from its beginning to its end."""


LOOKED_S = 30.0
"""Seconds of a stream that are looked at."""
LEAST_SAMPLES = 32
"""Samples of a stream that are looked at, at least, unless it ends before."""


def unit_warnings(recording: Recording) -> list[str]:
    """Say which signals of a recording look as if they had another unit than is declared.

    Args:
        recording: in SI, as readers give it.

    Examples:
        >>> import numpy as np
        >>> acc = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)
        >>> rest = np.random.default_rng(0).normal([0, 0, 1], 0.01, size=(500, 3))
        >>> signals = {"acc": Signal(rest.astype(np.float32), 50.0)}
        >>> [one[:36] for one in unit_warnings(Recording("ann", "1", {"acc": acc}, signals))]
        ['warning: acc: its values look like g']
    """
    found = {name: _suspected(recording.modalities[name], signal)
             for name, signal in recording.signals.items()}  # fmt: skip
    return [_sentence(name, units) for name, units in found.items() if units]


def _sentence(name: str, units: str) -> str:
    return (
        f"{WARNING}{name}: its values look like {units}, which its declared unit does not fit; "
        "correct its `unit` (`crossl data doctor` tells more)"
    )


def with_warnings(recording: Recording) -> Recording:
    """Return a recording with these warnings among its notes, each once."""
    found = unit_warnings(recording)
    notes = dict.fromkeys((*recording.notes, *found))
    return replace(recording, notes=tuple(notes)) if found else recording


class UnitWatch:
    """The same check for a stream, of the first samples of each sensor.

    Args:
        modalities: of the stream.

    Examples:
        >>> watch = UnitWatch([Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)])
        >>> rest = np.random.default_rng(0).normal([0, 0, 1], 0.01, size=(2000, 3))
        >>> [one[:36] for one in watch.take({"acc": Signal(rest.astype(np.float32), 50.0)})]
        ['warning: acc: its values look like g']
    """

    def __init__(self, modalities: Sequence[Modality]) -> None:
        self._open = {m.name: m for m in modalities}
        self._first: dict[str, list[Float32]] = {m.name: [] for m in modalities}

    def take(self, chunks: Mapping[str, Signal]) -> list[str]:
        """Take chunks, and return what is to be said now; of each sensor once."""
        found: list[str] = []
        for name, signal in chunks.items():
            if name not in self._open:
                continue
            known = signal.values[~np.isnan(signal.values).all(axis=1)]
            self._first[name].append(np.array(known[:MOST_SAMPLES]))
            enough = max(LEAST_SAMPLES, ceil(LOOKED_S * signal.rate_hz))
            if sum(map(len, self._first[name])) >= min(MOST_SAMPLES, enough):
                found += self._look(name)
        return found

    def rest(self) -> list[str]:
        """Return what is to be said of sensors of which no more comes."""
        return [one for name in list(self._open) for one in self._look(name)]

    def _look(self, name: str) -> list[str]:
        modality, parts = self._open.pop(name), self._first.pop(name)
        if not sum(map(len, parts)):
            return []
        units = suspected_unit(modality, np.concatenate(parts))
        return [_sentence(name, units)] if units else []


def _suspected(modality: Modality, signal: Signal) -> str:
    step = max(1, len(signal.values) // MOST_SAMPLES)
    return suspected_unit(modality, signal.values[::step])


def with_unit_warnings(dataset: Dataset) -> Dataset:
    """Return the same data set, whose recordings have these warnings among their notes."""
    parts = (replace(part, read=partial(_warned, part.read)) for part in dataset.parts)
    return replace(dataset, parts=tuple(parts))


def _warned(read: Callable[[], Iterable[Recording]]) -> Iterator[Recording]:
    for one in read():
        yield with_warnings(one)
