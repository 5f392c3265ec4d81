"""FOCAL: what sensors share and what each has alone, in orthogonal halves (arXiv 2310.20071)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from crossl.methods.augment import Augmentation
from crossl.methods.method import Drawn, Encoded, Present, Targets, TwoViews
from crossl.methods.one_view import EncodersOnly, mean_of_pairs, pairs
from crossl.methods.views import Augment
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.pairs import symmetric_contrast
from crossl.registry import register


class FocalMethod(TwoViews):
    """Shared halves match across modalities, private halves across views, halves are orthogonal.

    Liu et al. 2023, "FOCAL: Contrastive Learning for Multimodal Time-Series Sensing Signals in
    Factorized Orthogonal Latent Space". Deviations: no ranking of windows in time, as batches are
    drawn from all windows and not from sequences; a pair of modalities that a window lacks is in no
    sum, and sums over pairs and modalities are means.

    Args:
        model: any encoder, and an aggregator without weights.
        augmentation: of each view.
        temperature: divides the cosine similarities.
        dim: of the projection that is split in two.
        orthogonality: weight of the penalty between halves and between private halves.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        temperature: float = 0.07,
        dim: int = 128,
        orthogonality: float = 3.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.augmentation = augmentation or Augmentation()
        self.temperature, self.orthogonality = temperature, orthogonality
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(model.latent_dim, dim), nn.ReLU(), nn.Linear(dim, dim))
            for _ in model.modalities
        )

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `shared`, `private` and `orthogonality`."""
        del drawn, targets
        latents = encoded["latents"]  # (B, 2, M, K)
        z = [at_least_float32(p(latents[:, :, m])) for m, p in enumerate(self.projections)]
        shared, private = zip(*(x.chunk(2, dim=2) for x in z), strict=True)  # M of (B, 2, dim / 2)
        matched, apart, counts = [], [], []
        for m, n in pairs(len(z)):
            both = present[:, m] & present[:, n]
            counts.append(both.sum())
            matched.append(self._two_views(shared[m], shared[n], both))
            apart.append(_overlap(private[m], private[n], both))
        own = [self._match(x[:, 0], x[:, 1], present[:, m]) for m, x in enumerate(private)]
        both_halves = enumerate(zip(shared, private, strict=True))
        halves = [_overlap(s, p, present[:, m]) for m, (s, p) in both_halves]
        alone = [present[:, m].sum() for m in range(len(z))]
        overlap = mean_of_pairs(halves, alone) + (mean_of_pairs(apart, counts) if counts else 0.0)
        terms = {
            "private": mean_of_pairs(own, alone),
            "orthogonality": self.orthogonality * overlap,
        }
        return terms | ({"shared": mean_of_pairs(matched, counts)} if counts else {})

    def _match(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        return symmetric_contrast(a, b, there, temperature=self.temperature)

    def _two_views(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        return (self._match(a[:, 0], b[:, 0], there) + self._match(a[:, 1], b[:, 1], there)) / 2


def _overlap(a: Tensor, b: Tensor, there: Tensor) -> Tensor:
    """Average the positive part of the cosine between rows that are there, over both views."""
    cosine = cosine_similarity(a, b, dim=2).clamp(min=0)  # (B, 2)
    return (cosine * there[:, None]).sum() / (2 * there.sum().clamp(min=1))


class FocalConfig(EncodersOnly):
    """FOCAL's pretraining."""

    kind: Literal["focal"] = "focal"
    temperature: float = Field(0.07, gt=0)
    dim: int = Field(128, gt=0, multiple_of=2)
    orthogonality: float = Field(3.0, ge=0)

    def build(self, model: CrossModalModel) -> FocalMethod:
        """Make the method around a model."""
        return FocalMethod(
            model,
            augmentation=self.augmentation.build(),
            temperature=self.temperature,
            dim=self.dim,
            orthogonality=self.orthogonality,
        )


register("method", FocalConfig)
