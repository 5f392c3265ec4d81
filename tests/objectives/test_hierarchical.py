"""TS2Vec's contrast against its formula, place by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.objectives.hierarchical import hierarchical_contrast


def formula(a, b, common):
    """Equations 1 and 2 for both views, 3 over scales, in loops."""
    temporal, instance, scales = 0.0, 0.0, 0
    while True:
        scales += 1
        windows, places, _ = a.shape
        seen = [t for t in range(places) if common[t]]
        across, along = [], []
        for one, other in ((a, b), (b, a)):
            for i in range(windows):
                for t in seen:
                    match = np.exp(one[i, t] @ other[i, t])
                    rest = sum(np.exp(one[i, t] @ other[j, t]) for j in range(windows))
                    rest += sum(np.exp(one[i, t] @ one[j, t]) for j in range(windows) if j != i)
                    across.append(-np.log(match / rest))
                    rest = sum(np.exp(one[i, t] @ other[i, s]) for s in seen)
                    rest += sum(np.exp(one[i, t] @ one[i, s]) for s in seen if s != t)
                    along.append(-np.log(match / rest))
        instance += np.mean(across) / 2
        if places == 1:
            return {"temporal": temporal / scales, "instance": instance / scales}
        temporal += np.mean(along) / 2
        groups = [[t for t in (s, s + 1) if t in seen] for s in range(0, places, 2)]
        a, b = (
            np.stack([x[:, g].max(axis=1) if g else 0 * x[:, 0] for g in groups], axis=1)
            for x in (a, b)
        )
        common = [bool(g) for g in groups]


@pytest.mark.parametrize("common", [
    [1], [1, 1], [1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 0],
])  # fmt: skip
def test_it_is_the_formula_of_the_paper(common):
    generator = torch.Generator().manual_seed(0)
    shape = (3, len(common), 4)
    a, b = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    common = torch.tensor(common, dtype=torch.bool)
    wanted = formula(a.numpy(), b.numpy(), common.tolist())
    for name, term in hierarchical_contrast(a, b, common).items():
        np.testing.assert_allclose(term.item(), wanted[name])


def test_what_is_not_common_counts_for_nothing():
    common = torch.tensor([False, True, True, False, False])
    a, b = (torch.randn(4, 5, 3) for _ in range(2))
    other = [torch.where(common[None, :, None], x, 9.0).requires_grad_() for x in (a, b)]
    found, wanted = (hierarchical_contrast(*two, common) for two in (other, (a, b)))
    torch.testing.assert_close(found, wanted)
    sum(found.values()).backward()
    for x in other:
        assert torch.isfinite(x.grad).all()
        assert not x.grad[:, ~common].any()


def test_the_order_of_windows_does_not_matter():
    a, b = (torch.randn(6, 4, 3, dtype=torch.float64) for _ in range(2))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    common = torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(
        hierarchical_contrast(a[order], b[order], common), hierarchical_contrast(a, b, common)
    )
