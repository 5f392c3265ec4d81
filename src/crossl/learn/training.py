"""A method under Lightning: its steps and its batches."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from crossl.data.batch import Batch
from crossl.data.source import WindowSource
from crossl.learn.collapse import collapse_measures, collapse_warning
from crossl.learn.loading import Batches, training_batches, validation_batches
from crossl.learn.methods import Method
from crossl.learn.nonfinite import stop_nonfinite
from crossl.learn.schedule import Schedule, build_optimizer
from crossl.nn.model import CrossModalModel

logger = logging.getLogger(__name__)

MONITOR_WINDOWS = 2048
"""At most this many validation windows are embedded for the collapse monitor."""


class Pretraining(lightning.LightningModule):
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
        windows = cast(Windows, self.trainer.datamodule)  # type: ignore[attr-defined]
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
        optimizer, rate = build_optimizer(self.schedule, self.method, self.total_steps)
        if rate is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


class Windows(lightning.LightningDataModule):
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
        return DataLoader(Batches(self.source, self.batches()), batch_size=None)

    def batches(self) -> list[NDArray[np.int64]]:
        """Return the rows of each batch of the current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        return training_batches(self.train_rows, self.size, seed=self.seed, epoch=epoch)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Read the validation rows, in the same batches every time."""
        batches = validation_batches(self.validation_rows, self.size)
        return DataLoader(Batches(self.source, batches), batch_size=None)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Copy to the device; Lightning does not know a Batch."""
        return batch.to(device)
