"""A task: classes in an order, such as grades of pain, where near misses count for less."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossl.data.targets import Target
from crossl.tasks import Classes, Metric, TaskConfig


def weighted_kappa(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Cohen's kappa with squared distances between classes (Cohen 1968, Psychol. Bulletin 70).

    Examples:
        >>> float(weighted_kappa(np.diag([3, 3, 3])))
        1.0
    """
    number = np.arange(confusion.shape[-1])
    distance = (number[:, None] - number) ** 2
    n = np.maximum(confusion.sum(axis=(-2, -1)), 1e-12)
    by_true, by_predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    by_chance = by_true[..., :, None] * by_predicted[..., None, :] / n[..., None, None]
    wrong = (distance * confusion).sum(axis=(-2, -1))
    expected = (distance * by_chance).sum(axis=(-2, -1))
    return np.where(expected > 0, 1 - wrong / np.where(expected > 0, expected, 1), 0.0)


@dataclass(frozen=True)
class Ordinal(Classes):
    """Classes that are scored by weighted kappa; all else is as of classes."""

    @property
    def main(self) -> str:
        """Weighted kappa."""
        return "weighted_kappa"

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Weighted kappa first, then those of classes."""
        return {"weighted_kappa": weighted_kappa, **super().metrics}

    @property
    def labels_of_metrics(self) -> Mapping[str, str]:
        """Names of metrics in words."""
        return {"weighted_kappa": "weighted kappa", **super().labels_of_metrics}


class OrdinalConfig(TaskConfig):
    """Classes in the order of the store."""

    kind: Literal["ordinal"] = "ordinal"

    def build(self, target: Target) -> Ordinal:
        """Make the task."""
        return Ordinal(self, target)
