"""The published pretraining: CroSSL as the authors' code has it (arXiv 2307.16847)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from crossl.data.batch import Batch
from crossl.methods.compare import compare
from crossl.methods.keep_rates import KeepRate, LaterRate
from crossl.methods.masks import Masks, Strategy
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
        strategy: of masking. Theirs are `spatial` and `random`; see `Masks` for the others.
        keep_rate: the authors' `coverage`; by modality, those that are not named are always kept.
        final_keep_rate: the same at the end of training; None, as published, stays.
        objective: of the two embeddings.
        kernel_decay: factor of the squared kernels.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        strategy: Strategy = "spatial",
        keep_rate: float | Mapping[str, float] = 0.9,
        final_keep_rate: float | Mapping[str, float] | None = None,
        objective: Objective | None = None,
        kernel_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.model = model
        self.masks = Masks(
            model, strategy=strategy, keep_rate=keep_rate, final_keep_rate=final_keep_rate,
            published=True,
        )  # fmt: skip
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
        tokens = self.masks.tokens(self.model, signals, present)
        both = {name: x[:, None] for name, x in tokens.items()}  # views have them in common
        return {"latent": self.model.encode(signals, present), **both}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw two masks: `keep` (2, B, M, K), or stretches of time."""
        return self.masks.draw(present, generator)

    def after_step(self, step: int, total: int) -> None:
        """Let the rates of masks move on."""
        self.masks.after_step(step, total)

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return invariance, variance, covariance and kernel decay."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        twice = encoded["latent"].expand(2, -1, -1, -1)
        seen = self.masks.see(twice, encoded, present, drawn)
        views = zip(seen.latent, seen.keep, strict=True)
        a, b = (self.model.aggregator(latent, keep) for latent, keep in views)
        return {
            **compare(self.objective, a, b),
            "kernel_decay": self.kernel_decay * self._squares(a),
        }

    def _squares(self, like: Tensor) -> Tensor:
        encoders = [e for e in self.model.encoders.values() if isinstance(e, TcnEncoder)]
        kernels = [kernel for e in encoders for kernel in e.kernels()]
        squares = [kernel.square().sum() for kernel in kernels if kernel.requires_grad]
        return torch.stack(squares).sum() if squares else like.new_zeros(())


class PaperMethodConfig(MethodConfig):
    """The published code's pretraining."""

    came_later: ClassVar[tuple[str, ...]] = ("final_keep_rate",)

    kind: Literal["paper"] = "paper"
    strategy: Strategy = "spatial"
    keep_rate: KeepRate = 0.9
    final_keep_rate: LaterRate = None
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = PAPER_OBJECTIVE
    kernel_decay: float = Field(1e-4, ge=0)

    def build(self, model: CrossModalModel) -> PaperMethod:
        """Make the method around a model."""
        return PaperMethod(
            model,
            strategy=self.strategy,
            keep_rate=self.keep_rate,
            final_keep_rate=self.final_keep_rate,
            objective=self.objective,
            kernel_decay=self.kernel_decay,
        )


register("method", PaperMethodConfig)
