"""Expanders side by side: each the same as alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from crossl.methods.expanders import build_expander, expand


@pytest.fixture
def expanders() -> nn.ModuleList:
    """Three of them, whose normalisation does something."""
    torch.manual_seed(0)
    made = nn.ModuleList(build_expander(5, 7) for _ in range(3)).double()
    for one in made:
        nn.init.normal_(one[1].weight)
        nn.init.normal_(one[1].bias)
    return made


def views() -> Tensor:
    return torch.randn(2, 11, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_each_expander_sees_its_own_rows_of_each_view(expanders: nn.ModuleList) -> None:
    x = views()
    got = expand(expanders, x)
    for view in range(2):
        for i, one in enumerate(expanders):
            torch.testing.assert_close(got[view, i].T, one(x[view, :, i]))


def test_rows_that_do_not_count_are_not_in_the_statistics(expanders: nn.ModuleList) -> None:
    x = views()
    counts = torch.rand(3, 11, generator=torch.Generator().manual_seed(2)) < 0.7
    got = expand(expanders, x, counts.double())
    for view in range(2):
        for i, one in enumerate(expanders):
            wanted = one(x[view, counts[i], i])
            torch.testing.assert_close(got[view, i][:, counts[i]].T, wanted)


def test_with_all_rows_counting_both_ways_agree(expanders: nn.ModuleList) -> None:
    x = views().requires_grad_()
    found = []
    for rows in (None, torch.ones(3, 11, dtype=torch.float64)):
        expanders.zero_grad()
        x.grad = None
        out = expand(expanders, x, rows)
        out.square().sum().backward()
        found.append([out, x.grad, *[p.grad for p in expanders.parameters()]])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
