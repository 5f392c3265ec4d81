"""COCOA: sensors of a window agree, windows of a sensor differ (arXiv 2208.00467)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from crossl.methods.augment import Augmentation
from crossl.methods.method import Drawn, Encoded, Present, Targets
from crossl.methods.one_view import EncodersOnly, OneView, refuse_one_modality
from crossl.methods.views import Augment
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.cocoa import cocoa
from crossl.registry import register


class CocoaMethod(OneView):
    """The paper's loss on the latents themselves, without a projection.

    Deldari et al. 2022. Deviations: windows are augmented like those of the other methods; both
    sums are divided by the number of windows, so that the batch size does not change the rate of
    learning; a modality that a window lacks is in no sum.

    Args:
        model: any encoder, and an aggregator without weights.
        augmentation: of the window.
        temperature: divides similarities and dissimilarities.
        positive: weight of the dissimilarity between modalities.
        negative: weight of the similarity between windows.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        temperature: float = 0.1,
        positive: float = 1 / 32,
        negative: float = 3.9e-3,
    ) -> None:
        super().__init__()
        self.model = model
        self.augmentation = augmentation or Augmentation()
        self.temperature, self.positive, self.negative = temperature, positive, negative

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `positive` and `negative`."""
        del drawn, targets
        z = normalize(at_least_float32(encoded["latents"]), dim=2).transpose(0, 1)  # (M, B, K)
        terms = cocoa(
            z, present.T,
            temperature=self.temperature, positive=self.positive, negative=self.negative,
        )  # fmt: skip
        return {name: term / len(present) for name, term in terms.items()}


class CocoaConfig(EncodersOnly):
    """COCOA's pretraining."""

    kind: Literal["cocoa"] = "cocoa"
    temperature: float = Field(0.1, gt=0)
    positive: float = Field(1 / 32, ge=0)
    negative: float = Field(3.9e-3, ge=0)

    def build(self, model: CrossModalModel) -> CocoaMethod:
        """Make the method around a model of two or more modalities."""
        refuse_one_modality(self.kind, model)
        return CocoaMethod(
            model,
            augmentation=self.augmentation.build(),
            temperature=self.temperature,
            positive=self.positive,
            negative=self.negative,
        )


register("method", CocoaConfig)
