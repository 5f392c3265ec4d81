"""Linear probe: logistic regression on frozen embeddings, trained with sensors missing.

Latents are computed once; a subset of modalities only re-runs the aggregator.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from crossl.errors import SplitError
from crossl.nn.model import CrossModalModel

Head = Literal["aggregator", "encoders"]
HEADS = ("aggregator", "encoders")
Subset = tuple[int, ...]
Array = NDArray[np.floating[Any]]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values of C, the inverse strength of regularisation, tried on validation subjects."""

MAX_SUBSETS = 64
"""Up to this many subsets of modalities train a probe; of more, a seeded draw does."""


def subsets(modalities: int) -> list[Subset]:
    """List all non-empty subsets of modalities, the largest first.

    Examples:
        >>> subsets(2)
        [(0, 1), (0,), (1,)]
    """
    every = range(modalities)
    return [chosen for size in range(modalities, 0, -1) for chosen in combinations(every, size)]


@dataclass(frozen=True)
class LatentTable:
    """Latents of some windows, ready for any head and any subset of modalities.

    Attributes:
        model: whose latents; only its aggregator runs here.
        latent: (n, M, K).
        present: (n, M) bool.
        label: (n,) int; -1 unlabelled.
        subject: (n,) names.
    """

    model: CrossModalModel
    latent: Tensor
    present: Tensor
    label: NDArray[np.int64]
    subject: NDArray[np.str_]

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.latent)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> LatentTable:
        """Return some of the windows."""
        index = torch.from_numpy(rows)
        return LatentTable(
            self.model,
            self.latent[index],
            self.present[index],
            self.label[rows],
            self.subject[rows],
        )

    def embed(self, head: Head, subset: Subset | None = None) -> Array:
        """Embed every window as if only some modalities had been recorded.

        Args:
            head: `aggregator` for the global embedding, `encoders` for latents side by side, with
                zeros where a modality is absent.
            subset: columns that may be used; None for all that are present.

        Returns:
            (n, D) or (n, M * K) float32. A window that has none of the subset is embedded from
            nothing; `usable` tells which.
        """
        present = self._within(subset)
        if head == "encoders":
            return np.asarray(torch.where(present[:, :, None], self.latent, 0.0).flatten(1))
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            parts = [
                self.model.aggregate(z.to(device), p.to(device)).cpu()
                for z, p in zip(self.latent.split(8192), present.split(8192), strict=True)
            ]
        return np.asarray(torch.cat(parts))

    def usable(self, subset: Subset | None = None) -> NDArray[np.bool_]:
        """Tell which windows have at least one modality of a subset."""
        return np.asarray(self._within(subset).any(dim=1))

    def _within(self, subset: Subset | None) -> Tensor:
        if subset is None:
            return self.present
        allowed = torch.zeros(self.present.shape[1], dtype=torch.bool)
        allowed[list(subset)] = True
        return self.present & allowed


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier on embeddings.

    Attributes:
        head: what it reads.
        mean: (D,) subtracted from embeddings.
        scale: (D,) divides them.
        weight: (classes, D).
        bias: (classes,).
        classes: (classes,) labels, as numbers.
        strength: the C that validation subjects chose.
        validation_score: macro-F1 on them.
    """

    head: Head
    mean: Array
    scale: Array
    weight: Array
    bias: Array
    classes: NDArray[np.int64]
    strength: float
    validation_score: float = field(default=float("nan"), compare=False)

    def scores(self, embedding: Array) -> Array:
        """Return class probabilities, (n, classes)."""
        logits = ((embedding - self.mean) / self.scale) @ self.weight.T + self.bias
        exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponential / exponential.sum(axis=1, keepdims=True))

    def predict(self, embedding: Array) -> NDArray[np.int64]:
        """Return the most probable label of each embedding."""
        logits = ((embedding - self.mean) / self.scale) @ self.weight.T + self.bias
        return np.asarray(self.classes[logits.argmax(axis=1)])

    def arrays(self) -> dict[str, Array]:
        """Return what a file must hold."""
        return {"mean": self.mean, "scale": self.scale, "weight": self.weight, "bias": self.bias}


@dataclass(frozen=True)
class ProbeRows:
    """Training embeddings of a probe: windows under several subsets of modalities."""

    embedding: Array
    label: NDArray[np.int64]
    weight: NDArray[np.float64]


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
    """Fit logistic regression; validation subjects choose its regularisation.

    With `missing`, every labelled window is shown under every subset of its modalities (a seeded
    draw of them if that makes more than max_rows); all of them together weigh as much as the
    windows with everything present. Validation then counts the full set and the mean over
    subsets alike.

    Args:
        train: labelled windows of training subjects.
        validation: windows of validation subjects.
        head: what to read.
        subset: modalities that exist for this probe; None for all.
        missing: train with sensors missing, too.
        max_rows: at most about this many embeddings are used.
        seed: of that draw.
        strengths: values of C to try.

    Raises:
        SplitError: fewer than 2 classes, or no labelled validation window, among those that have
            a modality of the subset.
    """
    train = train.take((train.label >= 0) & train.usable(subset))
    validation = validation.take((validation.label >= 0) & validation.usable(subset))
    if len(np.unique(train.label)) < 2:
        raise SplitError(
            f"probe: {len(train)} labelled training windows of {len(np.unique(train.label))} "
            "class(es); at least 2 classes are needed"
        )
    if not len(validation):
        raise SplitError("probe: validation subjects have no labelled window; they choose C")
    choices = _probe_subsets(train.present.shape[1], subset, missing=missing, seed=seed)
    rows = _training_rows(train, head, choices, max_rows, seed)
    shown = [(validation.usable(s), validation.embed(head, s)) for s in choices]
    # small products: threads of the linear algebra library lose more time than they win
    with threadpool_limits(1, user_api="blas"):
        fitted = (_fit_one(rows, head, strength) for strength in strengths)
        scored = [(_validation_score(probe, shown, validation.label), probe) for probe in fitted]
    score, best = max(scored, key=lambda pair: pair[0])
    return Probe(**{**best.__dict__, "validation_score": score})


def _probe_subsets(
    modalities: int, subset: Subset | None, *, missing: bool, seed: int
) -> list[Subset]:
    """Choose the subsets that train a probe; the fullest comes first."""
    columns = subset if subset is not None else tuple(range(modalities))
    if not missing:
        return [columns]
    if 2 ** len(columns) - 1 <= MAX_SUBSETS:
        return [tuple(columns[i] for i in chosen) for chosen in subsets(len(columns))]
    generator = np.random.default_rng(seed)
    drawn = {columns}
    while len(drawn) < MAX_SUBSETS:
        keep = generator.random(len(columns)) < generator.random()
        if keep.any():
            drawn.add(tuple(np.array(columns)[keep].tolist()))
    return sorted(drawn, key=lambda s: (-len(s), s))


def _training_rows(
    train: LatentTable, head: Head, choices: Sequence[Subset], max_rows: int, seed: int
) -> ProbeRows:
    generator = np.random.default_rng(seed)
    full = np.flatnonzero(train.usable(choices[0]))
    share = min(1.0, max(0, max_rows - len(full)) / max(1, len(full) * (len(choices) - 1)))
    embeddings, labels, group = [train.embed(head, choices[0])[full]], [train.label[full]], [full]
    for subset in choices[1:]:
        rows = np.flatnonzero(train.usable(subset) & (generator.random(len(train)) < share))
        if len(rows):
            embeddings.append(train.take(rows).embed(head, subset))
            labels.append(train.label[rows])
            group.append(rows)
    n_rest = sum(len(rows) for rows in group[1:])
    weights = [np.ones(len(full))]
    weights += [np.full(len(rows), len(full) / n_rest) for rows in group[1:]]
    weight = np.concatenate(weights)
    weight *= len(full) / weight.sum()  # C means the same with and without missing sensors
    return ProbeRows(np.concatenate(embeddings), np.concatenate(labels), weight)


def _fit_one(rows: ProbeRows, head: Head, strength: float) -> Probe:
    scaler = StandardScaler().fit(rows.embedding)
    regression = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        # weakly regularised fits on few labels may stop early; validation judges them as they are
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(scaler.transform(rows.embedding), rows.label, sample_weight=rows.weight)
    weight, bias = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Probe(
        head,
        scaler.mean_.astype(np.float32),
        scaler.scale_.astype(np.float32),
        weight.astype(np.float32),
        bias.astype(np.float32),
        regression.classes_.astype(np.int64),
        strength,
    )


def _validation_score(
    probe: Probe,
    shown: Sequence[tuple[NDArray[np.bool_], Array]],
    label: NDArray[np.int64],
) -> float:
    """Average macro-F1 on everything present with the mean over the subsets."""
    scores = [
        f1_score(label[usable], probe.predict(embedding[usable]), average="macro", zero_division=0)
        for usable, embedding in shown
        if usable.any()
    ]
    return float((scores[0] + np.mean(scores[1:])) / 2 if len(scores) > 1 else scores[0])
