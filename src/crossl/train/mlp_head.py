"""The authors' classifier: a small network on frozen embeddings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from crossl.data.recording import Modality
from crossl.data.source import ArraySource
from crossl.evaluate.budgets import BUDGETS, STRICT, VALIDATION, Budget
from crossl.evaluate.latents import Array, Head, LatentTable
from crossl.methods.supervised import SupervisedMethod
from crossl.nn.model import CrossModalModel
from crossl.tasks import UNNAMED_CLASSES, Coding, Task
from crossl.train.finetune import decoded_layer, encoded_targets, known_rows
from crossl.train.loading import Rounds
from crossl.train.loop import train as run_loop
from crossl.train.target_score import TargetScore
from crossl.train.training import Moment, Training, Words

EVALUATIONS = 10


@dataclass(frozen=True)
class MlpHead:
    """The authors' classifier on frozen embeddings: a dense layer with ReLU, dropout, softmax.

    Attributes:
        head: which embedding it reads.
        hidden_weight: (H, D).
        hidden_bias: (H,).
        weight: (R, H).
        bias: (R,).
        classes: (R,) which classes, labels or numbers of the task the outputs stand for.
        step: after how many steps validation subjects liked it best.
        validation_score: the task's main metric on them, then.
        task: what is predicted for each window.
    """

    head: Head
    hidden_weight: Array
    hidden_bias: Array
    weight: Array
    bias: Array
    classes: NDArray[np.int64]
    step: int = 0
    validation_score: float = field(default=float("nan"), compare=False)
    task: Task = UNNAMED_CLASSES

    def affine(self) -> tuple[Array, Array]:
        """Return weight and bias of the first layer."""
        return self.hidden_weight, self.hidden_bias

    def decide(self, reading: Array) -> NDArray[Any]:
        """Return what the task makes of the second layer's outputs."""
        return self.task.decide(self.outputs(reading), self.classes)

    def outputs(self, reading: Array) -> Array:
        """Return the second layer's outputs, (..., H) -> (..., R)."""
        return np.asarray(np.maximum(reading, 0) @ self.weight.T + self.bias)

    def predict(self, embedding: Array) -> NDArray[Any]:
        """Return the most likely target of each embedding, such as its class."""
        return self.decide(embedding @ self.hidden_weight.T + self.hidden_bias)


@dataclass(frozen=True)
class ConstantAdam:
    """Adam at one rate, without clipping or an average, as the authors train their classifier."""

    lr: float
    gradient_norm: float | None = None
    average_decay: float = 0.0
    precision: str = "float32"
    checkpoint_s: float = float("inf")

    def build_optimizer(
        self, module: nn.Module, total_steps: int
    ) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
        """Make the optimiser."""
        del total_steps
        learned = [p for p in module.parameters() if p.requires_grad]
        return torch.optim.Adam(learned, lr=self.lr), None


def fit_mlp_by_budget(  # noqa: PLR0913 - what is trained, on what, how
    train: LatentTable,
    validation: LatentTable,
    *,
    head: Head = "encoders",
    hidden: int = 128,
    dropout: float = 0.1,
    keep_rate: float = 0.8,
    steps: int = 500,
    lr: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
    budgets: Sequence[Budget] = BUDGETS,
) -> dict[str, MlpHead]:
    """Train the authors' classifier on frozen embeddings, once for both label budgets.

    With `validation`, validation subjects pick the best moment; `strict` takes the last, and needs
    none of their labels.

    Source: `src/model_utils/classifier.py` of the authors' code. It is trained by the one loop, to
    which the latents are windows of one sample.

    Args:
        train: labelled windows of training subjects.
        validation: windows of validation subjects.
        head: what to read; theirs reads the encoders side by side.
        hidden: width of the first layer.
        dropout: behind it.
        keep_rate: probability that a modality is shown while training; 1 hides none.
        steps: optimiser steps.
        lr: of Adam.
        batch_size: windows a step.
        seed: of everything random.
        budgets: label budgets to return.

    Raises:
        SplitError: too little to learn from, such as fewer than 2 classes, or no labelled
            validation window to choose by.
    """
    task, label = train.task, np.concatenate([train.label, validation.label])
    rows, others = known_rows(
        task,
        label,
        np.arange(len(train)),
        np.arange(len(train), len(label)),
        budgets,
        where="MLP head",
    )
    model, source = _of_latents(train, validation)
    coding = task.coding(label[rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = SupervisedMethod(model, coding, keep_rate=keep_rate, dropout=dropout, head=head,
                                  hidden=hidden, frozen=True)  # fmt: skip
    plan = Rounds(rows, batch_size, steps=steps, evaluations=EVALUATIONS, seed=seed)
    training = Training(
        method, ConstantAdam(lr), plan, TargetScore(others, label, task, coding), source=source,
        seed=seed, out=None, targets=encoded_targets(label, rows, coding),
        words=Words("MLP head", "batch_size"),
    )  # fmt: skip
    run_loop(training, restore_best=True)
    found = {VALIDATION: _read_head(training, coding, head, task)} if VALIDATION in budgets else {}
    if training.last_weights is not None:
        training.load_weights(training.last_weights)
    training.moment = Moment(step=steps)
    return found | ({STRICT: _read_head(training, coding, head, task)} if STRICT in budgets else {})


def _read_head(training: Training, coding: Coding, head: Head, task: Task) -> MlpHead:
    """Copy what was trained, as it is now."""
    kept = cast(SupervisedMethod, training.finished())
    first = cast(nn.Linear, cast(nn.Sequential, kept.below)[0])
    hidden_weight, hidden_bias = (p.detach().numpy().copy() for p in (first.weight, first.bias))
    weight, bias = decoded_layer(kept.classifier, coding)
    best = training.moment
    score = float("nan") if best.best is None else best.best
    return MlpHead(head, hidden_weight, hidden_bias, weight, bias, coding.numbers, best.step,
                   score, task)  # fmt: skip


class _AsItIs(nn.Module):
    """The encoder of a window that is a latent already."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the one sample: (B, 1, K) -> (B, K)."""
        return x[:, 0]


def _of_latents(*tables: LatentTable) -> tuple[CrossModalModel, ArraySource]:
    """Return latents as windows of one sample, and the model that is left to run on them."""
    model, width = tables[0].model, tables[0].latent.shape[2]
    modalities = [
        Modality(one.name, tuple(str(i) for i in range(width)), "1", 1.0, one.device)
        for one in model.modalities
    ]
    latent = torch.cat([table.latent for table in tables]).numpy()
    present = torch.cat([table.present for table in tables]).numpy()
    windows = np.where(present[:, :, None], latent, np.nan)[:, :, None]  # (n, M, 1, K)
    signals = {one.name: windows[:, column] for column, one in enumerate(modalities)}
    left = CrossModalModel(
        modalities, window_s=1.0, encoder=lambda *_: _AsItIs(),
        aggregator=cast(nn.Module, copy.deepcopy(model.aggregator)), latent_dim=width,
    )  # fmt: skip
    return left.eval(), ArraySource(signals, modalities=modalities, window_s=1.0)
