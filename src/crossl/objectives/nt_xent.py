"""NT-Xent: normalised temperature-scaled cross entropy (SimCLR: Chen et al. 2020, 2002.05709)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from crossl.objectives.objective import Objective
from crossl.registry import register

Embedding = Float[Tensor, "batch dim"]


def nt_xent(a: Embedding, b: Embedding, *, temperature: float = 0.1) -> dict[str, Tensor]:
    """Find each view's other view among all 2B - 1 views of the batch, in both directions.

    Args:
        a: embeddings of one view.
        b: embeddings of the other, row by row of the same samples.
        temperature: divides the cosine similarities.

    Returns:
        One term, the mean over the 2B views.

    Raises:
        ValueError: shapes differ or the batch has fewer than 2 samples.

    Examples:
        >>> round(nt_xent(torch.eye(2), torch.eye(2), temperature=0.5)["contrast"].item(), 3)
        0.24
    """
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise ValueError(
            f"nt_xent: views have shapes {tuple(a.shape)} and {tuple(b.shape)}; "
            "two equal (batch, dim) with at least 2 samples are needed"
        )
    z = normalize(torch.cat([a, b]), dim=1)
    similarity = z @ z.T / temperature  # (2B, 2B)
    similarity = similarity.masked_fill(
        torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf
    )
    other = torch.arange(len(z), device=z.device).roll(len(a))
    return {"contrast": cross_entropy(similarity, other)}


class NtXentConfig(Objective):
    """Coefficients of NT-Xent."""

    kind: Literal["nt_xent"] = "nt_xent"
    temperature: float = Field(0.1, gt=0)

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """See `nt_xent`."""
        return nt_xent(a, b, temperature=self.temperature)


register("objective", NtXentConfig)
