"""Fine-tuning, the supervised twin (the same from random weights), and the authors' MLP head."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from crossl.data.batch import Batch, collate
from crossl.data.source import WindowSource
from crossl.errors import SplitError, TrainingError, counted
from crossl.evaluate.latents import Array, Head, LatentTable
from crossl.evaluate.probe import Probe
from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.nn.masking import keep_some
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.registry import AUGMENTATIONS
from crossl.settings import OneOf, Settings
from crossl.tasks import UNNAMED_CLASSES, Coding, Task


class FineTuning(Settings):
    """How a classifier and the network below it are trained.

    Attributes:
        steps: optimiser steps.
        batch_size: labelled windows a step.
        pretrained_lr: peak learning rate where a probe on a pretrained model is the start.
        lr: peak learning rate, after a warm-up of a tenth of the steps, before a cosine decay.
        weight_decay: of matrices, decoupled.
        label_smoothing: share of the target spread over all classes.
        keep_rate: probability that a present modality is shown; at least one is.
        augmentation: of the signals.
        average_decay: of the moving average of weights, which is what is kept.
        dropout: before the classifier.
        evaluations: how often validation subjects are asked; the best answer is kept.
        gradient_norm: gradients are clipped to this norm.
    """

    steps: int = Field(400, gt=0)
    batch_size: int = Field(64, gt=0)
    lr: float = Field(1e-3, gt=0)
    pretrained_lr: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    keep_rate: float = Field(0.9, gt=0, le=1)
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation(
        jitter=0.1, scale=0.15, crop=0.8, time_mask=0.15
    )
    average_decay: float = Field(0.995, ge=0, lt=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    evaluations: int = Field(5, gt=0)
    gradient_norm: float = Field(1.0, gt=0)


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
        task: what is told of each window.
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
        """Return what is most likely told of each embedding, such as its class."""
        return self.decide(embedding @ self.weight.T + self.bias)


def fine_tune(  # noqa: PLR0913 - what is learned is a target and a task
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
) -> tuple[CrossModalModel, LinearHead]:
    """Train a copy of a model with a linear head on the aggregator's output.

    A model with random weights makes the supervised twin. A pretrained one starts from a probe
    fitted on it (linear probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054), with
    `settings.pretrained_lr`; validation subjects may prefer the probe as it was. `keep_rate` below
    1 trains it with sensors missing.

    Args:
        model: where to start; not changed. Its standardisation must be fitted.
        source: windows.
        label: (W, ...) targets of the source.
        train: rows to learn from; unlabelled ones are left out.
        validation: rows of other subjects that choose the best moment; likewise.
        settings: how.
        seed: of batches, augmentations, dropout and the head.
        probe: on the aggregator's output of `model`, from the same labels.
        task: what is told of each window; it is read alone, without neighbours.

    Returns:
        The trained copy, in evaluation mode, and its head.

    Raises:
        SplitError: too little to learn from, or no labelled validation window.
        TrainingError: the loss is not finite.
    """
    train, validation = (rows[task.known(label[rows])] for rows in (train, validation))
    task.refuse_too_little(label[train], where="fine-tuning")
    if not len(validation):
        raise SplitError(
            "fine-tuning: validation subjects have no labelled window; they choose the best moment"
        )
    coding = task.coding(label[train])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(copy.deepcopy(model), len(coding.numbers), settings.dropout)
        if probe is not None:
            network.start_from(probe, coding)
            settings = settings.model_copy(update={"lr": settings.pretrained_lr})
        learned = _Learned(task, coding, label)
        trainer = _FineTuner(network, source, learned, settings, seed)
        best = trainer.run(train, validation)
    head = best.network.classifier
    arrays = [np.asarray(p.detach().cpu()) for p in (head.weight, head.bias)]
    classifier = LinearHead(
        "aggregator", *coding.decoded(*arrays), coding.numbers, best.step, best.score, task
    )
    return best.network.model.eval(), classifier


class _Network(nn.Module):
    def __init__(self, model: CrossModalModel, classes: int, dropout: float) -> None:
        super().__init__()
        self.model = model
        self.dropout = nn.Dropout(dropout)
        device = next(model.parameters()).device
        self.classifier = nn.Linear(model.embedding_dim, classes, device=device)

    def start_from(self, probe: Probe, coding: Coding) -> None:
        """Copy a probe into the classifier, its standardisation folded in."""
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
            self.classifier.weight.copy_(torch.from_numpy(weight))
            self.classifier.bias.copy_(torch.from_numpy(bias))

    def forward(self, signals: dict[str, Tensor], present: Tensor) -> Tensor:
        latent = self.model.encode(signals, present)
        out: Tensor = self.classifier(self.dropout(self.model.aggregate(latent, present)))
        return out


@dataclass(frozen=True)
class _Best:
    """The averaged network that validation subjects liked best, after which step, and how well."""

    network: _Network
    step: int
    score: float


@dataclass(frozen=True)
class _Learned:
    """What is learned: a task, how outputs are compared with targets, and (W, ...) these."""

    task: Task
    coding: Coding
    target: NDArray[Any]


class _FineTuner:
    """The loop of one fine-tuning."""

    def __init__(
        self,
        network: _Network,
        source: WindowSource,
        learned: _Learned,
        settings: FineTuning,
        seed: int,
    ) -> None:
        self.network = network
        self.averaged = copy.deepcopy(network).eval()
        self.source, self.learned, self.settings = source, learned, settings
        self.target = learned.coding.encode(learned.target)
        self.augment = settings.augmentation.build()
        self.device = next(network.parameters()).device
        self.order = np.random.default_rng(seed)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def run(self, train: NDArray[np.int64], validation: NDArray[np.int64]) -> _Best:
        """Train, and return what validation subjects liked best."""
        s = self.settings
        optimizer = self._optimizer()
        warmup, size = max(1, s.steps // 10), min(s.batch_size, len(train))
        queue = np.empty(0, dtype=np.int64)
        gain = self.learned.task.gain
        best = _Best(copy.deepcopy(self.averaged), 0, self._score(validation))
        for step in range(s.steps):
            rate = min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / s.steps))
            for group in optimizer.param_groups:
                group["lr"] = s.lr * rate
            while len(queue) < size:
                queue = np.r_[queue, self.order.permutation(train)]
            rows, queue = queue[:size], queue[size:]
            self._step(collate(self.source, rows, self.target).to(self.device), optimizer, step)
            if (step + 1) % max(1, s.steps // s.evaluations) == 0:
                score = self._score(validation)
                if gain(score) > gain(best.score):
                    best = _Best(copy.deepcopy(self.averaged), step + 1, score)
        return best

    def _optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.network.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1],
             "weight_decay": self.settings.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]  # fmt: skip
        return torch.optim.AdamW(groups, lr=self.settings.lr)

    def _step(self, batch: Batch, optimizer: torch.optim.Optimizer, step: int) -> None:
        s = self.settings
        self.network.train()
        signals = self.augment(self.network.model.standardise(batch), self.generator)
        shown = keep_some(batch.present, keep_rate=s.keep_rate, generator=self.generator)
        logits = self.network(signals, shown)
        assert batch.label is not None  # noqa: S101 - collate was given labels
        loss = self.learned.coding.loss(logits, batch.label, smoothing=s.label_smoothing)
        if not torch.isfinite(loss):
            raise TrainingError(f"fine-tuning, step {step}: the loss is not finite; lower lr")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), s.gradient_norm)
        optimizer.step()
        decay = min(s.average_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            kept: list[Tensor] = list(self.averaged.parameters())
            torch._foreach_lerp_(kept, list(self.network.parameters()), 1 - decay)

    def _score(self, rows: NDArray[np.int64]) -> float:
        model, learned = self.averaged.model, self.learned
        latent = encode_rows(model, self.source, rows).to(self.device)
        present = torch.from_numpy(self.source.present[rows]).to(self.device)
        with torch.inference_mode():
            output = self.averaged.classifier(model.aggregate(latent, present)).cpu().numpy()
        said = learned.task.decide(learned.coding.readings(output), learned.coding.numbers)
        target, one_group = learned.target[rows], np.zeros(len(rows), dtype=np.int64)
        counting = learned.task.among(learned.coding.numbers, target)
        return float(learned.task.metric(counting.count(target, said, one_group, 1))[0])


@dataclass(frozen=True)
class MlpHead:
    """The authors' classifier on frozen embeddings: dense 128 ReLU, dropout 0.1, softmax."""

    head: Head
    network: nn.Sequential
    classes: NDArray[np.int64]

    def affine(self) -> tuple[Array, Array]:
        """Return weight and bias of the first layer."""
        first: Any = self.network[0]
        return np.asarray(first.weight.detach()), np.asarray(first.bias.detach())

    def decide(self, reading: Array) -> NDArray[np.int64]:
        """Return the most probable label after the other layers."""
        with torch.inference_mode():
            logits = self.network[1:](torch.from_numpy(reading))
        return np.asarray(self.classes[logits.argmax(dim=-1).numpy()])

    def predict(self, embedding: Array) -> NDArray[np.int64]:
        """Return the most probable label of each embedding."""
        weight, bias = self.affine()
        return self.decide(embedding @ weight.T + bias)


