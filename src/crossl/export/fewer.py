"""Fewer sensors: an aggregator of which only some modalities ever come."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy

import torch
from torch import Tensor, nn

from crossl.export.stacked import StackedPredictive
from crossl.nn.aggregators import (
    Aggregator,
    CompletingAggregator,
    MlpAggregator,
    PredictiveAggregator,
)
from crossl.nn.attention import AttentionAggregator, GatedAggregator, TransformerAggregator

READS_EACH = (GatedAggregator, AttentionAggregator, TransformerAggregator)
"""Whose `shared` needs nothing of a modality that is not kept."""


class CompletesFewer(nn.Module):
    """Completes the latents of all modalities from those that may come.

    Args:
        whole: the aggregator; it is not changed.
        columns: modalities that may come.
    """

    def __init__(self, whole: CompletingAggregator, columns: Sequence[int]) -> None:
        super().__init__()
        self.columns = list(columns)
        self.whole = copy(whole)
        self.whole._modules = dict(whole._modules)
        self.whole.project = nn.ModuleList(whole.project[i] for i in columns)

    def forward(self, latent: Tensor, keep: Tensor) -> Tensor:
        """Join what is kept of (B, M, K); other columns than those that may come are not read."""
        shared = self.whole.shared(latent[:, self.columns], keep[:, self.columns])
        if not len(self.whole.predictors):
            return shared
        completed = torch.where(keep, latent, self.whole.predict(shared))
        return torch.cat([shared, completed.flatten(1)], dim=1)


class JoinsFewer(nn.Module):
    """The authors' aggregator, with the columns of its first layer that are not always zeros.

    Args:
        whole: the aggregator; it is not changed.
        columns: modalities that may come.
        modalities: M.
    """

    def __init__(self, whole: MlpAggregator, columns: Sequence[int], modalities: int) -> None:
        super().__init__()
        self.columns = list(columns)
        self.whole = deepcopy(whole)
        first = self.whole.dense[0]
        assert isinstance(first, nn.Linear)  # noqa: S101 - as it is made
        weight = first.weight.detach().unflatten(1, (modalities, -1))[:, self.columns].flatten(1)
        narrow = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            narrow.weight.copy_(weight)
            narrow.bias.copy_(first.bias)
        self.whole.dense[0] = narrow

    def forward(self, latent: Tensor, keep: Tensor) -> Tensor:
        """Join what is kept of (B, M, K)."""
        out: Tensor = self.whole(latent[:, self.columns], keep[:, self.columns])
        return out


def fewer_sensors(
    aggregator: Aggregator | nn.Module, columns: Sequence[int], modalities: int
) -> Aggregator:
    """Return an aggregator that gives the same where only some modalities ever come.

    One that is not known here stays as it is.

    Args:
        aggregator: of all modalities.
        columns: those that may come.
        modalities: M.
    """
    if type(aggregator) is PredictiveAggregator:
        return StackedPredictive(aggregator, columns)
    if len(columns) == modalities:
        return aggregator
    if type(aggregator) in READS_EACH and isinstance(aggregator, CompletingAggregator):
        return CompletesFewer(aggregator, columns)
    if type(aggregator) is MlpAggregator:
        return JoinsFewer(aggregator, columns, modalities)
    return aggregator
