"""Several labels at once, each there or not: such as posture and intensity of an activity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from crossl.data.splits import check_fraction
from crossl.data.targets import UNKNOWN, Kind, Target
from crossl.errors import SplitError, counted
from crossl.registry import register
from crossl.tasks.classes import fit_logistic
from crossl.tasks.ridge import solve_ridge
from crossl.tasks.task import Array, Linear, Metric, PlainCoding, Statistics, Task, TaskConfig

CONSTANT = 10.0
"""Output for a label that training windows all have, and minus that where none has it."""

MOST_GROUPS = 8
"""Combinations of labels that pictures distinguish; rarer ones are not shown."""


class LabelsConfig(TaskConfig):
    """Several labels, each there or not."""

    kind: Literal["labels"] = "labels"
    learns: ClassVar[Kind] = "labels"

    def build(self, target: Target) -> Labels:
        """Make the task."""
        return Labels(self, target)


@dataclass(frozen=True)
class LabelCoding(PlainCoding):
    """Binary cross-entropy of each label that is known."""

    def encode(self, target: Array) -> Array:
        """Return labels (n, L) int8 as they are; -1 unknown."""
        return target

    def loss(self, output: Tensor, encoded: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Average over the labels that are known."""
        known = encoded >= 0
        wanted = encoded.clamp(min=0).to(output.dtype) * (1 - smoothing) + smoothing / 2
        each = binary_cross_entropy_with_logits(output, wanted, reduction="none")
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def label_f1(counts: Statistics) -> NDArray[np.float64]:
    """F1 of each label from (..., label, true, predicted) of absent and there; 0 if undefined.

    Examples:
        >>> label_f1(np.array([[[5, 1], [1, 3]]]))
        array([0.75])
    """
    hit = counts[..., 1, 1].astype(np.float64)
    return np.asarray(2 * hit / np.maximum(_occurs(counts), 1e-12))


def _occurs(counts: Statistics) -> NDArray[np.float64]:
    """Count 2 TP + FP + FN of each label."""
    return np.asarray(counts[..., 1, :].sum(axis=-1) + counts[..., :, 1].sum(axis=-1))


def macro_f1(counts: Statistics) -> NDArray[np.float64]:
    """Mean F1 of the labels that occur among true or predicted ones."""
    occurs = (_occurs(counts) > 0).sum(axis=-1)
    return np.asarray(label_f1(counts).sum(axis=-1) / np.maximum(occurs, 1))


def micro_f1(counts: Statistics) -> NDArray[np.float64]:
    """F1 of all labels together."""
    hit = counts[..., 1, 1].sum(axis=-1).astype(np.float64)
    return np.asarray(2 * hit / np.maximum(_occurs(counts).sum(axis=-1), 1e-12))


