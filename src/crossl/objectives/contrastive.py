"""Losses with negative pairs, as the authors' code has them: InfoNCE, DCL, hard DCL.

Only the direction from the first view to the second is used (`src/loss.py` of their code).
Debiased contrastive learning: Chuang et al. 2020, arXiv 2007.00224; hard negatives: Robinson et
al. 2021, arXiv 2010.04592.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from crossl.objectives.objective import Objective
from crossl.registry import register

Embedding = Float[Tensor, "batch dim"]


def _similarity(a: Embedding, b: Embedding) -> Float[Tensor, "batch batch"]:
    return normalize(a, dim=1) @ normalize(b, dim=1).T


def info_nce(a: Embedding, b: Embedding, *, temperature: float = 0.2) -> dict[str, Tensor]:
    """Tell each sample's other view from those of the rest of the batch.

    Args:
        a: embeddings of one view.
        b: embeddings of the other.
        temperature: divides the cosine similarities.

    Examples:
        >>> round(info_nce(torch.eye(2), torch.eye(2), temperature=0.5)["contrast"].item(), 3)
        0.127
    """
    matched = torch.softmax(_similarity(a, b) / temperature, dim=1).diagonal()
    return {"contrast": -matched.clamp(1e-7, 1 - 1e-7).log().mean()}


def dcl(
    a: Embedding, b: Embedding, *, temperature: float = 0.2, class_prior: float = 0.01
) -> dict[str, Tensor]:
    """Contrast with negatives corrected for those that share the sample's class.

    Args:
        a: embeddings of one view.
        b: embeddings of the other.
        temperature: divides the cosine similarities.
        class_prior: probability that a negative is none.
    """
    positive, negative = _exponentials(a, b, temperature)
    return _debiased(positive, negative.sum(dim=1), temperature, class_prior)


def hard_dcl(
    a: Embedding,
    b: Embedding,
    *,
    temperature: float = 0.2,
    class_prior: float = 0.01,
    hardness: float = 2.0,
) -> dict[str, Tensor]:
    """Debiased contrast in which close negatives weigh more; the weight carries gradient.

    Args:
        a: embeddings of one view.
        b: embeddings of the other.
        temperature: divides the cosine similarities.
        class_prior: probability that a negative is none.
        hardness: scales the weight of each negative against the mean of its row.
    """
    positive, negative = _exponentials(a, b, temperature)
    # the mean is over the B - 1 negatives of a row, not over its B entries
    mean = negative.sum(dim=1, keepdim=True) / (len(a) - 1)
    weighted = (hardness * negative / mean * negative).sum(dim=1)
    return _debiased(positive, weighted, temperature, class_prior)


def _exponentials(a: Embedding, b: Embedding, temperature: float) -> tuple[Tensor, Tensor]:
    """Return exp(similarity / temperature): (B,) of pairs, (B, B) of negatives, 0 on pairs."""
    every = (_similarity(a, b) / temperature).exp()
    other = ~torch.eye(len(a), dtype=torch.bool, device=a.device)
    return every.diagonal(), every * other


def _debiased(
    positive: Tensor, negative: Tensor, temperature: float, class_prior: float
) -> dict[str, Tensor]:
    others = len(positive) - 1
    estimate = (negative - class_prior * others * positive) / (1 - class_prior)
    estimate = estimate.clamp(min=others * math.exp(-1 / temperature))
    return {"contrast": -(positive / (positive + estimate)).log().mean()}


class InfoNceConfig(Objective):
    """Coefficients of InfoNCE."""

    kind: Literal["info_nce"] = "info_nce"
    temperature: float = Field(0.2, gt=0)

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """See `info_nce`."""
        return info_nce(a, b, temperature=self.temperature)


class DclConfig(Objective):
    """Coefficients of debiased contrast."""

    kind: Literal["dcl"] = "dcl"
    temperature: float = Field(0.2, gt=0)
    class_prior: float = Field(0.01, ge=0, lt=1)

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """See `dcl`."""
        return dcl(a, b, temperature=self.temperature, class_prior=self.class_prior)


class HardDclConfig(Objective):
    """Coefficients of debiased contrast with hard negatives."""

    kind: Literal["hard_dcl"] = "hard_dcl"
    temperature: float = Field(0.2, gt=0)
    class_prior: float = Field(0.01, ge=0, lt=1)
    hardness: float = Field(2.0, ge=0)

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """See `hard_dcl`."""
        return hard_dcl(
            a, b,
            temperature=self.temperature, class_prior=self.class_prior, hardness=self.hardness,
        )  # fmt: skip


for _config in (InfoNceConfig, DclConfig, HardDclConfig):
    register("objective", _config)
