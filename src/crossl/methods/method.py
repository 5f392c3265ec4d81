"""What training asks of a method: a module that holds a model and gives the terms of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossl.data.batch import Batch
from crossl.methods.views import Augment, augment_views
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.encoders import EncoderConfig
from crossl.nn.masking import keep_some_twice
from crossl.nn.model import CrossModalModel
from crossl.settings import Settings

Signals = Mapping[str, Float[Tensor, "row time channel"]]
Present = Bool[Tensor, "batch modality"]
Encoded = Mapping[str, Tensor]
"""What encoding gave, by name: tensors whose first axis is the window."""
Drawn = Mapping[str, Tensor] | None
"""What chance decided for a step, by name, of any shapes; None where nothing is drawn."""
Targets = Tensor | None
"""(B, ...) of a whole batch, for methods that may see them."""


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

    def refuses_encoder(self, encoder: EncoderConfig, aggregator: AggregatorConfig) -> str | None:
        """Say what is needed instead of an encoder that the method cannot use.

        Args:
            encoder: of some modality.
            aggregator: of the model, which the method can use.

        Returns:
            Such as `encoder.kind 'patch_transformer'`; None if it can be used.
        """
        del encoder, aggregator
        return None


class Method(Protocol):
    """What training asks of a method, which is a torch module too.

    One step is four calls. `views` and `draw` are where chance comes in; `encode` and `compare`
    only compute, always the same for tensors of the same shapes. What a window is encoded to is
    apart from what compares windows: between `encode` and `compare`, processes that share a batch
    gather what was encoded. A layer that draws, such as dropout, may be part of `encode`; a GPU
    then takes its steps launch by launch, without CUDA graphs.

    Attributes:
        model: what pretraining is for.
        sees_targets: whether `compare` is given targets; else it gets None.
    """

    model: CrossModalModel
    sees_targets: ClassVar[bool]

    @property
    def kept(self) -> nn.Module:
        """What is worth keeping: the model, or it with what reads it; averages are taken of it."""

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

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode each window for itself: latents of each view, tokens, a teacher's answers.

        Args:
            signals: from `views`.
            present: (B, M) of these windows.

        Returns:
            Tensors by name, (B, ...) each.
        """

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw what chance decides of a whole batch, such as what each of two views keeps."""

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms of the loss of a whole batch; the loss is their sum.

        Args:
            encoded: from `encode`, of the whole batch.
            present: (B, M) of the whole batch.
            drawn: from `draw`.
            targets: of the whole batch, if the method sees them.
        """

    def after_step(self, step: int, total: int) -> None:
        """Change what is not trained by gradient, such as a teacher that follows the model.

        Args:
            step: how many steps were taken.
            total: of the whole training.
        """

    def terms(
        self, batch: Batch, generator: torch.Generator, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Take all four calls, on a whole batch."""


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


class Steps(nn.Module):
    """What methods have in common."""

    sees_targets: ClassVar[bool] = False
    model: CrossModalModel

    @property
    def kept(self) -> nn.Module:
        """The model: networks of the method's own are dropped after training."""
        return self.model

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw nothing: chance is in the views only."""
        del present, generator
        return None

    def after_step(self, step: int, total: int) -> None:
        """Leave everything as it is."""

    def terms(
        self: Any, batch: Batch, generator: torch.Generator, targets: Targets = None
    ) -> dict[str, Tensor]:
        """See `Method`."""
        encoded = self.encode(self.views(batch, seed=_draw_seed(generator)), batch.present)
        drawn = self.draw(batch.present, generator)
        found: dict[str, Tensor] = self.compare(encoded, batch.present, drawn, targets)
        return found


class AsRecorded(Steps):
    """What methods have in common that see windows as they are, once."""

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Standardise."""
        del seed, first, whole
        return self.model.standardise(batch)


class TwoViews(Steps):
    """What methods of two augmented views have in common.

    Attributes:
        augmentation: of each view.
    """

    augmentation: Augment

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Augment twice."""
        return augment_views(
            self.augmentation, self.model.standardise(batch), views=2, seed=seed, first=first,
            whole=whole,
        )  # fmt: skip

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode both views in one pass: `latents` (B, 2, M, K)."""
        latent = self.model.encode(signals, present.repeat(2, 1))
        return {"latents": latent.view(2, *present.shape, -1).transpose(0, 1)}


class WholeViews(TwoViews):
    """Two augmented views that are compared by their embeddings of all sensors together.

    Attributes:
        keep_rate: probability that a view keeps a modality; at least one is kept.
    """

    keep_rate: float

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw which modalities each view keeps, `keep` (2, B, M), if some may be hidden."""
        if self.keep_rate == 1:
            return None
        return {"keep": keep_some_twice(present, keep_rate=self.keep_rate, generator=generator)}

    def embeddings(self, encoded: Encoded, present: Present, drawn: Drawn) -> list[Tensor]:
        """Return the embedding of each view, (B, D)."""
        keeps = (present, present) if drawn is None else drawn["keep"]
        latents = encoded["latents"]
        return [self.model.aggregate(latents[:, view], keeps[view]) for view in range(2)]
