"""What a method computes as CUDA graphs: thousands of small launches become a few.

Encoders and heads of this size keep a GPU busy for less time than it takes to call them. What only
computes (`encode`, `compare`, and their gradients) is recorded once and replayed; what is drawn
stays outside, seeded as ever. How much that gives: `benchmarks/speed/gpu.md`.
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from crossl.methods.method import Drawn, Encoded, Method, Present, Signals, Targets
from crossl.nn.precision import at_least_float32, computing_in
from crossl.train.batch_memory import is_out_of_memory
from crossl.train.loading import PINNING

logger = logging.getLogger(__name__)

Run = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Given:
    """What one step computes with.

    Attributes:
        signals: from `views`.
        present: (B, M) of the whole batch, all of which is this process's.
        drawn: from `draw`.
        targets: of the whole batch, for a method that sees them.
    """

    signals: Signals
    present: Present
    drawn: Drawn
    targets: Targets = None

    @property
    def shapes(self) -> tuple[Any, ...]:
        """What must be alike for a recorded step to be replayed."""
        return (self.present.shape, *[(n, x.shape, x.dtype) for n, x in self.signals.items()])

    @property
    def beside(self) -> list[Tensor]:
        """The tensors that `compare` is given beside what was encoded, in order."""
        targets = [] if self.targets is None else [self.targets]
        return [self.present, *(self.drawn or {}).values(), *targets]

    def with_beside(self, given: Sequence[Tensor]) -> Given:
        """Put tensors in the places of those of `beside`."""
        left = list(given)
        present = left.pop(0)
        drawn = None if self.drawn is None else {name: left.pop(0) for name in self.drawn}
        return Given(self.signals, present, drawn, left.pop(0) if left else None)


class Halves(Protocol):
    """What of a method only computes."""

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """See `Method`."""

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """See `Method`."""


def widened(encoded: Encoded) -> dict[str, Tensor]:
    """Return what was encoded, numbers with a point in float32 at least."""
    return {n: at_least_float32(x) if x.is_floating_point() else x for n, x in encoded.items()}


class _Half(nn.Module):
    """A function of tensors, and the parameters that it uses."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.used = nn.ParameterList()

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Run."""
        return self.run(*given)

    def use(self, parameters: Iterable[nn.Parameter], given: Sequence[Tensor]) -> list[Tensor]:
        """Find the parameters by running once; return what comes out, without its history."""
        parameters = list(parameters)
        found = self.run(*given)
        total = torch.stack([x.sum() for x in found if x.requires_grad]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        self.used = nn.ParameterList(
            p for p, g in zip(parameters, gradients, strict=True) if g is not None
        )
        return [x.detach().requires_grad_(x.requires_grad) for x in found]


class Recorded:
    """`encode` and `compare` of a method, recorded for batches of one shape.

    Args:
        method: on a GPU, in training mode.
        step: such as those to come.
        precision: in which to compute.
    """

    def __init__(self, method: Method, step: Given, *, precision: str) -> None:
        self._signals, self._shapes = tuple(step.signals), step.shapes
        self._encoded: tuple[str, ...] = ()
        self._terms: tuple[str, ...] = ()

        def encode(present: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            named = dict(zip(self._signals, given, strict=True))
            found = widened(method.encode(named, present))
            self._encoded = tuple(found)
            return tuple(found.values())

        def compare(*given: Tensor) -> tuple[Tensor, ...]:
            encoded = dict(zip(self._encoded, given, strict=False))
            now = step.with_beside(given[len(encoded) :])
            found = method.compare(encoded, now.present, now.drawn, now.targets)
            self._terms = tuple(found)
            return tuple(found.values())

        halves = _Half(encode), _Half(compare)
        parameters = _trained(method)
        with computing_in(precision, step.present.device, cache=False), _undisturbed():
            first = (step.present, *step.signals.values())
            encoded = halves[0].use(parameters, first)
            second = (*encoded, *step.beside)
            halves[1].use(parameters, second)
            made = torch.cuda.make_graphed_callables(
                halves, (first, second), allow_unused_input=True
            )
        self._encode, self._compare = cast("tuple[Any, Any]", made)

    def fits(self, step: Given) -> bool:
        """Tell whether a step is of the recorded shape and a gradient is wanted."""
        return torch.is_grad_enabled() and step.shapes == self._shapes

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """See `Method`; the result is float32."""
        out = self._encode(present, *[signals[name] for name in self._signals])
        return dict(zip(self._encoded, out, strict=True))

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """See `Method`."""
        given = [encoded[name] for name in self._encoded]
        terms = self._compare(*given, *Given({}, present, drawn, targets).beside)
        return dict(zip(self._terms, terms, strict=True))


def record(method: Method, step: Given, *, precision: str) -> Recorded | None:
    """Record a method and check it against the method itself; say in one log line if that fails.

    The arguments are those of `Recorded`. A method that draws within what it computes, by dropout,
    is not recorded: what it draws would not depend on seed and position alone.

    Returns:
        What was recorded; None where the plain way must do.
    """
    if _has_dropout(method):
        logger.info("CUDA graphs are not used: the networks have dropout")
        return None
    if not any(p.requires_grad for p in method.model.encoders.parameters()):
        logger.info("CUDA graphs are not used: no encoder is trained")
        return None
    made: Recorded | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of streams; what comes of it is checked
            made = Recorded(method, step, precision=precision)
            with computing_in(precision, step.present.device):
                if agree(method, made, step):
                    return made
        told = "a recorded step differs from a plain one"
    except RuntimeError as error:
        if is_out_of_memory(error):
            told = "they do not fit into memory"
        else:
            told = (str(error).splitlines() or [repr(error)])[0]
    made = None
    gc.collect()  # recordings are in cycles with what recorded them
    torch.cuda.empty_cache()
    logger.warning("CUDA graphs are not used, training continues without them, slower: %s", told)
    return None


def _trained(method: Method) -> list[nn.Parameter]:
    """Return the parameters that have gradients: those of frozen encoders have none."""
    return [p for p in cast("nn.Module", method).parameters() if p.requires_grad]


def _has_dropout(method: Method) -> bool:
    layers = cast("nn.Module", method).modules()
    return any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in layers)


def agree(method: Method, fast: Halves, step: Given) -> bool:
    """Tell whether a step has the loss, and gradients of the size, that the method's own has."""
    found = []
    parameters = _trained(method)
    for halves in cast("tuple[Halves, Halves]", (method, fast)):
        encoded = widened(halves.encode(step.signals, step.present))
        terms = halves.compare(encoded, step.present, step.drawn, step.targets)
        total = torch.stack(list(terms.values())).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        norms = torch._foreach_norm([g for g in gradients if g is not None])
        found.append(torch.stack([total.detach(), *norms]))
    wanted, got = found
    if not torch.isfinite(wanted).all():
        return True  # the step itself will be stopped, with the reason
    # wide enough for sums in another order and in bfloat16
    return len(got) == len(wanted) and torch.allclose(
        got, wanted, rtol=0.02, atol=1e-3 * float(wanted[1:].max())
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep other threads, and the collector of what old graphs left, from the device meanwhile."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with PINNING:
            yield
    finally:
        if was_enabled:
            gc.enable()
