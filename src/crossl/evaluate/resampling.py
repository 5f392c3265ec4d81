"""Bootstrap of everything that varies: people, label draws and pretraining seeds.

In each sample people are drawn with replacement, and so are label draws and pretraining seeds, in
each fold anew, as a fold has draws and trainings of its own. Resampling each factor of a crossed
design by itself is slightly conservative (Owen 2007, "The pigeonhole bootstrap").
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from crossl.tasks import Metric, Statistics

DRAWS = 2000
AT_ONCE = 250
"""Bootstrap samples that are scored together."""
REMEMBERED = 4096
"""Scores that are not computed again for the same counts: a summary, what is left of it without a
sensor and what each sensor is worth ask for the same ones. Each takes 16 KB."""


@dataclass(frozen=True)
class Design:
    """How the counts of a method, (unit, subject, ...), came about.

    A unit is one label draw under one pretraining seed: number `seed * draws + draw`.

    Attributes:
        fold: (N,) of each subject.
        seeds: pretraining seeds; 1 also where each label draw had a training of its own.
        draws: label draws.
    """

    fold: NDArray[np.int64]
    seeds: int = 1
    draws: int = 1

    @classmethod
    def of_people(cls, counts: Statistics) -> Design:
        """Return the design in which only people vary: units are averaged as they are."""
        return cls(np.zeros(counts.shape[1], dtype=np.int64))


def in_order(units: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort units, pretraining seed and label draw each, as a design numbers them.

    Where not every draw is there under every seed, as each has a training of its own, they are in
    the order of the draws: the same samples are then of the same draws as other methods' are.
    """
    seeds, draws = ({unit[i] for unit in units} for i in (0, 1))
    crossed = len(units) == len(seeds) * len(draws)
    return sorted(units, key=lambda unit: unit if crossed else unit[::-1])


