"""TS2Vec's hierarchical contrast of two views in time (arXiv 2106.10466)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Sequences = Float[Tensor, "batch place dim"]
Common = Bool[Tensor, " place"]


def hierarchical_contrast(a: Sequences, b: Sequences, common: Common) -> dict[str, Tensor]:
    """Contrast places in time and windows, at every scale of time.

    Yue et al. 2022, equations 1 to 3: dot products without a temperature. At each scale a place of
    one view is told from the other places of its window in both views (`temporal`), and from the
    same place of other windows in both views (`instance`); then every two places become one, by
    their maximum, until one is left, which has nothing temporal. Both are halves of the mean over
    places, views and scales.

    Args:
        a: of one view.
        b: of the other, the same windows.
        common: places that both views have; others count for nothing.

    Returns:
        The terms `temporal` and `instance`.

    Examples:
        >>> a = torch.zeros(2, 2, 3)
        >>> terms = hierarchical_contrast(a, a, torch.tensor([True, True]))
        >>> {name: round(term.item(), 3) for name, term in terms.items()}
        {'temporal': 0.275, 'instance': 0.549}
    """
    temporal, instance, scales = a.new_zeros(()), a.new_zeros(()), 0
    while True:
        scales += 1
        instance = instance + _instance(a, b, common)
        if a.shape[1] == 1:
            break
        temporal = temporal + _temporal(a, b, common)
        a, b = (_halve(x, common) for x in (a, b))
        common = _halve_common(common)
    return {"temporal": temporal / (2 * scales), "instance": instance / (2 * scales)}


def _temporal(a: Sequences, b: Sequences, common: Common) -> Tensor:
    """Tell a place from the other common places of its window in both views."""
    return _told(torch.cat([a, b], dim=1), common.repeat(2)[None], common)


def _instance(a: Sequences, b: Sequences, common: Common) -> Tensor:
    """Tell a window from the others at the same place in both views."""
    both = torch.cat([a, b], dim=0).transpose(0, 1)  # (P, 2B, D)
    everyone = torch.ones(1, both.shape[1], dtype=torch.bool, device=a.device)
    return _told(both, everyone, common[:, None])


def _told(z: Float[Tensor, "set item dim"], among: Tensor, counted: Tensor) -> Tensor:
    """Return how badly items are told apart, on average; the other half of a set are partners.

    Args:
        z: items of each set, those of one view before those of the other.
        among: (1, item), which items there are.
        counted: (set, item / 2) or what is as wide: which items are in the mean.
    """
    count = z.shape[1]
    logits = z @ z.transpose(1, 2)  # (set, item, item)
    itself = torch.eye(count, dtype=torch.bool, device=z.device)
    logits = logits.masked_fill(itself | ~among[:, None], -torch.inf)
    own = torch.arange(count, device=z.device).roll(count // 2)
    # what is not counted may have no partner: it gets numbers, and counts for nothing
    weight = counted.expand(len(z), count // 2).repeat(1, 2)
    logits = torch.where(weight[:, :, None], logits, torch.zeros_like(logits))
    each = -logits.log_softmax(dim=2).gather(2, own.expand(len(z), -1)[..., None])[..., 0]
    return (each * weight).sum() / weight.sum().clamp(min=1)


def _pairs(x: Tensor, filling: float) -> Tensor:
    """Put every two places side by side, (place / 2, ..., 2) of (place, ...), filled up."""
    if len(x) % 2:
        x = torch.cat([x, torch.full_like(x[:1], filling)])
    return torch.stack([x[::2], x[1::2]], dim=-1)


def _halve_common(common: Common) -> Common:
    """Tell for every two places whether one is common."""
    return _pairs(common, 0).any(dim=-1)


def _halve(x: Sequences, common: Common) -> Sequences:
    """Make one of every two places, the maximum of those that are common."""
    smallest = torch.finfo(x.dtype).min
    shown = torch.where(common[None, :, None], x, smallest).transpose(0, 1)
    largest = _pairs(shown, smallest).amax(dim=-1).transpose(0, 1)
    return torch.where(_halve_common(common)[None, :, None], largest, 0.0)
