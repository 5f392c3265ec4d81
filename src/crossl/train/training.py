"""One step of whatever is trained by gradient, and all that a checkpoint must keep of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from crossl.data.damage import Spoiler
from crossl.data.damaged import DamagedSource, TrainingDamage
from crossl.data.source import WindowSource
from crossl.methods.method import Method
from crossl.methods.views import seed_dropout, seeded
from crossl.nn.attachment import forget_memory
from crossl.nn.precision import computing_in
from crossl.nn.standardise import recorded_deviation
from crossl.train.cuda_graphs import Given, Recorded, record, widened
from crossl.train.loading import Batches, Part, Plan, Rows, TargetArray, at_step
from crossl.train.metric_sums import MetricSums
from crossl.train.nonfinite import stop_nonfinite
from crossl.train.processes import Ranks, average_gradients
from crossl.train.stopping import StopSignals

# what random numbers are for
MASKS, VALIDATION_MASKS, DROPOUT, NOISE = range(4)


class Pace(Protocol):
    """How fast to learn, and in which numbers."""

    @property
    def gradient_norm(self) -> float | None:
        """Gradients are clipped to this norm; None leaves them."""

    @property
    def average_decay(self) -> float:
        """Decay of the moving average of weights, which is what is kept; 0 keeps the last."""

    @property
    def precision(self) -> str:
        """`float32`, or `bfloat16` for networks where it is safe."""

    @property
    def checkpoint_s(self) -> float:
        """Seconds after which a checkpoint is written between two validations."""

    def build_optimizer(
        self, module: nn.Module, total_steps: int
    ) -> tuple[torch.optim.Optimizer, LambdaLR | None]:
        """Make the optimiser, and what changes its rate each step."""


class Validation(Protocol):
    """What is asked of validation subjects, and which of the answers choose a moment.

    Attributes:
        watched: the measure that tells which moment is best.
        higher_is_better: of that measure.
        at_start: whether they are asked before the first step too.
    """

    watched: str
    higher_is_better: bool
    at_start: bool

    def measure(self, training: Training) -> dict[str, float]:
        """Measure what is trained, in evaluation mode and without gradient."""


@dataclass(frozen=True)
class Words:
    """What training is called in messages.

    Attributes:
        what: is done.
        batch_size: the setting that says how many windows are in a batch.
    """

    what: str = "pretraining"
    batch_size: str = "schedule.batch_size"


@dataclass
class Moment:
    """The best moment so far, and how many validations were no better since."""

    best: float | None = None
    step: int = 0
    waited: int = 0

    def improves(self, value: float, step: int, *, higher: bool) -> bool:
        """Take a validation's answer; tell whether it is the best so far."""
        if math.isnan(value):
            value = -math.inf if higher else math.inf
        if self.best is None or (value > self.best if higher else value < self.best):
            self.best, self.step, self.waited = value, step, 0
            return True
        self.waited += 1
        return False


@dataclass
class _Last:
    """The step that is being taken."""

    part: Part
    terms: dict[str, Tensor]
    loss: Tensor
    gradients: list[Tensor] = field(default_factory=list)


