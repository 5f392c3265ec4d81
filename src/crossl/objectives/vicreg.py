"""VICReg: variance, invariance, covariance (Bardes, Ponce, LeCun, 2022; arXiv 2105.04906)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from crossl.objectives.objective import Objective
from crossl.registry import register

Embedding = Float[Tensor, "batch dim"]

EPSILON = 1e-4
"""Added to a variance before its root."""


def invariance_term(a: Embedding, b: Embedding) -> Float[Tensor, ""]:
    """Mean squared difference between two views of the same samples."""
    return torch.nn.functional.mse_loss(a, b)


def variance_term(z: Embedding, *, epsilon: float = EPSILON) -> Float[Tensor, ""]:
    """Mean over dimensions of how far the standard deviation falls short of 1.

    The variance is that of the population (1/N), as in the authors' code; the VICReg paper
    has 1/(N - 1).
    """
    std = (z.var(dim=0, correction=0) + epsilon).sqrt()
    return torch.relu(1 - std).mean()


def covariance_term(z: Embedding) -> Float[Tensor, ""]:
    """Sum of squared covariances between different dimensions, divided by their number."""
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)  # (D, D)
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    return off_diagonal / z.shape[1]


def vicreg(
    a: Embedding,
    b: Embedding,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> dict[str, Float[Tensor, ""]]:
    """Compare two views of a batch without negative pairs.

    The authors' command line passes 10, 10, 100 (`src/exp_setup.py:63-65`, `src/loss.py:163-192`
    of their code); the defaults here are those of the VICReg paper. As in the authors' code, the
    variance term is the mean of both views and the covariance term their sum.

    Args:
        a: embeddings of one view.
        b: embeddings of the other, row by row of the same samples.
        invariance: weight of the mean squared difference.
        variance: weight of the hinge on the standard deviation of each dimension.
        covariance: weight of the squared covariances between dimensions.

    Returns:
        The weighted terms; the loss is their sum.

    Raises:
        ValueError: shapes differ or the batch has fewer than 2 samples.

    Examples:
        >>> z = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> {name: round(term.item(), 3) for name, term in vicreg(z, z).items()}
        {'invariance': 0.0, 'variance': 0.0, 'covariance': 8.0}
    """
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise ValueError(
            f"vicreg: views have shapes {tuple(a.shape)} and {tuple(b.shape)}; "
            "two equal (batch, dim) with at least 2 samples are needed"
        )
    return {
        "invariance": invariance * invariance_term(a, b),
        "variance": variance * (variance_term(a) + variance_term(b)) / 2,
        "covariance": covariance * (covariance_term(a) + covariance_term(b)),
    }


def vicreg_of_several(
    a: Float[Tensor, "network dim batch"],
    b: Float[Tensor, "network dim batch"],
    rows: Float[Tensor, "network batch"] | None = None,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> dict[str, Float[Tensor, " network"]]:
    """Compare two views of several batches at once, each as `vicreg` does.

    Args:
        a: embeddings of one view, samples last.
        b: embeddings of the other.
        rows: 1 for samples that count, 0 for those that do not; all count if None. Terms of a
            batch of fewer than 2 samples are 0.
        invariance: see `vicreg`.
        variance: see `vicreg`.
        covariance: see `vicreg`.

    Returns:
        The weighted terms of each batch.
    """
    weight = None if rows is None else rows[:, None]
    count = a.new_full((len(a),), a.shape[2]) if rows is None else rows.sum(dim=1)
    difference = (a - b).square()
    difference = difference if weight is None else difference * weight
    views = [_variance_and_covariance(z, weight, count) for z in (a, b)]
    terms = {
        "invariance": invariance * difference.sum(dim=(1, 2)) / (count.clamp(min=1) * a.shape[1]),
        "variance": variance * (views[0][0] + views[1][0]) / 2,
        "covariance": covariance * (views[0][1] + views[1][1]),
    }
    return {name: torch.where(count > 1, term, 0.0) for name, term in terms.items()}


def _variance_and_covariance(
    z: Tensor, weight: Tensor | None, count: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the variance and the covariance term of each batch of (network, dim, batch)."""
    _, variance, centred = moments(z, weight)
    spread = torch.relu(1 - (variance + EPSILON).sqrt()).mean(dim=1)
    matrix = centred @ centred.transpose(1, 2) / (count - 1).clamp(min=1)[:, None, None]
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    off_diagonal = matrix.square().sum(dim=(1, 2)) - diagonal.square().sum(dim=1)
    return spread, off_diagonal / z.shape[1]


def moments(
    z: Float[Tensor, "... batch"], weight: Float[Tensor, "... batch"] | None
) -> tuple[Tensor, Tensor, Float[Tensor, "... batch"]]:
    """Return mean and population variance over samples that count, and z centred, 0 elsewhere.

    Args:
        z: samples last.
        weight: 1 or 0 for each sample; all count if None.
    """
    if weight is None:
        mean = z.mean(dim=-1)
        centred = z - mean[..., None]
        return mean, centred.square().mean(dim=-1), centred
    count = weight.sum(dim=-1).clamp(min=1)
    mean = (z * weight).sum(dim=-1) / count
    centred = (z - mean[..., None]) * weight
    return mean, centred.square().sum(dim=-1) / count, centred


class VicregConfig(Objective):
    """Coefficients of VICReg."""

    kind: Literal["vicreg"] = "vicreg"
    invariance: float = Field(25.0, ge=0)
    variance: float = Field(25.0, ge=0)
    covariance: float = Field(1.0, ge=0)

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """See `vicreg`."""
        return vicreg(
            a, b, invariance=self.invariance, variance=self.variance, covariance=self.covariance
        )

    def compare_several(
        self,
        a: Float[Tensor, "network dim batch"],
        b: Float[Tensor, "network dim batch"],
        rows: Float[Tensor, "network batch"] | None = None,
    ) -> dict[str, Float[Tensor, " network"]]:
        """See `vicreg_of_several`: all at once."""
        return vicreg_of_several(
            a, b, rows,
            invariance=self.invariance, variance=self.variance, covariance=self.covariance,
        )  # fmt: skip


register("objective", VicregConfig)
