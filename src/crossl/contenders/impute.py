"""Impute, then classify: ridge regression tells what is absent from what is present.

One classifier of all modalities is asked; features of a modality that a window lacks are predicted
from those that it has, by a linear map for each set of modalities, learned from the windows of
training subjects that have them all, without labels. The kind of Jungo, Xiang, Gashi, Holz (2024,
Representation Learning for Wearable-Based Applications in the Case of Missing Data, arXiv
2401.05437). Deviation: they predict signals, by a transformer; this predicts features, linearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from crossl.config.schema import ContenderConfig
from crossl.contenders.contender import Context, Outcome, Tables
from crossl.contenders.features import (
    FIXED_RIDGE,
    MinirocketConfig,
    feature_tables,
    of_statistics,
)
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import FIXED_STRENGTH, fit_by_budget
from crossl.registry import register

PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Penalties to choose from, as shares of the number of windows: features have deviation 1."""
GROUPS, DIMS = 5, 256
Float = NDArray[np.float64]


class ImputeConfig(ContenderConfig):
    """Impute features of absent modalities, then classify.

    Attributes:
        features: of each modality: simple statistics, read by logistic regression, or MiniRocket's,
            read by ridge regression.
        missing: show the classifier windows that were filled in, under every subset of sensors as
            all others see them; if not, it is trained on windows as they are.
        seed: of MiniRocket.
    """

    kind: Literal["impute"] = "impute"
    features: Literal["statistics", "minirocket"] = "statistics"
    missing: bool = True
    seed: int = Field(0, ge=0)

    @property
    def repeats(self) -> Literal["all", "none"]:  # type: ignore[override]
        """Only MiniRocket draws anything."""
        return "none" if self.features == "statistics" else "all"

    def build(self, name: str) -> Impute:
        """Make the contender."""
        return Impute(name, self)


