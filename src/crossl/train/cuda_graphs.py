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
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from crossl.methods.method import Keeps, Method, Present, Signals, Views
from crossl.nn.precision import at_least_float32, computing_in
from crossl.train.batch_memory import is_out_of_memory
from crossl.train.loading import PINNING

logger = logging.getLogger(__name__)

Run = Callable[..., tuple[Tensor, ...]]


class Halves(Protocol):
    """What of a method only computes."""

    def encode(self, signals: Signals, present: Present) -> Views:
        """See `Method`."""

    def compare(self, latents: Views, present: Present, keeps: Keeps) -> dict[str, Tensor]:
        """See `Method`."""


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
        total = torch.stack([x.sum() for x in found]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        self.used = nn.ParameterList(
            p for p, g in zip(parameters, gradients, strict=True) if g is not None
        )
        return [x.detach() for x in found]


class Recorded:
    """`encode` and `compare` of a method, recorded for batches of one shape.

    Args:
        method: on a GPU, in training mode.
        signals: of a batch such as those to come.
        present: of that batch.
        keeps: as drawn for it.
        precision: in which to compute.
    """

    def __init__(
        self, method: Method, signals: Signals, present: Present, keeps: Keeps, *, precision: str
    ) -> None:
        self._names = tuple(signals)
        self._shapes = _shapes(signals, present)

        def encode(present: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            named = dict(zip(self._names, given, strict=True))
            return (at_least_float32(method.encode(named, present)),)

        def compare(*given: Tensor) -> tuple[Tensor, ...]:
            return tuple(method.compare(*given).values())

        halves = _Half(encode), _Half(compare)
        parameters = list(cast("nn.Module", method).parameters())
        with computing_in(precision, present.device, cache=False), _undisturbed():
            first = (present, *signals.values())
            (latents,) = halves[0].use(parameters, first)
            with torch.no_grad():
                self._terms = list(method.compare(latents, present, keeps))
            second = (latents.requires_grad_(), present, keeps)
            halves[1].use(parameters, second)
            made = torch.cuda.make_graphed_callables(
                halves, (first, second), allow_unused_input=True
            )
        self._encode, self._compare = cast("tuple[Any, Any]", made)

    def fits(self, signals: Signals, present: Present) -> bool:
        """Tell whether a batch is of the recorded shape and a gradient is wanted."""
        return torch.is_grad_enabled() and _shapes(signals, present) == self._shapes

    def encode(self, signals: Signals, present: Present) -> Views:
        """See `Method`; the result is float32."""
        out: Tensor = self._encode(present, *[signals[name] for name in self._names])[0]
        return out

    def compare(self, latents: Views, present: Present, keeps: Keeps) -> dict[str, Tensor]:
        """See `Method`."""
        return dict(zip(self._terms, self._compare(latents, present, keeps), strict=True))


def record(
    method: Method, signals: Signals, present: Present, keeps: Keeps, *, precision: str
) -> Recorded | None:
    """Record a method and check it against the method itself; say in one log line if that fails.

    The arguments are those of `Recorded`. A method that draws within what it computes, by dropout,
    is not recorded: what it draws would not depend on seed and position alone.

    Returns:
        What was recorded; None where the plain way must do.
    """
    if _has_dropout(method):
        logger.info("CUDA graphs are not used: the networks have dropout")
        return None
    made: Recorded | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of streams; what comes of it is checked
            made = Recorded(method, signals, present, keeps, precision=precision)
            with computing_in(precision, present.device):
                if agree(method, made, signals, present, keeps):
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


def _has_dropout(method: Method) -> bool:
    layers = cast("nn.Module", method).modules()
    return any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in layers)


def agree(
    method: Method, fast: Halves, signals: Signals, present: Present, keeps: Keeps
) -> bool:  # fmt: skip
    """Tell whether a step has the loss, and gradients of the size, that the method's own has."""
    found = []
    for halves in cast("tuple[Halves, Halves]", (method, fast)):
        latents = at_least_float32(halves.encode(signals, present))
        total = torch.stack(list(halves.compare(latents, present, keeps).values())).sum()
        parameters = list(cast("nn.Module", method).parameters())
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


def _shapes(signals: Signals, present: Present) -> tuple[Any, ...]:
    return (present.shape, *[(name, x.shape, x.dtype) for name, x in signals.items()])
