"""Random changes of windows that do not depend on how many processes share a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from crossl.nn.attachment import run_in_parts

BLOCK = 32
"""Rows of a whole batch that share a seed on a CPU. Fewer rows are more calls, more rows are more
noise that is drawn and thrown away where the share of a process ends inside a block."""

Augment = Callable[[Mapping[str, Tensor], torch.Generator], dict[str, Tensor]]


def seeded(seed: int, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator from a seed and what it is for."""
    state = np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state) >> 1)


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seed what layers draw on a device, and no other: that takes long."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    elif device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def augment_views(
    augment: Augment,
    signals: Mapping[str, Tensor],
    *,
    views: int,
    seed: int,
    first: int = 0,
    whole: int | None = None,
) -> dict[str, Tensor]:
    """Augment windows of a larger batch as they would be within it, several times.

    Args:
        augment: changes (B, T, C) signals, each window for itself, by a generator.
        signals: {modality: (b, T, C)}, some rows of the batch.
        views: V, how often.
        seed: of the step.
        first: place of the first of these rows in the whole batch.
        whole: rows of the whole batch; these are all if None.

    Returns:
        {modality: (V * b, T, C)}, one view after the other.
    """
    some = next(iter(signals.values()))
    on_cpu = some.device.type == "cpu"
    # elsewhere what is drawn for nothing costs less than drawing block by block
    size = BLOCK if on_cpu else whole or len(some)
    blocks = range(first // size, -(-(first + len(some)) // size))
    pieces = [(view, block) for view in range(views) for block in blocks]

    def changed(some: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        return [_augment_block(augment, signals, (seed, *piece), first, size) for piece in some]

    with torch.no_grad():
        done = run_in_parts(changed, pieces) if on_cpu else [changed(pieces)]
        parts = [part for some in done for part in some]
        return {name: torch.cat([part[name] for part in parts]) for name in signals}


def _augment_block(
    augment: Augment,
    signals: Mapping[str, Tensor],
    what: tuple[int, int, int],
    first: int,
    size: int,
) -> dict[str, Tensor]:
    """Augment those of these rows that lie in a block; `what` is seed, view and block."""
    some = next(iter(signals.values()))
    begin = what[2] * size - first  # of the block, among these rows
    own = slice(max(0, begin), min(len(some), begin + size))
    before, after = own.start - begin, begin + size - own.stop
    # a block is always drawn as a whole: what is drawn depends on its shape
    filled = {n: _filled(x[own], before, after) for n, x in signals.items()}
    changed = augment(filled, seeded(*what, device=some.device))
    return {name: x[before : size - after] for name, x in changed.items()}


def _filled(x: Tensor, before: int, after: int) -> Tensor:
    return pad(x, (0, 0, 0, 0, before, after)) if before or after else x