@dataclass(frozen=True)
class Impute:
    """Fills in what is absent, and asks one classifier of everything."""

    name: str
    settings: ImputeConfig

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the classifier of each label draw says."""
        ridge = self.settings.features == "minirocket"
        tables = self._tables(context)
        context.tell(f"fitting {self.name}", 0, 1)
        model = cast(Any, FilledIn(tables["train"]).eval())
        tables = {part: replace(table, model=model) for part, table in tables.items()}
        shown = context.labelled(tables["train"], f"fitting {self.name}")
        probes = fit_by_budget(
            shown,
            tables["validation"],
            missing=self.settings.missing,
            fixed=FIXED_RIDGE if ridge else FIXED_STRENGTH,
            fit=(lambda task: task.fit_ridge) if ridge else None,
            budgets=context.budgets,
        )
        for outcome in context.outcomes(context.draws, probes, tables["test"]):
            yield replace(outcome, head=None)

    def _tables(self, context: Context) -> Tables:
        if self.settings.features == "statistics":
            return feature_tables(context, of_statistics, shared="statistics")
        fit = MinirocketConfig(seed=self.settings.seed).build(self.name).fit
        return feature_tables(context, fit)


class FilledIn(nn.Module):
    """What stands in a model's place: features side by side, the absent ones predicted.

    Features are described by their principal components of training subjects, at most 256 of a
    modality; what is present stays as it is.

    Args:
        train: windows of training subjects; labels are not looked at.
    """

    def __init__(self, train: LatentTable) -> None:
        super().__init__()
        latent = torch.where(train.present[:, :, None], train.latent, 0.0)
        self.modalities, self.width = latent.shape[1:]
        parts = [_components(latent[:, m], train.present[:, m]) for m in range(self.modalities)]
        self.components = _fixed(torch.stack([part for _, part in parts]))  # (M, F, P)
        self.scores = _fixed(torch.stack([score for score, _ in parts], dim=1))  # (n, M, P)
        self.present = _fixed(train.present)
        groups = np.unique(train.subject, return_inverse=True)[1] % GROUPS
        if len(np.unique(groups)) == 1:  # one person: stretches of theirs
            groups = np.arange(len(groups)) * GROUPS // max(1, len(groups))
        self.group = _fixed(torch.from_numpy(groups))
        self._maps: dict[tuple[bool, ...], Callable[[Tensor], Tensor]] = {}

    @property
    def aggregator(self) -> Callable[[Tensor, Tensor], Tensor]:
        """What evaluation asks of a model."""
        return self.aggregate

    def aggregate(self, latent: Tensor, keep: Tensor) -> Tensor:
        """Lay features side by side, and predict those of modalities that are not kept.

        Args:
            latent: (B, M, F).
            keep: (B, M) or (B, M, F), the same throughout a modality.

        Returns:
            (B, M * F); zeros, the mean of training subjects, where nothing is kept.
        """
        shown = keep if keep.ndim == 2 else keep[:, :, 0]
        out = torch.where(shown[:, :, None], latent, 0.0)
        patterns, which = torch.unique(shown, dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns.tolist()):
            if any(pattern) and not all(pattern):
                rows = torch.nonzero(which == number)[:, 0]
                out[rows] = self._filled(out[rows], tuple(pattern))
        return out.flatten(1)

    def _filled(self, latent: Tensor, pattern: tuple[bool, ...]) -> Tensor:
        has, lacks = ([m for m, one in enumerate(pattern) if one is wanted]
                      for wanted in (True, False))  # fmt: skip
        if pattern not in self._maps:
            self._maps[pattern] = self._learned(has, lacks)
        scores = torch.cat([latent[:, m] @ self.components[m] for m in has], dim=1)
        found = self._maps[pattern](scores).unflatten(1, (len(lacks), -1))
        filled = latent.clone()
        for place, m in enumerate(lacks):
            filled[:, m] = found[:, place] @ self.components[m].T
        return filled

    def _learned(self, has: Sequence[int], lacks: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Learn the map from the scores of some modalities to those of the others.

        One for each modality that is absent, from the windows that have it and all the present.
        """
        maps = []
        for m in lacks:
            rows = self.present[:, [*has, m]].all(dim=1)
            x, y = self.scores[rows][:, has].flatten(1), self.scores[rows][:, m]
            maps.append(ridge_by_group(x.double().numpy(), y.double().numpy(),
                                       self.group[rows].numpy()))  # fmt: skip
        weight = torch.from_numpy(np.concatenate([w for w, _ in maps], axis=1)).float()
        bias = torch.from_numpy(np.concatenate([b for _, b in maps])).float()
        return lambda scores: scores @ weight + bias


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.contiguous(), requires_grad=False)


def _components(features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (n, P) of features, and the components (F, P), orthonormal or zeros."""
    dims = min(DIMS, features.shape[1])
    known = features[present].double()
    components = torch.zeros(features.shape[1], dims)
    if len(known):
        components = torch.linalg.eigh(known.T @ known)[1][:, -dims:].float()
    return features @ components, components


def ridge_by_group(x: Float, y: Float, group: NDArray[np.int64]) -> tuple[Float, Float]:
    """Fit ridge regression, whose penalty predicts groups best that are left out.

    Args:
        x: (n, P).
        y: (n, Q).
        group: (n,) of each row, such as whose it is.

    Returns:
        Weight (P, Q) and bias (Q,); zeros of no rows.
    """
    if not len(x):
        return np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
    error = np.zeros(len(PENALTIES))
    for one in np.unique(group) if len(np.unique(group)) > 1 else ():
        out = group == one
        for number, (weight, bias) in enumerate(_ridge(x[~out], y[~out], PENALTIES)):
            error[number] += np.square(x[out] @ weight + bias - y[out]).sum()
    # a single group cannot tell: then the middle of the penalties
    best = int(error.argmin()) if error.any() else len(PENALTIES) // 2
    return next(_ridge(x, y, PENALTIES[best : best + 1]))


def _ridge(x: Float, y: Float, penalties: Sequence[float]) -> Iterator[tuple[Float, Float]]:
    """Yield weight and bias for each penalty, by one decomposition."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    values, vectors = np.linalg.eigh(x.T @ x)
    turned = vectors.T @ (x.T @ y)
    for penalty in penalties:
        weight = vectors @ (turned / (np.maximum(values, 0) + penalty * len(x))[:, None])
        yield weight, mean_y - mean_x @ weight


register("contender", ImputeConfig)
