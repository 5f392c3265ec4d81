"""What training writes while it runs: checkpoints, and a line of metrics for each validation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from crossl.files import naming, remove_partial, write_whole, writing
from crossl.nn.attachment import kernels_in_use
from crossl.train.training import Training

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with steps done, steps in all, and the epoch's metrics."""


def last_checkpoint(out: Path) -> Path:
    """Name the checkpoint of a run that is resumed from."""
    return out / "checkpoints" / "last.ckpt"


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a file that is whole whenever the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        torch.save(dict(state), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; those of versions that trained by Lightning are translated.

    What Lightning said of loops and callbacks is left out: where training is follows from the
    steps that were taken, and what validation subjects liked best is said by its callbacks.
    """
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    if "moment" not in state and "callbacks" in state:
        state["moment"] = _moment_of(state["callbacks"])
    return state


def _moment_of(callbacks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the best validation loss, and how many epochs brought none since."""
    moment: dict[str, Any] = {"best": None, "step": 0, "waited": 0}
    for name, held in callbacks.items():
        if name.startswith("KeepCheckpoints") and held["best_model_score"] is not None:
            moment["best"] = float(held["best_model_score"])
        if name.startswith("EarlyStopping"):
            moment["waited"] = int(held["wait_count"])
    return moment


class Checkpoints:
    """The last state of a training, to resume from, and the weights of its best moment.

    Args:
        out: folder of the training; None keeps the best weights in memory and nothing else.
    """

    def __init__(self, out: Path | None) -> None:
        self.out = out
        self._best: dict[str, Any] | None = None

    @property
    def _best_path(self) -> Path:
        assert self.out is not None  # noqa: S101 - asked where there is a folder only
        return self.out / "checkpoints" / "best.ckpt"

    def last(self) -> dict[str, Any] | None:
        """Return the state to resume from, if there is one."""
        if self.out is None or not last_checkpoint(self.out).is_file():
            return None
        return load_checkpoint(last_checkpoint(self.out))

    def keep_last(self, training: Training) -> None:
        """Write the state."""
        if self.out is not None and training.ranks.rank == 0:
            state = training.state() | {"computed_by": computed_by()}
            save_checkpoint(state, last_checkpoint(self.out))

    def keep_best(self, training: Training) -> None:
        """Keep the weights."""
        weights = training.weights()
        if self.out is None:
            copied = {name: x.detach().cpu().clone() for name, x in weights.items()}
            self._best = {"global_step": training.step, "state_dict": copied}
        elif training.ranks.rank == 0:
            save_checkpoint({"global_step": training.step, "state_dict": weights}, self._best_path)

    def best(self) -> dict[str, Any] | None:
        """Return the weights of the best moment, if there was one."""
        if self.out is None:
            return self._best
        return load_checkpoint(self._best_path) if self._best_path.is_file() else None


class MetricLines:
    """Appends one JSON line per epoch, and reports progress.

    Args:
        out: folder that gets `metrics.jsonl`; None writes none.
        progress: called after each epoch.
    """

    def __init__(self, out: Path | None, progress: Progress | None) -> None:
        self.path = None if out is None else out / "metrics.jsonl"
        self.progress = progress

    def begin(self, training: Training) -> None:
        """Keep the lines of epochs that a resumed run will not repeat."""
        if training.ranks.rank or self.path is None or not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        # a run that was killed may have left half a line
        whole = [line for line in lines if training.step and line.endswith("}\n")]
        kept = [line for line in whole if json.loads(line)["epoch"] < training.epoch]
        write_whole(self.path, "".join(kept).encode())

    def add(self, training: Training, values: Mapping[str, float]) -> None:
        """Write the line of the epoch that has just ended."""
        if training.ranks.rank:
            return
        record = {"epoch": training.epoch - 1, "step": training.step, **values}
        if self.path is not None:
            with naming(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if self.progress:
            self.progress(training.step, training.total_steps, values)


def clear_leftovers(out: Path | None) -> None:
    """Make the folder of a training, and remove what killed processes left in it."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        remove_partial(out)
        remove_partial(last_checkpoint(out).parent)


def computed_by() -> dict[str, str]:
    """Name what sums are rounded by: threads, compiled kernels or plain torch, its version."""
    return {
        "threads": str(torch.get_num_threads()),
        "kernels": kernels_in_use(),
        "torch": str(torch.__version__),  # of a class of its own, which no checkpoint may name
    }


def warn_of_other_bits(before: Mapping[str, str], what: str = "pretraining") -> None:
    """Warn where training is resumed with other threads, kernels or torch than it began with.

    Args:
        before: what `computed_by` said when the checkpoint was written.
        what: is resumed.
    """
    now = computed_by()
    changed = [f"{name} {_said(before.get(name))} before, {_said(now[name])} now" for name in now
               if before.get(name) != now[name]]  # fmt: skip
    if changed:
        logger.warning(
            "%s is resumed by other means (%s): sums are rounded differently, so the "
            "weights will not be equal to the byte to those of an uninterrupted run",
            what, "; ".join(changed),
        )  # fmt: skip


def _said(value: str | None) -> str | None:
    """Say in words what checkpoints have always called the kernels."""
    known = {"NativeEpilogue": "compiled", "TorchEpilogue": "torch"}
    return known.get(value, value) if value else value
