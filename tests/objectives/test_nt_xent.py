"""NT-Xent against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crossl.objectives import nt_xent


def test_nt_xent_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3))
    z = np.concatenate([a, b])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i in range(10):
        partner = (i + 5) % 10
        others = [math.exp(z[i] @ z[k] / 0.3) for k in range(10) if k != i]
        total -= math.log(math.exp(z[i] @ z[partner] / 0.3) / sum(others))
    found = nt_xent(torch.from_numpy(a), torch.from_numpy(b), temperature=0.3)["contrast"]
    np.testing.assert_allclose(float(found), total / 10, rtol=1e-12)


def test_nt_xent_does_not_depend_on_lengths_nor_on_the_order_of_views() -> None:
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = nt_xent(a, b)["contrast"]
    torch.testing.assert_close(nt_xent(3 * a, 0.5 * b)["contrast"], loss)
    torch.testing.assert_close(nt_xent(b, a)["contrast"], loss)


def test_views_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"views have shapes \(2, 3\) and \(3, 3\)"):
        nt_xent(torch.zeros(2, 3), torch.zeros(3, 3))