class Training:
    """What is trained, and how far it is.

    Args:
        method: is trained.
        pace: how fast.
        plan: which windows make which batch.
        validation: what is asked of validation subjects.
        source: windows.
        seed: of everything random.
        out: folder for checkpoints, and for a step that was not finite; None keeps neither.
        targets: (W, ...) of the source, for a method that sees them.
        words: for messages.
        damage: how windows are damaged while they are learned from; those of validation subjects
            are not.

    Attributes:
        step: how many steps were taken.
        averaged: the moving average of what is kept, if there is one.
        last_weights: those of the last step, where training ended with the best moment's.
    """

    def __init__(  # noqa: PLR0913 - what is trained, on what, how, where
        self,
        method: Method,
        pace: Pace,
        plan: Plan,
        validation: Validation,
        *,
        source: WindowSource,
        seed: int,
        out: Path | None,
        targets: TargetArray | None = None,
        words: Words = Words(),
        damage: TrainingDamage | None = None,
    ) -> None:
        self.method, self.pace, self.plan, self.validation = method, pace, plan, validation
        self.source, self.seed, self.out, self.words = source, seed, out, words
        self.learned: WindowSource = source  # as windows are when they are learned from
        if damage is not None:
            deviation = recorded_deviation(method.model.standardiser, source, plan.rows)
            spoiler = Spoiler(source.modalities, deviation, seed=seed)
            self.learned = DamagedSource(source, damage, spoiler)
        self.targets = targets if method.sees_targets else None
        self.total_steps = plan.epochs * plan.per_epoch
        self.step, self.moment = 0, Moment()
        self.last_weights: dict[str, Tensor] | None = None
        self.averaged: nn.Module | None = None
        if pace.average_decay > 0:
            self.averaged = copy.deepcopy(method.kept).eval().requires_grad_(requires_grad=False)
            averages: list[Tensor] = list(self.averaged.parameters())
            self._averages = averages, list[Tensor](method.kept.parameters())
        self.ranks, self.device, self.signals = Ranks(), torch.device("cpu"), StopSignals()
        self.trained_terms = MetricSums()
        self._graphs, self._tried_graphs = cast("Recorded | None", None), False
        self._last: _Last | None = None
        self._named = list(self.module.named_parameters())
        self.module.train()

    @property
    def module(self) -> nn.Module:
        """The method, as the torch module that it is."""
        return cast("nn.Module", self.method)

    @property
    def kept(self) -> nn.Module:
        """What is worth keeping, as it is now."""
        return self.averaged if self.averaged is not None else self.method.kept

    @property
    def epoch(self) -> int:
        """How many validations lie behind, but for one before the first step."""
        return self.step // self.plan.per_epoch

    @property
    def done(self) -> int:
        """How many batches lie behind since then."""
        return self.step % self.plan.per_epoch

    def finished(self) -> nn.Module:
        """Return what is kept, on the processor, in evaluation mode, able to learn as before."""
        self.module.cpu()
        kept = self.kept.cpu()
        for one, source in zip(kept.parameters(), self.method.kept.parameters(), strict=True):
            one.requires_grad_(source.requires_grad)
        return kept.eval()

    def place(self, device: torch.device, ranks: Ranks) -> None:
        """Move to a device, beside the other processes, and make the optimiser."""
        self.device, self.ranks = device, ranks
        self.module.to(device)
        if self.averaged is not None:
            self.averaged.to(device)
        self.optimizer, self.rate = self.pace.build_optimizer(self.module, self.total_steps)

    # --- steps

    def batches(self) -> Batches:
        """Return what is left of the batches before the next validation."""
        rows = self.plan.batches(self.epoch)[self.done :]
        return Batches(self.learned, rows, self.ranks, self.targets, first=self.step)

    def read(self, batches: list[Rows]) -> Batches:
        """Read batches of other rows, in the same way."""
        return Batches(self.source, batches, self.ranks, self.targets)

    def _generator(self, *numbers: int) -> torch.Generator:
        """Seed by position, not by history: a resumed run draws what it would have drawn."""
        return seeded(self.seed, *numbers, device=self.device)

    def terms(self, part: Part, purpose: int, number: int) -> dict[str, Tensor]:
        """Encode this process's windows, compare those of all.

        Args:
            part: of a batch.
            purpose: `MASKS` or `VALIDATION_MASKS`.
            number: of the batch.
        """
        noise = self._generator(NOISE, purpose, number).initial_seed()
        method, whole = self.method, len(part.rows)
        drawn = method.draw(part.present, self._generator(purpose, number))
        with computing_in(self.pace.precision, self.device):
            signals = method.views(part.batch, seed=noise, first=part.first, whole=whole)
            halves = self._recorded(Given(signals, part.present, drawn, part.targets)) or method
            own = widened(halves.encode(signals, part.batch.present))
            encoded = {name: self.ranks.gather(x, whole) for name, x in own.items()}
            return halves.compare(encoded, part.present, drawn, part.targets)

    def _recorded(self, step: Given) -> Recorded | None:
        """Return CUDA graphs for such a step, recorded when the first one comes."""
        if self.device.type != "cuda" or self.ranks.world > 1 or not torch.is_grad_enabled():
            return None
        if not self._tried_graphs:
            self._tried_graphs = True
            self._graphs = record(self.method, step, precision=self.pace.precision)
        fast = self._graphs
        return fast if fast is not None and fast.fits(step) else None

    def take_step(self, part: Part) -> None:
        """Learn from a batch.

        Raises:
            TrainingError: the loss or a gradient is not finite; the weights are as before.
        """
        dropout = self._generator(DROPOUT, self.step, self.ranks.rank)
        seed_dropout(dropout.initial_seed(), self.device)
        terms = self.terms(part, MASKS, self.step)
        loss = torch.stack(list(terms.values())).sum()
        self._last = _Last(part, terms, loss.detach())
        self.trained_terms.add({"train/loss": loss} | named("train", terms), 1.0)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients((p for _, p in self._named), self.ranks)
        self._check_and_clip(self._last)
        self.optimizer.step()
        if self.rate is not None:
            self.rate.step()
        self.step += 1
        self.method.after_step(self.step, self.total_steps)
        self._average()
        self._last = None

    def _check_and_clip(self, last: _Last) -> None:
        """Stop before what is not finite reaches the weights; the one wait for the device."""
        found = [(name, p.grad) for name, p in self._named if p.grad is not None]
        last.gradients = [gradient for _, gradient in found]
        norms = torch.stack(torch._foreach_norm(last.gradients))
        if not torch.isfinite(torch.stack([last.loss, norms.sum()])).all():
            if not torch.isfinite(last.loss):
                told = ", ".join(f"{name} {x.item():.3g}" for name, x in last.terms.items())
                self._stop(f"the loss is not finite ({told})", last)
            bad = next(n for (n, _), x in zip(found, norms, strict=True) if not x.isfinite())
            self._stop(f"the gradient of {bad} is not finite", last)
        if self.pace.gradient_norm is not None:
            whole = torch.linalg.vector_norm(norms)
            factor = (self.pace.gradient_norm / (whole + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(last.gradients, factor)

    def _stop(self, what: str, last: _Last) -> NoReturn:
        where = "" if self.words == Words() else f"{self.words.what}, "
        stop_nonfinite(
            what, where=f"{where}step {self.step}", method=self.method, part=last.part,
            source=at_step(self.learned, self.step), ranks=self.ranks, out=self.out, step=self.step,
        )  # fmt: skip

    def _average(self) -> None:
        """Move the average towards the weights; faster at the start."""
        if self.averaged is None:
            return
        decay = min(self.pace.average_decay, self.step / (self.step + 9))
        with torch.no_grad():
            torch._foreach_lerp_(*self._averages, 1 - decay)

    def measure(self) -> dict[str, float]:
        """Ask validation subjects; numbers have the digits of float32, as they are written."""
        self.module.eval()
        with torch.inference_mode():
            found = self.validation.measure(self)
        self.module.train()
        return {name: float(torch.tensor(x, dtype=torch.float32)) for name, x in found.items()}

    def forget_step(self) -> None:
        """Let go of what a step that failed left in memory."""
        self._last, self._graphs = None, None
        forget_memory()
        for parameter in self.module.parameters():
            parameter.grad = None

    def forget_graphs(self) -> None:
        """Let go of what was recorded, and of its memory on the device."""
        self._graphs = None

    # --- what checkpoints keep

    def weights(self) -> dict[str, Tensor]:
        """Return all weights: `method.NAME`, and `averaged.NAME` if there is an average."""
        found = {f"method.{name}": x for name, x in self.module.state_dict().items()}
        average = {} if self.averaged is None else self.averaged.state_dict()
        return found | {f"averaged.{name}": x for name, x in average.items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights that `weights` returned, or a checkpoint of Lightning's."""
        self.module.load_state_dict(_under("method.", weights))
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged.", weights))

    def state(self) -> dict[str, Any]:
        """Return everything that training continues from."""
        return {
            "global_step": self.step,
            "epoch": self.epoch,
            "state_dict": self.weights(),
            "optimizer_states": [self.optimizer.state_dict()],
            "lr_schedulers": [] if self.rate is None else [self.rate.state_dict()],
            "part": {"done": self.done, "tally": self.trained_terms.state()},
            "moment": {"best": self.moment.best, "step": self.moment.step,
                       "waited": self.moment.waited},
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; `place` comes before."""
        self.step = state["global_step"]
        self.moment = Moment(**state["moment"])
        self.load_weights(state["state_dict"])
        self.optimizer.load_state_dict(state["optimizer_states"][0])
        if self.rate is not None:
            self.rate.load_state_dict(state["lr_schedulers"][0])
        self.trained_terms.restore(state["part"]["tally"], self.device)


def named(stage: str, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the stage before the names of terms."""
    return {f"{stage}/{name}": term for name, term in terms.items()}


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): x for n, x in weights.items() if n.startswith(prefix)}
