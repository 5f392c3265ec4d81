"""Context: transitions between classes, learned from labels, and whether they help.

Transitions are counted from the drawn labels of training subjects alone, by neighbouring windows of
a recording. Where few windows are labelled, neighbours lie apart: what happened between them is
expected by the transitions found so far (Dempster, Laird and Rubin, Maximum likelihood from
incomplete data, JRSS B 1977), again and again.

Validation subjects choose how much a window counts and how fast the chain forgets, by the
likelihood of their labels, and whether context is used unless one says otherwise: where that
likelihood and their mean score rise and nobody's score falls by more than a point. Fewer than three
people decide nothing. People whose labels follow a protocol make context look better than life, in
which classes come in any order; where nearly each recording is of one class, nothing is learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from crossl.data.neighbours import Places
from crossl.data.windows import WindowSpec
from crossl.decode import FORMS, RESTART_S, Chain, Decoder, Float64, Form
from crossl.evaluate.confidence import Temperatures
from crossl.evaluate.latents import LatentTable, Subset
from crossl.evaluate.probe import Probe, read_subsets

WEIGHTS = (0.5, 0.7, 1.0)
"""How much a window may count."""
FORGETS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85)
"""How fast a chain may forget."""
FARTHEST = 50
"""Windows that are more strides apart tell nothing of transitions."""
ROUNDS = 50
PER_CLASS, CHANGES_PER_CLASS = 5, 2
"""So many pairs of labelled neighbours, and of such of two classes, are needed for each class."""
LEAST_PEOPLE = 3
"""Fewer validation subjects do not decide that context is used."""
PSEUDO = 1.0
"""Transitions from each class that count as seen beforehand, the same to every class."""
MOST_WINDOWS = 3000
"""Validation windows that judge, the first of each person."""
MOST_LOST = 0.01
"""What the score of a validation subject may lose where the mean rises."""


class Timed(Protocol):
    """Windows of recordings, such as a store."""

    @property
    def places(self) -> Places:
        """Where windows lie in their recordings."""

    @property
    def start_s(self) -> Float64:
        """(W,) seconds on the clock of the recording."""

    @property
    def spec(self) -> WindowSpec:
        """How windows were cut."""


class Judged(NamedTuple):
    """What validation subjects say of a form.

    Attributes:
        gain: (P,) what each one's main score rises by.
        loss: mean negative log-likelihood of their labels with it.
        before: the same without.
    """

    gain: Float64
    loss: float
    before: float

    @property
    def helps(self) -> bool:
        """Whether context is used unless one says otherwise."""
        if len(self.gain) < LEAST_PEOPLE or self.loss >= self.before:
            return False
        return bool(self.gain.mean() > 0 and self.gain.min() >= -MOST_LOST)


def fit_decoder(
    probe: Probe, temperatures: Temperatures | None, train: LatentTable, validation: LatentTable,
    windows: Timed,
) -> tuple[Decoder, dict[Form, Judged]] | None:  # fmt: skip
    """Learn transitions, and let validation subjects judge them.

    Args:
        probe: fitted on `train`.
        temperatures: that calibrate it.
        train: labelled windows of training subjects.
        validation: windows of validation subjects.
        windows: of which both are rows.

    Returns:
        None without classes, without rows, or with too few labelled neighbours.
    """
    if probe.task.target.kind != "classes" or train.rows is None or validation.rows is None:
        return None
    place = place_of(probe, train.label)
    known = place >= 0
    counts = np.bincount(place[known], minlength=len(probe.classes))
    pairs = neighbour_counts(windows.places, train.rows[known], place[known], len(probe.classes))
    every = np.zeros((len(probe.classes), len(probe.classes)))
    for pair in pairs.values():
        every += pair
    changes = every.sum() - np.trace(every)
    few = every.sum() < PER_CLASS * len(every) or changes < CHANGES_PER_CLASS * len(every)
    if few or not (place_of(probe, validation.label) >= 0).any():
        return None
    prior = (counts + 1) / (counts + 1).sum()
    chain = Chain(prior, fit_transition(pairs, len(probe.classes)))
    stride_s = windows.spec.stride_s
    decoder = Decoder(
        chain, prior, stride_s, dict.fromkeys(FORMS, 1.0), dict.fromkeys(FORMS, 0.0),
        dict.fromkeys(FORMS, False), max(RESTART_S, 2 * stride_s),
    )  # fmt: skip
    return _judged(decoder, probe, temperatures, validation, windows)


def place_of(probe: Probe, label: NDArray[Any]) -> NDArray[np.int64]:
    """Number labels as the outputs of a probe are, (n,); -1 for what it never saw."""
    place = np.searchsorted(probe.classes, label).clip(max=len(probe.classes) - 1)
    return np.where(probe.classes[place] == label, place, -1).astype(np.int64)


def neighbour_counts(
    places: Places, rows: NDArray[np.int64], place: NDArray[np.int64], classes: int
) -> dict[int, Float64]:
    """Count pairs of labelled windows that follow each other in a recording.

    Args:
        places: of all windows.
        rows: (n,) sorted, the labelled ones.
        place: (n,) their classes, from 0.
        classes: R.

    Returns:
        By strides between them (R, R), from the row's class to the column's.
    """
    strides = np.diff(places.step[rows])
    fits = (np.diff(places.recording[rows]) == 0) & (strides >= 1) & (strides <= FARTHEST)
    out = {}
    for apart in np.unique(strides[fits]).tolist():
        some = np.flatnonzero(fits & (strides == apart))
        flat = place[some] * classes + place[some + 1]
        counts = np.bincount(flat, minlength=classes**2)
        out[apart] = counts.reshape(classes, classes).astype(np.float64)
    return out


def fit_transition(pairs: dict[int, Float64], classes: int) -> Float64:
    """Find the transitions that make pairs of labels most likely, (R, R).

    Args:
        pairs: by strides between them, (R, R) counts.
        classes: R.

    Examples:
        >>> fit_transition({1: np.array([[90.0, 10.0], [5.0, 45.0]])}, 2).round(2)
        array([[0.9 , 0.1 ],
               [0.11, 0.89]])
    """
    transition = np.full((classes, classes), 0.5 / classes) + 0.5 * np.eye(classes)
    for _ in range(ROUNDS if set(pairs) - {1} else 1):
        powers = [np.eye(classes)]
        for _ in range(max(pairs)):
            powers.append(powers[-1] @ transition)
        stack = np.stack(powers)
        expected = np.zeros_like(transition)
        for apart, count in pairs.items():
            share = count / np.maximum(stack[apart], np.finfo(float).tiny)
            before = stack[:apart].transpose(0, 2, 1)
            behind = stack[:apart][::-1]
            expected += (before @ share @ behind.transpose(0, 2, 1)).sum(axis=0)
        expected = expected * transition + PSEUDO / classes
        transition = expected / expected.sum(axis=1, keepdims=True)
    return transition


def _judged(
    decoder: Decoder, probe: Probe, temperatures: Temperatures | None, validation: LatentTable,
    windows: Timed,
) -> tuple[Decoder, dict[Form, Judged]]:  # fmt: skip
    """Choose weights, and compare each person's score with and without."""
    validation = validation.take(_first(validation.subject))
    full = tuple(range(validation.present.shape[1]))
    alone = calibrated(probe, temperatures, validation, [full])
    alone = alone[:, 0]
    place = place_of(probe, validation.label)
    before = _loss(alone, place, validation.subject)
    told: dict[Form, Judged] = {}
    for form in FORMS:
        best = (np.inf, decoder, alone)
        for weight, forget in product(WEIGHTS, FORGETS):
            trial = replace(decoder, weight={**decoder.weight, form: weight},
                            forget={**decoder.forget, form: forget})  # fmt: skip
            found = in_context(trial, alone, validation, windows, form)
            best = min(best, (_loss(found, place, validation.subject), trial, found),
                       key=lambda one: one[0])  # fmt: skip
        loss, decoder, found = best
        told[form] = Judged(_gain(probe, validation, alone, found), loss, before)
    helps = {form: one.helps for form, one in told.items()}
    return replace(decoder, helps=helps), told


