"""Ridge regression instead of a task's usual fit, as MiniRocket asks for."""

from __future__ import annotations

from collections.abc import Sequence

from crossl.evaluate.latents import Head
from crossl.evaluate.probe import Probe, fit_strengths
from crossl.evaluate.probe_rows import ProbeRows
from crossl.tasks import UNNAMED_CLASSES, Task


def fit_ridge(
    rows: ProbeRows, head: Head, strengths: Sequence[float], *, task: Task = UNNAMED_CLASSES
) -> list[Probe]:
    """Fit one classifier for each strength, whose inverse is the penalty.

    Args:
        rows: training features, labels and weights.
        head: what they are.
        strengths: inverse penalties of squared weights, on standardised features.
        task: what is predicted for each window.
    """
    return fit_strengths(rows, head, strengths, task=task, fit=lambda chosen: chosen.fit_ridge)
