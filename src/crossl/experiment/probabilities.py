"""What contenders say with which probability, kept beside their scores if that is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.contenders import Outcome
from crossl.data.boundary import reading
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.evaluate.budgets import VALIDATION
from crossl.files import writing
from crossl.tasks import Task


@dataclass(frozen=True)
class Probabilities:
    """What one fitted classifier says of a fold's test windows, with probabilities.

    Attributes:
        label_fraction: of the labels it was fitted on.
        seed: of their draw.
        head: which embedding it reads; None where it reads none.
        names: (R,) classes or labels, in the order of the columns.
        by_sensors: (n, R) float32 by the names of the modalities that are shown.
        row: (n,) rows of the store.
        subject: (n,) names.
        budget: of labels, `strict` or `validation`.
    """

    label_fraction: float
    seed: int
    head: str | None
    names: tuple[str, ...]
    by_sensors: dict[tuple[str, ...], NDArray[np.float32]]
    row: NDArray[np.int64]
    subject: NDArray[np.str_]
    budget: str = VALIDATION


def save_probabilities(
    path: Path, outcomes: Sequence[Outcome], *, store: Store, fold: Fold, task: Task
) -> None:
    """Write what classifiers say of test windows to one `.npz`, replacing it whole.

    Args:
        path: of the file.
        outcomes: of one contender; those without probabilities are left out.
        store: of the windows.
        fold: whose test windows.
        task: whose names the columns stand for.
    """
    names = [m.name for m in store.modalities]
    head: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for outcome in outcomes:
        if outcome.probability is None or outcome.outputs is None:
            continue
        number, (fraction, seed, _) = len(head), outcome.draw
        head.append({
            "label_fraction": fraction, "seed": seed, "head": outcome.head,
            "budget": outcome.budget, "names": [task.names[i] for i in outcome.outputs],
            "sensors": [[names[i] for i in subset] for subset in outcome.probability],
        })  # fmt: skip
        for place, found in enumerate(outcome.probability.values()):
            arrays[f"{number}/{place}"] = found.astype(np.float32)
    with writing(path) as file:
        np.savez_compressed(  # type: ignore[arg-type]
            file, head=np.array(json.dumps(head)), row=fold.test,
            subject=store.subject[fold.test], **arrays,
        )  # fmt: skip


def load_probabilities(path: Path | str) -> list[Probabilities]:
    """Read what an experiment kept of one contender, an entry for each label draw and head.

    Raises:
        DataError: not such a file, or damaged.
    """
    path = Path(path)
    with reading(path, "probabilities"), path.open("rb") as file, np.load(file) as archive:
        row, subject = archive["row"], archive["subject"]
        return [
            Probabilities(
                entry["label_fraction"], entry["seed"], entry["head"], tuple(entry["names"]),
                {tuple(shown): archive[f"{number}/{place}"]
                 for place, shown in enumerate(entry["sensors"])},
                row, subject, entry.get("budget", VALIDATION),
            )
            for number, entry in enumerate(json.loads(str(archive["head"])))
        ]  # fmt: skip