def balanced_accuracy(counts: Statistics) -> NDArray[np.float64]:
    """Mean over labels of the recall of what is there and of what is not, where either occurs."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    support = counts.sum(axis=-1)
    recall = (hit / np.maximum(support, 1e-12)).sum(axis=-1)
    each = recall / np.maximum((support > 0).sum(axis=-1), 1)
    occurs = (support.sum(axis=-1) > 0).sum(axis=-1)
    return np.asarray(each.sum(axis=-1) / np.maximum(occurs, 1))


def _one(counts: Statistics, *, number: int) -> NDArray[np.float64]:
    return np.asarray(label_f1(counts)[..., number])


@dataclass(frozen=True)
class Labels(Task):
    """Several labels, each there (1), not (0) or unknown (-1)."""

    @property
    def labels_of_metrics(self) -> Mapping[str, str]:
        """Names of metrics in words."""
        return {
            "macro_f1": "macro-F1",
            "micro_f1": "micro-F1",
            "balanced_accuracy": "balanced accuracy",
            **{f"f1:{name}": f"F1 of {name}" for name in self.names},
        }

    @property
    def main(self) -> str:
        """Macro-F1 over labels."""
        return "macro_f1"

    def known(self, target: Array) -> NDArray[np.bool_]:
        """Tell which windows have a label that is known."""
        return np.asarray((target >= 0).any(axis=1))

    def whole(self, target: Array) -> NDArray[np.bool_]:
        """Tell for which windows all labels are known."""
        return np.asarray((target >= 0).all(axis=1))

    def only(self, target: Array, chosen: NDArray[np.bool_]) -> Array:
        """Leave the chosen windows their labels."""
        return np.where(chosen[:, None], target, np.int8(UNKNOWN))

    def draw(
        self, target: Array, rows: NDArray[np.int64], subject: Array, *, fraction: float, seed: int
    ) -> NDArray[np.int64]:
        """Draw a share of each combination of labels; then what is needed for every label.

        Of each label there is a window that has it and one that has not, where there are such.
        """
        del subject
        check_fraction(fraction)
        rows = rows[self.known(target[rows])]
        self.refuse_too_little(target[rows], where="labels")
        if fraction == 1:
            return np.sort(rows)
        generator = np.random.default_rng(seed)
        _, group = np.unique(target[rows], axis=0, return_inverse=True)
        group, drawn = group.ravel(), list[NDArray[np.int64]]()
        for one in range(int(group.max()) + 1):
            of_group = generator.permutation(rows[group == one])
            # rare combinations are drawn by chance, so that many of them do not add up
            wanted = fraction * len(of_group)
            count = int(wanted) + int(generator.random() < wanted - int(wanted))
            drawn.append(of_group[:count])
        chosen = np.concatenate(drawn)
        for label in range(target.shape[1]):
            for value in (1, 0):
                have = rows[target[rows, label] == value]
                if len(have) and not (target[chosen, label] == value).any():
                    chosen = np.append(chosen, generator.choice(have))
        return np.unique(chosen)

    @property
    def drawn_by(self) -> str:
        """Say how."""
        return (
            "stratified by combination of labels, "
            "every label there and not there at least once where it can be"
        )

    def refuse_too_little(self, train: Array, *, where: str) -> None:
        """Refuse windows among which no label differs."""
        differs = (train == 1).any(axis=0) & (train == 0).any(axis=0)
        if not differs.any():
            raise SplitError(
                f"{where}: in {counted(len(train), 'labelled training window')} each of "
                f"{', '.join(self.names)} is always there or never; one that differs is needed"
            )

    def coding(self, train: Array) -> LabelCoding:
        """Give each label an output."""
        del train
        return LabelCoding(np.arange(len(self.names)))

    def fit(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit a logistic regression a label, whose C the strengths are."""
        return [
            self._joined([_binary(x, label, weight, strength) for label in target.T])
            for strength in strengths
        ]

    def fit_ridge(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit one target a label, 1 where it is there and -1 where not."""
        by_label = []
        for i in range(target.shape[1]):
            known = target[:, i] >= 0
            wanted = 2.0 * target[known, i][:, None] - 1
            by_label.append(
                solve_ridge(x[known], wanted, weight[known], strengths)
                if known.any()
                else [(np.zeros((1, x.shape[1])), np.full(1, -CONSTANT))] * len(strengths)
            )
        return [self._joined(list(labels)) for labels in zip(*by_label, strict=True)]

    def _joined(self, labels: Sequence[tuple[Array, Array]]) -> Linear:
        weight, bias = (np.concatenate(part) for part in zip(*labels, strict=True))
        return Linear(weight, bias, np.arange(len(self.names)))

    def forest(self, **settings: Any) -> Any:
        """Make a forest of several outputs that weighs there and not alike."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(class_weight="balanced_subsample", **settings)

    def decide(self, reading: Array, numbers: NDArray[np.int64]) -> Array:
        """Return 1 where a label is likelier there than not, (..., L) int8."""
        del numbers
        return np.asarray(reading > 0, dtype=np.int8)

    def probabilities(self, reading: Array) -> Array:
        """Return the probability that each label is there, (..., L)."""
        return np.asarray(1 / (1 + np.exp(-np.clip(reading, -80, 80))))

    def count(
        self, target: Array, said: Array, group: NDArray[np.int64], groups: int
    ) -> Statistics:
        """Count (group, label, true, predicted) of known labels."""
        labels = len(self.names)
        counts = (target >= 0) & (group >= 0)[:, None]
        place = (group[:, None] * labels + np.arange(labels)) * 4 + 2 * target + said
        flat = np.bincount(place[counts].astype(np.int64), minlength=groups * labels * 4)
        return flat.reshape(groups, labels, 2, 2)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Macro-F1, micro-F1, balanced accuracy, and F1 of each label."""
        return {
            "macro_f1": macro_f1,
            "micro_f1": micro_f1,
            "balanced_accuracy": balanced_accuracy,
            **{f"f1:{name}": partial(_one, number=i) for i, name in enumerate(self.names)},
        }

    def windows(self, statistics: Statistics) -> NDArray[np.int64]:
        """Count windows of the label that is known most often."""
        return np.asarray(statistics.sum(axis=(-2, -1)).max(axis=-1))

    def guess(self, statistics: Statistics) -> Statistics:
        """Say of each label what is most frequent among all windows."""
        truth = statistics.sum(axis=-1)  # (subject, label, true)
        guess = np.zeros_like(statistics)
        said = truth.sum(axis=0).argmax(axis=-1)
        for label, value in enumerate(said.tolist()):
            guess[:, label, :, value] = truth[:, label]
        return guess

    def groups(self, target: Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Show the most frequent combinations of labels."""
        whole = self.whole(target)
        found, which, counts = np.unique(
            target[whole], axis=0, return_inverse=True, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")[:MOST_GROUPS]
        number = np.full(len(found) + 1, -1)
        number[order] = np.arange(len(order))
        out = np.full(len(target), -1, dtype=np.int64)
        out[whole] = number[which.ravel()]
        return tuple(self._told(found[i]) for i in order), out

    def _told(self, labels: Array) -> str:
        return " + ".join(n for n, there in zip(self.names, labels, strict=True) if there) or "none"


def _binary(x: Array, target: Array, weight: Array, strength: float) -> tuple[Array, Array]:
    """Fit one label on the windows where it is known, (1, D) and (1,)."""
    known = target >= 0
    values = np.unique(target[known])
    if len(values) < 2:
        bias = CONSTANT if values.tolist() == [1] else -CONSTANT
        return np.zeros((1, x.shape[1])), np.full(1, bias)
    linear = fit_logistic(x[known], target[known], weight[known], strength)
    return 2 * linear.weight[1:], 2 * linear.bias[1:]  # it has half of each of two outputs


register("task", LabelsConfig)
