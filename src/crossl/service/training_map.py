"""Map: where training windows lie in a plane, so that one sees where a new one falls.

The plane is that of the two principal components of their embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.api.inputs import take_given
from crossl.api.run import Run
from crossl.data.recording import Float32
from crossl.data.store import Store
from crossl.embedding.in_memory import embedding_of, encode_windows
from crossl.errors import ContractError, DataError

MOST_POINTS = 1200
LEAST_POINTS = 3


@dataclass(frozen=True)
class TrainingMap:
    """A plane of embeddings.

    Attributes:
        points: (n, 2) of training windows, each axis within -1 and 1 but for a few.
        label: (n,) their classes; empty where there is none.
        share: of the variance of embeddings that the plane has.
        mean: (D,) of embeddings.
        axes: (2, D) that an embedding is projected on.
    """

    points: Float32
    label: NDArray[np.str_]
    share: float
    mean: Float32
    axes: Float32

    def place(self, embedding: Float32) -> tuple[float, float] | None:
        """Return where an embedding falls; None of a window without one."""
        if not np.isfinite(embedding).all():
            return None
        x, y = (self.axes @ (embedding - self.mean)).tolist()
        return round(x, 4), round(y, 4)


def training_map(run: Run, store_path: Path) -> TrainingMap:
    """Embed training windows, some of them evenly if there are many.

    Args:
        run: with a classifier.
        store_path: of the store that it learned from.

    Raises:
        ContractError: it learned from another store.
        DataError: too few windows.
    """
    store = Store.open(store_path)
    if store.hash != run.contract.get("store_sha256", store.hash):  # runs of Python may not say
        raise ContractError(
            f"{store_path}: is not the store that the run learned from; give that one, or none and "
            "the page has no map"
        )
    people = run.contract.get("subjects", {}).get("train", ())
    rows = np.flatnonzero(np.isin(store.subject, list(people)))
    if len(rows) < LEAST_POINTS:
        raise DataError(f"{store_path}: has {len(rows)} training windows; a map needs 3")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(np.int64))]
    given = take_given(store, run.modalities, window_s=run.window_s, calibration=run.calibration)
    assert given.store is not None  # noqa: S101 - it is one
    label = np.array([*store.classes, ""])[store.label[rows]]
    head = run._fitted().probe.head
    some = take_given(given.store.arrays(rows), run.modalities, window_s=run.window_s,
                      calibration=run.calibration)  # fmt: skip
    (embedding,) = encode_windows(run.model, some.source, embedding_of(run.model, head))
    known = np.isfinite(embedding).all(axis=1)
    return plane_of(embedding[known], label[known])


def plane_of(embedding: Float32, label: NDArray[np.str_]) -> TrainingMap:
    """Return the plane of most variance.

    Args:
        embedding: (n, D) finite.
        label: (n,).
    """
    wide = embedding.astype(np.float64)
    mean = wide.mean(axis=0)
    _, scale, axes = np.linalg.svd(wide - mean, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    share = float((scale[:2] ** 2).sum() / max((scale**2).sum(), 1e-30))
    points = (wide - mean) @ axes.T
    reach = max(float(np.quantile(np.abs(points), 0.995)), 1e-30)
    axes = axes / reach
    return TrainingMap(
        (points / reach).astype(np.float32), label, share, mean.astype(np.float32),
        axes.astype(np.float32),
    )  # fmt: skip
