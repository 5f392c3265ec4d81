"""Pretraining without labels: the entry. With `training` and `keeping` it imports Lightning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from numpy.typing import NDArray

from crossl.data.source import WindowSource
from crossl.errors import DataError
from crossl.learn.keeping import KeepCheckpoints, Metrics, Progress
from crossl.learn.methods import Method
from crossl.learn.schedule import Schedule
from crossl.learn.training import Pretraining, Windows
from crossl.nn.model import CrossModalModel

__all__ = ["Progress", "Schedule", "pretrain"]


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
    pretraining = Pretraining(method, schedule, seed=seed, n_train=len(train), out=out)
    data = Windows(source, train, validation, min(schedule.batch_size, len(train)), seed)
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = KeepCheckpoints(out / "checkpoints")
    last = out / "checkpoints" / "last.ckpt"
    with _quiet_lightning(), torch.random.fork_rng(devices=[]):
        metrics = Metrics(out / "metrics.jsonl", progress)
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
