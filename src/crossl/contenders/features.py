"""Contenders that learn no representation: features of each modality, and a classifier on them.

All get what a probe gets: windows of every subset of sensors to train on, as many values of one
setting to choose from, and validation subjects to choose by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from crossl.config.schema import ContenderConfig
from crossl.contenders.contender import PARTS, Context, Outcome, Tables
from crossl.contenders.minirocket import Minirocket
from crossl.contenders.statistics import statistics
from crossl.data.recording import Modality
from crossl.evaluate.around import with_neighbours
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import FIXED_STRENGTH, fit_by_budget
from crossl.registry import register

Describe = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Windows (n, T, C) of one modality to features (n, F)."""
FitFeatures = Callable[[Modality, NDArray[np.float32], int], Describe]
"""Makes what describes a modality's windows from those of training subjects, and the number of the
repeat, which draws anew what is random."""

ROWS = 2048
FIXED_RIDGE = 1e-3
"""The inverse penalty of ridge regression where no label of validation subjects may be used."""


class LogisticConfig(ContenderConfig):
    """Logistic regression on simple statistics."""

    repeats: ClassVar = "none"
    kind: Literal["logistic"] = "logistic"

    def build(self, name: str) -> Linear:
        """Make the contender."""
        return Linear(name, of_statistics, ridge=False, shared="statistics")


class MinirocketConfig(ContenderConfig):
    """Ridge regression on MiniRocket's features of each modality.

    Attributes:
        features: of each modality, about.
        seed: of what is drawn.
        once: of several pretraining seeds only the first draws features; they are dear to fit.
    """

    came_later: ClassVar[tuple[str, ...]] = ("once",)

    kind: Literal["minirocket"] = "minirocket"
    features: int = Field(2436, ge=84)
    seed: int = Field(0, ge=0)
    once: bool = False

    @property
    def repeats(self) -> Literal["all", "none"]:  # type: ignore[override]
        """Whether another pretraining seed draws features anew."""
        return "none" if self.once else "all"

    def build(self, name: str) -> Linear:
        """Make the contender."""

        def fit(modality: Modality, train: NDArray[np.float32], repeat: int) -> Describe:
            del modality
            return Minirocket(self.features, seed=self.seed + repeat).fit(train).transform

        return Linear(name, fit, ridge=True)


def of_statistics(modality: Modality, train: NDArray[np.float32], repeat: int) -> Describe:
    """Describe windows by simple statistics."""
    del train, repeat
    return lambda x: statistics(x, modality.rate_hz)


