"""Objectives as methods call them: in float32, whatever the views were computed in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from crossl.nn.precision import at_least_float32
from crossl.objectives.objective import Embedding, Objective


def compare(objective: Objective, a: Embedding, b: Embedding) -> Mapping[str, Tensor]:
    """Return the weighted terms of two views."""
    with torch.autocast(a.device.type, enabled=False):
        return objective.compare(at_least_float32(a), at_least_float32(b))


def compare_several(
    objective: Objective,
    z: Float[Tensor, "view network width batch"],
    rows: Float[Tensor, "network batch"] | None = None,
) -> Mapping[str, Tensor]:
    """Return the weighted terms of the two views of several networks, (N,) each."""
    with torch.autocast(z.device.type, enabled=False):
        a, b = at_least_float32(z)
        return objective.compare_several(a, b, rows)
