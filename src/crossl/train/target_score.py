"""How well targets of validation subjects are predicted: what chooses the moment of training."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch

from crossl.methods.supervised import SupervisedMethod
from crossl.nn.precision import at_least_float32, computing_in
from crossl.tasks import Coding, Task
from crossl.train.loading import Rows, TargetArray
from crossl.train.training import Training

WINDOWS = 1024
"""Windows that are read at a time."""


class TargetScore:
    """The task's main metric on validation subjects, of everything that is present.

    Args:
        rows: of validation subjects, of which something is known; none where they choose nothing.
        label: (W, ...) targets of the source.
        task: what is predicted for each window.
        coding: what the outputs are.
    """

    at_start = True

    def __init__(self, rows: Rows, label: TargetArray, task: Task, coding: Coding) -> None:
        self.rows, self.label, self.coding = rows, label[rows], coding
        self.task = task.among(coding.numbers, self.label)
        self.watched = f"val/{task.main}"
        self.higher_is_better = not task.lower_is_better

    def measure(self, training: Training) -> dict[str, float]:
        """Score what is kept; NaN without rows."""
        if not len(self.rows):
            return {self.watched: math.nan}
        network = cast(SupervisedMethod, training.kept).eval()
        blocks = [self.rows[i : i + WINDOWS] for i in range(0, len(self.rows), WINDOWS)]
        found = []
        for part in training.read(blocks):
            batch = part.to(training.device).batch
            with computing_in(training.pace.precision, training.device):
                latent = network.model.latent(batch)
                features = network.features(latent, batch.present)
                own = at_least_float32(network.classifier(features))
            found.append(training.ranks.gather(own, len(part.rows)).cpu())
        readings = self.coding.readings(torch.cat(found).numpy())
        said = self.task.decide(readings, self.coding.numbers)
        group = np.zeros(len(said), np.int64)
        counts = self.task.count(self.label, said, group, 1)
        return {self.watched: float(self.task.metric(counts)[0])}
