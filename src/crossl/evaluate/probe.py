"""Linear probe: a task's linear map of frozen embeddings, trained with sensors missing.

Latents are computed once; a subset of modalities only re-runs what depends on it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from crossl.errors import SplitError
from crossl.evaluate.around import read_around, side_by_side
from crossl.evaluate.budgets import BUDGETS, STRICT, VALIDATION, Budget
from crossl.evaluate.latents import Array, Head, LatentTable, Subset
from crossl.evaluate.probe_rows import ProbeRows, probe_subsets, rows_of_subsets
from crossl.evaluate.rotated import rotated
from crossl.tasks import UNNAMED_CLASSES, Linear, Task

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values of C, the inverse strength of regularisation, tried on validation subjects."""

FIXED_STRENGTH = 0.1
"""The C of a probe where no label of validation subjects may be used: chosen beforehand, once, on
validation subjects of other experiments (benchmarks/tried.md)."""


class Classifier(Protocol):
    """What evaluation asks of a probe or head: an affine map of embeddings, and what follows."""

    @property
    def head(self) -> Head:
        """Which embedding it reads."""

    def affine(self) -> tuple[Array, Array]:
        """Return weight (R, D) and bias (R,) of the map that it begins with."""

    def decide(self, reading: Array) -> NDArray[Any]:
        """Return what follows from each reading, (..., R) -> (..., *value of a target)."""


