"""Pretraining without labels: the entry. With `training` and `keeping` it imports Lightning."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray

from crossl.data.source import WindowSource
from crossl.errors import ConfigError, CrosslError, DataError, TrainingError, counted
from crossl.files import remove_partial, telling_what_is_kept
from crossl.methods import Method
from crossl.nn.model import CrossModalModel
from crossl.train.batch_memory import is_out_of_memory, refuse_batch
from crossl.train.checkpoints import AtomicCheckpoints, KeepCheckpoints, Metrics, Progress
from crossl.train.processes import Processes
from crossl.train.schedule import Schedule
from crossl.train.stopping import Stopped
from crossl.train.training import Pretraining, last_checkpoint

__all__ = ["Progress", "Schedule", "pretrain"]

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = "out of memory"


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
    processes: Processes | None = None,
) -> CrossModalModel:
    """Train a method; same seed, same bits on a CPU.

    Statistics for standardisation are taken from the training windows, unless the model has some:
    one that was trained before keeps those that its weights were learned with. After every epoch
    `out/metrics.jsonl` gets a line and `out/checkpoints/last.ckpt` is written, and within an
    epoch every `schedule.checkpoint_s` seconds; `resume` starts from it as if it had never
    stopped. SIGINT and SIGTERM let a step end and be kept, first.

    Args:
        method: holds the model; both are changed.
        source: windows.
        train: rows to learn from.
        validation: rows of other subjects, for the objective that stops training.
        schedule: how long and how fast.
        seed: of batches, masks, augmentations and dropout.
        out: folder for metrics and checkpoints.
        resume: start from the last checkpoint in `out`, if there is one.
        progress: told after each epoch.
        processes: that train together, of which this is one; all call this alike. Default: this
            one alone.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        DataError: too few windows.
        TrainingError: the loss or a gradient is not finite (`out/nonfinite` keeps the step), a
            step does not fit into memory, or another process ended.
        KeyboardInterrupt: SIGINT came; what was done is kept.
        SystemExit: SIGTERM came; what was done is kept; the code is 143.
    """
    processes = processes or Processes()
    _check_rows(train, validation, schedule, processes)
    resumed = resume and last_checkpoint(out).is_file()
    fresh = not resumed and not method.model.standardiser.fitted
    if processes.writes and fresh:  # other processes get them from the first
        method.model.standardiser.fit(source, train)
    pretraining = Pretraining(
        method, schedule, source=source, train=train, validation=validation, seed=seed, out=out
    )
    out.mkdir(parents=True, exist_ok=True)
    if processes.writes:
        remove_partial(out)
        remove_partial(last_checkpoint(out).parent)
    checkpoints = KeepCheckpoints(last_checkpoint(out).parent)
    callbacks = [checkpoints, Metrics(out / "metrics.jsonl", progress)]
    patience = schedule.patience_epochs(pretraining.epochs)
    early = (
        []
        if patience is None
        else [EarlyStopping("val/loss", patience=patience, check_finite=False)]
    )
    with (
        telling_what_is_kept(out, last_checkpoint(out).is_file),
        _quiet_lightning(),
        torch.random.fork_rng(devices=[]),
    ):
        _fit(pretraining, [*early, *callbacks], processes, resumed=resumed)
    if early and early[0].stopped_epoch and processes.writes:
        _tell_stopped(early[0], pretraining)
    if schedule.restore_best and checkpoints.best_model_path:
        best = torch.load(checkpoints.best_model_path, weights_only=True, map_location="cpu")
        pretraining.load_state_dict(best["state_dict"])
    return pretraining.trained()


def _tell_stopped(early: EarlyStopping, pretraining: Pretraining) -> None:
    """Say that training ended before its schedule did, and by which setting."""
    s, epochs = pretraining.schedule, early.stopped_epoch + 1
    name = "patience" if s.patience_share is None else "patience_share"
    logger.warning(
        "pretraining stopped early, after %d of %d steps: val/loss was not better for %d epochs "
        "(schedule.%s is %g; null never stops)",
        epochs * pretraining.total_steps // pretraining.epochs, pretraining.total_steps,
        early.patience, name, getattr(s, name),
    )  # fmt: skip


def _fit(
    pretraining: Pretraining, callbacks: list[Callback], processes: Processes, *, resumed: bool
) -> None:
    """Fit, and say in our words how it ended if it did not end well."""
    trainer = _build_trainer(pretraining, callbacks, processes)
    device, told = trainer.strategy.root_device, ""
    found_group = torch.distributed.is_available() and torch.distributed.is_initialized()
    try:
        found = str(last_checkpoint(pretraining.out)) if resumed else None
        trainer.fit(pretraining, ckpt_path=found, weights_only=True)
    except Stopped:
        pretraining.signals.end()
    except SystemExit as error:  # how Lightning answers a Ctrl-C that comes twice
        raise KeyboardInterrupt from error
    except (MemoryError, RuntimeError) as error:
        told = _explain(error, processes)
        if not told:
            raise
    finally:
        pretraining.signals.leave()
    # here the error and with it the memory that its frames held are gone
    del trainer
    if told == OUT_OF_MEMORY:
        pretraining.forget_step()
        raise refuse_batch(
            pretraining.size, method=pretraining.typed, source=pretraining.source,
            rows=pretraining.train_rows, precision=pretraining.schedule.precision, device=device,
            processes=processes,
        )  # fmt: skip
    if told:
        raise TrainingError(told)
    if pretraining.signals.came is not None:
        pretraining.signals.end()
    if processes.world > 1 and not found_group:
        torch.distributed.destroy_process_group()


def _explain(error: Exception, processes: Processes) -> str:
    """Say what ended training, or nothing where it is a fault of the program."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    lost = re.search(r"gloo|NCCL|[Cc]onnection (closed|reset)|ProcessGroup", str(error))
    if processes.world > 1 and lost and not isinstance(error, CrosslError):
        return (
            f"pretraining: process {processes.rank} lost another of the {processes.world}; see "
            "what that one said, then give the same command again"
        )
    return ""


