"""What pretraining minimises: a method holds a model and gives the terms of its loss.

Both methods here are CroSSL (arXiv 2307.16847): latents are masked twice, one aggregator joins
each view, VICReg makes the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from crossl.data.batch import Batch
from crossl.learn.augment import Augmentation
from crossl.learn.draws import augment_rows
from crossl.learn.precision import at_least_float32
from crossl.nn.aggregators import PredictiveAggregator
from crossl.nn.encoders import TcnEncoder
from crossl.nn.masking import Strategy, draw_keep, draw_spatial_views
from crossl.nn.model import CrossModalModel, Latent
from crossl.objectives.vicreg import vicreg


@dataclass(frozen=True)
class VicregWeights:
    """Coefficients of VICReg."""

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0

    def __call__(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms, in float32 whatever the views were computed in."""
        with torch.autocast(a.device.type, enabled=False):
            return vicreg(
                at_least_float32(a), at_least_float32(b),
                invariance=self.invariance, variance=self.variance, covariance=self.covariance,
            )  # fmt: skip


class Method(Protocol):
    """What the trainer asks of a method, which is a torch module too.

    What a window's latent is made of (`encode`) is apart from what compares windows (`compare`):
    between the two, processes that share a batch gather its latents.
    """

    model: CrossModalModel

    def encode(self, batch: Batch, *, seed: int, first: int = 0) -> list[Latent]:
        """Return the latents of each view, (B, M, K), of each window for itself.

        Args:
            batch: windows, which may be some rows of a larger batch.
            seed: of what is drawn.
            first: place of the first of them in the whole batch.
        """

    def compare(
        self, latents: Sequence[Latent], present: Tensor, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the terms of the loss of a whole batch; the loss is their sum."""

    def terms(self, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Encode and compare a whole batch."""


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


class PaperMethod(nn.Module):
    """The published code: one encoder pass, two masks, VICReg on the aggregator's output.

    Dropout is off while pretraining, as in the authors' code (`src/model.py:120`), and 1e-4 times
    the squares of all convolution kernels is added to the loss.

    Args:
        model: with `TcnEncoder` and `MlpAggregator`.
        strategy: of masking.
        keep_rate: the authors' `coverage`.
        weights: of VICReg.
        kernel_decay: factor of the squared kernels.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        strategy: Strategy = "spatial",
        keep_rate: float = 0.9,
        weights: VicregWeights | None = None,
        kernel_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.model = model
        self.strategy = strategy
        self.keep_rate = keep_rate
        self.weights = weights or VicregWeights(10.0, 10.0, 100.0)
        self.kernel_decay = kernel_decay

    def train(self, mode: bool = True) -> PaperMethod:  # noqa: FBT001, FBT002 - as in the base class
        """Switch mode; the encoders stay in evaluation mode, without dropout."""
        super().train(mode)
        self.model.encoders.eval()
        return self

    def encode(self, batch: Batch, *, seed: int, first: int = 0) -> list[Latent]:  # noqa: ARG002
        """Encode once: both views are of one encoder pass, nothing is drawn."""
        return [self.model.latent(batch)]

    def compare(
        self, latents: Sequence[Latent], present: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return invariance, variance, covariance and kernel decay."""
        (latent,) = latents
        a, b = (
            self.model.aggregator(latent, self._draw(present, generator))
            for _ in range(2)
        )  # fmt: skip
        return {**self.weights(a, b), "kernel_decay": self.kernel_decay * self._squares()}

    def terms(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Encode and compare a whole batch."""
        return self.compare(self.encode(batch, seed=0), batch.present, generator)

    def _draw(self, present: Tensor, generator: torch.Generator) -> Tensor:
        return draw_keep(
            present,
            self.model.latent_dim,
            strategy=self.strategy,
            keep_rate=self.keep_rate,
            generator=generator,
        )

    def _squares(self) -> Tensor:
        encoders = [e for e in self.model.encoders.values() if isinstance(e, TcnEncoder)]
        squares = [kernel.square().sum() for e in encoders for kernel in e.kernels()]
        return torch.stack(squares).sum() if squares else torch.zeros(())


class CrosslMethod(nn.Module):
    """The default: two augmented views, spatial masks that differ, and three terms.

    `global`: VICReg on an expander over what the aggregator shares, of the two masked views.
    `modality`: VICReg on an expander over each modality's own latent, of the two augmented views;
    it keeps what only one sensor knows. `prediction`: the aggregator's prediction of each latent
    that a view has hidden against that latent, without gradient to it. The expanders (with batch
    normalisation) are dropped after pretraining.

    Args:
        model: with a `PredictiveAggregator`.
        keep_rate: probability to keep a modality in a view.
        augmentation: of each view.
        weights: of VICReg.
        modality_weight: factor of the mean over modalities of their VICReg.
        prediction_weight: factor of the mean squared error of predicted latents.
        expander_dim: width of the expanders.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        keep_rate: float = 0.4,
        augmentation: Augmentation | None = None,
        weights: VicregWeights | None = None,
        modality_weight: float = 0.5,
        prediction_weight: float = 12.5,
        expander_dim: int = 256,
    ) -> None:
        super().__init__()
        self.model = model
        self.keep_rate = keep_rate
        self.augmentation = augmentation or Augmentation()
        self.weights = weights or VicregWeights()
        self.modality_weight = modality_weight
        self.prediction_weight = prediction_weight
        self.expander = _expander(self._aggregator.shared_dim, expander_dim)
        self.modality_expanders = nn.ModuleList(
            _expander(model.latent_dim, expander_dim) for _ in model.modalities
        )

    @property
    def _aggregator(self) -> PredictiveAggregator:
        aggregator = self.model.aggregator
        assert isinstance(aggregator, PredictiveAggregator)  # noqa: S101 - the builder's promise
        return aggregator

    def encode(self, batch: Batch, *, seed: int, first: int = 0) -> list[Latent]:
        """Encode two augmented views."""
        signals = self.model.standardise(batch)
        return self._encode_views(batch, [
            augment_rows(self.augmentation, signals, seed=seed, view=view, first=first)
            for view in range(2)
        ])  # fmt: skip

    def terms(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Encode and compare a whole batch."""
        latents = self.encode(batch, seed=_draw_seed(generator))
        return self.compare(latents, batch.present, generator)

    def compare(
        self, latents: Sequence[Latent], present: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the weighted terms `global/...`, `modality/...` and `prediction`."""
        keeps = [
            k[:, :, None].expand_as(latents[0])
            for k in draw_spatial_views(present, keep_rate=self.keep_rate, generator=generator)
        ]
        shared = [
            self._aggregator.shared(latent, keep)
            for latent, keep in zip(latents, keeps, strict=True)
        ]
        a, b = (self.expander(z) for z in shared)
        terms = {f"global/{name}": term for name, term in self.weights(a, b).items()}
        terms |= self._modality_terms(latents, present)
        errors = [
            _hidden_error(self._aggregator.predict(z), latent, present[:, :, None] & ~keep)
            for z, latent, keep in zip(shared, latents, keeps, strict=True)
        ]
        terms["prediction"] = self.prediction_weight * (errors[0] + errors[1])
        return terms

    def _encode_views(self, batch: Batch, views: list[dict[str, Tensor]]) -> list[Tensor]:
        """Encode both views in one pass."""
        both = {name: torch.cat([views[0][name], views[1][name]]) for name in views[0]}
        latent = self.model.encode(both, batch.present.repeat(2, 1))
        return list(latent.chunk(2))

    def _modality_terms(self, latents: Sequence[Tensor], present: Tensor) -> dict[str, Tensor]:
        """Average VICReg over the modalities, each on the windows that have it."""
        total: dict[str, Tensor] = {}
        for i, expander in enumerate(self.modality_expanders):
            rows = present[:, i]
            if rows.sum() < 2:
                continue
            a, b = (expander(latent[rows, i]) for latent in latents)
            for name, term in self.weights(a, b).items():
                scaled = self.modality_weight / len(self.modality_expanders) * term
                total[f"modality/{name}"] = total.get(f"modality/{name}", 0.0) + scaled
        return total


def _expander(fan_in: int, width: int) -> nn.Sequential:
    # statistics of the batch in validation too: the objective stays the one that is trained
    norm = nn.BatchNorm1d(width, track_running_stats=False)
    return nn.Sequential(nn.Linear(fan_in, width), norm, nn.GELU(), nn.Linear(width, width))


def _hidden_error(predicted: Tensor, latent: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over hidden entries of (B, M, K); no gradient to the target."""
    error = (at_least_float32(predicted) - at_least_float32(latent.detach())).square()
    weight = hidden.expand_as(error).to(error.dtype)
    return (error * weight).sum() / weight.sum().clamp(min=1)
