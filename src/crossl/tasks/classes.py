"""One of several classes for each window: the default task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from crossl.data.splits import draw_labels
from crossl.data.targets import LABEL, UNKNOWN, Target
from crossl.errors import SplitError, counted
from crossl.registry import register
from crossl.tasks.confusion import METRICS
from crossl.tasks.ridge import solve_ridge
from crossl.tasks.task import Array, Linear, Metric, PlainCoding, Statistics, Task, TaskConfig


class ClassesConfig(TaskConfig):
    """One of several classes; the target `label` is the class that recordings name."""

    kind: Literal["classes"] = "classes"

    def build(self, target: Target) -> Classes:
        """Make the task."""
        return Classes(self, target)


@dataclass(frozen=True)
class ClassCoding(PlainCoding):
    """Cross-entropy between the classes that training targets hold."""

    def encode(self, target: Array) -> Array:
        """Number classes as outputs are, (n,) int64; -1 for classes that have none."""
        place = np.searchsorted(self.numbers, target).clip(max=len(self.numbers) - 1)
        return np.where(self.numbers[place] == target, place, UNKNOWN).astype(np.int64)

    def loss(self, output: Tensor, encoded: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Average the cross-entropy of known windows."""
        return cross_entropy(output, encoded, ignore_index=UNKNOWN, label_smoothing=smoothing)


@dataclass(frozen=True)
class Classes(Task):
    """One of several classes.

    Attributes:
        counted_classes: numbers of the classes that `count` has rows and columns for; None for all.
    """

    counted_classes: NDArray[np.int64] | None = None

    @property
    def labels_of_metrics(self) -> Mapping[str, str]:
        """Names of metrics in words."""
        return {
            "macro_f1": "macro-F1",
            "balanced_accuracy": "balanced accuracy",
            "cohen_kappa": "Cohen's kappa",
        }

    @property
    def main(self) -> str:
        """Macro-F1."""
        return "macro_f1"

    def known(self, target: Array) -> NDArray[np.bool_]:
        """Tell which windows have a class."""
        return np.asarray(target >= 0)

    def only(self, target: Array, chosen: NDArray[np.bool_]) -> Array:
        """Leave the chosen windows their class."""
        return np.where(chosen, target, UNKNOWN)

    def draw(
        self, target: Array, rows: NDArray[np.int64], subject: Array, *, fraction: float, seed: int
    ) -> NDArray[np.int64]:
        """Draw the same share of each class, at least one window of each."""
        del subject
        return draw_labels(target, rows, fraction=fraction, seed=seed, classes=len(self.names))

    @property
    def drawn_by(self) -> str:
        """Say how."""
        return "stratified by class, at least one window of each class"

    def refuse_too_little(self, train: Array, *, where: str) -> None:
        """Refuse fewer than two classes."""
        classes = len(np.unique(train))
        if classes < 2:
            raise SplitError(
                f"{where}: {counted(len(train), 'labelled training window')} of "
                f"{counted(classes, 'class', 'classes')}; at least 2 classes are needed"
            )

    def coding(self, train: Array) -> ClassCoding:
        """Give each class of the training windows an output."""
        return ClassCoding(np.unique(train[train >= 0]))

    def fit(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit logistic regressions, whose C the strengths are."""
        return [fit_logistic(x, target, weight, strength) for strength in strengths]

    def fit_ridge(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit one target a class, 1 for it and -1 for the others."""
        numbers = np.unique(target)
        found = solve_ridge(x, np.where(target[:, None] == numbers, 1.0, -1.0), weight, strengths)
        return [Linear(coefficients, bias, numbers) for coefficients, bias in found]

    def forest(self, **settings: Any) -> Any:
        """Make a forest that weighs classes alike."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(class_weight="balanced_subsample", **settings)

    def decide(self, reading: Array, numbers: NDArray[np.int64]) -> Array:
        """Return the class of the largest output."""
        return np.asarray(numbers[reading.argmax(axis=-1)])

    def probabilities(self, reading: Array) -> Array:
        """Return softmax probabilities, (..., classes)."""
        exponential = np.exp(reading - reading.max(axis=-1, keepdims=True))
        return np.asarray(exponential / exponential.sum(axis=-1, keepdims=True))

    def count(
        self, target: Array, said: Array, group: NDArray[np.int64], groups: int
    ) -> Statistics:
        """Count (group, true, predicted)."""
        return self.counter(target, group, groups)(said)

    def counter(
        self, target: Array, group: NDArray[np.int64], groups: int
    ) -> Callable[[Array], Statistics]:
        """Find once where each window counts; what is said is then only added up."""
        classes = self.counted_classes
        size = len(self.names) if classes is None else len(classes)
        rows = np.flatnonzero((target >= 0) & (group >= 0))
        every, true = len(rows) == len(target), target[rows]
        if classes is not None:
            true = np.searchsorted(classes, true)
        place = (group[rows] * size + true) * size

        def count(said: Array) -> Statistics:
            some = said if every else said[rows]
            number = some if classes is None else np.searchsorted(classes, some)
            flat = np.bincount(place + number, minlength=groups * size**2)
            return flat.reshape(groups, size, size)

        return count

    def among(self, numbers: NDArray[np.int64], target: Array) -> Classes:
        """Count only classes that are true or can be said."""
        classes = np.unique(np.concatenate([target[target >= 0], numbers]))
        return replace(self, counted_classes=classes)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Macro-F1, balanced accuracy and Cohen's kappa."""
        return METRICS

    def windows(self, statistics: Statistics) -> NDArray[np.int64]:
        """Count windows."""
        return np.asarray(statistics.sum(axis=(-2, -1)))

    def guess(self, statistics: Statistics) -> Statistics:
        """Always name the most frequent true class of all."""
        truth = statistics.sum(axis=2)  # (subject, true)
        guess = np.zeros((*truth.shape, truth.shape[1]), dtype=np.int64)
        guess[:, :, truth.sum(axis=0).argmax()] = truth
        return guess

    def groups(self, target: Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Show each class."""
        return self.names, target


def fit_logistic(x: Array, target: Array, weight: Array, strength: float) -> Linear:
    """Fit a logistic regression of two or more classes, an output each."""
    regression = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
    regression.fit(x, target, sample_weight=weight)
    coefficients, bias = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        bias = np.concatenate([-bias, bias]) / 2
    return Linear(coefficients, bias, regression.classes_.astype(np.int64))


def classes_task(names: Sequence[str]) -> Classes:
    """Make the default task: the class that recordings name, of these."""
    return Classes(ClassesConfig(), Target(LABEL, "classes", tuple(names)))


UNNAMED_CLASSES = classes_task(("unnamed",))
"""The task where none is given: a class, which its number stands for."""

register("task", ClassesConfig)