class Resampling:
    """The same bootstrap samples for whatever is compared.

    Args:
        design: of the counts; one with a single unit varies people only, and so does one whose
            number of units differs from that of the counts.
        seed: of the samples. Methods of the same people and draws get the same samples of both.
        draws: how many samples.
    """

    def __init__(self, design: Design, *, seed: int = 0, draws: int = DRAWS) -> None:
        self.design = design
        people = len(design.fold)
        once = np.ones((1, people), dtype=np.int64)
        self.weight = np.concatenate([once, subject_draws(people, seed=seed, draws=draws)])
        self.folds = np.unique(design.fold)
        self.units = self._units(seed, draws)
        self._known: OrderedDict[tuple[Any, ...], NDArray[np.float64]] = OrderedDict()

    @classmethod
    def of(cls, design: Design, *, seed: int = 0, draws: int = DRAWS) -> Resampling:
        """Return the samples of a design, drawn once for whoever asks."""
        fold = np.asarray(design.fold, dtype=np.int64)
        return _drawn(fold.tobytes(), design.seeds, design.draws, seed, draws)

    def _units(self, seed: int, draws: int) -> NDArray[np.int64]:
        """Draw units for each sample and fold, (1 + draws, fold, unit); the first are all once."""
        design, shape = self.design, (draws, len(self.folds))
        drawn = np.random.default_rng([seed, 1]).integers(design.draws, size=(*shape, design.draws))
        seeds = np.random.default_rng([seed, 2]).integers(design.seeds, size=(*shape, design.seeds))
        pairs = seeds[..., :, None] * design.draws + drawn[..., None, :]
        every = np.arange(design.seeds * design.draws)
        first = np.broadcast_to(every, (1, len(self.folds), len(every)))
        return np.concatenate([first, pairs.reshape(*shape, -1)])

    def scores(self, counts: Statistics, metric: Metric) -> Float[np.ndarray, " sample"]:
        """Score the pooled counts of every sample, averaged over its units.

        Args:
            counts: (unit, subject, ...).
            metric: of the sum of counts over subjects.

        Returns:
            The score itself, then that of every sample.
        """
        known = self._known.get((metric, *_content(counts)))
        if known is not None:
            return known
        return self.several(counts, {"": metric}, remember=("",))[""]

    def several(
        self, counts: Statistics, metrics: Mapping[str, Metric], *, remember: Collection[str] = ()
    ) -> dict[str, Float[np.ndarray, " sample"]]:
        """Score the pooled counts of every sample by several metrics; see `scores`.

        Args:
            counts: (unit, subject, ...).
            metrics: by name.
            remember: metrics by which the same counts will be scored again.
        """
        flat = counts.reshape(*counts.shape[:2], -1).astype(np.float64)
        out: dict[str, list[NDArray[Any]]] = {name: [] for name in metrics}
        for begin in range(0, len(self.weight), AT_ONCE):
            pooled = self._pooled(flat, slice(begin, begin + AT_ONCE))
            pooled = pooled.reshape(*pooled.shape[:2], *counts.shape[2:])
            for name, metric in metrics.items():
                out[name].append(np.asarray(metric(pooled)).mean(axis=1))
        found = {name: np.concatenate(parts) for name, parts in out.items()}
        for name in remember:
            found[name].flags.writeable = False
            self._known[metrics[name], *_content(counts)] = found[name]
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _pooled(self, flat: NDArray[np.float64], part: slice) -> NDArray[np.float64]:
        """Sum counts over the people of each sample: (sample, unit, ...)."""
        weight = self.weight[part].astype(np.float64)
        if len(flat) != self.units.shape[2]:
            return np.asarray(np.einsum("rn,unk->ruk", weight, flat, optimize=True))
        units, width = len(flat), flat.shape[2]
        total = np.zeros((len(weight) * units, width))
        rows = units * np.arange(len(weight))[:, None]
        for number, fold in enumerate(self.folds):
            of_fold = np.flatnonzero(self.design.fold == fold)
            by_person = flat[:, of_fold].swapaxes(0, 1).reshape(len(of_fold), -1)
            summed = (weight[:, of_fold] @ by_person).reshape(-1, width)
            total += summed.take((rows + self.units[part, number]).ravel(), axis=0)
        return total.reshape(len(weight), units, width)

    def means(self, values: Float[np.ndarray, "unit subject"]) -> Float[np.ndarray, " sample"]:
        """Average a value of each unit and subject over every sample; the first is the mean."""
        if len(values) != self.units.shape[2]:
            return np.asarray(self.weight @ values.mean(axis=0) / values.shape[1])
        total = np.zeros(len(self.weight))
        for number, fold in enumerate(self.folds):
            of_fold = np.flatnonzero(self.design.fold == fold)
            by_unit = self.weight[:, of_fold] @ values[:, of_fold].T  # (sample, unit)
            total += np.take_along_axis(by_unit, self.units[:, number], axis=1).mean(axis=1)
        return np.asarray(total / values.shape[1])


@lru_cache(maxsize=4)
def _drawn(fold: bytes, seeds: int, units: int, seed: int, draws: int) -> Resampling:
    design = Design(np.frombuffer(fold, dtype=np.int64), seeds, units)
    return Resampling(design, seed=seed, draws=draws)


def _content(counts: Statistics) -> tuple[Any, ...]:
    """Name counts by what they hold."""
    whole = np.ascontiguousarray(counts)
    return whole.shape, whole.dtype.str, hashlib.sha256(whole.tobytes()).digest()


def subject_draws(
    subjects: int, *, seed: int = 0, draws: int = DRAWS
) -> Int[np.ndarray, "draw subject"]:
    """Count how often each subject is in each bootstrap sample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=draws)


EXACT = 12
"""Up to this many people every way to flip signs is tried; of more, a draw of them."""
FLIPS = 20000


def sign_flip_p(values: Float[np.ndarray, " subject"], *, seed: int = 0) -> float:
    """Return how often people's differences, with signs flipped by chance, are as far from 0.

    A two-sided randomisation test (Fisher 1935): if two methods are alike, the sign of each
    person's difference is a coin. With `n` people the smallest value is 2 / 2**n, and 1 / 20001
    where signs are drawn.

    Args:
        values: a difference of each person.
        seed: of the draw of signs.
    """
    n = len(values)
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        more = 0
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(2, size=(FLIPS, n))
        more = 1
    seen, wanted = np.abs(signs @ values), abs(values.sum())
    as_far = int((seen >= wanted - 1e-12 * max(1.0, wanted)).sum())
    return (as_far + more) / (len(signs) + more)
