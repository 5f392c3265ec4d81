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
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.calibrated import as_seen, recorded
from crossl.data.damage import Damage, Spoiler
from crossl.data.damaged import DamagedSource
from crossl.data.store import Store
from crossl.errors import DataError
from crossl.evaluate.latents import LatentTable, comparable

ROWS = 1024


def comparable_damaged(present: NDArray[np.bool_], damaged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which windows count under a damage: those that count when what is damaged is missing.

    They have all of it, and something beside it; where all is damaged, any of it.

    Args:
        present: (n, M).
        damaged: (M,) bool.
    """
    if damaged.all():
        return np.asarray(present.any(axis=1))
    return comparable(present, tuple(np.flatnonzero(~damaged).tolist()))


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


def damaged_at_random(table: LatentTable, source: DamagedSource) -> LatentTable:
    """Return the windows of a table, damaged as windows are that are learned from.

    Args:
        table: that knows its rows.
        source: the same windows, damaged.

    Raises:
        DataError: the table does not know its rows.
    """
    pool = table if table.pool is None else table.pool
    rows, latent, present = _rows(pool), pool.latent.clone(), np.asarray(pool.present)
    for begin in range(0, len(rows), ROWS):
        part = slice(begin, begin + ROWS)
        clean, spoilt = (one.gather_zeroed(rows[part]) for one in (source.source, source))
        for column, name in enumerate(clean):
            changed = (spoilt[name] != clean[name]).any(axis=(1, 2)) & present[part, column]
            some = np.flatnonzero(changed)
            if len(some):
                encoded = pool.encode(column, spoilt[name][some])
                latent[torch.from_numpy(begin + some), column] = encoded
    return _with_latents(table, latent)


def beside(table: LatentTable, other: LatentTable) -> LatentTable:
    """Put the same windows in another state below a table, as more to learn from."""
    around, pool = table.around, table.pool
    if pool is not None and other.pool is not None:
        near = [np.asarray(one.around) for one in (table, other)]
        moved = np.where(near[1] >= 0, near[1] + len(pool), -1)
        around, pool = np.concatenate([near[0], moved]), beside(pool, other.pool)
    return replace(
        table,
        latent=torch.cat([table.latent, other.latent]),
        present=torch.cat([table.present, other.present]),
        label=np.concatenate([table.label, other.label]),
        subject=np.concatenate([table.subject, other.subject]),
        around=around,
        pool=pool,
        rows=np.concatenate([_rows(table), _rows(other)]),
        copies=table.copies + other.copies,
    )


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
        signals = recorded(store).gather_zeroed(rows[part])
        for column, modality in enumerate(store.modalities):
            there = begin + np.flatnonzero(present[part, column])
            if modality.name not in names or not len(there):
                continue
            who = store.subject[rows[there]] if first.per == "person" else rows[there]
            x = spoiler.spoil(
                modality.name, signals[modality.name][there - begin], who, first.kind,
                first.severity,
            )  # fmt: skip
            seen = as_seen(store, column, x, rows[there])
            latent[torch.from_numpy(there), column] = table.encode(column, seen)
    return latent


def _with_latents(table: LatentTable, latent: Tensor) -> LatentTable:
    """Put other latents, of all of its pool, into a table."""
    if table.pool is None:
        return replace(table, latent=latent)
    pool = replace(table.pool, latent=latent)
    place = torch.from_numpy(np.searchsorted(_rows(pool), _rows(table)))
    return replace(table, latent=latent[place], pool=pool)


def _rows(table: LatentTable) -> NDArray[np.int64]:
    if table.rows is None:
        raise DataError(
            "windows: do not know their rows in the store, which they are damaged by; make the "
            "table with `rows`"
        )
    return table.rows
