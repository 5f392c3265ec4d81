"""What a task brings: all that depends on what is to be predicted for a window, and nothing else.

A task knows arrays, no network and no store but for reading its target. From it follow which labels
are drawn, what is minimised, how a linear classifier is fitted, what is counted, and which metrics
are computed from these counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from crossl.data.targets import Kind, Target, TargetSource, find_target
from crossl.errors import ConfigError, CrosslError, DataError, FormatError
from crossl.registry import TASKS
from crossl.settings import Settings

Array = NDArray[Any]
Statistics = NDArray[Any]
"""(..., *shape): sums over windows, from which every metric is computed; shape is the task's."""

Metric = Callable[[Statistics], NDArray[np.float64]]
"""From (..., *shape) to (...)."""


@dataclass(frozen=True)
class Linear:
    """A linear map that was fitted on standardised embeddings.

    Attributes:
        weight: (R, D).
        bias: (R,).
        numbers: (C,) which of the task's names the outputs stand for.
    """

    weight: Array
    bias: Array
    numbers: NDArray[np.int64]


class Coding(Protocol):
    """How outputs of a network are compared with targets, once training targets are known."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Which of the task's names the outputs stand for, (R,); R is the network's width."""

    def encode(self, target: Array) -> Array:
        """Turn targets (n, ...) into what `loss` takes, a row each."""

    def loss(self, output: Tensor, encoded: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Compare outputs (B, R) with encoded targets; what is unknown counts for nothing.

        Args:
            output: of the network's last layer.
            encoded: rows of what `encode` returned.
            smoothing: share of a target that is spread over all outputs; numbers ignore it.

        Returns:
            A scalar. Something must be known of at least one window.
        """

    def readings(self, output: Array) -> Array:
        """Turn outputs (n, R) into what `Task.decide` takes."""

    def decoded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Return the last layer, (R, D) and (R,), as one whose outputs `Task.decide` takes."""

    def encoded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Return a linear map whose outputs `Task.decide` takes as the network's last layer."""


@dataclass(frozen=True)
class PlainCoding:
    """Outputs that `Task.decide` takes as they are; `numbers` are the names they stand for."""

    numbers: NDArray[np.int64]

    def readings(self, output: Array) -> Array:
        """Return outputs as they are."""
        return output

    def decoded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Return the layer as it is."""
        return weight, bias

    def encoded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Return the layer as it is."""
        return weight, bias


@dataclass(frozen=True)
class Task(ABC):
    """What is to be predicted for each window.

    Attributes:
        settings: what the run file says.
        target: whose values are learned.
        offsets: windows that are read to predict one: 0 is itself, -1 the one before it.
    """

    settings: TaskConfig
    target: Target
    offsets: tuple[int, ...] = (0,)

    @property
    @abstractmethod
    def labels_of_metrics(self) -> Mapping[str, str]:
        """Names of metrics in words."""

    @property
    @abstractmethod
    def main(self) -> str:
        """Name of the metric that choices are made by, and that comes first in tables."""

    @property
    def lower_is_better(self) -> bool:
        """Whether the main metric is an error."""
        return False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, labels or numbers."""
        return self.target.names

    def values(self, source: TargetSource) -> Array:
        """Read the target of every window."""
        return source.target_values(self.target.name)

    @abstractmethod
    def known(self, target: Array) -> NDArray[np.bool_]:
        """Tell for which windows something is known, (n,)."""

    def whole(self, target: Array) -> NDArray[np.bool_]:
        """Tell for which windows everything is known, (n,)."""
        return self.known(target)

    @abstractmethod
    def only(self, target: Array, chosen: NDArray[np.bool_]) -> Array:
        """Return the targets with those of other windows unknown."""

    @abstractmethod
    def draw(
        self, target: Array, rows: NDArray[np.int64], subject: Array, *, fraction: float, seed: int
    ) -> NDArray[np.int64]:
        """Draw the windows whose targets may be used, stratified.

        Args:
            target: (W, ...) of every window.
            rows: windows to draw from; those of which nothing is known are left out.
            subject: (W,) names.
            fraction: share of the windows, 0 < fraction <= 1.
            seed: decides which.

        Returns:
            Sorted row numbers.

        Raises:
            SplitError: too few windows to learn from.
        """

    @property
    @abstractmethod
    def drawn_by(self) -> str:
        """Say in words how labels are drawn, for the report."""

    @abstractmethod
    def refuse_too_little(self, train: Array, *, where: str) -> None:
        """Refuse training targets from which nothing can be learned.

        Raises:
            SplitError: says what is there and what is needed.
        """

    @abstractmethod
    def coding(self, train: Array) -> Coding:
        """Return how a network's outputs are compared with targets, made for these."""

    @abstractmethod
    def fit(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit a linear map for each strength.

        Args:
            x: (n, D) standardised embeddings.
            target: (n, ...) known ones.
            weight: (n,) of each row.
            strengths: inverse strengths of regularisation.
        """

    @abstractmethod
    def fit_ridge(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit a linear map by least squares for each strength; see `fit`."""

    @abstractmethod
    def forest(self, **settings: Any) -> Any:
        """Make a random forest of scikit-learn that predicts what `decide` returns."""

    @abstractmethod
    def decide(self, reading: Array, numbers: NDArray[np.int64]) -> Array:
        """Return what follows from outputs (..., R): a target's value each, (..., *value)."""

    def probabilities(self, reading: Array) -> Array | None:
        """Return the probability of each output, (..., R); None where there is no such thing."""
        del reading
        return None

    @abstractmethod
    def count(
        self, target: Array, said: Array, group: NDArray[np.int64], groups: int
    ) -> Statistics:
        """Add up what metrics need, over the windows of each group.

        Args:
            target: (n, ...) true values; what is unknown does not count.
            said: (n, ...) what `decide` returned.
            group: (n,) of each window, from 0; a window below 0 does not count.
            groups: how many there are.

        Returns:
            (groups, *shape).
        """

    def counter(
        self, target: Array, group: NDArray[np.int64], groups: int
    ) -> Callable[[Array], Statistics]:
        """Return `count` for these windows, to be asked of what several classifiers said."""
        return lambda said: self.count(target, said, group, groups)

    def among(self, numbers: NDArray[np.int64], target: Array) -> Task:
        """Return the task for counting these outputs and targets only; the same scores, faster."""
        del numbers, target
        return self

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """Metrics by name; the main one first."""

    @abstractmethod
    def windows(self, statistics: Statistics) -> NDArray[np.int64]:
        """Count the windows that statistics are of, (...)."""

    @abstractmethod
    def guess(self, statistics: Statistics) -> Statistics:
        """Return the statistics of who looks at no sensor and says the same of every window.

        Args:
            statistics: (subject, *shape).
        """

    @abstractmethod
    def groups(self, target: Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Sort windows into a few groups that can be shown: their names, and (n,); -1 unknown."""

    @property
    def metric(self) -> Metric:
        """The main metric."""
        return self.metrics[self.main]

    def is_error(self, metric: str) -> bool:
        """Whether less of a metric is better."""
        return metric == self.main and self.lower_is_better

    def gain(self, score: Any) -> Any:
        """Return a score of the main metric so that more is better."""
        return -score if self.lower_is_better else score

    def label(self, metric: str = "") -> str:
        """Name a metric in words, the main one if none is given."""
        return self.labels_of_metrics.get(metric or self.main, metric)

    @property
    def unit(self) -> str:
        """Unit of the main metric; empty where it has none."""
        return ""

    def facts(self) -> dict[str, Any]:
        """Return what a report must know, as JSON values."""
        return {
            **self.as_dict(),
            "metric": self.main,
            "lower_is_better": self.lower_is_better,
            "unit": self.unit,
            "metrics": {name: self.label(name) for name in self.metrics},
            "errors": [name for name in self.metrics if self.is_error(name)],
        }

    def told(self) -> str:
        """Name the main metric with its unit."""
        return f"{self.label()} ({self.unit})" if self.unit else self.label()

    @property
    def is_default(self) -> bool:
        """Whether this is what older files, which do not say their task, are of."""
        return kind_of_task(self.settings) == "classes" and self.target.name == "label"

    def as_dict(self) -> dict[str, Any]:
        """Return what `stored_task` makes the task of again, as JSON values."""
        return {**self.settings.model_dump(mode="json"), "names": list(self.names),
                "units": list(self.target.units)}  # fmt: skip

    def by_subject(
        self, target: Array, said: Array, subject: NDArray[np.str_]
    ) -> tuple[NDArray[np.str_], Statistics]:
        """Count by subject: the subjects of known windows, sorted, and (subject, *shape)."""
        known = self.known(target)
        names, index = np.unique(subject[known], return_inverse=True)
        return names, self.count(target[known], said[known], index, len(names))


class TaskConfig(Settings):
    """Settings of a task; a subclass has a `kind`, its settings and `build`.

    Attributes:
        target: name of what is learned; `label` is the class that recordings name.
    """

    target: str = "label"

    learns: ClassVar[Kind] = "classes"
    """Of which kind its target must be."""

    def build(self, target: Target) -> Task:
        """Make the task for a target of the right kind."""
        raise NotImplementedError


def task_of(settings: TaskConfig, source: TargetSource, *, where: str = "") -> Task:
    """Make the task that settings ask for, of what a store or arrays hold.

    Args:
        settings: of the task.
        source: windows with targets.
        where: names the source in a message.

    Raises:
        ConfigError: no such target, or one of another kind.
    """
    where = where or str(getattr(source, "path", "windows"))
    if settings.target == "label" and not any(t.name == "label" for t in source.targets):
        raise ConfigError(
            f"{where}: no window has a class, so task.target 'label' is not there; prepare it with "
            f"labels, or name another target: {_told(source.targets)}"
        )
    try:
        target = find_target(source.targets, settings.target, where=where)
    except DataError as error:
        raise ConfigError(f"task: {error}") from error
    if target.kind != settings.learns:
        fitting = [name for name, part in TASKS.items() if part.learns == target.kind]
        raise ConfigError(
            f"{where}: task.target '{target.name}' holds {target.kind}, and task.kind "
            f"'{kind_of_task(settings)}' learns {settings.learns}; set task.kind to "
            f"{' or '.join(fitting)}"
        )
    return settings.build(target)


def stored_task(values: Any, *, where: str) -> Task:
    """Make the task that a file of ours says.

    Args:
        values: what `Task.as_dict` returned.
        where: names the file in a message.

    Raises:
        FormatError: no such task, or values that it cannot have.
    """
    try:
        told = {str(key): value for key, value in dict(values).items()}
        names, units = (tuple(told.pop(key, ())) for key in ("names", "units"))
        part = TASKS[str(told.get("kind", "classes"))]
        settings = part.model_validate(told)
        task: Task = settings.build(Target(settings.target, part.learns, names, units))
    except (CrosslError, ValidationError, TypeError, ValueError) as error:
        told_why = str(error).splitlines()[0]
        raise FormatError(f"{where}: its task cannot be understood ({told_why:.150})") from error
    return task


def kind_of_task(settings: TaskConfig) -> str:
    """Return the name that settings are chosen by."""
    return str(getattr(settings, "kind", ""))


def _told(targets: Sequence[Target]) -> str:
    return ", ".join(f"{t.name} ({t.kind})" for t in targets) or "it has none"
