"""Fine-tuning, and the supervised twin: the same from random weights."""

from __future__ import annotations

import copy
import hashlib
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from crossl.data.damaged import TrainingDamage
from crossl.data.source import WindowSource
from crossl.errors import SplitError
from crossl.evaluate.budgets import BUDGETS, STRICT, VALIDATION, Budget
from crossl.evaluate.latents import Array, Head
from crossl.evaluate.probe import Probe
from crossl.files import json_sha256
from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.keep_rates import KeepRate
from crossl.methods.supervised import SupervisedMethod
from crossl.nn.model import CrossModalModel
from crossl.registry import AUGMENTATIONS
from crossl.settings import OneOf, Settings
from crossl.tasks import UNNAMED_CLASSES, Coding, Task
from crossl.train.checkpoints import (
    Progress,
    last_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from crossl.train.loading import Rounds, Rows, TargetArray
from crossl.train.loop import train as run_loop
from crossl.train.processes import Processes
from crossl.train.schedule import grouped_adamw
from crossl.train.target_score import TargetScore
from crossl.train.training import Moment, Training, Words

WORDS = Words("fine-tuning", "finetuning.batch_size")


class FineTuning(Settings):
    """How a classifier and the network below it are trained.

    Attributes:
        steps: optimiser steps.
        batch_size: labelled windows a step.
        pretrained_lr: peak learning rate where a probe on a pretrained model is the start.
        lr: peak learning rate, after a warm-up of a tenth of the steps, before a cosine decay.
        weight_decay: of matrices, decoupled.
        label_smoothing: share of the target spread over all classes.
        keep_rate: probability that a present modality is shown; at least one is. By modality, such
            as `{ecg: 0.5, ppg: 0.9}`, those that are not named are always shown.
        augmentation: of the signals.
        average_decay: of the moving average of weights, which is what is kept.
        dropout: before the classifier.
        evaluations: how often validation subjects are asked; the best answer is kept.
        gradient_norm: gradients are clipped to this norm.
        precision: `bfloat16` computes networks (not losses) in that type where it is safe.
        damage: how windows are damaged while they are learned from; None leaves them.
    """

    came_later: ClassVar[tuple[str, ...]] = ("damage",)

    steps: int = Field(400, gt=0)
    batch_size: int = Field(64, gt=0)
    lr: float = Field(1e-3, gt=0)
    pretrained_lr: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    keep_rate: KeepRate = 0.9
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation(
        jitter=0.1, scale=0.15, crop=0.8, time_mask=0.15
    )
    average_decay: float = Field(0.995, ge=0, lt=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    evaluations: int = Field(5, gt=0)
    gradient_norm: float = Field(1.0, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    damage: TrainingDamage | None = None

    checkpoint_s: ClassVar[float] = 60.0

    def build_optimizer(
        self, module: nn.Module, total_steps: int
    ) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
        """Make the optimiser; evaluations may leave out the last of `steps`, not of the decay."""
        del total_steps
        steps, warmup = self.steps, max(1, self.steps // 10)

        def rate(step: int) -> float:
            return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))

        optimizer = grouped_adamw(module, lr=self.lr, weight_decay=self.weight_decay)
        return optimizer, LambdaLR(optimizer, rate)


@dataclass(frozen=True)
class LinearHead:
    """A linear map that was trained together with the network below it.

    Attributes:
        head: which embedding it reads.
        weight: (R, D).
        bias: (R,).
        classes: (R,) which classes, labels or numbers of the task the outputs stand for.
        step: after how many steps validation subjects liked it best; 0 is the start.
        validation_score: the task's main metric on them, then.
        task: what is predicted for each window.
    """

    head: Head
    weight: Array
    bias: Array
    classes: NDArray[np.int64]
    step: int = 0
    validation_score: float = field(default=float("nan"), compare=False)
    task: Task = UNNAMED_CLASSES

    def affine(self) -> tuple[Array, Array]:
        """Return weight and bias."""
        return self.weight, self.bias

    def decide(self, reading: Array) -> NDArray[Any]:
        """Return what the task makes of outputs, such as the class of the largest."""
        return self.task.decide(reading, self.classes)

    def predict(self, embedding: Array) -> NDArray[Any]:
        """Return the most likely target of each embedding, such as its class."""
        return self.decide(embedding @ self.weight.T + self.bias)


def fine_tune_by_budget(  # noqa: PLR0913 - what is trained, on what, how, where
    model: CrossModalModel,
    source: WindowSource,
    label: NDArray[Any],
    *,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: FineTuning,
    seed: int,
    probe: Probe | None = None,
    task: Task = UNNAMED_CLASSES,
    budgets: Sequence[Budget] = BUDGETS,
    out: Path | None = None,
    progress: Progress | None = None,
    processes: Processes | None = None,
) -> dict[str, tuple[CrossModalModel, LinearHead]]:
    """Train a copy of a model with a linear head on the aggregator's output.

    Of one training two moments are returned: with the budget `validation` the one that validation
    subjects like best, with `strict`, which uses none of their labels, the last. With `strict`
    alone they are not asked, and need no labels.

    A model with random weights makes the supervised twin. A pretrained one starts from a probe
    fitted on it (linear probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054), with
    `settings.pretrained_lr`; validation subjects may prefer the probe as it was. `keep_rate` below
    1 trains it with sensors missing.

    Args:
        model: where to start; not changed. Its standardisation must be fitted. Untrained features
            beside its embedding are left out.
        source: windows.
        label: (W, ...) targets of the source, such as a class each.
        train: rows to learn from; those without a target are left out.
        validation: rows of other subjects that choose the best moment; likewise.
        settings: how.
        seed: of batches, augmentations, dropout and the head.
        probe: on the aggregator's output of `model`, from the same labels.
        task: what is predicted for each window; it is read alone, without neighbours.
        budgets: label budgets to return.
        out: folder for checkpoints, in a folder named after what is learned from what and how: that
            is resumed where it was interrupted, and nothing else. None keeps none.
        progress: called after each evaluation.
        processes: that train together, of which this is one; all call this alike.

    Returns:
        For each budget, the trained copy, in evaluation mode, and its head.

    Raises:
        SplitError: too little to learn from, such as fewer than 2 classes, or no labelled
            validation window to choose by.
        TrainingError: the loss or a gradient is not finite, or a step does not fit into memory.
        KeyboardInterrupt: SIGINT came; what was done is kept, if there is a folder.
        SystemExit: SIGTERM came; likewise.
    """
    train, validation = known_rows(task, label, train, validation, budgets, where=WORDS.what)
    coding, model = task.coding(label[train]), model.with_features(None)
    if out is not None:
        facts = {"task": task.as_dict(), "seed": seed, "settings": settings.model_dump(mode="json"),
                 "probe": probe is not None}  # fmt: skip
        arrays = [train, validation, label[train], label[validation],
                  *(p.detach().cpu().numpy() for p in model.parameters())]  # fmt: skip
        out = out / _fingerprint(facts, arrays)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = SupervisedMethod(
            copy.deepcopy(model), coding, augmentation=settings.augmentation.build(),
            keep_rate=settings.keep_rate, label_smoothing=settings.label_smoothing,
            dropout=settings.dropout,
        )  # fmt: skip
    if probe is not None:
        start_from(method.classifier, probe, coding)
        settings = settings.model_copy(update={"lr": settings.pretrained_lr})
    plan = Rounds(train, settings.batch_size, steps=settings.steps,
                  evaluations=settings.evaluations, seed=seed)  # fmt: skip
    training = Training(
        method, settings, plan, TargetScore(validation, label, task, coding), source=source,
        seed=seed, out=out, targets=encoded_targets(label, train, coding), words=WORDS,
        damage=settings.damage,
    )  # fmt: skip
    best = _trained(training, progress, processes)
    return _by_budget(training, best, coding, task, budgets)


def _by_budget(
    training: Training, best: Moment, coding: Coding, task: Task, budgets: Sequence[Budget]
) -> dict[str, tuple[CrossModalModel, LinearHead]]:
    """Return what was trained: at the best moment, whose weights it has, and at the last step."""
    found = {}
    for budget, moment in ((VALIDATION, best), (STRICT, Moment(step=training.total_steps))):
        if budget not in budgets:
            continue
        if budget == STRICT and training.last_weights is not None:
            training.load_weights(training.last_weights)
        kept = copy.deepcopy(cast(SupervisedMethod, training.finished()))
        weight, bias = decoded_layer(kept.classifier, coding)
        score = float("nan") if moment.best is None else moment.best
        head = LinearHead("aggregator", weight, bias, coding.numbers, moment.step, score, task)
        found[budget] = kept.model.eval(), head
    return found


def _fingerprint(facts: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> str:
    """Return the same text for the same training only."""
    found = hashlib.sha256(json_sha256(facts).encode())
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _trained(training: Training, progress: Progress | None, processes: Processes | None) -> Moment:
    """Train, or take what was trained already; of that the weights alone are left on disk.

    It ends with the best moment's weights, and with those of the last step in `last_weights`.
    """
    done = None if training.out is None else training.out / "trained.ckpt"
    held = load_checkpoint(done) if done is not None and done.is_file() else {}
    if "last" in held:  # earlier versions kept the best moment alone
        training.load_weights(held["state_dict"])
        training.last_weights, training.moment = held["last"], Moment(**held["moment"])
        return training.moment
    run_loop(training, resume=True, progress=progress, processes=processes, restore_best=True)
    if done is not None and (processes or Processes()).writes:
        state = {"state_dict": training.weights(), "moment": vars(training.moment)}
        save_checkpoint(state | {"last": training.last_weights or state["state_dict"]}, done)
        shutil.rmtree(last_checkpoint(done.parent).parent, ignore_errors=True)
    return training.moment


def known_rows(
    task: Task,
    label: TargetArray,
    train: Rows,
    validation: Rows,
    budgets: Sequence[Budget],
    *,
    where: str,
) -> tuple[Rows, Rows]:
    """Leave out windows of which nothing is known, and validation subjects that choose nothing.

    Raises:
        SplitError: too little is left.
    """
    train, validation = (rows[task.known(label[rows])] for rows in (train, validation))
    task.refuse_too_little(label[train], where=where)
    if VALIDATION not in budgets:
        return train, validation[:0]
    if not len(validation):
        raise SplitError(
            f"{where}: validation subjects have no labelled window; they choose the best moment"
        )
    return train, validation


def encoded_targets(label: TargetArray, train: Rows, coding: Coding) -> TargetArray:
    """Return what the loss is given of each training window, in the rows of the source."""
    encoded = coding.encode(label[train])
    targets = np.zeros((len(label), *encoded.shape[1:]), encoded.dtype)
    targets[train] = encoded
    return targets


def decoded_layer(layer: nn.Linear, coding: Coding) -> tuple[Array, Array]:
    """Return weight and bias of a layer whose outputs `Task.decide` takes."""
    held = (p.detach().cpu().numpy().copy() for p in (layer.weight, layer.bias))
    return coding.decoded(*held)


def start_from(layer: nn.Linear, probe: Probe, coding: Coding) -> None:
    """Copy a probe into the last layer, its standardisation folded in.

    Raises:
        SplitError: it reads another embedding, or knows other classes.
    """
    if probe.head != "aggregator" or not np.array_equal(probe.classes, coding.numbers):
        raise SplitError(
            f"fine-tuning: starts from a probe on '{probe.head}' with classes "
            f"{probe.classes.tolist()}; it must read the aggregator and know "
            f"{coding.numbers.tolist()}"
        )
    own = probe.own_part
    weight = probe.weight[own] / probe.scale
    weight, bias = coding.encoded(weight, probe.bias[own] - weight @ probe.mean)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
