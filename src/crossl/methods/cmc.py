"""Contrastive multiview coding: modalities of a window find each other (arXiv 1906.05849)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation
from crossl.methods.method import Drawn, Encoded, Present, Targets
from crossl.methods.one_view import EncodersOnly, OneView, mean_of_pairs, pairs, refuse_one_modality
from crossl.methods.views import Augment
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.pairs import symmetric_contrast
from crossl.registry import register


class CmcMethod(OneView):
    """Symmetric InfoNCE between every two modalities, each through a linear projection.

    Tian et al. 2020, "Contrastive Multiview Coding", the full graph of pairs. Deviations: negatives
    are the other windows of the batch, not a memory bank; a pair that a window lacks is left out of
    its sum, and pairs are averaged, so that their number does not change the rate of learning.

    Args:
        model: any encoder, and an aggregator without weights.
        augmentation: of the window.
        temperature: divides the cosine similarities.
        dim: of the projections.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        temperature: float = 0.07,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.model = model
        self.augmentation = augmentation or Augmentation()
        self.temperature = temperature
        self.projections = nn.ModuleList(nn.Linear(model.latent_dim, dim) for _ in model.modalities)

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the term `contrast`, the mean over pairs of modalities."""
        del drawn, targets
        latents = encoded["latents"]
        z = [at_least_float32(p(latents[:, m])) for m, p in enumerate(self.projections)]
        found, counts = [], []
        for m, n in pairs(len(z)):
            both = present[:, m] & present[:, n]
            found.append(symmetric_contrast(z[m], z[n], both, temperature=self.temperature))
            counts.append(both.sum())
        return {"contrast": mean_of_pairs(found, counts)}


class CmcConfig(EncodersOnly):
    """CMC's pretraining."""

    kind: Literal["cmc"] = "cmc"
    temperature: float = Field(0.07, gt=0)
    dim: int = Field(128, gt=0)

    def build(self, model: CrossModalModel) -> CmcMethod:
        """Make the method around a model of two or more modalities."""
        refuse_one_modality(self.kind, model)
        return CmcMethod(
            model,
            augmentation=self.augmentation.build(),
            temperature=self.temperature,
            dim=self.dim,
        )


register("method", CmcConfig)
