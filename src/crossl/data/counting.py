"""Counting: what a store holds, for `inspect`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from crossl.data.store import Store
from crossl.data.targets import LABEL, UNKNOWN


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


def describe_targets(store: Store) -> list[tuple[str, str, str, str]]:
    """Describe the targets of a store beside its label.

    Returns:
        A row for each class, label and number: `target`, `kind`, what it is with its unit, and
        how often it is seen: windows of a class; windows with and without a label; windows of
        which a number is known, with its lowest, median and highest value.
    """
    rows = []
    for target in store.targets:
        if target.name == LABEL:
            continue
        values = store.target_values(target.name)
        for column, name in enumerate(target.names):
            if target.kind == "classes":
                told = f"{int((values == column).sum())} windows"
            elif target.kind == "labels":
                known = values[:, column][values[:, column] != UNKNOWN]
                told = f"{int(known.sum())} of {len(known)} windows"
            else:
                known = values[:, column][~np.isnan(values[:, column])]
                told = f"{len(known)} windows"
                if len(known):
                    low, middle, high = known.min(), np.median(known), known.max()
                    told += f", {low:.4g} to {high:.4g}, median {middle:.4g}"
            unit = target.units[column] if target.units else "1"
            shown = f"{name} ({unit})" if unit != "1" else name
            rows.append((target.name, target.kind, shown, told))
    return rows
