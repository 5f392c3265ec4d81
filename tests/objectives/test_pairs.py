"""Contrast among the samples that are there."""

from __future__ import annotations

import numpy as np
import torch

from crossl.objectives.cocoa import cocoa
from crossl.objectives.pairs import symmetric_contrast


def two(n: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, 5, generator=generator, dtype=torch.float64).unbind()
    return a, b


def formula(a: torch.Tensor, b: torch.Tensor, temperature: float) -> float:
    """Write the loss out, sample by sample."""
    x, y = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (a, b))
    total = 0.0
    for i in range(len(x)):
        for one, other in ((x, y), (y, x)):
            logits = np.array([one[i] @ row / temperature for row in other])
            total -= logits[i] - np.log(np.exp(logits).sum())
    return total / (2 * len(x))


def test_it_is_the_formula() -> None:
    a, b = two()
    found = symmetric_contrast(a, b, torch.ones(7, dtype=torch.bool), temperature=0.3)
    np.testing.assert_allclose(found.item(), formula(a, b, 0.3), rtol=1e-9)


def test_what_is_not_there_is_as_if_it_were_not_in_the_batch() -> None:
    a, b = two()
    there = torch.tensor([True, False, True, True, False, True, True])
    a[~there], b[~there] = 1e6, -3.0
    a.requires_grad_()
    found = symmetric_contrast(a, b, there, temperature=0.3)
    np.testing.assert_allclose(found.item(), formula(a.detach()[there], b[there], 0.3), rtol=1e-9)
    found.backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    assert not a.grad[~there].any()


def test_fewer_than_two_samples_give_nothing() -> None:
    a, b = two()
    a.requires_grad_()
    for count in (0, 1):
        there = torch.arange(7) < count
        found = symmetric_contrast(a, b, there, temperature=0.3)
        found.backward()
        assert found.item() == 0
        assert a.grad is not None
        assert not a.grad.any()


def test_cocoa_leaves_out_what_is_not_there() -> None:
    z = torch.nn.functional.normalize(torch.randn(3, 6, 4, dtype=torch.float64), dim=2)
    whole = cocoa(z)
    there = torch.ones(3, 6, dtype=torch.bool)
    torch.testing.assert_close(cocoa(z, there), whole)
    there[:, 4:] = False  # two windows without anything
    torch.testing.assert_close(cocoa(z, there), cocoa(z[:, :4]))
    there = torch.ones(3, 6, dtype=torch.bool)
    there[2] = False  # a modality that nobody has
    torch.testing.assert_close(cocoa(z, there), cocoa(z[:2]))
