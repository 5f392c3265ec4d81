"""What a probe is trained on: labelled windows under every subset of their modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.evaluate.around import embed_around
from crossl.evaluate.latents import Array, Head, LatentTable, Subset, subsets
from crossl.evaluate.rotated import Parts

MAX_SUBSETS = 64
"""Up to this many subsets of modalities train a probe; of more, a seeded draw does."""


@dataclass(frozen=True)
class ProbeRows:
    """Training embeddings of a probe: windows under several subsets of modalities.

    Attributes:
        embedding: (n, D), or (n, O, D) of windows and their neighbours, NaN where there is none.
        label: (n, ...) targets.
        weight: (n,) of each row.
        untrained: (D,) which columns are untrained features; None for none.
        parts: what embeddings are made of, where they are latents of windows side by side.
    """

    embedding: Array
    label: NDArray[Any]
    weight: NDArray[np.float64]
    untrained: NDArray[np.bool_] | None = None
    parts: Parts | None = None


def probe_subsets(
    modalities: int, subset: Subset | None, *, missing: bool, seed: int
) -> list[Subset]:
    """Choose the subsets that train a probe; the fullest comes first."""
    columns = subset if subset is not None else tuple(range(modalities))
    if not missing:
        return [columns]
    if 2 ** len(columns) - 1 <= MAX_SUBSETS:
        return [tuple(columns[i] for i in chosen) for chosen in subsets(len(columns))]
    generator = np.random.default_rng(seed)
    drawn = {columns}
    while len(drawn) < MAX_SUBSETS:
        keep = generator.random(len(columns)) < generator.random()
        if keep.any():
            drawn.add(tuple(np.array(columns)[keep].tolist()))
    return sorted(drawn, key=lambda s: (-len(s), s))


def training_rows(
    train: LatentTable, head: Head, *, max_rows: int = 12000, seed: int = 0
) -> ProbeRows:
    """Return what a probe is trained on: labelled windows under every subset of their modalities.

    Args:
        train: labelled windows.
        head: which embedding is read.
        max_rows: at most about this many, for each copy of the windows.
        seed: of the draw of subsets.
    """
    choices = probe_subsets(train.present.shape[1], None, missing=True, seed=seed)
    return rows_of_subsets(train, head, choices, max_rows, seed)


def rows_of_subsets(
    train: LatentTable, head: Head, choices: Sequence[Subset], max_rows: int, seed: int
) -> ProbeRows:
    """Return labelled windows under the given subsets, the fullest first."""
    generator = np.random.default_rng(seed)
    full, max_rows = np.flatnonzero(train.usable(choices[0])), max_rows * train.copies
    share = min(1.0, max(0, max_rows - len(full)) / max(1, len(full) * (len(choices) - 1)))
    group, present = [full], [train.within(choices[0]).present[torch.from_numpy(full)]]
    for subset in choices[1:]:
        shown = train.within(subset)
        rows = np.flatnonzero(shown.usable() & (generator.random(len(train)) < share))
        group.append(rows)
        present.append(shown.present[torch.from_numpy(rows)])
    every = np.concatenate(group)
    table = replace(train.take(every), present=torch.cat(present))
    weight = np.ones(len(every))
    weight[len(full) :] = len(full) / max(1, len(every) - len(full))
    # C means the same with and without missing sensors, and windows that are there twice
    weight *= len(full) / train.copies / weight.sum()
    if len(train.task.offsets) > 1:
        embedding = embed_around(table, head, _allowed(choices, group, train.present.shape[1]))
        return ProbeRows(embedding, table.label, weight, train.untrained(head))
    parts = None if head == "aggregator" else _parts(train, every, table)
    return ProbeRows(table.embed(head), table.label, weight, train.untrained(head), parts)


def _parts(train: LatentTable, rows: NDArray[np.int64], shown: LatentTable) -> Parts:
    """Return what latents side by side of some rows of a table are made of."""
    used, window = np.unique(rows, return_inverse=True)
    return Parts(train.latent[torch.from_numpy(used)], window, np.asarray(shown.present))


def _allowed(
    choices: Sequence[Subset], group: Sequence[NDArray[np.int64]], modalities: int
) -> torch.Tensor:
    """Tell for each row of each group which modalities its subset has, (n, M) bool."""
    by_group = torch.zeros(len(choices), modalities, dtype=torch.bool)
    for row, subset in zip(by_group, choices, strict=True):
        row[list(subset)] = True
    return by_group.repeat_interleave(torch.tensor([len(rows) for rows in group]), dim=0)
