"""Windows with their neighbours: embeddings side by side, and linear maps of them.

A linear map of several windows is a sum of linear maps of each. So every window is read once, under
every subset of sensors, and what it adds to each of its neighbours is handed to these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.neighbours import neighbours
from crossl.data.store import Store
from crossl.errors import DataError
from crossl.evaluate.latents import Array, Head, LatentTable, Subset
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.tasks import Task


def table_with_neighbours(
    model: CrossModalModel, store: Store, rows: NDArray[np.int64], task: Task
) -> LatentTable:
    """Compute the latents of rows of a store and of their neighbours at a task's offsets.

    Args:
        model: whose latents.
        store: of the rows.
        rows: sorted.
        task: whose targets, and whose offsets.
    """
    near = neighbours(store, rows, task.offsets)
    every = np.union1d(rows, near[near >= 0])
    pool = LatentTable(
        model,
        encode_rows(model, store, every),
        torch.from_numpy(store.present[every]),
        task.values(store)[every],
        store.subject[every],
        task,
        rows=every,
    )
    return with_neighbours(pool, store, every).take(np.searchsorted(every, rows))


def with_neighbours(table: LatentTable, store: Store, rows: NDArray[np.int64]) -> LatentTable:
    """Let the windows of a table know their neighbours among themselves.

    Args:
        table: windows.
        store: that they are of.
        rows: their sorted rows in it.
    """
    near = neighbours(store, rows, table.task.offsets)
    place = np.minimum(np.searchsorted(rows, near), len(rows) - 1)
    around = np.where((near >= 0) & (rows[place] == near), place, -1)
    return replace(table, around=around, pool=table)


def embed_around(table: LatentTable, head: Head, allowed: Tensor) -> Array:
    """Embed windows and their neighbours side by side.

    Args:
        table: windows that know their neighbours.
        head: which embedding.
        allowed: (n, M) bool, modalities that may be used, of a window and its neighbours alike.

    Returns:
        (n, O, D) float32; NaN where there is no neighbour, or one with nothing of what is allowed.
    """
    around, pool = _known(table)
    parts = []
    for column in around.T:
        there = pool.take(np.maximum(column, 0))
        shown = replace(there, present=there.present & allowed)
        found = shown.embed(head)
        usable = shown.usable() & (column >= 0)
        parts.append(np.where(usable[:, None], found, np.float32(np.nan)))
    return np.stack(parts, axis=1)


def read_around(
    table: LatentTable,
    head: Head,
    choices: Sequence[Subset],
    maps: Sequence[tuple[Array, Array]],
) -> list[Array]:
    """Read windows and their neighbours through linear maps, under every subset.

    Args:
        table: windows that know their neighbours, each once.
        head: which embedding is read.
        choices: S subsets of columns.
        maps: of each classifier weight (O * R, D) and bias (O * R,), offset by offset.

    Returns:
        Of each classifier (n, S, R).
    """
    around, pool = _known(table)
    offsets = around.shape[1]
    weight, bias = (np.concatenate(parts) for parts in zip(*maps, strict=True))
    widths = [len(b) // offsets for _, b in maps]
    ends = np.cumsum([len(b) for _, b in maps])[:-1]
    sums = [np.zeros((len(table), len(choices), width), np.float32) for width in widths]
    target = _whom(around, len(pool))
    usable = np.stack([pool.usable(subset) for subset in choices], axis=1)  # (N, S)
    begin = 0
    for reading in pool.read(head, choices, weight, bias):
        rows = slice(begin, begin + len(reading))
        seen = np.where(usable[rows][:, :, None], reading, 0)
        for total, part in zip(sums, np.split(seen, ends, axis=-1), strict=True):
            by_offset = part.reshape(*part.shape[:2], offsets, -1)
            for column in range(offsets):
                to = target[rows, column]
                some = to >= 0
                total[to[some]] += by_offset[some, :, column]
        begin = rows.stop
    return sums


def _whom(around: NDArray[np.int64], windows: int) -> NDArray[np.int64]:
    """For each window of the pool and offset, the row that it is the neighbour of; -1 of none."""
    out = np.full((windows, around.shape[1]), -1, dtype=np.int64)
    for column, near in enumerate(around.T):
        there = np.flatnonzero(near >= 0)
        out[near[there], column] = there
    return out


def _known(table: LatentTable) -> tuple[NDArray[np.int64], LatentTable]:
    if table.around is None or table.pool is None:
        raise DataError(
            "windows: do not know their neighbours, which the task reads; make the table by "
            "`table_with_neighbours`"
        )
    return table.around, table.pool


def side_by_side(embedding: NDArray[Any], mean: Array, scale: Array) -> Array:
    """Standardise (n, O, D) alike at all offsets, as (n, O * D); who is not there is average."""
    return np.nan_to_num((embedding - mean) / scale, nan=0.0).reshape(len(embedding), -1)
