"""The published pretraining: CroSSL as the authors' code has it (arXiv 2307.16847)."""

from __future__ import annotations

import torch
from torch import Tensor

from crossl.data.batch import Batch
from crossl.methods.method import Keeps, Present, Signals, Steps, Views
from crossl.methods.weights import VicregWeights
from crossl.nn.encoders import TcnEncoder
from crossl.nn.masking import Strategy, draw_keep
from crossl.nn.model import CrossModalModel


class PaperMethod(Steps):
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
