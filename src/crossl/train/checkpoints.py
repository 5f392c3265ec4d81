"""What pretraining writes while it runs: checkpoints, and a line of metrics each epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from crossl.files import naming, write_whole, writing
from crossl.train.training import Pretraining

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with steps done, steps in all, and the epoch's metrics."""


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoint files that are whole whenever the process is killed."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write beside, then rename."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as file:
            torch.save(checkpoint, file)


class KeepCheckpoints(ModelCheckpoint):
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


class Metrics(Callback):
    """Appends one JSON line per epoch, and reports progress."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self.path = path
        self.progress = progress

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the lines of epochs that a resumed run will not repeat."""
        if not trainer.is_global_zero or not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        # a run that was killed may have left half a line
        whole = [line for line in lines if trainer.global_step and line.endswith("}\n")]
        kept = [line for line in whole if json.loads(line)["epoch"] < trainer.current_epoch]
        write_whole(self.path, "".join(kept).encode())

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the epoch's line."""
        pretraining = cast(Pretraining, pl_module)
        validated = {name: float(v) for name, v in trainer.callback_metrics.items()}
        values = pretraining.trained_terms.take() | validated
        if not trainer.is_global_zero:
            return
        record = {"epoch": trainer.current_epoch, "step": trainer.global_step, **values}
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self.progress:
            self.progress(trainer.global_step, pretraining.total_steps, values)
