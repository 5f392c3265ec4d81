"""SimCLR: two augmented views of a window are found among those of others (arXiv 2002.05709)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.compare import compare
from crossl.methods.method import Drawn, Encoded, MethodConfig, Present, Targets, WholeViews
from crossl.methods.views import Augment
from crossl.nn.model import CrossModalModel
from crossl.objectives.nt_xent import NtXentConfig
from crossl.objectives.objective import Objective
from crossl.registry import AUGMENTATIONS, OBJECTIVES, register
from crossl.settings import OneOf


class SimclrMethod(WholeViews):
    """Contrast of augmented windows, all sensors of a window together.

    As SimCLR for human activity recognition (Tang et al. 2020, arXiv 2011.11542), on the project's
    encoders: what the projection reads is the aggregator's embedding of all present modalities.
    Deviations: two layers in the projection instead of three, no stochastic depth of
    augmentations, and the run's own optimiser. With `keep_rate` below 1 each view also loses
    sensors at random, so that it learns with sensors missing as `crossl` does; 1 is as published.

    Args:
        model: any encoder and aggregator.
        augmentation: of each view.
        objective: of the two projections.
        keep_rate: probability that a view keeps a modality; at least one is kept.
        hidden: width of the projection's first layer.
        dim: of what is compared.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        objective: Objective | None = None,
        keep_rate: float = 1.0,
        hidden: int = 256,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.model = model
        self.augmentation = augmentation or Augmentation()
        self.objective = objective or NtXentConfig()
        self.keep_rate = keep_rate
        self.projection = nn.Sequential(
            nn.Linear(model.embedding_dim, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms of the objective on the two projections."""
        del targets
        a, b = (self.projection(z) for z in self.embeddings(encoded, present, drawn))
        return dict(compare(self.objective, a, b))


class SimclrConfig(MethodConfig):
    """SimCLR's pretraining."""

    kind: Literal["simclr"] = "simclr"
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()
    objective: Annotated[Objective, OneOf(OBJECTIVES, "nt_xent")] = NtXentConfig()
    keep_rate: float = Field(1.0, gt=0, le=1)
    hidden: int = Field(256, gt=0)
    dim: int = Field(128, gt=0)

    def build(self, model: CrossModalModel) -> SimclrMethod:
        """Make the method around a model."""
        return SimclrMethod(
            model,
            augmentation=self.augmentation.build(),
            objective=self.objective,
            keep_rate=self.keep_rate,
            hidden=self.hidden,
            dim=self.dim,
        )


register("method", SimclrConfig)
