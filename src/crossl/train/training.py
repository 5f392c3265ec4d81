"""A method under Lightning: its steps, its batches, its validation."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import lightning
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from crossl.data.source import WindowSource
from crossl.errors import TrainingError
from crossl.methods.method import Method, Signals
from crossl.methods.views import seed_dropout, seeded
from crossl.nn.attachment import forget_memory
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32, computing_in, warn_if_slow
from crossl.train.collapse import collapse_measures, collapse_warning
from crossl.train.cuda_graphs import Recorded, record
from crossl.train.loading import Batches, Part, training_batches, validation_batches
from crossl.train.metric_sums import MetricSums
from crossl.train.mid_epoch import as_at_epoch_start, computed_by, warn_of_other_bits
from crossl.train.nonfinite import stop_nonfinite
from crossl.train.processes import Ranks
from crossl.train.schedule import Schedule, build_optimizer
from crossl.train.stopping import Stopped, StopSignals

logger = logging.getLogger(__name__)

MONITOR_WINDOWS = 2048
"""At most this many validation windows are embedded for the collapse monitor."""

Rows = NDArray[np.int64]

# what random numbers are for
MASKS, VALIDATION_MASKS, DROPOUT, NOISE = range(4)


def last_checkpoint(out: Path) -> Path:
    """Name the checkpoint of a run that is resumed from."""
    return out / "checkpoints" / "last.ckpt"


class Pretraining(lightning.LightningModule):
    """A method under Lightning.

    Args:
        method: is trained.
        schedule: how long and how fast.
        source: windows.
        train: rows to learn from.
        validation: rows of other subjects.
        seed: of everything random.
        out: folder for checkpoints, and for a step that was not finite.
    """

    def __init__(
        self,
        method: Method,
        schedule: Schedule,
        *,
        source: WindowSource,
        train: Rows,
        validation: Rows,
        seed: int,
        out: Path,
    ) -> None:
        super().__init__()
        self.method = cast("nn.Module", method)
        self.schedule = schedule
        self.source, self.train_rows, self.validation_rows = source, train, validation
        self.seed, self.out = seed, out
        self.size = min(schedule.batch_size, len(train))
        per_epoch = max(1, len(train) // schedule.batch_size)
        self.epochs = schedule.epochs or math.ceil(schedule.steps / per_epoch)
        self.total_steps = self.epochs * per_epoch
        self.averaged: CrossModalModel | None = None
        if schedule.average_decay > 0:
            self.averaged = copy.deepcopy(method.model).requires_grad_(requires_grad=False)
            averages: list[Tensor] = list(self.averaged.parameters())
            self._averages = averages, list[Tensor](method.model.parameters())
        self.ranks, self.signals = Ranks(), StopSignals()
        self.trained_terms, self._validated, self._embeddings = (
            MetricSums(),
            MetricSums(),
            list[Tensor](),
        )
        self._done = 0  # batches of this epoch
        self._gradients: list[Tensor] = []
        self._graphs, self._tried_graphs = cast("Recorded | None", None), False
        self._last: tuple[Part, dict[str, Tensor], Tensor] | None = None
        self._named = list(self.method.named_parameters())
        self.train()  # Lightning does not: a method decides what else that means

    @property
    def typed(self) -> Method:
        """The method, as what it is beside a torch module."""
        return cast(Method, self.method)

    @property
    def _kept(self) -> CrossModalModel:
        return self.averaged if self.averaged is not None else self.typed.model

    def trained(self) -> CrossModalModel:
        """Return what is worth keeping."""
        return self._kept.cpu().requires_grad_(requires_grad=True).eval()

    # --- processes and signals

    def setup(self, stage: str) -> None:
        """Find the other processes."""
        world = self.trainer.world_size
        control = dist.new_group(backend="gloo") if world > 1 else None
        self.ranks = Ranks(self.global_rank, world, control)

    def on_fit_start(self) -> None:
        """Start alike everywhere."""
        self.ranks.spread_buffers(self)
        if self.ranks.rank == 0:
            warn_if_slow(self.schedule.precision, self.device)

    def on_train_start(self) -> None:
        """Take signals over from Lightning, which would kill or wait."""
        self.signals.listen()
        self._kept_at = time.monotonic()

    def on_train_epoch_start(self) -> None:
        """Stop between epochs; the last one's checkpoint is written."""
        self._kept_at = time.monotonic()
        if self.ranks.agree(self.signals.came is not None)[0]:
            raise Stopped

    def on_fit_end(self) -> None:
        """Let go of what was recorded, and of its memory on the device."""
        self._graphs = None

    # --- data

    def train_dataloader(self) -> DataLoader[Part]:
        """Shuffle by seed and epoch; leave out what a resumed epoch has done."""
        batches = training_batches(
            self.train_rows, self.size, seed=self.seed, epoch=self.current_epoch
        )
        return DataLoader(Batches(self.source, batches[self._done :], self.ranks), batch_size=None)

    def val_dataloader(self) -> DataLoader[Part]:
        """Read the validation rows, in the same batches every time."""
        batches = validation_batches(self.validation_rows, self.size)
        return DataLoader(Batches(self.source, batches, self.ranks), batch_size=None)

    def transfer_batch_to_device(
        self, batch: Part, device: torch.device, dataloader_idx: int
    ) -> Part:
        """Copy to the device; Lightning does not know a Part."""
        return batch.to(device)

    # --- steps

    def _generator(self, *numbers: int) -> torch.Generator:
        """Seed by position, not by history: a resumed run draws what it would have drawn."""
        return seeded(self.seed, *numbers, device=self.device)

    def _terms(self, part: Part, masks: int, number: int) -> dict[str, Tensor]:
        """Encode this process's windows, compare those of all."""
        noise = self._generator(NOISE, masks, number).initial_seed()
        method, present = self.typed, part.present
        keeps = method.draw(present, self._generator(masks, number))
        with computing_in(self.schedule.precision, self.device):
            signals = method.views(part.batch, seed=noise, first=part.first, whole=len(part.rows))
            fast = self._recorded(signals, present, keeps)
            own = at_least_float32((fast or method).encode(signals, part.batch.present))
            # all views in one exchange: (b, V, M, K) -> (B, V, M, K)
            latents = self.ranks.gather(own, len(part.rows))
            return (fast or method).compare(latents, present, keeps)

    def _recorded(self, signals: Signals, present: Tensor, keeps: Tensor) -> Recorded | None:
        """Return CUDA graphs for such a step, recorded when the first one comes."""
        if self.device.type != "cuda" or self.ranks.world > 1 or not torch.is_grad_enabled():
            return None
        if not self._tried_graphs:
            self._tried_graphs = True
            self._graphs = record(
                self.typed, signals, present, keeps, precision=self.schedule.precision
            )
        fast = self._graphs
        return fast if fast is not None and fast.fits(signals, present) else None

    def training_step(self, batch: Part, batch_idx: int) -> Tensor:
        """Return the loss of one step."""
        step = self.global_step
        seed_dropout(self._generator(DROPOUT, step, self.ranks.rank).initial_seed(), self.device)
        terms = self._terms(batch, MASKS, step)
        loss = torch.stack(list(terms.values())).sum()
        self._last = (batch, terms, loss.detach())
        self.trained_terms.add({"train/loss": loss} | _named("train", terms), 1.0)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before what is not finite reaches the weights; the one wait for the device."""
        _, terms, loss = self._last or _no_step()
        named = [(name, p.grad) for name, p in self._named if p.grad is not None]
        self._gradients = [gradient for _, gradient in named]
        self._norms = torch.stack(torch._foreach_norm(self._gradients))
        if torch.isfinite(torch.stack([loss, self._norms.sum()])).all():
            return
        if not torch.isfinite(loss):
            told = ", ".join(f"{name} {x.item():.3g}" for name, x in terms.items())
            self._stop(f"the loss is not finite ({told})")
        bad = next(n for (n, _), x in zip(named, self._norms, strict=True) if not x.isfinite())
        self._stop(f"the gradient of {bad} is not finite")

    def configure_gradient_clipping(self, *_: object, **__: object) -> None:
        """Clip, by the norms that are known already."""
        if self.schedule.gradient_norm is not None:
            whole = torch.linalg.vector_norm(self._norms)
            factor = (self.schedule.gradient_norm / (whole + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(self._gradients, factor)

    def _stop(self, what: str) -> NoReturn:
        part, _, _ = self._last or _no_step()
        stop_nonfinite(
            what, step=self.global_step, method=self.typed, part=part, source=self.source,
            ranks=self.ranks, out=self.out,
        )  # fmt: skip

    def on_train_batch_end(self, *_: object) -> None:
        """Average; within an epoch, keep a checkpoint when one is due, and stop when asked to."""
        self._average()
        self._last, self._gradients = None, []
        self._done += 1
        if self.trainer.is_last_batch:
            return  # validation and the checkpoint of the epoch follow
        due = time.monotonic() - self._kept_at >= self.schedule.checkpoint_s
        stop, due = self.ranks.agree(self.signals.came is not None, due and self.ranks.rank == 0)
        if stop or due:
            self.trainer.save_checkpoint(last_checkpoint(self.out))
            self._kept_at = time.monotonic()
        if stop:
            raise Stopped

    def _average(self) -> None:
        """Move the average towards the weights; faster at the start."""
        if self.averaged is None:
            return
        decay = min(self.schedule.average_decay, self.global_step / (self.global_step + 9))
        with torch.no_grad():
            torch._foreach_lerp_(*self._averages, 1 - decay)

    def on_train_epoch_end(self) -> None:
        """Count anew."""
        self._done = 0

    def forget_step(self) -> None:
        """Let go of what a step that failed left in memory."""
        self._last, self._embeddings, self._graphs, self._gradients = None, [], None, []
        forget_memory()
        for parameter in self.method.parameters():
            parameter.grad = None

    # --- validation

    def validation_step(self, batch: Part, batch_idx: int) -> None:
        """Collect the objective, under masks that are the same every epoch."""
        terms = self._terms(batch, VALIDATION_MASKS, batch_idx)
        loss = torch.stack(list(terms.values())).sum()
        self._validated.add({"val/loss": loss} | _named("val", terms), len(batch.rows))
        if sum(len(z) for z in self._embeddings) < MONITOR_WINDOWS:
            with computing_in(self.schedule.precision, self.device):
                own = at_least_float32(self._kept(batch.batch))
            self._embeddings.append(self.ranks.gather(own, len(batch.rows)))

    def on_validation_epoch_end(self) -> None:
        """Measure collapse and say so."""
        z = torch.cat(self._embeddings)
        self._embeddings.clear()
        if not torch.isfinite(z).all():
            raise TrainingError(
                f"step {self.global_step}: the embeddings of validation windows are not finite "
                "although the gradients were; lower the learning rate"
            )
        measures = collapse_measures(z)
        values = self._validated.take() | {f"val/{name}": x for name, x in measures.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1)
        warning = collapse_warning(measures, z.shape[1])
        if warning and self.ranks.rank == 0 and self.global_step * 5 > self.total_steps:
            logger.warning("epoch %d: %s", self.current_epoch, warning)

    # --- optimiser and checkpoints

    def configure_optimizers(self) -> Any:
        """Build the optimiser and its schedule."""
        optimizer, rate = build_optimizer(self.schedule, self.method, self.total_steps)
        if rate is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was done of an epoch, and nothing that belongs to a step only."""
        checkpoint["part"] = {"done": self._done, "tally": self.trained_terms.state()}
        checkpoint["computed_by"] = computed_by()
        if self._done:
            as_at_epoch_start(checkpoint["loops"], epoch=self.current_epoch)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on within the epoch."""
        warn_of_other_bits(checkpoint.get("computed_by", computed_by()))
        part = checkpoint["part"]
        self._done = part["done"]
        self.trained_terms.restore(part["tally"], self.device)


def _named(stage: str, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{stage}/{name}": term for name, term in terms.items()}


def _no_step() -> NoReturn:
    raise RuntimeError("no step was taken")