@dataclass(frozen=True)
class Probe:
    """A fitted linear map of embeddings, and what its task makes of the outputs.

    Attributes:
        head: what it reads.
        mean: (D,) subtracted from embeddings.
        scale: (D,) divides them.
        weight: (R, D); where the task reads neighbours (O * R, D), offset by offset.
        bias: as many.
        classes: (R,) which classes, labels or numbers of the task the outputs stand for.
        strength: the C that validation subjects chose.
        validation_score: the task's main metric on them.
        task: what is predicted for each window.
    """

    head: Head
    mean: Array
    scale: Array
    weight: Array
    bias: Array
    classes: NDArray[np.int64]
    strength: float
    validation_score: float = field(default=float("nan"), compare=False)
    task: Task = UNNAMED_CLASSES

    def affine(self) -> tuple[Array, Array]:
        """Return weight and bias with the standardisation folded in."""
        weight = self.weight.astype(np.float64) / self.scale
        bias = self.bias - weight @ self.mean
        return weight.astype(np.float32), bias.astype(np.float32)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Windows that are read to predict one: 0 is itself."""
        return self.task.offsets

    @property
    def own_part(self) -> slice:
        """Rows of the map that read the window itself, not its neighbours."""
        own, width = self.offsets.index(0), len(self.classes)
        return slice(own * width, (own + 1) * width)

    def decide(self, reading: Array) -> NDArray[Any]:
        """Return what the task makes of outputs, such as the class of the largest."""
        return self.task.decide(reading, self.classes)

    def scores(self, embedding: Array) -> Array:
        """Return probabilities, (n, R), or numbers themselves where the task has no probability."""
        outputs = self._logits(embedding)
        found = self.task.probabilities(outputs)
        return outputs if found is None else found

    def predict(self, embedding: Array) -> NDArray[Any]:
        """Return the most likely target of each embedding, such as its class."""
        return self.decide(self._logits(embedding))

    def _logits(self, embedding: Array) -> Array:
        """Return outputs (n, R), of windows without neighbours where the task reads some."""
        weight, bias = self.affine()
        return np.asarray(embedding @ weight[self.own_part].T + bias[self.own_part])

    def arrays(self) -> dict[str, Array]:
        """Return what a file must hold."""
        return {"mean": self.mean, "scale": self.scale, "weight": self.weight, "bias": self.bias}


Fit = Callable[[Task], Callable[[Array, Array, Array, Sequence[float]], list[Linear]]]
"""Returns a task's way to fit linear maps, other than `Task.fit`: one that depends on features by
the products of rows alone, as ridge regression does."""


def decide_subsets(
    classifiers: Sequence[Classifier], table: LatentTable, choices: Sequence[Subset]
) -> Iterator[list[NDArray[Any]]]:
    """Let classifiers label every window under every subset, all in one pass.

    Args:
        classifiers: of one head; nothing is retrained.
        table: windows.
        choices: S subsets of modality columns.

    Yields:
        Each classifier's labels (b, S, ...) of some windows after the other, in order.
    """
    for parts in read_subsets(classifiers, table, choices):
        yield [c.decide(part) for c, part in zip(classifiers, parts, strict=True)]


def read_subsets(
    classifiers: Sequence[Classifier], table: LatentTable, choices: Sequence[Subset]
) -> Iterator[list[Array]]:
    """Read every window under every subset through the affine maps of classifiers.

    Yields:
        Each classifier's outputs (b, S, R) of some windows after the other, in order.
    """
    affine = [classifier.affine() for classifier in classifiers]
    if len(getattr(classifiers[0], "offsets", (0,))) > 1:
        yield read_around(table, classifiers[0].head, choices, affine)
        return
    weight, bias = (np.concatenate(parts) for parts in zip(*affine, strict=True))
    ends = np.cumsum([len(part) for _, part in affine])
    for reading in table.read(classifiers[0].head, choices, weight, bias):
        yield np.split(reading, ends[:-1], axis=-1)


def fit_probe(
    train: LatentTable,
    validation: LatentTable,
    *,
    head: Head = "aggregator",
    subset: Subset | None = None,
    missing: bool = True,
    max_rows: int = 12000,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Probe:
    """Fit one probe; see `fit_probes`."""
    return fit_probes([(train, seed)], validation, head=head, subset=subset, missing=missing,
                      max_rows=max_rows, strengths=strengths)[0]  # fmt: skip


def fit_probes(
    draws: Iterable[tuple[LatentTable, int]],
    validation: LatentTable,
    *,
    head: Head = "aggregator",
    subset: Subset | None = None,
    missing: bool = True,
    max_rows: int = 12000,
    strengths: Sequence[float] = STRENGTHS,
    fit: Fit | None = None,
) -> list[Probe]:
    """Fit a task's linear maps; validation subjects choose the regularisation of each.

    See `fit_by_budget`.
    """
    return fit_by_budget(
        draws, validation, head=head, subset=subset, missing=missing, max_rows=max_rows,
        strengths=strengths, fixed=strengths[0], fit=fit,
    )[VALIDATION]  # fmt: skip


def fit_by_budget(  # noqa: PLR0913 - what is fitted to what, and how
    draws: Iterable[tuple[LatentTable, int]],
    validation: LatentTable,
    *,
    head: Head = "aggregator",
    subset: Subset | None = None,
    missing: bool = True,
    max_rows: int = 12000,
    strengths: Sequence[float] = STRENGTHS,
    fixed: float = FIXED_STRENGTH,
    fit: Fit | None = None,
    budgets: Sequence[Budget] = BUDGETS,
) -> dict[str, list[Probe]]:
    """Fit a task's linear maps once for both label budgets, or for one.

    With the budget `validation`, validation subjects choose the regularisation of each; with
    `strict` it is fixed, and none of their labels is used.

    With `missing`, every labelled window is shown under every subset of its modalities (a seeded
    draw of them if that makes more than max_rows); all of them together weigh as much as the
    windows with everything present. Validation then counts the full set and the mean over
    subsets alike; it reads its windows once for all draws and strengths.

    Args:
        draws: for each probe, labelled windows of training subjects, and a seed of the draw of
            their subsets.
        validation: windows of validation subjects.
        head: what to read.
        subset: modalities that exist for these probes; None for all.
        missing: train with sensors missing, too.
        max_rows: at most about this many embeddings are used.
        strengths: values of C to try.
        fixed: the one of these for the strict budget.
        fit: another way of the task to fit linear maps than `Task.fit`.
        budgets: that are wanted; of `strict` alone nothing but `fixed` is fitted.

    Raises:
        SplitError: too little to learn from, such as fewer than 2 classes, or no labelled
            validation window where these choose, among those that have a modality of the subset.
    """
    chooses = VALIDATION in budgets
    strengths = tuple(strengths) if chooses else (fixed,)
    task = validation.task
    validation = validation.take(task.known(validation.label) & validation.usable(subset))
    fitted: list[tuple[list[Subset], list[Probe]]] = []
    for table, seed in draws:
        train = table.take(task.known(table.label) & table.usable(subset))
        task.refuse_too_little(train.label, where="probe")
        if chooses and not len(validation):
            raise SplitError("probe: validation subjects have no labelled window; they choose C")
        choices = probe_subsets(train.present.shape[1], subset, missing=missing, seed=seed)
        rows = rows_of_subsets(train, head, choices, max_rows, seed)
        fitted.append((choices, fit_strengths(rows, head, strengths, task=task, fit=fit)))
    at = list(strengths).index(fixed)
    strict = {STRICT: [some[at] for _, some in fitted]} if STRICT in budgets else {}
    if not chooses:
        return strict
    best = list[Probe]()
    # of many modalities each seed draws subsets of its own
    for choices, group in groupby(fitted, key=lambda pair: pair[0]):
        probes = [probe for _, some in group for probe in some]
        scores = _validation_scores(probes, validation, choices, task)
        for i in range(0, len(probes), len(strengths)):
            chosen = i + int(task.gain(scores[i : i + len(strengths)]).argmax())
            best.append(replace(probes[chosen], validation_score=float(scores[chosen])))
    return {**strict, VALIDATION: best}


def fit_strengths(
    rows: ProbeRows,
    head: Head,
    strengths: Sequence[float],
    *,
    task: Task = UNNAMED_CLASSES,
    fit: Fit | None = None,
) -> list[Probe]:
    """Fit one probe for each strength, on embeddings that are standardised once.

    Args:
        rows: training features, targets and weights.
        head: what they are.
        strengths: inverse strengths of regularisation, on standardised features.
        task: what is predicted for each window.
        fit: another way of the task to fit linear maps than `Task.fit`.
    """
    # small products: threads of the linear algebra library lose more time than they win
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # weakly regularised fits on few labels may stop early; validation judges them as they are
        warnings.simplefilter("ignore", ConvergenceWarning)
        if fit is not None and rows.parts is not None and rows.untrained is None:
            turned = rotated(rows.parts)
            found = fit(task)(turned.x, rows.label, rows.weight, strengths)
            found = [replace(one, weight=turned.turned_back(one.weight)) for one in found]
            mean, scale = turned.mean.astype(np.float32), turned.scale.astype(np.float32)
        else:
            x, mean, scale = _standardised(rows, task)
            way = task.fit if fit is None else fit(task)
            found = way(x, rows.label, rows.weight, strengths)
    return [
        Probe(
            head,
            mean,
            scale,
            *_by_offset(linear, task, len(mean)),
            linear.numbers.astype(np.int64),
            strength,
            task=task,
        )
        for linear, strength in zip(found, strengths, strict=True)
    ]


def _standardised(rows: ProbeRows, task: Task) -> tuple[Array, Array, Array]:
    """Return standardised embeddings, windows and neighbours side by side; mean and scale (D,)."""
    scaler, own = StandardScaler(), rows.embedding
    if own.ndim > 2:
        own = own[:, task.offsets.index(0)]
    x = scaler.fit_transform(own)
    if rows.untrained is not None:
        scaler.scale_ = alike(scaler.scale_, rows.untrained)
        x = scaler.transform(own)
    if rows.embedding.ndim > 2:
        x = side_by_side(rows.embedding, scaler.mean_, scaler.scale_)
    return x, scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)


def alike(scale: Array, untrained: NDArray[np.bool_]) -> Array:
    """Weigh untrained features and the trained embedding alike, by what columns are divided by.

    Trained columns have a variance of 1 each. Untrained ones are principal components, of a mean
    variance of 1, and keep their sizes relative to each other. Both together have the same
    variance, half of as many as there are columns: a rule that knows neither data nor labels
    (benchmarks/tried.md).

    Args:
        scale: (D,) standard deviation of each column.
        untrained: (D,) which columns are untrained features.

    Returns:
        (D,) what each column is divided by.

    Examples:
        >>> untrained = np.array([False, True, True, True])
        >>> alike(np.array([3.0, 5.0, 0.1, 0.1]), untrained) ** 2
        array([4.5, 1.5, 1.5, 1.5])
    """
    columns = np.where(untrained, untrained.sum(), (~untrained).sum())
    return np.asarray(np.where(untrained, 1.0, scale) * np.sqrt(2 * columns / len(scale)))


def _by_offset(linear: Linear, task: Task, dim: int) -> tuple[Array, Array]:
    """Cut a map of windows side by side, (R, O * D), into one below the other, (O * R, D)."""
    weight, offsets = linear.weight.astype(np.float32), len(task.offsets)
    bias = np.zeros((offsets, len(weight)), dtype=np.float32)
    bias[task.offsets.index(0)] = linear.bias
    cut = weight.reshape(len(weight), offsets, dim).swapaxes(0, 1)
    return np.ascontiguousarray(cut.reshape(-1, dim)), bias.reshape(-1)


def _validation_scores(
    probes: Sequence[Probe], validation: LatentTable, choices: Sequence[Subset], task: Task
) -> NDArray[np.float64]:
    """Average each probe's main score on everything present with the mean over the subsets."""
    usable = np.stack([validation.usable(s) for s in choices], axis=1)  # (n, S)
    counting = task.among(np.unique(np.concatenate([p.classes for p in probes])), validation.label)
    group = np.where(usable, np.arange(len(choices)), -1)
    counts: list[Any] = [0] * len(probes)
    begin = 0
    for said in decide_subsets(probes, validation, choices):
        rows = slice(begin, begin + len(said[0]))
        target = np.repeat(validation.label[rows], len(choices), axis=0)
        count = counting.counter(target, group[rows].ravel(), len(choices))
        for i, one in enumerate(said):
            counts[i] += count(one.reshape(-1, *one.shape[2:]))
        begin = rows.stop
    scores = task.metric(np.stack(counts)[:, usable.any(axis=0)])  # (probe, subset)
    if scores.shape[1] == 1:
        return scores[:, 0]
    return np.asarray((scores[:, 0] + scores[:, 1:].mean(axis=1)) / 2)