@dataclass(frozen=True)
class Linear:
    """A linear classifier on features, by the probe's own procedure.

    Attributes:
        name: as progress shows it.
        fit: makes what describes a modality's windows from those of training subjects.
        ridge: ridge regression, of classes to one target each, else logistic regression.
        scaled: features come on a scale of their own, with zeros that mean nothing seen.
        shared: name of the features, by which contenders share them.
    """

    name: str
    fit: FitFeatures
    ridge: bool
    scaled: bool = False
    shared: str | None = None

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the classifier of each label draw says."""
        tables = feature_tables(context, self.fit, scaled=self.scaled, shared=self.shared)
        shown = context.labelled(tables["train"], f"fitting {self.name}")
        probes = fit_by_budget(
            shown,
            tables["validation"],
            head="encoders",
            fixed=FIXED_RIDGE if self.ridge else FIXED_STRENGTH,
            fit=(lambda task: task.fit_ridge) if self.ridge else None,
            budgets=context.budgets,
        )
        for outcome in context.outcomes(context.draws, probes, tables["test"]):
            yield replace(outcome, head=None)


def feature_tables(
    context: Context,
    fit: FitFeatures,
    *,
    scaled: bool = False,
    shared: str | None = None,
) -> Tables:
    """Describe all windows of a fold; contenders that share features compute them once.

    See `_feature_tables`; `shared` is the name of the features.
    """
    if shared is None:
        return _feature_tables(context, fit, scaled=scaled)
    return context.shared(shared, lambda: _feature_tables(context, fit, scaled=scaled))


def _feature_tables(context: Context, fit: FitFeatures, *, scaled: bool) -> Tables:
    """Describe all windows of a fold, modality by modality, side by side as latents are.

    Features are standardised by the present windows of training subjects, unless they come scaled;
    those of an absent modality are zeros, and so are those that a modality with fewer channels
    does not have.
    """
    store, fold, target = context.store, context.fold, context.task.values(context.store)
    context.tell("computing features", 0, 1)
    by_part: dict[str, list[NDArray[np.float32]]] = {part: [] for part in PARTS}
    scales = []
    for column, modality in enumerate(store.modalities):
        scale, found = _describe(context, column, modality, fit, scaled=scaled)
        scales.append(scale)
        for part, values in found.items():
            by_part[part].append(values)
    width = max(values.shape[1] for values in by_part["train"])

    def encode(column: int, x: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(_widened(scales[column](x), width))

    tables = {
        part: LatentTable(
            cast(Any, None),  # only an aggregator would be asked of
            torch.from_numpy(np.stack([_widened(v, width) for v in values], axis=1)),
            torch.from_numpy(store.present[getattr(fold, part)]),
            target[getattr(fold, part)],
            store.subject[getattr(fold, part)],
            context.task,
            rows=getattr(fold, part),
            encoder=encode,
        )
        for part, values in by_part.items()
    }
    if len(context.task.offsets) == 1:
        return tables
    return {part: with_neighbours(table, store, getattr(fold, part))
            for part, table in tables.items()}  # fmt: skip


@dataclass(frozen=True)
class _Scale:
    """What makes features of a modality's windows, on the scale of training subjects.

    Attributes:
        describe: of windows at mean 0 and deviation 1; None where nobody trained has the modality.
        signal: mean and deviation of the samples.
        feature: mean and deviation of the features.
    """

    describe: Describe | None
    signal: tuple[Any, Any] = (0.0, 1.0)
    feature: tuple[Any, Any] = (0.0, 1.0)

    def raw(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Describe windows (n, T, C) on the features' own scale."""
        if self.describe is None:
            return np.zeros((len(x), 1), np.float32)
        mean, std = self.signal
        return self.describe(((x - mean) / std).astype(np.float32))

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Describe windows (n, T, C)."""
        centre, scale = self.feature
        return np.asarray((self.raw(x) - centre) / scale, dtype=np.float32)


def _describe(
    context: Context,
    column: int,
    modality: Modality,
    fit: FitFeatures,
    *,
    scaled: bool,
) -> tuple[_Scale, dict[str, NDArray[np.float32]]]:
    """Return what describes one modality, and its features for each part, on one scale."""
    store, fold = context.store, context.fold
    held = fold.train[store.present[fold.train, column]]
    if not len(held):
        found = {part: np.zeros((len(getattr(fold, part)), 1), np.float32) for part in PARTS}
        return _Scale(None), found
    sample = store.gather_zeroed(held[:: max(1, len(held) // ROWS)])[modality.name]
    mean, std = sample.mean(axis=(0, 1)), sample.std(axis=(0, 1)) + 1e-8
    signals = ((sample - mean) / std).astype(np.float32)
    own = _Scale(fit(modality, signals, context.repeat), (mean, std))
    found = {}
    for part in PARTS:
        rows = getattr(fold, part)
        blocks = np.array_split(rows, max(1, -(-len(rows) // ROWS)))
        pieces = [own.raw(store.gather_zeroed(some)[modality.name]) for some in blocks]
        found[part] = np.concatenate(pieces)
    present = {part: store.present[getattr(fold, part), column] for part in PARTS}
    if not scaled:
        own = replace(own, feature=_standard(found["train"][present["train"]]))
    centre, scale = own.feature
    return own, {
        part: np.where(present[part][:, None], (values - centre) / scale, 0).astype(np.float32)
        for part, values in found.items()
    }


def _standard(train: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale < 1e-8] = 1
    return centre, scale


def _widened(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


for _config in (LogisticConfig, MinirocketConfig):
    register("contender", _config)
