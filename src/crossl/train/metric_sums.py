"""Means over an epoch; a checkpoint in the middle of the epoch holds the sums so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class MetricSums:
    """Accumulates on the device; nothing synchronises with it until the means are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Add scalars."""
        for name, value in values.items():
            # in double precision, where the device has it: an epoch may be a million steps
            kind = torch.float32 if value.device.type == "mps" else torch.float64
            term = value.detach().to(kind) * weight
            self._sums[name] = self._sums[name] + term if name in self._sums else term
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def take(self) -> dict[str, float]:
        """Return the means and begin anew."""
        means = {name: float(total) / self._weights[name] for name, total in self._sums.items()}
        self._sums, self._weights = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        sums = {name: total.cpu() for name, total in self._sums.items()}
        return {"sums": sums, "weights": dict(self._weights)}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what a checkpoint kept."""
        self._sums = {name: total.to(device) for name, total in state["sums"].items()}
        self._weights = dict(state["weights"])
