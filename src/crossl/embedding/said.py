"""What a run's classifier says of windows, from the outputs that lie beside embeddings in blocks.

Where a task reads neighbours, blocks hold what each window adds to every one of its neighbours; the
sum is taken when the file is written, so that a block depends on its own windows only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.neighbours import neighbours
from crossl.data.recording import Float32
from crossl.data.store import Store
from crossl.embedding.archive import Streamed
from crossl.embedding.kept_blocks import Parts
from crossl.tasks import Task, classes_task, stored_task

FLOAT32 = np.dtype("<f4")


def said_arrays(parts: Parts, store: Store) -> Iterator[Streamed]:
    """Describe what a file holds of predictions; nothing without a classifier.

    Args:
        parts: whose blocks have outputs behind embeddings.
        store: of the windows.

    Yields:
        Of classes `probability` (n, C), `classes` (C,) and `predicted` (n,) names, empty where
        nothing was recorded. Of labels `probability` (n, L), `labels` (L,) and `predicted` (n, L),
        -1 there. Of numbers `predicted` (n, Q), NaN there, `numbers` (Q,) and `units` (Q,).
    """
    names = np.array(parts.facts["classes"], dtype=np.str_)
    if not len(names):
        return
    told = parts.facts.get("task")
    task = classes_task(names.tolist()) if told is None else stored_task(told, where=str(parts.out))
    kind, shape = task.target.kind, (parts.windows, len(names))
    if kind == "numbers":
        units = np.array([task.target.units[task.names.index(n)] for n in names], dtype=np.str_)
        yield Streamed("predicted", FLOAT32, shape, lambda: _outputs(parts, store, task))
        yield Streamed("numbers", names.dtype, names.shape, lambda: [names])
        yield Streamed("units", units.dtype, units.shape, lambda: [units])
        return
    yield Streamed("probability", FLOAT32, shape, lambda: _outputs(parts, store, task))
    yield Streamed(kind, names.dtype, names.shape, lambda: [names])
    if kind == "labels":
        yield Streamed("predicted", np.dtype("i1"), shape, lambda: (
            np.where(np.isnan(p), -1, p > 0.5).astype(np.int8) for p in _outputs(parts, store, task)
        ))  # fmt: skip
    else:
        yield Streamed("predicted", names.dtype, (parts.windows,), lambda: (
            _best(p, names) for p in _outputs(parts, store, task)))  # fmt: skip


def _best(probability: NDArray[np.floating[Any]], classes: NDArray[np.str_]) -> NDArray[np.str_]:
    """Name the most probable class; nothing where there is no probability."""
    best = classes[probability.argmax(axis=1)]
    return np.where(np.isnan(probability).any(axis=1), "", best)


def _outputs(parts: Parts, store: Store, task: Task) -> Iterator[Float32]:
    """Yield of each block probabilities, or numbers, (n, R); NaN where nothing was recorded."""
    dim, blocks = parts.facts["dim"], dict[int, Float32]()
    for number in range(parts.count):
        if len(task.offsets) == 1:
            yield parts.read(number)[:, dim:]
            continue
        rows = np.arange(number * parts.size, number * parts.size + parts.rows(number))
        near = neighbours(store, rows, task.offsets)
        needed = np.unique(near[near >= 0] // parts.size).tolist()
        blocks = {n: blocks[n] if n in blocks else parts.read(n)[:, dim:] for n in needed}
        total = _summed(near, blocks, parts.size)
        total[np.isnan(blocks[number]).any(axis=1)] = np.nan
        probability = task.probabilities(total)
        yield np.asarray(total if probability is None else probability, dtype=np.float32)


def _summed(near: NDArray[np.int64], blocks: dict[int, Float32], size: int) -> Float32:
    """Add up what neighbours add to windows: those at offset k have it in their kth part."""
    offsets = near.shape[1]
    width = next(iter(blocks.values())).shape[1] // offsets
    total = np.zeros((len(near), width), dtype=np.float32)
    for place, column in enumerate(near.T):
        for number, block in blocks.items():
            here = np.flatnonzero((column >= 0) & (column // size == number))
            added = block[column[here] % size, place * width : (place + 1) * width]
            total[here] += np.nan_to_num(added, nan=0.0)
    return total
