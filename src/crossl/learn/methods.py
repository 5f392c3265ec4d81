"""What pretraining minimises: a method holds a model and gives the terms of its loss.

Both methods here are CroSSL (arXiv 2307.16847): latents are masked twice, one aggregator joins
each view, VICReg makes the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossl.data.batch import Batch
from crossl.learn.augment import Augmentation
from crossl.learn.draws import augment_views
from crossl.learn.expanders import build_expander, expand
from crossl.learn.precision import at_least_float32
from crossl.nn.aggregators import PredictiveAggregator
from crossl.nn.encoders import TcnEncoder
from crossl.nn.masking import Strategy, draw_keep, draw_spatial_views
from crossl.nn.model import CrossModalModel
from crossl.objectives.vicreg import vicreg, vicreg_of_several

Signals = Mapping[str, Float[Tensor, "row time channel"]]
Present = Bool[Tensor, "batch modality"]
Views = Float[Tensor, "batch view modality dim"]
Keeps = Bool[Tensor, "view batch modality *dim"]


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

    def of_several(
        self, z: Float[Tensor, "view network width batch"], rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted terms of several networks, (N,) each, likewise."""
        with torch.autocast(z.device.type, enabled=False):
            a, b = at_least_float32(z)
            return vicreg_of_several(
                a, b, rows,
                invariance=self.invariance, variance=self.variance, covariance=self.covariance,
            )  # fmt: skip


class Method(Protocol):
    """What the trainer asks of a method, which is a torch module too.

    One step is four calls. `views` and `draw` are where chance comes in; `encode` and `compare`
    only compute, always the same for tensors of the same shapes. What a window's latent is made
    of is apart from what compares windows: between `encode` and `compare`, processes that share a
    batch gather its latents. A layer that draws, such as dropout, may be part of `encode`; a GPU
    then takes its steps launch by launch, without CUDA graphs.
    """

    model: CrossModalModel

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Return standardised windows of every view, one view after the other.

        Args:
            batch: windows, which may be some rows of a larger batch.
            seed: of what is drawn.
            first: place of the first of them in the whole batch.
            whole: rows of the whole batch; these are all if None.
        """

    def encode(self, signals: Signals, present: Present) -> Views:
        """Return the latents of each view, of each window for itself.

        Args:
            signals: from `views`.
            present: (B, M) of these windows.
        """

    def draw(self, present: Present, generator: torch.Generator) -> Keeps:
        """Draw what each of two masked views keeps, of a whole batch."""

    def compare(self, latents: Views, present: Present, keeps: Keeps) -> dict[str, Tensor]:
        """Return the terms of the loss of a whole batch; the loss is their sum."""

    def terms(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Take all four steps, on a whole batch."""


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


class _Steps(nn.Module):
    """What methods have in common."""

    def terms(self: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See `Method`."""
        latents = self.encode(self.views(batch, seed=_draw_seed(generator)), batch.present)
        keeps = self.draw(batch.present, generator)
        found: dict[str, Tensor] = self.compare(latents, batch.present, keeps)
        return found


class PaperMethod(_Steps):
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

    def views(
        self, batch: Batch, *, seed: int = 0, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Standardise; nothing is drawn."""
        del seed, first, whole
        return self.model.standardise(batch)

    def encode(self, signals: Signals, present: Present) -> Views:
        """Encode once: both masks are of one encoder pass."""
        return self.model.encode(signals, present)[:, None]

    def draw(self, present: Present, generator: torch.Generator) -> Keeps:
        """Draw two masks."""
        return torch.stack([self._draw(present, generator) for _ in range(2)])

    def compare(self, latents: Views, present: Present, keeps: Keeps) -> dict[str, Tensor]:
        """Return invariance, variance, covariance and kernel decay."""
        del present  # masks are within it
        a, b = (self.model.aggregator(latents[:, 0], keep) for keep in keeps)
        return {**self.weights(a, b), "kernel_decay": self.kernel_decay * self._squares(a)}

    def _draw(self, present: Tensor, generator: torch.Generator) -> Tensor:
        return draw_keep(
            present,
            self.model.latent_dim,
            strategy=self.strategy,
            keep_rate=self.keep_rate,
            generator=generator,
        )

    def _squares(self, like: Tensor) -> Tensor:
        encoders = [e for e in self.model.encoders.values() if isinstance(e, TcnEncoder)]
        squares = [kernel.square().sum() for e in encoders for kernel in e.kernels()]
        return torch.stack(squares).sum() if squares else like.new_zeros(())


class CrosslMethod(_Steps):
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
        self.expander = build_expander(self._aggregator.shared_dim, expander_dim)
        self.modality_expanders = nn.ModuleList(
            build_expander(model.latent_dim, expander_dim) for _ in model.modalities
        )

    @property
    def _aggregator(self) -> PredictiveAggregator:
        aggregator = self.model.aggregator
        assert isinstance(aggregator, PredictiveAggregator)  # noqa: S101 - the builder's promise
        return aggregator

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Augment twice."""
        return augment_views(
            self.augmentation, self.model.standardise(batch), views=2, seed=seed, first=first,
            whole=whole,
        )  # fmt: skip

    def encode(self, signals: Signals, present: Present) -> Views:
        """Encode both views in one pass."""
        latent = self.model.encode(signals, present.repeat(2, 1))
        return latent.view(2, *present.shape, -1).transpose(0, 1)

    def draw(self, present: Present, generator: torch.Generator) -> Keeps:
        """Draw two masks of whole modalities that differ."""
        keep_rate = self.keep_rate
        return torch.stack(draw_spatial_views(present, keep_rate=keep_rate, generator=generator))

    def compare(self, latents: Views, present: Present, keeps: Keeps) -> dict[str, Tensor]:
        """Return the weighted terms `global/...`, `modality/...` and `prediction`."""
        by_view = latents.transpose(0, 1)  # (2, B, M, K)
        latent, keep = by_view.flatten(0, 1), keeps.flatten(0, 1)[:, :, None]
        shared = self._aggregator.shared(latent, keep.expand_as(latent))
        z = expand([self.expander], shared.unflatten(0, keeps.shape[:2])[:, :, None])
        terms = {f"global/{n}": t.sum() for n, t in self.weights.of_several(z).items()}
        rows = _counting(present)
        z = expand(self.modality_expanders, by_view, rows)
        share = self.modality_weight / len(self.modality_expanders)
        terms |= {
            f"modality/{n}": share * t.sum() for n, t in self.weights.of_several(z, rows).items()
        }
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
