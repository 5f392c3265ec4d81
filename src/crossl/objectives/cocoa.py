"""COCOA: cross-modality contrast of several sensors (Deldari et al. 2022, arXiv 2208.00467)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def cocoa(
    z: Float[Tensor, "modality batch dim"],
    present: Bool[Tensor, "modality batch"] | None = None,
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
        present: which of them are there; the others are in no mean and no sum. All if None.
        temperature: divides similarities and dissimilarities.
        positive: weight of the sum over samples of the mean dissimilarity between modalities.
        negative: weight of the sum over modalities and samples of the mean similarity to others.
    """
    there = z.new_ones(z.shape[:2]) if present is None else present.to(z.dtype)
    across = torch.einsum("mbd,nbd->bmn", z, z)
    within = torch.einsum("mbd,mcd->mbc", z, z)
    both = torch.einsum("mb,nb->bmn", there, there)
    others = there[:, :, None] * there[:, None] * (1 - torch.eye(z.shape[1], device=z.device))
    pull = (((1 - across) / temperature).exp() * both).sum(dim=(1, 2))
    pull = pull / both.sum(dim=(1, 2)).clamp(min=1)
    push = ((within / temperature).exp() * others).sum(dim=2) / others.sum(dim=2).clamp(min=1)
    return {"positive": positive * pull.sum(), "negative": negative * push.sum()}
