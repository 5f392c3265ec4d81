"""A method: two augmented views, each without some of its modalities, and an objective."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.method import Drawn, Encoded, MethodConfig, Targets, TwoViews
from crossl.nn.masking import draw_spatial_views
from crossl.nn.model import CrossModalModel
from crossl.objectives import Objective
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import AUGMENTATIONS, OBJECTIVES
from crossl.settings import OneOf


class PlainMethod(TwoViews):
    """Two augmented views, as `TwoViews` makes and encodes them; see `Method` for all calls."""

    def __init__(self, model: CrossModalModel, settings: "PlainConfig") -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self.augmentation = settings.augmentation.build()

    def draw(self, present: Tensor, generator: torch.Generator) -> Drawn:
        """Draw which modalities each view keeps, (2, B, M); only `compare` reads this."""
        rate = self.settings.keep_rate
        return {
            "keep": torch.stack(draw_spatial_views(present, keep_rate=rate, generator=generator))
        }

    def compare(
        self, encoded: Encoded, present: Tensor, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Compare the embeddings of the whole batch."""
        latents, keep = encoded["latents"], drawn["keep"]
        a, b = (self.model.aggregate(latents[:, view], keep[view]) for view in range(2))
        return self.settings.objective.compare(a, b)


class PlainConfig(MethodConfig):
    """Settings of `PlainMethod`; objective and augmentation may be any that is registered."""

    kind: Literal["plain"] = "plain"
    keep_rate: float = Field(0.5, gt=0, le=1)
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = VicregConfig()
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()

    def build(self, model: CrossModalModel) -> PlainMethod:
        """Make the method around a model."""
        return PlainMethod(model, self)
