"""The default pretraining: CroSSL (arXiv 2307.16847) that also predicts what is hidden."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.compare import compare_several
from crossl.methods.expanders import build_expander, expand
from crossl.methods.method import Drawn, Encoded, MethodConfig, Present, Targets, TwoViews
from crossl.methods.views import Augment
from crossl.nn.aggregators import AggregatorConfig, CompletingAggregator
from crossl.nn.masking import draw_spatial_views
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
        keep_rate: probability to keep a modality in a view.
        augmentation: of each view.
        objective: of two views.
        modality_weight: factor of the mean over modalities of their objective.
        prediction_weight: factor of the mean squared error of predicted latents.
        expander_dim: width of the expanders.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        keep_rate: float = 0.4,
        augmentation: Augment | None = None,
        objective: Objective | None = None,
        modality_weight: float = 0.5,
        prediction_weight: float = 12.5,
        expander_dim: int = 256,
    ) -> None:
        super().__init__()
        self.model = model
        self.keep_rate = keep_rate
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

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw two masks of whole modalities that differ: `keep` (2, B, M)."""
        two = draw_spatial_views(present, keep_rate=self.keep_rate, generator=generator)
        return {"keep": torch.stack(two)}

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the weighted terms `global/...`, `modality/...` and `prediction`."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        latents, keeps = encoded["latents"], drawn["keep"]
        by_view = latents.transpose(0, 1)  # (2, B, M, K)
        latent, keep = by_view.flatten(0, 1), keeps.flatten(0, 1)[:, :, None]
        shared = self._aggregator.shared(latent, keep.expand_as(latent))
        z = expand([self.expander], shared.unflatten(0, keeps.shape[:2])[:, :, None])
        terms = {f"global/{n}": t.sum() for n, t in compare_several(self.objective, z).items()}
        rows = _counting(present)
        z = expand(self.modality_expanders, by_view, rows)
        share = self.modality_weight / len(self.modality_expanders)
        single = compare_several(self.objective, z, rows)
        terms |= {f"modality/{n}": share * t.sum() for n, t in single.items()}
        hidden = present & ~keeps  # (2, B, M)
        predicted = self._aggregator.predict(shared).view_as(by_view)
        terms["prediction"] = self.prediction_weight * _hidden_error(predicted, by_view, hidden)
        return terms


def _counting(present: Present) -> Float[Tensor, "modality batch"] | None:
    """Return which rows count for each modality; None, where it costs nothing to see, if all do."""
    if present.device.type == "cpu" and bool(present.all()):
        return None
    return present.T.to(torch.float32)


def _hidden_error(predicted: Tensor, latent: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over hidden entries of each view (B, M, K), summed; targets are fixed."""
    error = (at_least_float32(predicted) - at_least_float32(latent.detach())).square().mean(dim=3)
    weight = hidden.to(error.dtype)
    return ((error * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1)).sum()


class CrosslMethodConfig(MethodConfig):
    """The default pretraining."""

    kind: Literal["crossl"] = "crossl"
    keep_rate: float = Field(0.4, gt=0, le=1)
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = VicregConfig()
    modality_weight: float = Field(0.5, ge=0)
    prediction_weight: float = Field(12.5, ge=0)
    expander_dim: int = Field(256, gt=0)
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()

    def build(self, model: CrossModalModel) -> CrosslMethod:
        """Make the method around a model."""
        return CrosslMethod(
            model,
            keep_rate=self.keep_rate,
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