def build_mlp_head(width: int, classes: int, *, hidden: int = 128, dropout: float = 0.1) -> Any:
    """Build the authors' classifier (`src/model_utils/classifier.py`); it returns logits."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
    )


def fit_mlp_head(
    train: LatentTable,
    validation: LatentTable,
    *,
    head: Head = "encoders",
    missing: bool = True,
    steps: int = 500,
    lr: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> MlpHead:
    """Train the authors' classifier on frozen embeddings; validation picks the best moment.

    Args:
        train: labelled windows of training subjects.
        validation: windows of validation subjects.
        head: what to read; theirs reads the encoders side by side.
        missing: hide modalities at random while training.
        steps: optimiser steps.
        lr: of Adam.
        batch_size: windows a step.
        seed: of everything random.

    Raises:
        SplitError: fewer than 2 classes, or no labelled validation window.
    """
    train, validation = train.take(train.label >= 0), validation.take(validation.label >= 0)
    classes = np.unique(train.label)
    if len(classes) < 2 or not len(validation):
        raise SplitError(
            f"MLP head: {counted(len(classes), 'class', 'classes')}; at least 2 and validation "
            "labels"
        )
    shown = torch.from_numpy(validation.embed(head))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_mlp_head(shown.shape[1], len(classes))
        best = _fit_mlp(network, train, (shown, validation.label), classes, head=head,
                        missing=missing, steps=steps, lr=lr, batch_size=batch_size,
                        seed=seed)  # fmt: skip
    return MlpHead(head, best, classes)


def _fit_mlp(  # noqa: PLR0913 - the one loop behind fit_mlp_head
    network: nn.Sequential,
    train: LatentTable,
    validation: tuple[Tensor, NDArray[np.int64]],
    classes: NDArray[np.int64],
    *,
    head: Head,
    missing: bool,
    steps: int,
    lr: float,
    batch_size: int,
    seed: int,
) -> nn.Sequential:
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    order, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    target = torch.from_numpy(np.searchsorted(classes, train.label))
    best, best_score = copy.deepcopy(network), -1.0
    for step in range(steps):
        rows = order.choice(len(train), size=min(batch_size, len(train)), replace=False)
        batch = train.take(rows)
        if missing:
            some = keep_some(batch.present, keep_rate=0.8, generator=generator)
            batch = LatentTable(batch.model, batch.latent, some, batch.label, batch.subject)
        network.train()
        loss = cross_entropy(network(torch.from_numpy(batch.embed(head))), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % max(1, steps // 10) == 0:
            network.eval()
            with torch.inference_mode():
                predicted = classes[network(validation[0]).argmax(dim=1).numpy()]
            score = f1_score(validation[1], predicted, average="macro", zero_division=0)
            if score > best_score:
                best, best_score = copy.deepcopy(network), score
    return best.eval()
