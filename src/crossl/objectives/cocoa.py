"""COCOA: cross-modality contrast of several sensors (Deldari et al. 2022, arXiv 2208.00467)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cocoa(
    z: Float[Tensor, "modality batch dim"],
    *,
    temperature: float = 0.2,
    positive: float = 1 / 32,
    negative: float = 3.9e-3,
) -> dict[str, Tensor]:
    """Pull the modalities of a sample together, push the samples of a modality apart.

    As in the authors' code, inputs are expected to have unit length and the positive term
    includes each modality with itself.

    Args:
        z: unit-length embeddings by modality.
        temperature: divides similarities and dissimilarities.
        positive: weight of the sum over samples of the mean dissimilarity between modalities.
        negative: weight of the sum over modalities and samples of the mean similarity to others.
    """
    across = torch.einsum("mbd,nbd->bmn", z, z)
    within = torch.einsum("mbd,mcd->mbc", z, z)
    others = ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
    pull = ((1 - across) / temperature).exp().mean(dim=(1, 2)).sum()
    push = ((within / temperature).exp() * others).sum(dim=2) / (z.shape[1] - 1)
    return {"positive": positive * pull, "negative": negative * push.sum()}
