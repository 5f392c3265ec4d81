"""Contenders made of trees on features of each modality: forests, and what makes trees otherwise.

Trained, and chosen by validation subjects, as probes are: see `contenders/features.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.base import is_regressor

from crossl.config.schema import ContenderConfig
from crossl.contenders.contender import Context, Draw, Outcome
from crossl.contenders.features import FitFeatures, feature_tables, of_statistics
from crossl.evaluate.around import embed_around
from crossl.evaluate.budgets import STRICT, VALIDATION, Budget
from crossl.evaluate.latents import LatentTable, Subset
from crossl.evaluate.probe_rows import ProbeRows, training_rows
from crossl.registry import register
from crossl.tasks import Task

LEAVES = (1, 2, 3, 5, 8, 12)
"""Values of the smallest leaf of a tree, as many as a probe has strengths to choose from."""
FIXED_LEAF = 5
"""The smallest leaf where no label of validation subjects may be used."""


class ForestConfig(ContenderConfig):
    """A random forest on simple statistics.

    Attributes:
        trees: of the forest.
    """

    repeats: ClassVar = "none"
    kind: Literal["forest"] = "forest"
    trees: int = Field(200, gt=0)

    def build(self, name: str) -> Trees:
        """Make the contender."""
        return Trees(name, partial(random_forest, self.trees))


class ExtraTreesConfig(ContenderConfig):
    """Extremely randomised trees on simple statistics.

    Geurts, Ernst, Wehenkel (2006, doi 10.1007/s10994-006-6226-1), as scikit-learn has them: each
    tree sees all rows, and a split is the best of one drawn threshold for each drawn feature.

    Attributes:
        trees: how many.
    """

    repeats: ClassVar = "none"
    kind: Literal["extra_trees"] = "extra_trees"
    trees: int = Field(200, gt=0)

    def build(self, name: str) -> Trees:
        """Make the contender."""
        return Trees(name, partial(extra_trees, self.trees), fixed=1)


def extra_trees(trees: int, task: Task, leaf: int, seed: int) -> Any:
    """Make extremely randomised trees, with the task's weights of classes."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    forest = random_forest(trees, task, leaf, seed)
    kind = ExtraTreesRegressor if is_regressor(forest) else ExtraTreesClassifier
    return kind(**{**forest.get_params(), "bootstrap": False})


def random_forest(trees: int, task: Task, leaf: int, seed: int) -> Any:
    """Make a random forest for a task."""
    return task.forest(n_estimators=trees, min_samples_leaf=leaf, random_state=seed,
                       n_jobs=torch.get_num_threads())  # fmt: skip


@dataclass(frozen=True)
class Trees:
    """Trees on features, whose smallest leaf validation subjects choose.

    Attributes:
        name: as progress shows it.
        make: makes an estimator as scikit-learn's for a task, a smallest leaf and a seed.
        fit: makes what describes a modality's windows from those of training subjects.
        shared: name of the features, by which contenders share them.
        leaves: smallest leaves to choose from.
        fixed: the one of these for the strict label budget.
    """

    name: str
    make: Callable[[Task, int, int], Any]
    fit: FitFeatures = of_statistics
    shared: str | None = "statistics"
    leaves: Sequence[int] = LEAVES
    fixed: int = FIXED_LEAF

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the trees of each label draw say."""
        tables = feature_tables(context, self.fit, shared=self.shared)
        shown = context.labelled(tables["train"], f"fitting {self.name}")
        task, validation = context.task, tables["validation"]
        validation = validation.take(task.known(validation.label))
        damaged = {damage: _shown(table, context.choices[0])
                   for damage, table in context.damaged(tables["test"])}  # fmt: skip
        for draw, (train, seed) in zip(context.draws, shown, strict=True):
            rows = training_rows(train.take(task.whole(train.label)), "encoders", seed=seed)
            chooses = VALIDATION in context.budgets
            leaves = list(self.leaves) if chooses else [self.fixed]
            forests = [self._fit(task, rows, leaf, seed) for leaf in leaves]
            chosen: dict[Budget, tuple[int, float]] = {}
            if STRICT in context.budgets:
                chosen[STRICT] = (leaves.index(self.fixed), np.nan)
            if chooses:
                scores = [_score(forest, validation, context) for forest in forests]
                best = int(np.argmax(task.gain(np.array(scores))))
                chosen[VALIDATION] = (best, scores[best])
            for budget, (number, score) in chosen.items():
                outcome = self._outcome(context, draw, forests[number], tables["test"])
                said = {damage: _said(forests[number], x, train.label)
                        for damage, x in damaged.items()}  # fmt: skip
                yield replace(outcome, budget=budget, fitted=(forests[number], score), damaged=said,
                              validation_score=score)  # fmt: skip

    @staticmethod
    def _outcome(context: Context, draw: Draw, forest: OfColumns, test: LatentTable) -> Outcome:
        predicted = {
            choice: _said(forest, _shown(test, choice), test.label) for choice in context.choices
        }
        outcome = Outcome(draw, None, predicted)
        if not context.probabilities or not hasattr(forest.estimator, "predict_proba"):
            return outcome
        probability = {
            choice: _probability(forest, _shown(test, choice)) for choice in context.choices
        }
        columns = probability[context.choices[0]].shape[1]
        outputs = np.arange(columns) if test.label.ndim > 1 else forest.estimator.classes_
        return replace(outcome, probability=probability, outputs=outputs)

    def _fit(self, task: Task, rows: ProbeRows, leaf: int, seed: int) -> OfColumns:
        target, x = rows.label, _flat(rows.embedding)
        if target.ndim > 1 and target.shape[1] == 1:
            target = target[:, 0]  # scikit-learn wants a single output flat
        columns = np.flatnonzero(x.any(axis=0))
        forest = self.make(task, leaf, seed)
        return OfColumns(forest.fit(x[:, columns], target, sample_weight=rows.weight), columns)


@dataclass(frozen=True)
class OfColumns:
    """A fitted estimator that reads only columns that are not 0 throughout.

    A modality of few channels has columns that hold nothing; trees would draw them for naught.
    """

    estimator: Any
    columns: NDArray[np.int64]

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what follows from features (n, F)."""
        return np.asarray(self.estimator.predict(x[:, self.columns]))

    def predict_proba(self, x: NDArray[Any]) -> Any:
        """Return probabilities: (n, classes), or a list of them, one a label."""
        return self.estimator.predict_proba(x[:, self.columns])


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


def _said(forest: OfColumns, x: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    """Let a forest predict, in the shape of the task's targets."""
    return forest.predict(x).reshape(len(x), *target.shape[1:]).astype(target.dtype)


def _probability(forest: OfColumns, x: NDArray[Any]) -> NDArray[np.float32]:
    """Return what share of a forest's trees say each class, or that each label is there."""
    found = forest.predict_proba(x)
    if not isinstance(found, list):
        return np.asarray(found, dtype=np.float32)
    there = [one[:, list(classes).index(1)] if 1 in classes else np.zeros(len(x))
             for one, classes in zip(found, forest.estimator.classes_, strict=True)]  # fmt: skip
    return np.stack(there, axis=1).astype(np.float32)


def _score(forest: OfColumns, validation: LatentTable, context: Context) -> float:
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


for _config in (ForestConfig, ExtraTreesConfig):
    register("contender", _config)
