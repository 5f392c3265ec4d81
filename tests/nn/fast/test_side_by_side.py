"""Networks side by side: each the same as alone, and trained through."""

from __future__ import annotations

import torch
from torch import nn

from crossl.nn.fast.side_by_side import Linears, TwoLayers


def test_each_network_gets_its_own_rows_and_its_own_gradient():
    torch.manual_seed(0)
    networks = nn.ModuleList(
        nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)) for _ in range(5)
    ).double()
    x = torch.randn(5, 7, 4, dtype=torch.float64, requires_grad=True)
    alone = torch.stack([network(rows) for network, rows in zip(networks, x, strict=True)])
    together = TwoLayers.of(networks)(x)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(Linears.of(n[0] for n in networks)(x)[2], networks[2][0](x[2]))
    wanted = torch.autograd.grad(alone.square().sum(), [x, *networks.parameters()])
    got = torch.autograd.grad(together.square().sum(), [x, *networks.parameters()])
    torch.testing.assert_close(got, wanted)
