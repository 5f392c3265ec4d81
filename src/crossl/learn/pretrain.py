"""Pretraining without labels. The only module that imports Lightning."""

from __future__ import annotations

import copy
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from crossl.data.batch import Batch, collate
from crossl.data.source import WindowSource
from crossl.errors import DataError
from crossl.learn.adam import KerasAdam
from crossl.learn.collapse import collapse_measures, collapse_warning
from crossl.learn.methods import Method
from crossl.learn.nonfinite import stop_nonfinite
from crossl.nn.model import CrossModalModel

logger = logging.getLogger(__name__)

MONITOR_WINDOWS = 2048
"""At most this many validation windows are embedded for the collapse monitor."""

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with steps done, steps in all, and the epoch's metrics."""


@dataclass(frozen=True)
class Schedule:
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
        patience: stop after this many epochs without a better validation objective. With a
            decaying learning rate the end of the schedule matters: be patient.
        restore_best: keep the weights of the epoch with the best validation objective instead of
            the last.
    """

    steps: int = 400
    epochs: int | None = None
    batch_size: int = 256
    optimizer: Literal["adamw", "keras_adam"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_share: float = 0.1
    gradient_norm: float | None = 5.0
    average_decay: float = 0.99
    patience: int = 50
    restore_best: bool = False


def pretrain(  # noqa: PLR0913 - what is trained, on what, how, where
    method: Method,
    source: WindowSource,
    *,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    schedule: Schedule,
    seed: int,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> CrossModalModel:
    """Train a method; same seed, same bits on a CPU.

    Statistics for standardisation are taken from the training windows. After every epoch
    `out/metrics.jsonl` gets a line and `out/checkpoints/last.ckpt` is written; `resume` goes on
    from it as if it had never stopped.

    Args:
        method: holds the model; both are changed.
        source: windows.
        train: rows to learn from.
        validation: rows of other subjects, for the objective that stops training.
        schedule: how long and how fast.
        seed: of batches, masks, augmentations and dropout.
        out: folder for metrics and checkpoints.
        resume: go on from the last checkpoint in `out`, if there is one.
        progress: told after each epoch.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        DataError: too few windows.
        TrainingError: the loss or a gradient is not finite; `out/nonfinite` keeps the step.
    """
    _check_rows(train, validation)
    method.model.standardiser.fit(source, train)
    pretraining = _Pretraining(method, schedule, seed=seed, n_train=len(train), out=out)
    data = _Windows(source, train, validation, min(schedule.batch_size, len(train)), seed)
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = _KeepCheckpoints(out / "checkpoints")
    last = out / "checkpoints" / "last.ckpt"
    with _quiet_lightning(), torch.random.fork_rng(devices=[]):
        metrics = _Metrics(out / "metrics.jsonl", progress)
        trainer = _build_trainer(pretraining.epochs, schedule, [checkpoints, metrics])
        found = str(last) if resume and last.is_file() else None
        try:
            trainer.fit(pretraining, data, ckpt_path=found, weights_only=True)
        except SystemExit as error:  # how Lightning answers Ctrl-C
            raise KeyboardInterrupt from error
    if schedule.restore_best and checkpoints.best_model_path:
        best = torch.load(checkpoints.best_model_path, weights_only=True, map_location="cpu")
        pretraining.load_state_dict(best["state_dict"])
    return pretraining.trained()


def _build_trainer(epochs: int, schedule: Schedule, callbacks: list[Callback]) -> lightning.Trainer:
    """Make a trainer that stops early and leaves telling the user to our callbacks."""
    stop = EarlyStopping("val/loss", patience=schedule.patience, check_finite=False)
    return lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=epochs,
        gradient_clip_val=schedule.gradient_norm,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        callbacks=[stop, *callbacks],
    )


def _check_rows(train: NDArray[np.int64], validation: NDArray[np.int64]) -> None:
    for name, rows in (("training", train), ("validation", validation)):
        if len(rows) < 2:
            raise DataError(f"pretraining: {len(rows)} {name} window(s); at least 2 are needed")


class _Pretraining(lightning.LightningModule):
    """A method under Lightning: steps, moving average, validation objective."""

    def __init__(
        self, method: Method, schedule: Schedule, *, seed: int, n_train: int, out: Path
    ) -> None:
        super().__init__()
        self.out = out
        self._last: tuple[Batch, int]
        self.method = cast("nn.Module", method)
        self.schedule = schedule
        self.seed = seed
        per_epoch = max(1, n_train // schedule.batch_size)
        self.epochs = schedule.epochs or math.ceil(schedule.steps / per_epoch)
        self.total_steps = self.epochs * per_epoch
        self.averaged: CrossModalModel | None = None
        if schedule.average_decay > 0:
            self.averaged = copy.deepcopy(method.model).requires_grad_(requires_grad=False)
        self._terms: list[dict[str, Tensor]] = []
        self._embeddings: list[Tensor] = []

    @property
    def _method(self) -> Method:
        return cast(Method, self.method)

    def trained(self) -> CrossModalModel:
        """Return what is worth keeping."""
        model = self.averaged if self.averaged is not None else self._method.model
        return model.cpu().requires_grad_(requires_grad=True).eval()

    def _generator(self, *numbers: int) -> torch.Generator:
        """Seed by position, not by history: a resumed run draws what it would have drawn."""
        state = np.random.SeedSequence([self.seed, *numbers]).generate_state(1, np.uint64)[0]
        return torch.Generator(device=self.device).manual_seed(int(state) >> 1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one step."""
        torch.manual_seed(self._generator(2, self.global_step).initial_seed())  # dropout
        terms = self._method.terms(batch, self._generator(0, self.global_step))
        loss = torch.stack(list(terms.values())).sum()
        self._last = (batch, batch_idx)
        if not torch.isfinite(loss):
            told = ", ".join(f"{name} {x.item():.3g}" for name, x in terms.items())
            self._stop(f"the loss is not finite ({told})")
        self._log("train", {"loss": loss, **terms}, len(batch))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before a gradient that is not finite reaches the weights."""
        named = self.method.named_parameters()
        gradients = [(name, p.grad) for name, p in named if p.grad is not None]
        norms = torch.stack(torch._foreach_norm([g for _, g in gradients]))
        if not torch.isfinite(norms.sum()):
            bad = next(n for (n, _), x in zip(gradients, norms, strict=True) if not x.isfinite())
            self._stop(f"the gradient of {bad} is not finite")

    def _stop(self, what: str) -> NoReturn:
        batch, index = self._last
        windows = cast(_Windows, self.trainer.datamodule)  # type: ignore[attr-defined]
        stop_nonfinite(
            what, step=self.global_step, method=self._method, batch=batch,
            rows=windows.batches()[index], out=self.out,
        )  # fmt: skip

    def _log(self, stage: str, values: Mapping[str, Any], size: int) -> None:
        named = {f"{stage}/{k}": v.detach() if isinstance(v, Tensor) else v
                 for k, v in values.items()}  # fmt: skip
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=size)

    def on_train_batch_end(self, *_: object) -> None:
        """Move the average towards the weights; faster at the start."""
        if self.averaged is None:
            return
        decay = min(self.schedule.average_decay, self.global_step / (self.global_step + 9))
        with torch.no_grad():
            kept: list[Tensor] = list(self.averaged.parameters())
            torch._foreach_lerp_(kept, list(self._method.model.parameters()), 1 - decay)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the objective, under masks that are the same every epoch."""
        terms = self._method.terms(batch, self._generator(1, batch_idx))
        loss = torch.stack(list(terms.values())).sum()
        self._log("val", {"loss": loss, **terms}, len(batch))
        if sum(len(z) for z in self._embeddings) < MONITOR_WINDOWS:
            model = self.averaged if self.averaged is not None else self._method.model
            self._embeddings.append(model(batch))

    def on_validation_epoch_end(self) -> None:
        """Measure collapse and say so."""
        z = torch.cat(self._embeddings)
        self._embeddings.clear()
        measures = collapse_measures(z)
        self._log("val", measures, len(z))
        warning = collapse_warning(measures, z.shape[1])
        if warning and self.global_step * 5 > self.total_steps:
            logger.warning("epoch %d: %s", self.current_epoch, warning)

    def configure_optimizers(self) -> Any:
        """Build the optimiser and its schedule."""
        s = self.schedule
        if s.optimizer == "keras_adam":
            return KerasAdam(self.method.parameters(), lr=s.lr)
        matrices = [p for p in self.method.parameters() if p.ndim > 1]
        rest = [p for p in self.method.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": s.weight_decay},
                  {"params": rest, "weight_decay": 0.0}]  # fmt: skip
        optimizer = torch.optim.AdamW(groups, lr=s.lr)
        warmup = max(1.0, s.warmup_share * self.total_steps)

        def rate(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.total_steps)))
            return min(1.0, (step + 1) / warmup) * cosine + 1e-3

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler,
                                                         "interval": "step"}}  # fmt: skip


