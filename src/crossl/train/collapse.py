"""Collapse: when embeddings of different windows become alike, or fill few dimensions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MIN_EFFECTIVE_RANK = 2.0
MIN_STD = 0.01

Embedding = Float[Tensor, "batch dim"]


def effective_rank(z: Embedding) -> float:
    """Count the dimensions that embeddings really use.

    The exponential of the entropy of the normalised singular values (Roy and Vetterli 2007).

    Examples:
        >>> round(effective_rank(torch.eye(4)), 3)
        3.0
        >>> effective_rank(torch.ones(4, 4))
        0.0
    """
    values = torch.linalg.svdvals((z - z.mean(dim=0)).double())
    total = values.sum()
    if total <= 1e-9 * max(1.0, float(z.abs().max())):
        return 0.0
    share = values / total
    return float(torch.special.entr(share).sum().exp())


def collapse_measures(z: Embedding) -> dict[str, float]:
    """Return `embedding_std`, the mean standard deviation of a dimension, and `effective_rank`."""
    return {
        "embedding_std": float(z.std(dim=0, correction=0).mean()),
        "effective_rank": effective_rank(z),
    }


def collapse_warning(measures: dict[str, float], dim: int) -> str | None:
    """Say in words what is wrong with embeddings, or None.

    Args:
        measures: from `collapse_measures`.
        dim: dimensions of the embedding.
    """
    rank, std = measures["effective_rank"], measures["embedding_std"]
    if std < MIN_STD:
        return (
            f"the embedding is collapsing: windows of different content differ by {std:.2g} on "
            f"average (below {MIN_STD}); raise the variance weight or lower the learning rate"
        )
    if dim > MIN_EFFECTIVE_RANK and rank < MIN_EFFECTIVE_RANK:
        return (
            f"the embedding is collapsing: it uses {rank:.2g} of {dim} dimensions; raise the "
            "covariance weight, the batch size or the share that is masked"
        )
    return None
