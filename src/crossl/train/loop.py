"""The one loop that trains everything that is trained by gradient."""

from __future__ import annotations

import re
import time

import torch

from crossl.errors import CrosslError, TrainingError
from crossl.files import telling_what_is_kept
from crossl.nn.precision import warn_if_slow
from crossl.train.batch_memory import is_out_of_memory, refuse_batch
from crossl.train.checkpoints import (
    Checkpoints,
    MetricLines,
    Progress,
    clear_leftovers,
    computed_by,
    last_checkpoint,
    warn_of_other_bits,
)
from crossl.train.processes import Processes, joined
from crossl.train.stopping import Stopped
from crossl.train.training import Training

OUT_OF_MEMORY = "out of memory"


def train(
    training: Training,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    processes: Processes | None = None,
    patience: int | None = None,
    restore_best: bool = False,
) -> None:
    """Train to the end.

    After every validation `metrics.jsonl` gets a line and `checkpoints/last.ckpt` is written, and
    between two of them every `checkpoint_s` seconds. A resumed training ends with the bits of one
    that never stopped: what is random follows from the seed and the number of the step, and where
    training is follows from that number too. SIGINT and SIGTERM let a step end and be kept, first.

    Args:
        training: what is trained; its folder is made.
        resume: start from the last checkpoint, if there is one.
        progress: called after each validation.
        processes: that train together, of which this is one; all call this alike. Default: this
            one alone.
        patience: stop after this many validations without a better answer.
        restore_best: end with the weights of the best moment, not with the last, which
            `training.last_weights` has.

    Raises:
        TrainingError: the loss or a gradient is not finite (`nonfinite/` keeps the step), a step
            does not fit into memory, or another process ended.
        KeyboardInterrupt: SIGINT came; what was done is kept.
        SystemExit: SIGTERM came; what was done is kept; the code is 143.
    """
    processes, out = processes or Processes(), training.out
    if processes.writes:
        clear_leftovers(out)
    loop = _Loop(training, Checkpoints(out), MetricLines(out, progress), patience)
    if out is None:
        _run(loop, processes, resume=False)
    else:
        with telling_what_is_kept(out, last_checkpoint(out).is_file):
            _run(loop, processes, resume=resume)
    best = loop.checkpoints.best() if restore_best else None
    if best is not None:
        training.last_weights = {name: x.clone() for name, x in training.weights().items()}
        training.load_weights(best["state_dict"])


def _run(loop: _Loop, processes: Processes, *, resume: bool) -> None:
    """Run the loop, and say in our words how it ended if it did not end well."""
    training, told = loop.training, ""
    try:
        with torch.random.fork_rng(devices=[]), joined(processes) as (device, ranks):
            training.place(device, ranks)
            loop.run(resume=resume)
    except Stopped:
        training.signals.end()
    except (MemoryError, RuntimeError) as error:
        told = _explain(error, processes, training.words.what)
        if not told:
            raise
    finally:
        training.signals.leave()
        training.forget_graphs()
    # here the error and with it the memory that its frames held are gone
    if told == OUT_OF_MEMORY:
        training.forget_step()
        raise refuse_batch(training, processes)
    if told:
        raise TrainingError(told)
    if training.signals.came is not None:
        training.signals.end()


def _explain(error: Exception, processes: Processes, what: str) -> str:
    """Say what ended training, or nothing where it is a fault of the program."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    lost = re.search(r"gloo|NCCL|[Cc]onnection (closed|reset)|ProcessGroup", str(error))
    if processes.world > 1 and lost and not isinstance(error, CrosslError):
        return (
            f"{what}: process {processes.rank} lost another of the {processes.world}; see "
            "what that one said, then give the same command again"
        )
    return ""


class _Loop:
    """Epochs, one after the other: steps, validation, a line of metrics, a checkpoint."""

    def __init__(
        self,
        training: Training,
        checkpoints: Checkpoints,
        metrics: MetricLines,
        patience: int | None,
    ) -> None:
        self.training, self.checkpoints, self.metrics = training, checkpoints, metrics
        self.patience = patience
        self._kept_at = 0.0

    def run(self, *, resume: bool) -> None:
        """Start, or continue, and go on to the end."""
        training = self.training
        state = self.checkpoints.last() if resume else None
        if state is not None:
            warn_of_other_bits(state.get("computed_by", computed_by()), training.words.what)
            training.restore(state)
        training.ranks.spread(training.module)
        if training.averaged is not None:
            training.ranks.spread(training.averaged)
        if training.ranks.rank == 0:
            warn_if_slow(training.pace.precision, training.device)
        self.metrics.begin(training)
        training.signals.listen()
        if training.validation.at_start and training.step == 0:
            self._judge(training.measure())
        while training.step < training.total_steps and not self._waited_enough():
            if training.done == 0 and self._asked_to_stop():
                raise Stopped
            self._epoch()
        training.ranks.agree(False)  # what the first process wrote is there when others read it

    def _epoch(self) -> None:
        """Take the steps that are left before the next validation, validate and keep."""
        training = self.training
        self._kept_at = time.monotonic()
        for part in training.batches():
            training.take_step(part.to(training.device))
            if training.done:  # else validation and the checkpoint of the epoch follow
                self._keep_within_epoch()
        measured = training.measure()
        best = self._improves(measured)
        self.metrics.add(training, training.trained_terms.take() | measured)
        if best:
            self.checkpoints.keep_best(training)
        self.checkpoints.keep_last(training)

    def _judge(self, measured: dict[str, float]) -> None:
        if self._improves(measured):
            self.checkpoints.keep_best(self.training)

    def _improves(self, measured: dict[str, float]) -> bool:
        training, asked = self.training, self.training.validation
        value = measured[asked.watched]
        return training.moment.improves(value, training.step, higher=asked.higher_is_better)

    def _waited_enough(self) -> bool:
        return self.patience is not None and self.training.moment.waited >= self.patience

    def _asked_to_stop(self) -> bool:
        training = self.training
        return training.ranks.agree(training.signals.came is not None)[0]

    def _keep_within_epoch(self) -> None:
        """Keep a checkpoint when one is due, and stop when asked to."""
        training = self.training
        due = time.monotonic() - self._kept_at >= training.pace.checkpoint_s
        stop, due = training.ranks.agree(
            training.signals.came is not None, due and training.ranks.rank == 0
        )
        if stop or due:
            self.checkpoints.keep_last(training)
            self._kept_at = time.monotonic()
        if stop:
            raise Stopped