class _Batches(Dataset[Batch]):
    """Batches of rows, read in order; the next one is read while the last one is worked on."""

    def __init__(self, source: WindowSource, batches: list[NDArray[np.int64]]) -> None:
        self.source = source
        self.batches = batches
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="crossl-read")
        self._ahead: dict[int, Future[Batch]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        ready = self._ahead.pop(index, None)
        self._ahead.clear()
        if index + 1 < len(self.batches):
            read = self._reader.submit(collate, self.source, self.batches[index + 1])
            self._ahead[index + 1] = read
        return collate(self.source, self.batches[index]) if ready is None else ready.result()


class _Windows(lightning.LightningDataModule):
    """Shuffled batches of training rows, anew each epoch; validation rows in order."""

    def __init__(
        self,
        source: WindowSource,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.source = source
        self.train_rows = train
        self.validation_rows = validation
        self.size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffle by seed and epoch."""
        return DataLoader(_Batches(self.source, self.batches()), batch_size=None)

    def batches(self) -> list[NDArray[np.int64]]:
        """Return the rows of each batch of the current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rows = np.random.default_rng([self.seed, epoch]).permutation(self.train_rows)
        whole = len(rows) // self.size
        return [rows[i * self.size : (i + 1) * self.size] for i in range(whole)]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Mix subjects the same way every time: a batch of one subject has little variance."""
        rows = np.random.default_rng(0).permutation(self.validation_rows)
        count = max(1, len(rows) // self.size)
        return DataLoader(_Batches(self.source, np.array_split(rows, count)), batch_size=None)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Copy to the device; Lightning does not know a Batch."""
        return batch.to(device)


class _KeepCheckpoints(ModelCheckpoint):
    """The last epoch, to resume from, and the best."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor="val/loss",
            save_last=True,
            save_top_k=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


class _Metrics(Callback):
    """Appends one JSON line per epoch, and reports progress."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self.path = path
        self.progress = progress

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the lines of epochs that a resumed run will not repeat."""
        lines = self.path.read_text().splitlines(keepends=True) if self.path.is_file() else []
        # a run that was killed may have left half a line
        whole = [line for line in lines if trainer.global_step and line.endswith("}\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= trainer.global_step]
        self.path.write_text("".join(kept))

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the epoch's line."""
        values = {name: float(v) for name, v in trainer.callback_metrics.items()}
        record = {"epoch": trainer.current_epoch, "step": trainer.global_step, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self.progress:
            self.progress(trainer.global_step, cast(_Pretraining, pl_module).total_steps, values)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence notes that say nothing to our users, for the time of one training only."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # our dataset yields whole batches: worker processes would only copy them
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*logging interval.*")
            warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            # of Lightning's own use of torch
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
