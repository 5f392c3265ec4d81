"""Contrast of two sets of embeddings some of which are missing; see `info_nce` for whole ones."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def symmetric_contrast(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    there: Bool[Tensor, " batch"],
    *,
    temperature: float,
) -> Tensor:
    """Match each row of one set with the same row of the other, both ways, among what is there.

    Args:
        a: embeddings; rows that are not there may hold anything finite.
        b: embeddings of the same samples.
        there: which samples have both.
        temperature: divides the cosine similarities.

    Returns:
        The mean of both directions, averaged over the samples that are there; 0 below 2 of them.

    Examples:
        >>> there = torch.tensor([True, True, False])
        >>> round(symmetric_contrast(torch.eye(3), torch.eye(3), there, temperature=0.5).item(), 3)
        0.127
    """
    logits = normalize(a, dim=1) @ normalize(b, dim=1).T / temperature
    logits = logits.masked_fill(~(there[:, None] & there[None]), -torch.inf)
    # a row of nothing but -inf has no softmax: it gets numbers, and counts for nothing
    some = torch.eye(len(a), dtype=logits.dtype, device=a.device)
    own = torch.arange(len(a), device=a.device)
    ways = [torch.where(there[:, None], way, some) for way in (logits, logits.T)]
    each = torch.stack([cross_entropy(way, own, reduction="none") for way in ways]).mean(dim=0)
    count = there.sum()
    weight = there.to(each.dtype) * (count > 1)
    return (each * weight).sum() / count.clamp(min=1)


def nt_xent_among(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    there: Bool[Tensor, " batch"],
    *,
    temperature: float,
) -> Tensor:
    """Compute NT-Xent (see `nt_xent`) of the samples that are there.

    Args:
        a: embeddings; rows that are not there may hold anything finite.
        b: embeddings of the same samples.
        there: which samples have both.
        temperature: divides the cosine similarities.

    Returns:
        The mean over both views of the samples that are there; 0 below 2 of them.

    Examples:
        >>> there = torch.tensor([True, True, False])
        >>> round(nt_xent_among(torch.eye(3), torch.eye(3), there, temperature=0.5).item(), 3)
        0.24
    """
    z, both = normalize(torch.cat([a, b]), dim=1), torch.cat([there, there])
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself | ~both, -torch.inf)
    logits = torch.where(both[:, None], logits, itself.to(logits.dtype))
    other = torch.arange(len(z), device=z.device).roll(len(a))
    each = cross_entropy(logits, other, reduction="none")
    count = there.sum()
    return torch.where(both, each, 0.0).sum() * (count > 1) / (2 * count.clamp(min=1))
