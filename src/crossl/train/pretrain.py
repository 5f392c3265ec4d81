"""Pretraining without labels: the entry."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.source import WindowSource
from crossl.errors import ConfigError, DataError, TrainingError, counted
from crossl.methods import Method
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32, computing_in
from crossl.train.checkpoints import Progress, last_checkpoint
from crossl.train.collapse import collapse_measures, collapse_warning
from crossl.train.loading import Passes, Rows, TargetArray, validation_batches
from crossl.train.loop import train as run_loop
from crossl.train.metric_sums import MetricSums
from crossl.train.processes import Processes
from crossl.train.schedule import Schedule
from crossl.train.training import VALIDATION_MASKS, Training, named

__all__ = ["Progress", "Schedule", "pretrain"]

logger = logging.getLogger(__name__)

MONITOR_WINDOWS = 2048
"""At most this many validation windows are embedded for the collapse monitor."""


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
    targets: TargetArray | None = None,
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
        progress: called after each epoch.
        processes: that train together, of which this is one; all call this alike. Default: this
            one alone.
        targets: (W, ...) of the source, for a method that sees them: what a teacher says.

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
    if method.sees_targets and targets is None:
        raise ConfigError(
            f"pretraining: {type(method).__name__} learns from a teacher and got none; use "
            "`crossl distil`, which asks one"
        )
    resumed = resume and last_checkpoint(out).is_file()
    fresh = not resumed and not method.model.standardiser.fitted
    if processes.writes and fresh:  # other processes get them from the first
        method.model.fit(source, train)
    plan = Passes(train, schedule.batch_size, steps=schedule.steps, epochs=schedule.epochs,
                  seed=seed)  # fmt: skip
    training = Training(
        method, schedule, plan, ObjectiveOfOthers(validation), source=source, seed=seed, out=out,
        targets=targets, damage=schedule.damage,
    )  # fmt: skip
    run_loop(
        training, resume=resume, progress=progress, processes=processes,
        patience=schedule.patience_epochs(plan.epochs), restore_best=schedule.restore_best,
    )  # fmt: skip
    if training.step < training.total_steps and processes.writes:
        _tell_stopped(training, schedule)
    return cast(CrossModalModel, training.finished())


class ObjectiveOfOthers:
    """The objective on validation subjects, under masks that are the same every epoch.

    Beside it stands how near the embedding is to collapse; whoever trains is warned of that.

    Args:
        rows: of validation subjects.
    """

    watched, higher_is_better, at_start = "val/loss", False, False

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def measure(self, training: Training) -> dict[str, float]:
        """Return the means of loss and terms, and the measures of collapse."""
        sums, embeddings = MetricSums(), list[Tensor]()
        model = cast(CrossModalModel, training.kept).eval()
        batches = training.read(validation_batches(self.rows, training.plan.size))
        for number, part in enumerate(batches):
            here = part.to(training.device)
            terms = training.terms(here, VALIDATION_MASKS, number)
            loss = torch.stack(list(terms.values())).sum()
            sums.add({"val/loss": loss} | named("val", terms), len(here.rows))
            if sum(len(z) for z in embeddings) < MONITOR_WINDOWS:
                with computing_in(training.pace.precision, training.device):
                    own = at_least_float32(model(here.batch))
                embeddings.append(training.ranks.gather(own, len(here.rows)))
        return sums.take() | _collapse(torch.cat(embeddings), training)


def _collapse(z: Tensor, training: Training) -> dict[str, float]:
    """Measure collapse and say so."""
    if not torch.isfinite(z).all():
        raise TrainingError(
            f"step {training.step}: the embeddings of validation windows are not finite "
            "although the gradients were; lower the learning rate"
        )
    measures = collapse_measures(z)
    warning = collapse_warning(measures, z.shape[1])
    if warning and training.ranks.rank == 0 and training.step * 5 > training.total_steps:
        logger.warning("epoch %d: %s", training.epoch - 1, warning)
    return {f"val/{name}": x for name, x in measures.items()}


def _tell_stopped(training: Training, schedule: Schedule) -> None:
    """Say that training ended before its schedule did, and by which setting."""
    name = "patience" if schedule.patience_share is None else "patience_share"
    logger.warning(
        "pretraining stopped early, after %d of %d steps: val/loss was not better for %d epochs "
        "(schedule.%s is %g; null never stops)",
        training.step, training.total_steps, schedule.patience_epochs(training.plan.epochs),
        name, getattr(schedule, name),
    )  # fmt: skip


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
