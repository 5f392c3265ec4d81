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
from crossl.contenders.contender import PARTS, Context, Draw, Outcome, Tables
from crossl.contenders.minirocket import Minirocket
from crossl.contenders.statistics import statistics
from crossl.data.recording import Modality
from crossl.evaluate.around import embed_around, with_neighbours
from crossl.evaluate.budgets import STRICT, VALIDATION
from crossl.evaluate.latents import LatentTable, Subset
from crossl.evaluate.probe import FIXED_STRENGTH, fit_by_budget
from crossl.evaluate.probe_rows import ProbeRows, training_rows
from crossl.registry import register
from crossl.tasks import Task

Describe = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Windows (n, T, C) of one modality to features (n, F)."""
FitFeatures = Callable[[Modality, NDArray[np.float32], int], Describe]
"""Makes what describes a modality's windows from those of training subjects, and the number of the
repeat, which draws anew what is random."""

ROWS = 2048
LEAVES = (1, 2, 3, 5, 8, 12)
"""Values of the smallest leaf of a tree, as many as a probe has strengths to choose from."""
FIXED_LEAF, FIXED_RIDGE = 5, 1e-3
"""The smallest leaf, and the inverse penalty of ridge regression, where no label of validation
subjects may be used."""


class LogisticConfig(ContenderConfig):
    """Logistic regression on simple statistics."""

    repeats: ClassVar = "none"
    kind: Literal["logistic"] = "logistic"

    def build(self, name: str) -> Linear:
        """Make the contender."""
        return Linear(name, _of_statistics, ridge=False)


class MinirocketConfig(ContenderConfig):
    """Ridge regression on MiniRocket's features of each modality.

    Attributes:
        features: of each modality, about.
        seed: of what is drawn.
    """

    kind: Literal["minirocket"] = "minirocket"
    features: int = Field(2436, ge=84)
    seed: int = Field(0, ge=0)

    def build(self, name: str) -> Linear:
        """Make the contender."""

        def fit(modality: Modality, train: NDArray[np.float32], repeat: int) -> Describe:
            del modality
            return Minirocket(self.features, seed=self.seed + repeat).fit(train).transform

        return Linear(name, fit, ridge=True)


class ForestConfig(ContenderConfig):
    """A random forest on simple statistics.

    Attributes:
        trees: of the forest.
    """

    repeats: ClassVar = "none"
    kind: Literal["forest"] = "forest"
    trees: int = Field(200, gt=0)

    def build(self, name: str) -> Forest:
        """Make the contender."""
        return Forest(name, self.trees)


def _of_statistics(modality: Modality, train: NDArray[np.float32], repeat: int) -> Describe:
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
    """

    name: str
    fit: FitFeatures
    ridge: bool
    scaled: bool = False

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the classifier of each label draw says."""
        shared = "statistics" if self.fit is _of_statistics else None
        tables = feature_tables(context, self.fit, scaled=self.scaled, shared=shared)
        shown = context.labelled(tables["train"], f"fitting {self.name}")
        probes = fit_by_budget(
            shown,
            tables["validation"],
            head="encoders",
            fixed=FIXED_RIDGE if self.ridge else FIXED_STRENGTH,
            fit=(lambda task: task.fit_ridge) if self.ridge else None,
        )
        for outcome in context.outcomes(context.draws, probes, tables["test"]):
            yield replace(outcome, head=None)


@dataclass(frozen=True)
class Forest:
    """A random forest on statistics, whose smallest leaf validation subjects choose."""

    name: str
    trees: int

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the forest of each label draw says."""
        tables = feature_tables(context, _of_statistics, shared="statistics")
        shown = context.labelled(tables["train"], f"fitting {self.name}")
        task, validation = context.task, tables["validation"]
        validation = validation.take(task.known(validation.label))
        damaged = {damage: _shown(table, context.choices[0])
                   for damage, table in context.damaged(tables["test"])}  # fmt: skip
        for draw, (train, seed) in zip(context.draws, shown, strict=True):
            rows = training_rows(train.take(task.whole(train.label)), "encoders", seed=seed)
            forests = [self._fit(task, rows, leaf, seed) for leaf in LEAVES]
            scores = [_score(forest, validation, context) for forest in forests]
            best = int(np.argmax(task.gain(np.array(scores))))
            chosen = {STRICT: (LEAVES.index(FIXED_LEAF), np.nan), VALIDATION: (best, scores[best])}
            for budget, (number, score) in chosen.items():
                outcome = self._outcome(context, draw, forests[number], tables["test"])
                said = {damage: _said(forests[number], x, train.label)
                        for damage, x in damaged.items()}  # fmt: skip
                yield replace(outcome, budget=budget, fitted=(forests[number], score), damaged=said)

    @staticmethod
    def _outcome(context: Context, draw: Draw, forest: Any, test: LatentTable) -> Outcome:
        predicted = {
            choice: _said(forest, _shown(test, choice), test.label) for choice in context.choices
        }
        outcome = Outcome(draw, None, predicted)
        if not context.probabilities or not hasattr(forest, "predict_proba"):
            return outcome
        probability = {
            choice: _probability(forest, _shown(test, choice)) for choice in context.choices
        }
        columns = probability[context.choices[0]].shape[1]
        outputs = np.arange(columns) if test.label.ndim > 1 else forest.classes_
        return replace(outcome, probability=probability, outputs=outputs)

    def _fit(self, task: Task, rows: ProbeRows, leaf: int, seed: int) -> Any:
        forest = task.forest(
            n_estimators=self.trees, min_samples_leaf=leaf, random_state=seed,
            n_jobs=torch.get_num_threads(),
        )  # fmt: skip
        target = rows.label
        if target.ndim > 1 and target.shape[1] == 1:
            target = target[:, 0]  # scikit-learn wants a single output flat
        return forest.fit(_flat(rows.embedding), target, sample_weight=rows.weight)


