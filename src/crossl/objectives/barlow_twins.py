"""Barlow Twins: redundancy reduction (Zbontar et al. 2021, arXiv 2103.03230)."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from crossl.objectives.objective import Objective
from crossl.registry import register

Embedding = Float[Tensor, "batch dim"]


def cross_correlation(
    a: Embedding, b: Embedding, *, epsilon: float = 1e-5
) -> Float[Tensor, "dim dim"]:
    """Correlate each dimension of one view with each of the other, along the batch.

    Both are normalised as the authors' code does, by batch normalisation without learnt weights:
    population variance (1/N), with epsilon added; the paper's formula has no epsilon.
    """
    normed = [(z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + epsilon).sqrt() for z in (a, b)]
    return normed[0].T @ normed[1] / len(a)


def barlow_twins(
    a: Embedding, b: Embedding, *, redundancy: float = 5e-3, epsilon: float = 1e-5
) -> dict[str, Float[Tensor, ""]]:
    """Make the cross-correlation of two views of a batch the identity.

    Terms are sums over dimensions, and the default weight is that of the paper.

    Args:
        a: embeddings of one view.
        b: embeddings of the other, row by row of the same samples.
        redundancy: weight of the squared correlations between different dimensions (lambda).
        epsilon: added to the variances.

    Returns:
        The weighted terms; the loss is their sum.

    Raises:
        ValueError: shapes differ or the batch has fewer than 2 samples.

    Examples:
        >>> import torch
        >>> z = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> terms = barlow_twins(z, z, redundancy=0.5)
        >>> {name: round(term.item(), 3) for name, term in terms.items()}
        {'invariance': 0.0, 'redundancy': 1.0}
    """
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise ValueError(
            f"barlow_twins: views have shapes {tuple(a.shape)} and {tuple(b.shape)}; "
            "two equal (batch, dim) with at least 2 samples are needed"
        )
    correlation = cross_correlation(a, b, epsilon=epsilon)  # (D, D)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return {
        "invariance": (1 - diagonal).square().sum(),
        "redundancy": redundancy * off_diagonal,
    }


class BarlowTwinsConfig(Objective):
    """Coefficients of Barlow Twins."""

    kind: Literal["barlow_twins"] = "barlow_twins"
    redundancy: float = Field(5e-3, ge=0)

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """See `barlow_twins`."""
        return barlow_twins(a, b, redundancy=self.redundancy)


register("objective", BarlowTwinsConfig)
