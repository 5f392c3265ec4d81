"""The published pretraining: CroSSL as the authors' code has it (arXiv 2307.16847)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from crossl.data.batch import Batch
from crossl.methods.compare import compare
from crossl.methods.method import (
    Drawn,
    Encoded,
    MethodConfig,
    Present,
    Signals,
    Steps,
    Targets,
)
from crossl.nn.encoders import TcnEncoder
from crossl.nn.masking import Strategy, draw_keep
from crossl.nn.model import CrossModalModel
from crossl.objectives.objective import Objective
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import OBJECTIVES, register
from crossl.settings import OneOf

PAPER_OBJECTIVE = VicregConfig(invariance=10, variance=10, covariance=100)
"""The coefficients that the authors' command line passes."""


class PaperMethod(Steps):
    """The published code: one encoder pass, two masks, VICReg on the aggregator's output.

    Dropout is off while pretraining, as in the authors' code (`src/model.py:120`), and 1e-4 times
    the squares of all convolution kernels is added to the loss.

    Args:
        model: with `TcnEncoder` and `MlpAggregator`.
        strategy: of masking.
        keep_rate: the authors' `coverage`.
        objective: of the two embeddings.
        kernel_decay: factor of the squared kernels.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        strategy: Strategy = "spatial",
        keep_rate: float = 0.9,
        objective: Objective | None = None,
        kernel_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.model = model
        self.strategy = strategy
        self.keep_rate = keep_rate
        self.objective = objective or PAPER_OBJECTIVE
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

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode once: both masks are of one encoder pass, `latent` (B, M, K)."""
        return {"latent": self.model.encode(signals, present)}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw two masks: `keep` (2, B, M, K)."""
        return {"keep": torch.stack([self._draw(present, generator) for _ in range(2)])}

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return invariance, variance, covariance and kernel decay."""
        del present, targets  # masks are within what is present
        assert drawn is not None  # noqa: S101 - from `draw`
        a, b = (self.model.aggregator(encoded["latent"], keep) for keep in drawn["keep"])
        return {
            **compare(self.objective, a, b),
            "kernel_decay": self.kernel_decay * self._squares(a),
        }

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
        kernels = [kernel for e in encoders for kernel in e.kernels()]
        squares = [kernel.square().sum() for kernel in kernels if kernel.requires_grad]
        return torch.stack(squares).sum() if squares else like.new_zeros(())


class PaperMethodConfig(MethodConfig):
    """The published code's pretraining."""

    kind: Literal["paper"] = "paper"
    strategy: Literal["random", "spatial", "column"] = "spatial"
    keep_rate: float = Field(0.9, gt=0, le=1)
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = PAPER_OBJECTIVE
    kernel_decay: float = Field(1e-4, ge=0)

    def build(self, model: CrossModalModel) -> PaperMethod:
        """Make the method around a model."""
        return PaperMethod(
            model,
            strategy=self.strategy,
            keep_rate=self.keep_rate,
            objective=self.objective,
            kernel_decay=self.kernel_decay,
        )


register("method", PaperMethodConfig)
