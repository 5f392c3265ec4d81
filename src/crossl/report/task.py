"""What the report must know of the task: which metric comes first, and in which words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OLDER_METRICS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "cohen_kappa": "Cohen's kappa",
}
"""Of results that do not say their task: they are of classes."""


@dataclass(frozen=True)
class TaskFacts:
    """What was predicted for each window, and how it was scored.

    Attributes:
        kind: as run files say it.
        target: name of what was learned.
        names: of classes, labels or numbers.
        groups: names of the groups that examples and maps show.
        metric: name of the main metric.
        unit: of it; empty where it has none.
        lower_is_better: it is an error.
        metrics: every metric in words.
        units: of numbers.
        errors: metrics that are better where lower.
    """

    kind: str
    target: str
    names: Sequence[str]
    groups: Sequence[str]
    metric: str = "macro_f1"
    unit: str = ""
    lower_is_better: bool = False
    metrics: Mapping[str, str] = field(default_factory=lambda: OLDER_METRICS)
    units: Sequence[str] = ()
    errors: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The main metric in words."""
        return self.metrics.get(self.metric, self.metric)

    @property
    def told(self) -> str:
        """The main metric in words, with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def short(self) -> str:
        """The main metric as a column of a table is headed."""
        return f"error ({self.unit})" if self.unit else self.label

    @property
    def capital(self) -> str:
        """The main metric at the beginning of a sentence."""
        return self.told[:1].upper() + self.told[1:]

    def best(self, values: Sequence[float], metric: str) -> float:
        """Return the best of some scores of a metric."""
        return min(values) if metric in self.errors else max(values)

    def worst(self, values: Sequence[float]) -> float:
        """Return the worst of some scores of the main metric."""
        return max(values) if self.lower_is_better else min(values)

    def better(self, difference: float) -> bool:
        """Tell whether a difference of the main metric is for the better."""
        return difference < 0 if self.lower_is_better else difference > 0


def task_facts(summary: Mapping[str, Any]) -> TaskFacts:
    """Read the task of a summary; one that does not say it is of classes."""
    classes = summary["classes"]
    told = summary.get("task")
    if told is None:
        return TaskFacts("classes", "label", classes, classes)
    errors = [told["metric"]] if told["lower_is_better"] else []
    return TaskFacts(
        told["kind"], told["target"], told["names"], told["groups"], told["metric"], told["unit"],
        told["lower_is_better"], told["metrics"], told["units"], told.get("errors", errors),
    )  # fmt: skip
