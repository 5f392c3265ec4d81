"""Units that are declared and cannot be, told wherever recordings are read.

The check of `crossl data doctor`, on some samples of each signal: it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from crossl.data.readers.dataset import Dataset
from crossl.data.recording import WARNING, Modality, Recording, Signal
from crossl.doctor.values import suspected_unit

MOST_SAMPLES = 20_000
"""Samples of a signal that are looked at, from its beginning to its end."""


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
    return [
        f"{WARNING}{name}: its values look like {units}, which its declared unit does not fit; "
        "correct its `unit` (`crossl data doctor` tells more)"
        for name, units in found.items() if units
    ]  # fmt: skip


def _suspected(modality: Modality, signal: Signal) -> str:
    step = max(1, len(signal.values) // MOST_SAMPLES)
    return suspected_unit(modality, signal.values[::step])


def with_unit_warnings(dataset: Dataset) -> Dataset:
    """Return the same data set, whose recordings have these warnings among their notes."""
    parts = (replace(part, read=partial(_warned, part.read)) for part in dataset.parts)
    return replace(dataset, parts=tuple(parts))


def _warned(read: Callable[[], Iterable[Recording]]) -> Iterator[Recording]:
    for one in read():
        found = unit_warnings(one)
        yield replace(one, notes=(*one.notes, *found)) if found else one