def _first(subject: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Tell which windows judge: of each person about as many, from the beginning."""
    keep = np.zeros(len(subject), dtype=np.bool_)
    people = np.unique(subject)
    for name in people:
        keep[np.flatnonzero(subject == name)[: MOST_WINDOWS // len(people)]] = True
    return keep


def calibrated(
    probe: Probe, temperatures: Temperatures | None, table: LatentTable, choices: list[Subset]
) -> Float64:
    """Return calibrated probabilities of windows under subsets, (n, S, R); NaN without a sensor."""
    present = np.asarray(table.present)
    shown = np.stack([np.isin(np.arange(present.shape[1]), chosen) for chosen in choices])
    parts = [np.zeros((0, len(choices), len(probe.classes)))]
    begin = 0
    for (outputs,) in read_subsets([probe], table, choices):
        some = np.asarray(present[begin : begin + len(outputs), None] & shown)  # (b, S, M)
        scaled = outputs.astype(np.float64)
        if temperatures is not None:
            divisor = temperatures.of(some.reshape(-1, present.shape[1]))
            scaled = scaled / divisor.reshape(*some.shape[:2], 1)
        found = np.asarray(probe.task.probabilities(scaled))
        parts.append(np.where(some.any(axis=2, keepdims=True), found, np.nan))
        begin += len(outputs)
    return np.concatenate(parts)


def in_context(
    decoder: Decoder, alone: Float64, table: LatentTable, windows: Timed, form: Form
) -> Float64:
    """Return probabilities in the light of the other windows of each recording, (n, ..., R).

    Args:
        decoder: of their classes.
        alone: (n, ..., R), of each window by itself.
        table: the windows, rows in order.
        windows: of which they are rows.
        form: what is read.
    """
    out = np.empty_like(alone)
    for rows in by_recording(table, windows):
        assert table.rows is not None  # noqa: S101 - by_recording needs them
        start_s = windows.start_s[table.rows[rows]]
        out[rows] = decoder.probabilities(alone[rows], start_s, form)
    return out


def by_recording(table: LatentTable, windows: Timed) -> Iterator[slice]:
    """Yield the places of each recording's windows in a table."""
    assert table.rows is not None  # noqa: S101 - tables of stores have them
    edges = np.flatnonzero(np.diff(windows.places.recording[table.rows])) + 1
    for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(table)], strict=True):
        yield slice(begin, end)


def _loss(found: Float64, place: NDArray[np.int64], subject: NDArray[np.str_]) -> float:
    """Average the negative log-likelihood of labels over windows, then people."""
    known = (place >= 0) & np.isfinite(found).all(axis=1)
    own = np.take_along_axis(found[known], place[known, None], axis=1)[:, 0]
    people, whose = np.unique(subject[known], return_inverse=True)
    sums = np.bincount(whose, -np.log(np.maximum(own, 1e-6)), minlength=len(people))
    return float((sums / np.maximum(np.bincount(whose, minlength=len(people)), 1)).mean())


def _gain(probe: Probe, table: LatentTable, alone: Float64, found: Float64) -> Float64:
    """Return what each person's main score rises by, (P,)."""
    said = np.isfinite(alone).all(axis=1)
    scores = []
    for one in (alone, found):
        label = probe.classes[np.nan_to_num(one[said]).argmax(axis=1)]
        _, counts = probe.task.by_subject(table.label[said], label, table.subject[said])
        scores.append(probe.task.gain(probe.task.metric(counts)))
    return np.asarray(scores[1] - scores[0], dtype=np.float64)
