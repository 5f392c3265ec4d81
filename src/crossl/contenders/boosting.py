"""Gradient boosting of trees on simple statistics, by LightGBM (the extra `bench`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.base import is_regressor

from crossl.config.schema import ContenderConfig
from crossl.contenders.trees import Trees, random_forest
from crossl.errors import PackageError
from crossl.registry import register
from crossl.tasks import Task

LEAVES, FIXED_LEAF = (1, 5, 20, 50, 100, 200), 20
"""Smallest leaves to choose from, in rows, of which a window makes one for each subset of its
sensors; the fixed one is LightGBM's own default."""
FIXED = {
    "learning_rate": 0.1, "num_leaves": 15, "subsample": 0.8, "subsample_freq": 1,
    "colsample_bytree": 0.3, "min_child_weight": 1e-6, "deterministic": True,
    "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
"""What is not chosen. Leaves are bounded by rows alone: rows weigh less than windows."""


class BoostingConfig(ContenderConfig):
    """Gradient boosting of trees on simple statistics.

    Ke and others (2017, LightGBM: A Highly Efficient Gradient Boosting Decision Tree).

    Attributes:
        rounds: of boosting, a tree a class each.
    """

    repeats: ClassVar = "none"
    kind: Literal["boosting"] = "boosting"
    rounds: int = Field(100, gt=0)

    def build(self, name: str) -> Trees:
        """Make the contender.

        Raises:
            PackageError: LightGBM is not installed.
        """
        lightgbm = needed("lightgbm", "LightGBM", name)
        make = partial(boosted, lightgbm, self.rounds)
        return Trees(name, make, leaves=LEAVES, fixed=FIXED_LEAF)


def needed(package: str, called: str, contender: str) -> Any:
    """Import a package that one kind of contender needs.

    Raises:
        PackageError: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise PackageError(
            f"contenders.{contender}: needs {called}, which is not installed; install it with: "
            'pip install "crossl[bench]"'
        ) from error


def boosted(lightgbm: Any, rounds: int, task: Task, leaf: int, seed: int) -> EachColumn:
    """Make boosted trees for a task; of classes, all weigh alike, as in its forests."""
    settings = {**FIXED, "n_estimators": rounds, "min_child_samples": leaf, "random_state": seed,
                "n_jobs": torch.get_num_threads()}  # fmt: skip
    if is_regressor(random_forest(1, task, leaf, seed)):
        return EachColumn(lambda: lightgbm.LGBMRegressor(**settings))
    return EachClassColumn(lambda: lightgbm.LGBMClassifier(class_weight="balanced", **settings))


@dataclass
class EachColumn:
    """An estimator for each column of the targets: LightGBM has one output.

    Attributes:
        make: makes one.
        fitted: those that were; a number where a column holds nothing else.
    """

    make: Any
    fitted: list[Any] = field(default_factory=list)
    flat: bool = True

    def fit(self, x: NDArray[Any], target: NDArray[Any], sample_weight: NDArray[Any]) -> EachColumn:
        """Fit all, on windows of which everything is known."""
        self.flat = target.ndim == 1
        for column in target.reshape(len(target), -1).T:
            one_value = len(np.unique(column)) == 1
            self.fitted.append(
                column[0] if one_value else self.make().fit(x, column, sample_weight)
            )
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return targets (n, ...)."""
        said = [np.full(len(x), one) if np.isscalar(one) else one.predict(x) for one in self.fitted]
        return np.asarray(said[0] if self.flat else np.stack(said, axis=1))


class EachClassColumn(EachColumn):
    """A classifier for each column of the targets."""

    @property
    def classes_(self) -> Any:
        """What the columns of probabilities stand for, a list of it where targets have columns."""
        found = [np.array([one]) if np.isscalar(one) else one.classes_ for one in self.fitted]
        return found[0] if self.flat else found

    def predict_proba(self, x: NDArray[Any]) -> Any:
        """Return probabilities (n, classes), a list of them where targets have columns."""
        found = [np.ones((len(x), 1)) if np.isscalar(one) else one.predict_proba(x)
                 for one in self.fitted]  # fmt: skip
        return found[0] if self.flat else found


register("contender", BoostingConfig)
