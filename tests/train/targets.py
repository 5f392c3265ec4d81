"""Targets of the tiny store: what follows from its bouts of rest, walk and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossl.data.recording import Modality
from crossl.data.target_rules import WindowsOf
from crossl.data.targets import Target

VALUES: dict[str, dict[str, Any]] = {
    "posture": {"rest": [0, 0], "walk": [1, 0], "run": [1, 1]},
    "speed": {"rest": [0.0], "walk": [1.4], "run": [3.2]},
}
TARGETS = (
    Target("posture", "labels", ("upright", "fast")),
    Target("speed", "numbers", ("speed",), ("m/s",)),
)
TASKS = {
    "labels": "{kind: labels, target: posture}",
    "numbers": "{kind: numbers, target: speed}",
    "sequence": "{kind: sequence, context: 1}",
}


@dataclass(frozen=True)
class FromBouts:
    """A target that the label in the middle of a window decides."""

    target: Target
    signals: tuple[Modality, ...] = field(default=())

    def values(self, windows: WindowsOf) -> np.ndarray:
        out = self.target.unknown(len(windows.start_s))
        middle = windows.start_s + windows.spec.window_s / 2
        for one in windows.recording.labels:
            here = (one.start_s <= middle) & (middle < one.end_s)
            out[here] = VALUES[self.target.name][one.label]
        return out


RULES = tuple(FromBouts(target) for target in TARGETS)
