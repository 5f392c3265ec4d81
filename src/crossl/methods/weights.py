"""VICReg as methods call it: weighted, and in float32 whatever the views were computed in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossl.nn.precision import at_least_float32
from crossl.objectives.vicreg import vicreg, vicreg_of_several


@dataclass(frozen=True)
class VicregWeights:
    """Coefficients of VICReg."""

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0

    def __call__(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms, in float32 whatever the views were computed in."""
        with torch.autocast(a.device.type, enabled=False):
            return vicreg(
                at_least_float32(a), at_least_float32(b),
                invariance=self.invariance, variance=self.variance, covariance=self.covariance,
            )  # fmt: skip

    def of_several(
        self, z: Float[Tensor, "view network width batch"], rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted terms of several networks, (N,) each, likewise."""
        with torch.autocast(z.device.type, enabled=False):
            a, b = at_least_float32(z)
            return vicreg_of_several(
                a, b, rows,
                invariance=self.invariance, variance=self.variance, covariance=self.covariance,
            )  # fmt: skip
