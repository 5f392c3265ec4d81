"""What a run file names as `objective`: a loss of two views, with its coefficients."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from crossl.settings import Settings

Embedding = Float[Tensor, "batch dim"]


class Objective(Settings):
    """A loss of two views of a batch; a subclass has a `kind`, its coefficients and `compare`."""

    def compare(self, a: Embedding, b: Embedding) -> dict[str, Tensor]:
        """Return the weighted terms, scalars; the loss is their sum.

        Args:
            a: embeddings of one view.
            b: embeddings of the other, row by row of the same samples.
        """
        raise NotImplementedError

    def compare_several(
        self,
        a: Float[Tensor, "network dim batch"],
        b: Float[Tensor, "network dim batch"],
        rows: Float[Tensor, "network batch"] | None = None,
    ) -> dict[str, Float[Tensor, " network"]]:
        """Compare the views of several batches, each for itself.

        Args:
            a: embeddings of one view, samples last.
            b: embeddings of the other.
            rows: 1 for samples that count, 0 for those that do not; all count if None. Terms of a
                batch of fewer than 2 samples are 0.

        Returns:
            The weighted terms of each batch.
        """
        every = [torch.ones_like(a[0, 0], dtype=torch.bool)] * len(a)
        kept = every if rows is None else list(rows > 0)
        found = [
            self.compare(x[:, one].T, y[:, one].T) if one.sum() > 1 else {}
            for x, y, one in zip(a, b, kept, strict=True)
        ]
        names = dict.fromkeys(name for terms in found for name in terms)
        nothing = a.new_zeros(())
        return {name: torch.stack([t.get(name, nothing) for t in found]) for name in names}
