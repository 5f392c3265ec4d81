"""An objective: alignment and uniformity on the sphere (Wang and Isola 2020, arXiv 2005.10242)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from crossl.objectives import Objective


class UniformConfig(Objective):
    """Pull two views of a window together, spread all windows over the sphere."""

    kind: Literal["uniform"] = "uniform"
    uniformity: float = Field(1.0, ge=0)

    def compare(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Return both terms of two (B, D) views."""
        a, b = normalize(a, dim=1), normalize(b, dim=1)
        spread = [torch.pdist(z).square().mul(-2).exp().mean().log() for z in (a, b)]
        return {
            "alignment": (a - b).square().sum(dim=1).mean(),
            "uniformity": self.uniformity * (spread[0] + spread[1]) / 2,
        }