def _build_trainer(
    pretraining: Pretraining, callbacks: list[Callback], processes: Processes
) -> lightning.Trainer:
    """Make a trainer that leaves telling the user to our callbacks."""
    return lightning.Trainer(
        accelerator="auto",
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=_strategy(processes),
        plugins=[AtomicCheckpoints(), _environment(processes)],
        use_distributed_sampler=False,  # batches know their share
        max_epochs=pretraining.epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        callbacks=callbacks,
    )


def _strategy(processes: Processes) -> str | DDPStrategy:
    if processes.world == 1:
        return "auto"
    return DDPStrategy(
        find_unused_parameters=True,  # a method may leave some out of a step
        broadcast_buffers=False,  # statistics never change after the start
        timeout=timedelta(hours=2),  # while the first process reads all windows for them
    )


def _environment(processes: Processes) -> ClusterEnvironment:
    """Choose the cluster environment; a single process has none."""
    if processes.world == 1:
        return LightningEnvironment()
    return (
        TorchElasticEnvironment() if "RANK" in os.environ else SLURMEnvironment(auto_requeue=False)
    )


def _check_rows(
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    schedule: Schedule,
    processes: Processes,
) -> None:
    for name, rows in (("training", train), ("validation", validation)):
        if len(rows) < max(2, processes.world):
            raise DataError(
                f"pretraining: {counted(len(rows), f'{name} window')}; at least "
                f"{max(2, processes.world)} are needed"
            )
    if torch.cuda.is_available() and processes.devices > torch.cuda.device_count():
        raise ConfigError(
            f"--devices: is {processes.devices}, this machine has {torch.cuda.device_count()} "
            'GPU(s); ask for fewer, or train on processors by CUDA_VISIBLE_DEVICES=""'
        )
    if schedule.batch_size < processes.world:
        raise ConfigError(
            f"schedule.batch_size: is {schedule.batch_size} on {processes.world} processes, which "
            "share a batch; at least one window for each is needed"
        )


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
            # the rest of an epoch is read by ourselves, metrics are those of all processes
            warnings.filterwarnings("ignore", message=".*ended before the epoch ended.*")
            warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
            # torch 2.13 renames it, older torch does not know the new name
            warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
            # the `paper` recipe trains without dropout
            warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            # parameters are used by graphs that were recorded on another stream
            warnings.filterwarnings("ignore", message=".*AccumulateGrad node's stream.*")
            # of Lightning's own use of torch
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
