"""The default pretraining: CroSSL (arXiv 2307.16847) that also predicts what is hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.compare import compare_several
from crossl.methods.expanders import build_expander, expand
from crossl.methods.keep_rates import KeepRate, LaterRate
from crossl.methods.masks import Masks, Strategy
from crossl.methods.method import (
    Drawn,
    Encoded,
    MethodConfig,
    Present,
    Signals,
    Targets,
    TwoViews,
)
from crossl.methods.views import Augment
from crossl.nn.aggregators import AggregatorConfig, CompletingAggregator
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.objective import Objective
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import AUGMENTATIONS, OBJECTIVES, register
from crossl.settings import OneOf


class CrosslMethod(TwoViews):
    """The default: two augmented views, spatial masks that differ, and three terms.

    `global`: the objective (VICReg) on an expander over what the aggregator shares, of the two
    masked views. `modality`: the same on an expander over each modality's own latent, of the two
    augmented views; it keeps what only one sensor knows. `prediction`: the aggregator's prediction
    of each latent that a view has hidden against that latent, without gradient to it. The
    expanders (with batch normalisation) are dropped after pretraining.

    Args:
        model: with a `CompletingAggregator` that predicts.
        strategy: of masking, see `Masks`; the default hides whole modalities.
        keep_rate: probability to keep a modality in a view, or what else the strategy hides; by
            modality, those that are not named are always kept.
        final_keep_rate: the same at the end of training, reached along a line; None stays.
        differ: flip a modality where both views keep the same ones (`spatial`).
        augmentation: of each view.
        objective: of two views.
        modality_weight: factor of the mean over modalities of their objective.
        prediction_weight: factor of the mean squared error of predicted latents.
        expander_dim: width of the expanders.
    """

    def __init__(  # noqa: PLR0913 - what is hidden, and what is minimised
        self,
        model: CrossModalModel,
        *,
        strategy: Strategy = "spatial",
        keep_rate: float | Mapping[str, float] = 0.4,
        final_keep_rate: float | Mapping[str, float] | None = None,
        differ: bool = True,
        augmentation: Augment | None = None,
        objective: Objective | None = None,
        modality_weight: float = 0.5,
        prediction_weight: float = 12.5,
        expander_dim: int = 256,
    ) -> None:
        super().__init__()
        self.model = model
        self.masks = Masks(
            model, strategy=strategy, keep_rate=keep_rate, final_keep_rate=final_keep_rate,
            differ=differ,
        )  # fmt: skip
        self.augmentation = augmentation or Augmentation()
        self.objective = objective or VicregConfig()
        self.modality_weight = modality_weight
        self.prediction_weight = prediction_weight
        self.expander = build_expander(self._aggregator.shared_dim, expander_dim)
        self.modality_expanders = nn.ModuleList(
            build_expander(model.latent_dim, expander_dim) for _ in model.modalities
        )

    @property
    def _aggregator(self) -> CompletingAggregator:
        aggregator = self.model.aggregator
        assert isinstance(aggregator, CompletingAggregator)  # noqa: S101 - the builder's promise
        return aggregator

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode both views: `latents` (B, 2, M, K), and tokens where time is masked."""
        tokens = self.masks.tokens(self.model, signals, present.repeat(2, 1))
        by_view = {name: x.unflatten(0, (2, -1)).transpose(0, 1) for name, x in tokens.items()}
        return {**super().encode(signals, present), **by_view}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw what two views hide; by default two masks of whole modalities that differ."""
        return self.masks.draw(present, generator)

    def after_step(self, step: int, total: int) -> None:
        """Let the rates of masks move on."""
        self.masks.after_step(step, total)

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the weighted terms `global/...`, `modality/...` and `prediction`."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        by_view = encoded["latents"].transpose(0, 1)  # (2, B, M, K)
        seen = self.masks.see(by_view, encoded, present, drawn)
        shared = self._aggregator.shared(seen.latent.flatten(0, 1), seen.keep.flatten(0, 1))
        z = expand([self.expander], shared.unflatten(0, by_view.shape[:2])[:, :, None])
        terms = {f"global/{n}": t.sum() for n, t in compare_several(self.objective, z).items()}
        rows = _counting(present)
        z = expand(self.modality_expanders, by_view, rows)
        share = self.modality_weight / len(self.modality_expanders)
        single = compare_several(self.objective, z, rows)
        terms |= {f"modality/{n}": share * t.sum() for n, t in single.items()}
        predicted = self._aggregator.predict(shared).view_as(by_view)
        error = _hidden_error(predicted, by_view, seen.hidden)
        terms["prediction"] = self.prediction_weight * error
        return terms


def _counting(present: Present) -> Float[Tensor, "modality batch"] | None:
    """Return which rows count for each modality; None, where it costs nothing to see, if all do."""
    if present.device.type == "cpu" and bool(present.all()):
        return None
    return present.T.to(torch.float32)


def _hidden_error(predicted: Tensor, latent: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over what each view (B, M, K) has hidden, summed; targets are fixed.

    Args:
        predicted: of both views.
        latent: of both views.
        hidden: (2, B, M), which modalities or how much of each; or (2, B, M, K), which entries.
    """
    error = (at_least_float32(predicted) - at_least_float32(latent.detach())).square()
    error = error.mean(dim=3) if hidden.dim() == 3 else error.flatten(2)
    weight = hidden.to(error.dtype) if hidden.dim() == 3 else hidden.to(error.dtype).flatten(2)
    return ((error * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1)).sum()


class CrosslMethodConfig(MethodConfig):
    """The default pretraining.

    Attributes:
        strategy: what views hide: `spatial`, `random`, `column`, `temporal`, `temporal_each`.
        keep_rate: how often something is kept; by modality, those not named are always kept.
        final_keep_rate: the same at the end of training.
        differ: whether `spatial` views are made to differ.
        objective: of two views.
        modality_weight: factor of the objective on single modalities.
        prediction_weight: factor of the error of predictions.
        expander_dim: width of the expanders.
        augmentation: of each view.
    """

    came_later: ClassVar[tuple[str, ...]] = ("strategy", "final_keep_rate", "differ")

    kind: Literal["crossl"] = "crossl"
    strategy: Strategy = "spatial"
    keep_rate: KeepRate = 0.4
    final_keep_rate: LaterRate = None
    differ: bool = True
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = VicregConfig()
    modality_weight: float = Field(0.5, ge=0)
    prediction_weight: float = Field(12.5, ge=0)
    expander_dim: int = Field(256, gt=0)
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()

    def build(self, model: CrossModalModel) -> CrosslMethod:
        """Make the method around a model."""
        return CrosslMethod(
            model,
            strategy=self.strategy,
            keep_rate=self.keep_rate,
            final_keep_rate=self.final_keep_rate,
            differ=self.differ,
            augmentation=self.augmentation.build(),
            objective=self.objective,
            modality_weight=self.modality_weight,
            prediction_weight=self.prediction_weight,
            expander_dim=self.expander_dim,
        )

    def refuses(self, aggregator: AggregatorConfig) -> str | None:
        """Say which aggregator is needed: one that predicts what is hidden."""
        if aggregator.completes:
            return None
        could = "completed" in type(aggregator).model_fields
        return "aggregator.completed true" if could else "aggregator.kind 'predictive'"


register("method", CrosslMethodConfig)
