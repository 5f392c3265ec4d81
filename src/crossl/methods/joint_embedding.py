"""Two augmented views of all sensors together, no latent masks: VICReg and Barlow Twins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.compare import compare
from crossl.methods.method import Drawn, Encoded, MethodConfig, Present, Targets, WholeViews
from crossl.methods.views import Augment
from crossl.nn.model import CrossModalModel
from crossl.objectives.objective import Objective
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import AUGMENTATIONS, OBJECTIVES, register
from crossl.settings import OneOf


class JointEmbeddingMethod(WholeViews):
    """An objective on an expander over the embedding of all present modalities, of two views.

    VICReg: Bardes et al. 2022 (arXiv 2105.04906); Barlow Twins: Zbontar et al. 2021 (arXiv
    2103.03230). Deviations: expanders of 512 instead of 8192, for embeddings a tenth as wide, and
    the run's own optimiser. With `keep_rate` below 1 each view also loses sensors at random.

    Args:
        model: any encoder and aggregator.
        augmentation: of each view.
        objective: of the two expanded views.
        keep_rate: probability that a view keeps a modality; at least one is kept.
        expander_dim: width of the three layers of the expander.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        objective: Objective | None = None,
        keep_rate: float = 1.0,
        expander_dim: int = 512,
    ) -> None:
        super().__init__()
        self.model, self.keep_rate = model, keep_rate
        self.objective = objective or VicregConfig()
        self.augmentation = augmentation or Augmentation()
        self.expander = nn.Sequential(
            *_layer(model.embedding_dim, expander_dim),
            *_layer(expander_dim, expander_dim),
            nn.Linear(expander_dim, expander_dim, bias=False),
        )

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms of the objective."""
        del targets
        a, b = (self.expander(z) for z in self.embeddings(encoded, present, drawn))
        return dict(compare(self.objective, a, b))


def _layer(fan_in: int, width: int) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm1d(width, track_running_stats=False)
    return nn.Linear(fan_in, width, bias=False), norm, nn.ReLU()


class JointEmbeddingConfig(MethodConfig):
    """VICReg without latent masks; with another objective Barlow Twins, or any other."""

    kind: Literal["joint_embedding"] = "joint_embedding"
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = VicregConfig()
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()
    keep_rate: float = Field(1.0, gt=0, le=1)
    expander_dim: int = Field(512, gt=0)

    def build(self, model: CrossModalModel) -> JointEmbeddingMethod:
        """Make the method around a model."""
        return JointEmbeddingMethod(
            model,
            augmentation=self.augmentation.build(),
            objective=self.objective,
            keep_rate=self.keep_rate,
            expander_dim=self.expander_dim,
        )


register("method", JointEmbeddingConfig)
