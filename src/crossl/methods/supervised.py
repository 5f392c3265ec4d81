"""Learning from targets: a network and what reads it, trained with sensors missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from crossl.data.batch import Batch
from crossl.methods.keep_rates import rates_of
from crossl.methods.method import Drawn, Encoded, Present, Signals, Steps, Targets
from crossl.methods.views import Augment, augment_views
from crossl.nn.masking import keep_some
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.tasks import Coding


class SupervisedMethod(Steps):
    """A linear layer on an embedding, trained together with the network below it.

    Not among the methods of pretraining: it sees targets. What is dropped and hidden is drawn for
    the whole batch, so that several processes train as one does.

    Args:
        model: is trained, unless it is frozen.
        coding: compares outputs with targets.
        augmentation: of the signals; None leaves them.
        keep_rate: probability that a present modality is shown; at least one is. A mapping gives
            single modalities their own, and those that it does not name 1: so wav2sleep hides
            richer signals more often (Carter and Tarassenko 2024, arXiv 2411.04644). Deviation: of
            a window that lost all, one modality is drawn; they take it from an ordered list.
        label_smoothing: share of a target that is spread over all outputs.
        dropout: share of the features that is dropped before the last layer.
        head: what is read: the aggregator's output, or all encoders' side by side.
        hidden: width of a layer with ReLU between embedding and last layer; None has none.
        frozen: train what reads the model, not the model.
    """

    sees_targets: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - settings
        self,
        model: CrossModalModel,
        coding: Coding,
        *,
        augmentation: Augment | None = None,
        keep_rate: float | Mapping[str, float] = 1.0,
        label_smoothing: float = 0.0,
        dropout: float = 0.0,
        head: Literal["aggregator", "encoders"] = "aggregator",
        hidden: int | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(requires_grad=False) if frozen else model
        self.coding, self.augmentation = coding, augmentation
        names = [m.name for m in model.modalities]
        self.keep_rates = rates_of(keep_rate, names, key="finetuning.keep_rate")
        self.label_smoothing, self.dropout = label_smoothing, dropout
        self.head, self.frozen = head, frozen
        side_by_side = len(model.modalities) * model.latent_dim
        width = side_by_side if head == "encoders" else model.embedding_dim
        device = next(model.standardiser.buffers()).device
        self.below: nn.Module = nn.Identity()
        if hidden is not None:
            self.below = nn.Sequential(nn.Linear(width, hidden, device=device), nn.ReLU())
            width = hidden
        self.width = width
        self.classifier = nn.Linear(width, len(coding.numbers), device=device)

    @property
    def kept(self) -> nn.Module:
        """The network and what reads it."""
        return self

    def train(self, mode: bool = True) -> SupervisedMethod:  # noqa: FBT001, FBT002 - torch's own
        """Switch mode; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Standardise and augment, once."""
        signals = self.model.standardise(batch)
        if self.augmentation is None:
            return signals
        return augment_views(
            self.augmentation, signals, views=1, seed=seed, first=first, whole=whole
        )

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode: `latent` (B, M, K)."""
        return {"latent": self.model.encode(signals, present)}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw which modalities are shown, and which features are kept and by how much larger."""
        drawn: dict[str, Tensor] = {}
        if min(self.keep_rates) < 1:
            rates = torch.tensor(self.keep_rates, device=generator.device)
            drawn["shown"] = keep_some(present, keep_rate=rates, generator=generator)
        if self.dropout > 0:
            shape, device = (len(present), self.width), generator.device
            kept = torch.rand(shape, generator=generator, device=device) >= self.dropout
            drawn["factor"] = kept / (1 - self.dropout)
        return drawn or None

    def features(self, latent: Tensor, shown: Present) -> Tensor:
        """Return what the last layer reads, (B, width)."""
        if self.head == "encoders":
            embedding = torch.where(shown[:, :, None], latent, 0.0).flatten(1)
        else:
            embedding = self.model.aggregate(latent, shown)
        out: Tensor = self.below(embedding)
        return out

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return one term, `target`: how far outputs are from targets, on average."""
        assert targets is not None  # noqa: S101 - it sees them
        drawn = drawn or {}
        x = self.features(encoded["latent"], drawn.get("shown", present))
        out = self.classifier(x * drawn["factor"] if "factor" in drawn else x)
        with torch.autocast(out.device.type, enabled=False):
            smoothing = self.label_smoothing
            loss = self.coding.loss(at_least_float32(out), targets, smoothing=smoothing)
        return {"target": loss}
