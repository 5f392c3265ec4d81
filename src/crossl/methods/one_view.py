"""Methods that compare modalities of a window with each other, and train encoders only."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from crossl.data.batch import Batch
from crossl.errors import ConfigError
from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.method import Encoded, MethodConfig, Present, Signals, Steps
from crossl.methods.views import Augment, augment_views
from crossl.nn.aggregators import AggregatorConfig, ConcatConfig
from crossl.nn.model import CrossModalModel
from crossl.registry import AUGMENTATIONS
from crossl.settings import OneOf


class OneView(Steps):
    """One augmented view of each window, whose latents are compared across modalities.

    Attributes:
        augmentation: of the view.
    """

    augmentation: Augment

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Augment once."""
        return augment_views(
            self.augmentation, self.model.standardise(batch), views=1, seed=seed, first=first,
            whole=whole,
        )  # fmt: skip

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode the view: `latents` (B, M, K)."""
        return {"latents": self.model.encode(signals, present)}


class EncodersOnly(MethodConfig):
    """Settings of methods that train no aggregator.

    Attributes:
        augmentation: of each view.
    """

    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()

    def refuses(self, aggregator: AggregatorConfig) -> str | None:
        """Refuse an aggregator with weights: they would stay random."""
        return refuse_weights(aggregator)


def refuse_weights(aggregator: AggregatorConfig) -> str | None:
    """Say that a method which trains encoders only needs an aggregator without weights."""
    plain = isinstance(aggregator, ConcatConfig)
    return None if plain else "aggregator.kind 'concat', as it trains encoders only"


def pairs(modalities: int) -> list[tuple[int, int]]:
    """List the pairs of modalities, each once."""
    return [(m, n) for m in range(modalities) for n in range(m + 1, modalities)]


def refuse_one_modality(method: str, model: CrossModalModel) -> None:
    """Refuse a model of one modality, which has nothing to be compared with.

    Raises:
        ConfigError: names the method.
    """
    if len(model.modalities) < 2:
        raise ConfigError(
            f"method.kind '{method}': compares modalities, got 1; at least 2 are needed"
        )


def mean_of_pairs(terms: list[Tensor], counted: list[Tensor]) -> Tensor:
    """Average terms of pairs over those that at least two windows have."""
    weight = torch.stack([(count > 1).to(terms[0].dtype) for count in counted])
    return (torch.stack(terms) * weight).sum() / weight.sum().clamp(min=1)