def _flat(features: NDArray[Any]) -> NDArray[Any]:
    """Lay windows and their neighbours side by side; one that is not there is average, 0."""
    return np.asarray(np.nan_to_num(features, nan=0.0).reshape(len(features), -1))


def _shown(table: LatentTable, choice: Subset) -> NDArray[Any]:
    """Return the features of windows, and of their neighbours, under a subset of modalities."""
    if table.around is None:
        return table.embed("encoders", choice)
    allowed = torch.zeros_like(table.present)
    allowed[:, list(choice)] = True
    return _flat(embed_around(table, "encoders", allowed))


def _said(forest: Any, x: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    """Let a forest predict, in the shape of the task's targets."""
    return np.asarray(forest.predict(x)).reshape(len(x), *target.shape[1:]).astype(target.dtype)


def _probability(forest: Any, x: NDArray[Any]) -> NDArray[np.float32]:
    """Return what share of a forest's trees say each class, or that each label is there."""
    found = forest.predict_proba(x)
    if not isinstance(found, list):
        return np.asarray(found, dtype=np.float32)
    there = [one[:, list(classes).index(1)] if 1 in classes else np.zeros(len(x))
             for one, classes in zip(found, forest.classes_, strict=True)]  # fmt: skip
    return np.stack(there, axis=1).astype(np.float32)


def _score(forest: Any, validation: LatentTable, context: Context) -> float:
    """Average the main score on everything present with the mean over the other subsets.

    As probes do.
    """
    task = context.task
    scores = []
    for choice in context.choices:
        usable = validation.usable(choice)
        if usable.any():
            said = _said(forest, _shown(validation, choice)[usable], validation.label)
            one_group = np.zeros(int(usable.sum()), dtype=np.int64)
            counts = task.count(validation.label[usable], said, one_group, 1)
            scores.append(float(task.metric(counts)[0]))
    return (scores[0] + float(np.mean(scores[1:]))) / 2 if len(scores) > 1 else scores[0]


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


for _config in (LogisticConfig, MinirocketConfig, ForestConfig):
    register("contender", _config)
