"""Tokens in time of all modalities at the same places of a window, whatever their rates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossl.nn.model import CrossModalModel

Present = Bool[Tensor, "batch modality"]


def encode_places(
    model: CrossModalModel, signals: Mapping[str, Tensor], present: Present, *, most: int
) -> Float[Tensor, "batch modality place dim"]:
    """Encode to as many tokens of each modality: at each place the mean of those that lie there.

    Args:
        model: with encoders that give tokens.
        signals: standardised.
        present: of these windows; tokens of what is absent are zeros.
        most: places at most; fewer if no modality has so many tokens.

    Raises:
        ConfigError: an encoder gives no tokens.
    """
    tokens, there = model.encode_tokens(signals, present)
    counts = there.sum(dim=2).amax(dim=0)  # (M,): alike in all windows that have the modality
    shares = shares_of_places(counts, min(most, tokens.shape[2]), tokens.shape[2])
    return torch.einsum("bmtk,mpt->bmpk", tokens, shares.to(tokens.dtype))


def join_places(
    model: CrossModalModel,
    tokens: Float[Tensor, "batch place modality dim"],
    present: Present,
) -> Float[Tensor, "batch place embedding"]:
    """Join the tokens of present modalities at each place, by the model's aggregator."""
    places = tokens.shape[1]
    each = present[:, None].expand(-1, places, -1).flatten(0, 1)
    joined: Tensor = model.aggregate(tokens.flatten(0, 1), each)
    return joined.view(-1, places, joined.shape[1])


def shares_of_places(
    counts: Int[Tensor, " modality"], places: int, tokens: int
) -> Float[Tensor, "modality place token"]:
    """Return by what share each token of a modality belongs to each of some even places.

    Args:
        counts: tokens of each modality; of 0 all shares are 0.
        places: P.
        tokens: of the modality with most.

    Examples:
        >>> shares_of_places(torch.tensor([4, 1]), 2, 4).tolist()
        [[[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]], [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]]
    """
    place = torch.arange(places + 1, device=counts.device) / places
    count = counts.clamp(min=1)[:, None]
    edge = torch.arange(tokens + 1, device=counts.device) / count  # (M, tokens + 1)
    begin = torch.maximum(place[None, :-1, None], edge[:, None, :-1])
    end = torch.minimum(place[None, 1:, None], edge[:, None, 1:])
    return (end - begin).clamp(min=0) * places * (counts > 0)[:, None, None]
