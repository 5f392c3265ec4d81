"""One number or several for each window: regression, such as a heart rate or a person's age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.splits import check_fraction
from crossl.data.targets import Kind, Target
from crossl.errors import SplitError, counted
from crossl.registry import register
from crossl.tasks.ridge import solve_ridge
from crossl.tasks.task import Array, Linear, Metric, Statistics, Task, TaskConfig

STRATA = 5
"""Parts of the range of a number, with as many windows each, that a draw takes its share of."""

SHOWN = 4
"""Parts of the range that pictures distinguish."""

COLUMNS = ("n", "y", "yy", "p", "pp", "yp", "absolute", "squared", "from_mean")
"""What is added up of each number: true values y, predicted ones p, and their distances."""


class NumbersConfig(TaskConfig):
    """One number or several."""

    kind: Literal["numbers"] = "numbers"
    learns: ClassVar[Kind] = "numbers"

    def build(self, target: Target) -> Numbers:
        """Make the task."""
        return Numbers(self, target)


@dataclass(frozen=True)
class NumberCoding:
    """Smooth L1 distance of standardised numbers (Girshick 2015, arXiv 1504.08083).

    Attributes:
        numbers: of the outputs.
        mean: (Q,) of training targets.
        scale: (Q,) of training targets.
    """

    numbers: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def encode(self, target: Array) -> Array:
        """Standardise, (n, Q) float32; NaN stays."""
        return ((target - self.mean) / self.scale).astype(np.float32)

    def loss(self, output: Tensor, encoded: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Average over the numbers that are known."""
        del smoothing
        known = torch.isfinite(encoded)
        gap = (output - torch.where(known, encoded, 0.0)).abs()
        each = torch.where(gap < 1, 0.5 * gap**2, gap - 0.5)
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)

    def readings(self, output: Array) -> Array:
        """Return numbers in the target's unit."""
        return (output * self.scale + self.mean).astype(np.float32)

    def decoded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Fold the standardisation in, so that outputs have the target's unit."""
        found = weight * self.scale[:, None], bias * self.scale + self.mean
        return found[0].astype(np.float32), found[1].astype(np.float32)

    def encoded(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Take the unit out again."""
        found = weight / self.scale[:, None], (bias - self.mean) / self.scale
        return found[0].astype(np.float32), found[1].astype(np.float32)


def _column(statistics: Statistics, name: str) -> NDArray[np.float64]:
    return np.asarray(statistics[..., COLUMNS.index(name)], dtype=np.float64)


def _mean(statistics: Statistics, name: str) -> NDArray[np.float64]:
    return _column(statistics, name) / np.maximum(_column(statistics, "n"), 1e-12)


def absolute_error(statistics: Statistics) -> NDArray[np.float64]:
    """Mean absolute error of each number, (..., Q), in its unit."""
    return _mean(statistics, "absolute")


def squared_error(statistics: Statistics) -> NDArray[np.float64]:
    """Root mean squared error of each number, (..., Q), in its unit."""
    return np.asarray(np.sqrt(_mean(statistics, "squared")))


def determination(statistics: Statistics) -> NDArray[np.float64]:
    """R2 of each number, (..., Q): the share of variance that is explained; 0 where none is."""
    variance = _mean(statistics, "yy") - _mean(statistics, "y") ** 2
    flat = variance <= 1e-9 * np.maximum(_mean(statistics, "yy"), 1e-30)
    explained = 1 - _mean(statistics, "squared") / np.where(flat, 1, variance)
    return np.where(flat, 0.0, explained)


def concordance(statistics: Statistics) -> NDArray[np.float64]:
    """Lin's concordance of each number, (..., Q): 1 where all are equal (Lin 1989, Biometrics 45).

    0 where neither true nor predicted values vary.
    """
    y, p = _mean(statistics, "y"), _mean(statistics, "p")
    variances = _mean(statistics, "yy") - y**2 + _mean(statistics, "pp") - p**2
    together = _mean(statistics, "yp") - y * p
    below = variances + (y - p) ** 2
    flat = variances <= 1e-9 * np.maximum(_mean(statistics, "yy"), 1e-30)
    return np.where(flat, 0.0, 2 * together / np.where(flat, 1, below))


def _averaged(statistics: Statistics, *, of: Metric) -> NDArray[np.float64]:
    return np.asarray(of(statistics).mean(axis=-1))


def _one(statistics: Statistics, *, of: Metric, number: int) -> NDArray[np.float64]:
    return np.asarray(of(statistics)[..., number])


@dataclass(frozen=True)
class Numbers(Task):
    """Numbers in units of their own; NaN where one is not known.

    The main metric of one number is its mean absolute error; errors of several have units that
    cannot be averaged, so theirs is the mean concordance.
    """

    @property
    def single(self) -> bool:
        """Whether there is one number only."""
        return len(self.names) == 1

    @property
    def main(self) -> str:
        """Mean absolute error of one number, concordance of several."""
        return "mae" if self.single else "concordance"

    @property
    def lower_is_better(self) -> bool:
        """Errors are."""
        return self.single

    def is_error(self, metric: str) -> bool:
        """Errors in the target's unit are."""
        return metric.split(":")[0] in ("mae", "rmse")

    @property
    def unit(self) -> str:
        """Unit of the error of one number."""
        return self.target.units[0] if self.single else ""

    @property
    def labels_of_metrics(self) -> Mapping[str, str]:
        """Names of metrics in words."""
        units = dict(zip(self.names, self.target.units, strict=True))
        unit = f" ({self.unit})" if self.unit else ""
        return {
            "mae": "mean absolute error",
            "rmse": f"root mean squared error{unit}",
            "r2": "R\u00b2",
            "concordance": "concordance",
            **{f"mae:{name}": f"mean absolute error of {name} ({u})" for name, u in units.items()},
        }

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Errors in the target's unit, R2 and concordance."""
        means = {"r2": partial(_averaged, of=determination),
                 "concordance": partial(_averaged, of=concordance)}  # fmt: skip
        if self.single:
            return {"mae": partial(_averaged, of=absolute_error),
                    "rmse": partial(_averaged, of=squared_error), **means}  # fmt: skip
        each = {f"mae:{name}": partial(_one, of=absolute_error, number=i)
                for i, name in enumerate(self.names)}  # fmt: skip
        return {"concordance": means["concordance"], "r2": means["r2"], **each}

    def known(self, target: Array) -> NDArray[np.bool_]:
        """Tell for which windows a number is known."""
        return np.asarray(np.isfinite(target).any(axis=1))

    def whole(self, target: Array) -> NDArray[np.bool_]:
        """Tell for which windows all numbers are known."""
        return np.asarray(np.isfinite(target).all(axis=1))

    def only(self, target: Array, chosen: NDArray[np.bool_]) -> Array:
        """Leave the chosen windows their numbers."""
        return np.where(chosen[:, None], target, np.float32(np.nan))

    def draw(
        self, target: Array, rows: NDArray[np.int64], subject: Array, *, fraction: float, seed: int
    ) -> NDArray[np.int64]:
        """Draw a share of each fifth of the range, at least one window of each, from all people."""
        check_fraction(fraction)
        rows = rows[self.known(target[rows])]
        self.refuse_too_little(target[rows], where="labels")
        if fraction == 1:
            return np.sort(rows)
        generator, drawn = np.random.default_rng(seed), []
        for part in np.unique(part_of_range := _parts(target[rows], STRATA)):
            mixed = generator.permutation(rows[part_of_range == part])
            count = max(1, round(fraction * len(mixed)))
            drawn.append(mixed[_in_turn(subject[mixed])[:count]])
        return np.sort(np.concatenate(drawn))

    @property
    def drawn_by(self) -> str:
        """Say how."""
        return "stratified by fifths of the range, people in turn"

    def refuse_too_little(self, train: Array, *, where: str) -> None:
        """Refuse windows among which no number differs."""
        known = [np.unique(column[np.isfinite(column)]) for column in train.T]
        if not any(len(values) > 1 for values in known):
            raise SplitError(
                f"{where}: {counted(len(train), 'training window')} with a known "
                f"{' or '.join(self.names)}, all the same; at least 2 different ones are needed"
            )

    def coding(self, train: Array) -> NumberCoding:
        """Standardise by the training windows."""
        wide = train.astype(np.float64)
        known = np.isfinite(wide)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, wide, 0).sum(axis=0) / count
        deviation = np.sqrt((np.where(known, wide - mean, 0) ** 2).sum(axis=0) / count)
        return NumberCoding(
            np.arange(len(self.names)), mean, np.where(deviation > 0, deviation, 1.0)
        )

    def fit(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit ridge regressions, whose penalty is the inverse strength."""
        return self.fit_ridge(x, target, weight, strengths)

    def fit_ridge(
        self, x: Array, target: Array, weight: Array, strengths: Sequence[float]
    ) -> list[Linear]:
        """Fit each number on the windows where it is known."""
        by_number = []
        for column in target.T.astype(np.float64):
            known = np.isfinite(column)
            if known.any():
                found = solve_ridge(x[known], column[known][:, None], weight[known], strengths)
            else:
                found = [(np.zeros((1, x.shape[1])), np.zeros(1))] * len(strengths)
            by_number.append(found)
        joined = [zip(*one, strict=True) for one in zip(*by_number, strict=True)]
        return [
            Linear(np.concatenate(w), np.concatenate(b), np.arange(len(self.names)))
            for w, b in joined
        ]

    def forest(self, **settings: Any) -> Any:
        """Make a forest that averages trees; features are drawn as in those of classes."""
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(max_features="sqrt", **settings)

    def decide(self, reading: Array, numbers: NDArray[np.int64]) -> Array:
        """Return outputs as they are, (..., Q), in the target's units."""
        del numbers
        return np.asarray(reading, dtype=np.float32)

    def count(
        self, target: Array, said: Array, group: NDArray[np.int64], groups: int
    ) -> Statistics:
        """Add up (group, number, column) over known numbers; see `COLUMNS`."""
        counts = (group >= 0) & self.known(target)
        y, p = target[counts].astype(np.float64), said[counts].astype(np.float64)
        known, group = np.isfinite(y), group[counts]
        y = np.where(known, y, 0.0)
        mean = y.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        gap = np.abs(y - p)
        columns = (np.ones_like(y), y, y * y, p, p * p, y * p, gap, gap**2, np.abs(y - mean))
        stacked = np.where(known[:, :, None], np.stack(columns, axis=-1), 0.0)  # (n, Q, 9)
        flat = stacked.reshape(len(y), -1)
        sums = [np.bincount(group, weights=one, minlength=groups) for one in flat.T]
        return np.stack(sums, axis=-1).reshape(groups, len(self.names), len(COLUMNS))

    def windows(self, statistics: Statistics) -> NDArray[np.int64]:
        """Count windows of the number that is known most often."""
        return np.asarray(_column(statistics, "n").max(axis=-1).astype(np.int64))

    def guess(self, statistics: Statistics) -> Statistics:
        """Always say the mean of all windows."""
        n, y, yy = (_column(statistics, name) for name in ("n", "y", "yy"))
        mean = y.sum(axis=0) / np.maximum(n.sum(axis=0), 1e-12)
        out = np.array(statistics, dtype=np.float64)
        squared = np.maximum(yy - 2 * mean * y + n * mean**2, 0)
        said = {"p": n * mean, "pp": n * mean**2, "yp": y * mean, "squared": squared,
                "absolute": _column(statistics, "from_mean")}  # fmt: skip
        for name, values in said.items():
            out[..., COLUMNS.index(name)] = values
        return out

    def groups(self, target: Array) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Show quarters of the range of the first number, with as many windows each."""
        parts = _parts(target[:, :1], SHOWN)
        names, unit = [], self.target.units[0]
        for number, part in enumerate(sorted(set(parts[parts >= 0].tolist()))):
            held = target[parts == part, 0]
            low, high = f"{held.min():.3g}", f"{held.max():.3g}"
            parts[parts == part] = number
            names.append(f"{low} {unit}" if low == high else f"{low} to {high} {unit}")
        return tuple(names), parts


def _parts(target: Array, parts: int) -> NDArray[np.int64]:
    """Number the parts of the first known number's range; -1 where none is known."""
    column = target[:, 0].astype(np.float64)
    for other in target.T[1:]:
        column = np.where(np.isfinite(column), column, other)
    known = np.isfinite(column)
    if not known.any():
        return np.full(len(column), -1)
    edges = np.quantile(column[known], np.arange(1, parts) / parts)
    return np.where(known, np.searchsorted(edges, np.where(known, column, 0), side="right"), -1)


def _in_turn(subject: Array) -> NDArray[np.int64]:
    """Order rows so that people take turns, each with their rows in the order given."""
    _, who = np.unique(subject, return_inverse=True)
    order = np.argsort(who, kind="stable")
    first = np.r_[0, np.flatnonzero(np.diff(who[order])) + 1]
    turn = np.empty(len(who), dtype=np.int64)
    counts = np.diff(np.r_[first, len(who)])
    turn[order] = np.arange(len(who)) - np.repeat(first, counts)
    return np.argsort(turn, kind="stable")


register("task", NumbersConfig)
