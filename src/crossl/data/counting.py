"""Counting: what a store holds, for `inspect`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from crossl.data.store import Store
from crossl.data.targets import LABEL, UNKNOWN, Target


def count_windows(store: Store) -> dict[str, Any]:
    """Count the windows of a store.

    Returns:
        Windows, labelled windows, windows by class and by subject, share present by modality.
    """
    labelled = store.label >= 0
    by_class = np.bincount(store.label[labelled], minlength=len(store.classes))
    names, counts = np.unique(store.subject, return_counts=True)
    share = store.present.mean(axis=0)
    return {
        "windows": len(store),
        "labelled": int(labelled.sum()),
        "classes": dict(zip(store.classes, by_class.tolist(), strict=True)),
        "subjects": dict(zip(cast("list[str]", names.tolist()), counts.tolist(), strict=True)),
        "present": {
            m.name: float(s) for m, s in zip(store.modalities, share.tolist(), strict=True)
        },
    }


def describe_targets(store: Store) -> list[tuple[str, ...]]:
    """Describe the targets of a store beside its label.

    Returns:
        A row for each class, label and number: target, kind, what it is with its unit, of how many
        windows something is known, and what: how many windows have the class or label; the lowest,
        median and highest number.
    """
    rows: list[tuple[str, ...]] = []
    for target in store.targets:
        if target.name == LABEL:
            continue
        values = store.target_values(target.name)
        for column, name in enumerate(target.names):
            mine = values if target.kind == "classes" else values[:, column]
            known = mine[~np.isnan(mine) if target.kind == "numbers" else mine != UNKNOWN]
            unit = target.units[column] if target.units else "1"
            shown = f"{name} ({unit})" if unit != "1" else name
            rows.append((target.name, target.kind, shown, f"{len(known)} of {len(store)}",
                         _told(target, column, known)))  # fmt: skip
    return rows


def _told(target: Target, column: int, known: NDArray[Any]) -> str:
    if target.kind != "numbers":
        return f"{int((known == (column if target.kind == 'classes' else 1)).sum())} windows"
    if not len(known):
        return ""
    return f"{known.min():.4g} to {known.max():.4g}, median {np.median(known):.4g}"
