"""VICReg: variance, invariance, covariance (Bardes, Ponce, LeCun, 2022; arXiv 2105.04906)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Embedding = Float[Tensor, "batch dim"]


def invariance_term(a: Embedding, b: Embedding) -> Float[Tensor, ""]:
    """Mean squared difference between two views of the same samples."""
    return torch.nn.functional.mse_loss(a, b)


def variance_term(z: Embedding, *, epsilon: float = 1e-4) -> Float[Tensor, ""]:
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
