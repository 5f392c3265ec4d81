"""Random changes of windows that do not depend on how many processes share a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 32
"""Rows of a whole batch that share a seed. Fewer rows are more calls, more rows are more noise
that is drawn and thrown away where the share of a process ends inside a block."""

Augment = Callable[[Mapping[str, Tensor], torch.Generator], dict[str, Tensor]]


def seeded(seed: int, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator from a seed and what it is for."""
    state = np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state) >> 1)


def augment_rows(
    augment: Augment, signals: Mapping[str, Tensor], *, seed: int, view: int, first: int
) -> dict[str, Tensor]:
    """Augment windows of a larger batch as they would be within it.

    Args:
        augment: changes (B, T, C) signals, each window for itself, by a generator.
        signals: {modality: (b, T, C)}, some rows of the batch.
        seed: of the step.
        view: number of the view.
        first: place of the first of these rows in the whole batch.
    """
    some = next(iter(signals.values()))
    count, parts = len(some), []
    for block in range(first // BLOCK, -(-(first + count) // BLOCK)):
        begin = block * BLOCK - first  # of the block, among these rows
        own = slice(max(0, begin), min(count, begin + BLOCK))
        before, after = own.start - begin, begin + BLOCK - own.stop
        # a block is always drawn as a whole: what is drawn depends on its shape
        whole = {n: _filled(x[own], before, after) for n, x in signals.items()}
        changed = augment(whole, seeded(seed, view, block, device=some.device))
        parts.append({name: x[before : BLOCK - after] for name, x in changed.items()})
    return {name: torch.cat([part[name] for part in parts]) for name in signals}


def _filled(x: Tensor, before: int, after: int) -> Tensor:
    return pad(x, (0, 0, 0, 0, before, after)) if before or after else x
