"""What a report draws of predictions: counts of classes or labels, numbers, a stretch of time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.store import Store
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.probe import Classifier
from crossl.tasks import Statistics, Task

MOST_POINTS = 3000
MOST_WINDOWS = 1500
"""Of one recording: half a day of sleep has about as many."""

Arrays = dict[str, NDArray[Any]]


def counted_pictures(task: Task, counts: Statistics) -> Arrays:
    """Return what is drawn of counts: a confusion matrix, or a 2 x 2 table of each label.

    Args:
        task: of the counts.
        counts: of all test windows together.
    """
    if task.target.kind == "classes":
        return {"confusion": counts}
    return {"label_counts": counts} if task.target.kind == "labels" else {}


def predicted_pictures(
    classifier: Classifier, table: LatentTable, store: Store, rows: NDArray[np.int64]
) -> Arrays:
    """Return true and predicted values of some test windows.

    Args:
        classifier: of the run whose test windows these are.
        table: test windows.
        store: that they are of.
        rows: their rows in it.

    Returns:
        Of numbers `number_true`, `number_said` (n, Q) and `number_subject` (n,) names; of a
        sequence `stretch_hours`, `stretch_true` and `stretch_said` (n,) of one recording.
    """
    task = table.task
    if task.target.kind != "numbers" and len(task.offsets) == 1:
        return {}
    everything = tuple(range(table.present.shape[1]))
    said = predict_subsets([classifier], table, [everything])[0][everything]
    if task.target.kind == "numbers":
        known = np.flatnonzero(task.known(table.label))
        some = known[:: max(1, len(known) // MOST_POINTS)]
        return {"number_true": table.label[some], "number_said": said[some],
                "number_subject": table.subject[some]}  # fmt: skip
    recording = store.recording[rows]
    labelled = np.where(task.known(table.label), recording, -1)
    found, counts = np.unique(labelled[labelled >= 0], return_counts=True)
    if not len(found):
        return {}
    here = np.flatnonzero(recording == found[counts.argmax()])[:MOST_WINDOWS]
    hours = (store.start_s[rows[here]] - store.start_s[rows[here[0]]]) / 3600
    return {"stretch_hours": hours, "stretch_true": table.label[here], "stretch_said": said[here]}
