"""Windows of a table as they are when sensors are damaged.

Latents are of one modality each. So only what is damaged is encoded anew, once for each kind and
severity, whatever is damaged together with it; the rest is shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from crossl.data.damage import Damage, Spoiler
from crossl.data.store import Store
from crossl.errors import DataError
from crossl.evaluate.latents import LatentTable

ROWS = 1024


def damaged_tables(
    table: LatentTable, store: Store, spoiler: Spoiler, damages: Sequence[Damage]
) -> Iterator[tuple[Damage, LatentTable]]:
    """Yield a table of the same windows for each damage, in their order.

    Args:
        table: that knows its rows.
        store: of these rows.
        spoiler: that damages windows.
        damages: those of one kind and severity next to each other.

    Raises:
        DataError: the table does not know its rows.
    """
    pool = table if table.pool is None else table.pool
    for _, some in groupby(damages, key=lambda d: (d.kind, d.severity, d.per)):
        alike = list(some)
        latent = _damaged_latents(pool, store, spoiler, alike)
        for damage in alike:
            hit = torch.tensor([m.name in damage.modalities for m in store.modalities])
            mixed = torch.where(hit[:, None] & pool.present[:, :, None], latent, pool.latent)
            yield damage, _with_latents(table, mixed)


def _damaged_latents(
    table: LatentTable, store: Store, spoiler: Spoiler, damages: Sequence[Damage]
) -> Tensor:
    """Encode what any of some damages of one kind and severity hits: (n, M, K)."""
    rows, first = _rows(table), damages[0]
    latent = table.latent.clone()
    if first.severity == 0:
        return latent  # encoding again might round in another way
    names = {name for damage in damages for name in damage.modalities}
    present = np.asarray(table.present)
    for begin in range(0, len(rows), ROWS):
        part = slice(begin, begin + ROWS)
        signals = store.gather_zeroed(rows[part])
        for column, modality in enumerate(store.modalities):
            there = begin + np.flatnonzero(present[part, column])
            if modality.name not in names or not len(there):
                continue
            who = store.subject[rows[there]] if first.per == "person" else rows[there]
            x = spoiler.spoil(
                modality.name, signals[modality.name][there - begin], who, first.kind,
                first.severity,
            )  # fmt: skip
            latent[torch.from_numpy(there), column] = table.encode(column, x)
    return latent


def _with_latents(table: LatentTable, latent: Tensor) -> LatentTable:
    """Put other latents, of all of its pool, into a table."""
    if table.pool is None:
        return replace(table, latent=latent)
    pool = replace(table.pool, latent=latent)
    place = torch.from_numpy(np.searchsorted(_rows(pool), _rows(table)))
    return replace(table, latent=latent[place], pool=pool)


def _rows(table: LatentTable) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if table.rows is None:
        raise DataError(
            "windows: do not know their rows in the store, which they are damaged by; make the "
            "table with `rows`"
        )
    return table.rows
