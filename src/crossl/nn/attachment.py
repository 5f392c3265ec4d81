"""Where faster ways to compute the same are attached.

The modules of this folder say what the networks are, in plain torch. `crossl.nn.fast` computes the
same faster, to rounding, and attaches itself here when `crossl.nn` is imported; nothing else knows
its name. Without that folder, with `CROSSL_FAST=0` in the environment, within `plain_ways()`, and
while a model is traced or exported, the plain code runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
Result = TypeVar("Result")
Item = TypeVar("Item")

FAST = "crossl.nn.fast"


@dataclass(frozen=True)
class _Faster:
    run: Callable[..., Any]
    applies: Callable[..., bool]


_attached: dict[object, _Faster] = {}


def replaceable(plain: Callable[P, Result]) -> Callable[P, Result]:
    """Let a faster way be attached to a function or method that says how something is computed."""

    @wraps(plain)
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        faster = None if is_traced() else _attached.get(call)
        if faster is None or not faster.applies(*args, **kwargs):
            return plain(*args, **kwargs)
        found: Result = faster.run(*args, **kwargs)
        return found

    return call


def attach(
    plain: Callable[..., Any],
    run: Callable[..., Any],
    *,
    applies: Callable[..., bool] = lambda *_, **__: True,
) -> None:
    """Compute what a replaceable function says in another way, the same to rounding.

    Args:
        plain: the function, or the method of a class.
        run: called instead, with the same arguments.
        applies: called with them first; where it says no, `plain` runs.
    """
    _attached[plain] = _Faster(run, applies)


def attach_fast_ways() -> None:
    """Import the folder of fast ways, which attaches them, if it is there and not switched off."""
    if os.environ.get("CROSSL_FAST", "1") == "0":
        return
    try:
        import_module(FAST)
    except ModuleNotFoundError as error:
        if error.name != FAST:
            raise


@contextmanager
def plain_ways() -> Iterator[None]:
    """Run the plain code only, in all threads."""
    kept = dict(_attached)
    _attached.clear()
    try:
        yield
    finally:
        _attached.update(kept)


def is_traced() -> bool:
    """Tell whether the computation is being recorded, to export or to compile it."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


# --- what others ask of the fast ways, and what is true without them


@replaceable
def run_in_parts(work: Callable[[list[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Do work on items, in as many parts as can be done at the same time.

    Args:
        work: takes some of the items; needs no gradient, and may run at the same time as itself.
        items: at least one.

    Returns:
        What each part gave, in order.

    Examples:
        >>> sum(run_in_parts(sum, [1, 2, 3, 4, 5]))
        15
    """
    return [work(list(items))]


@replaceable
def kernels_in_use() -> str:
    """Name what decides how sums are rounded, as checkpoints and blocks of embeddings keep it."""
    return "plain"


@replaceable
def forget_memory() -> None:
    """Give back what this thread keeps from one call to the next."""
