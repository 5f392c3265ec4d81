"""How long and how fast pretraining learns."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from crossl.data.damaged import TrainingDamage
from crossl.settings import Settings
from crossl.train.adam import AdamW, KerasAdam


class Schedule(Settings):
    """How long and how fast to learn.

    Attributes:
        steps: optimiser steps, rounded up to whole epochs, if `epochs` is None.
        epochs: passes over the training windows; overrides `steps`.
        batch_size: windows a step; the last incomplete batch of an epoch is dropped.
        optimizer: `adamw` with warm-up and cosine decay, or `keras_adam` at a constant rate.
        lr: (peak) learning rate.
        weight_decay: of matrices, decoupled; `adamw` only.
        warmup_share: share of the steps in which the rate rises; `adamw` only.
        gradient_norm: gradients are clipped to this norm; None leaves them.
        average_decay: the model kept is an exponential moving average of the weights with this
            decay; 0 keeps the last weights.
        patience: stop after this many epochs without a better validation objective; None never
            does. The published code counts so; on a small set an epoch is few steps.
        patience_share: the same as a share of the schedule, whatever the size of the set; None
            never stops. The objective may be best early and probes improve on: neither is on by
            default, and with a decaying learning rate the end of the schedule matters.
        restore_best: keep the weights of the epoch with the best validation objective instead of
            the last.
        precision: `bfloat16` computes networks (not losses) in that type where it is safe.
        checkpoint_s: seconds after which a checkpoint is written within an epoch; there is one
            after each epoch anyway.
        damage: how windows are damaged while they are learned from; None leaves them.
    """

    came_later: ClassVar[tuple[str, ...]] = ("damage",)

    steps: int = Field(400, gt=0)
    epochs: int | None = Field(None, gt=0)
    batch_size: int = Field(256, ge=2)
    optimizer: Literal["adamw", "keras_adam"] = "adamw"
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup_share: float = Field(0.1, ge=0, le=1)
    gradient_norm: float | None = Field(5.0, gt=0)
    average_decay: float = Field(0.99, ge=0, lt=1)
    patience: int | None = Field(None, gt=0)
    patience_share: float | None = Field(None, gt=0, le=1)
    restore_best: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_s: float = Field(60.0, ge=0)
    damage: TrainingDamage | None = None

    def patience_epochs(self, epochs: int) -> int | None:
        """Return after how many epochs without a better objective to stop, None for never.

        Args:
            epochs: of the whole schedule.

        Examples:
            >>> Schedule(patience_share=0.25).patience_epochs(200)
            50
        """
        if self.patience_share is None:
            return self.patience
        # 1e-9: a share of 0.1 of 50 epochs are 5, not 6
        return max(1, math.ceil(self.patience_share * epochs - 1e-9))

    def build_optimizer(
        self, module: nn.Module, total_steps: int
    ) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
        """See `build_optimizer` of this module."""
        return build_optimizer(self, module, total_steps)


def build_optimizer(
    schedule: Schedule, module: nn.Module, total_steps: int
) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
    """Make the optimiser of a module's parameters, and what changes its rate each step.

    Args:
        schedule: names the optimiser.
        module: is trained, but for parameters that want no gradient.
        total_steps: over which the rate decays.
    """
    s, parameters = schedule, [p for p in module.parameters() if p.requires_grad]
    if s.optimizer == "keras_adam":
        return KerasAdam(parameters, lr=s.lr), None
    optimizer = grouped_adamw(module, lr=s.lr, weight_decay=s.weight_decay)
    warmup = max(1.0, s.warmup_share * total_steps)

    def rate(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / total_steps)))
        return min(1.0, (step + 1) / warmup) * cosine + 1e-3

    return optimizer, LambdaLR(optimizer, rate)


def grouped_adamw(module: nn.Module, *, lr: float, weight_decay: float) -> AdamW:
    """Make AdamW that decays matrices and nothing else.

    Args:
        module: is trained, but for parameters that want no gradient.
        lr: learning rate.
        weight_decay: decoupled.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay},
              {"params": rest, "weight_decay": 0.0}]  # fmt: skip
    # one kernel instead of a dozen, where torch has it
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return AdamW(groups, lr=lr, fused=fused)
