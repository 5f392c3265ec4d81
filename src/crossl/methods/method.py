"""What the trainer asks of a method: a module that holds a model and gives the terms of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossl.data.batch import Batch
from crossl.methods.views import Augment, augment_views
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.model import CrossModalModel
from crossl.settings import Settings

Signals = Mapping[str, Float[Tensor, "row time channel"]]
Present = Bool[Tensor, "batch modality"]
Views = Float[Tensor, "batch view modality dim"]
Keeps = Bool[Tensor, "view batch modality *dim"]


class MethodConfig(Settings):
    """Settings of a method; a subclass has a `kind`, its settings and `build`."""

    def build(self, model: CrossModalModel) -> Method:
        """Make the method around a model; networks of its own get random weights."""
        raise NotImplementedError

    def refuses(self, aggregator: AggregatorConfig) -> str | None:
        """Say what is needed instead of an aggregator that the method cannot use.

        Args:
            aggregator: of the model.

        Returns:
            Such as `aggregator.kind 'predictive'`; None if it can be used.
        """
        del aggregator
        return None


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


class Steps(nn.Module):
    """What methods have in common."""

    def terms(self: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See `Method`."""
        latents = self.encode(self.views(batch, seed=_draw_seed(generator)), batch.present)
        keeps = self.draw(batch.present, generator)
        found: dict[str, Tensor] = self.compare(latents, batch.present, keeps)
        return found


class TwoViews(Steps):
    """What methods of two augmented views have in common.

    Attributes:
        model: encodes each view.
        augmentation: of each view.
    """

    model: CrossModalModel
    augmentation: Augment

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
