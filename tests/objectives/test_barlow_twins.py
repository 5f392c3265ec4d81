"""Each term of Barlow Twins against its formula in float64, and what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.objectives import barlow_twins
from crossl.objectives.barlow_twins import cross_correlation


def pair(n, d, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(d, d))
    return tuple(scale * rng.normal(size=(n, d)) @ mixed + rng.normal(size=d) for _ in range(2))


def correlation_of(a, b, epsilon=0.0):
    """Equation 2 of the paper, on columns centred along the batch, in loops."""
    n, d = a.shape
    out = np.zeros((d, d))
    for i in range(d):
        for j in range(d):
            x = [a[k, i] - sum(a[:, i]) / n for k in range(n)]
            y = [b[k, j] - sum(b[:, j]) / n for k in range(n)]
            above = sum(one * two for one, two in zip(x, y, strict=True))
            left = math.sqrt(sum(one**2 for one in x) + n * epsilon)
            right = math.sqrt(sum(two**2 for two in y) + n * epsilon)
            out[i, j] = above / (left * right)
    return out


def terms_of(c, weight):
    """Equation 1 of the paper, in loops."""
    d = len(c)
    return {
        "invariance": sum((1 - c[i, i]) ** 2 for i in range(d)),
        "redundancy": weight * sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j),
    }


shapes = pytest.mark.parametrize(("n", "d", "scale"), [
    (2, 1, 1.0), (2, 7, 0.1), (8, 5, 0.2), (33, 4, 1.0), (5, 32, 0.01),
])  # fmt: skip


@shapes
@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_the_correlation_equals_its_formula(n, d, scale, epsilon):
    a, b = pair(n, d, scale=scale)
    got = cross_correlation(torch.from_numpy(a), torch.from_numpy(b), epsilon=epsilon)
    np.testing.assert_allclose(got.numpy(), correlation_of(a, b, epsilon), rtol=1e-9, atol=1e-12)


@shapes
def test_each_term_equals_its_formula(n, d, scale):
    a, b = pair(n, d, scale=scale)
    got = barlow_twins(torch.from_numpy(a), torch.from_numpy(b), redundancy=0.3, epsilon=0.0)
    wanted = terms_of(correlation_of(a, b), 0.3)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name].item(), value, rtol=1e-9, atol=1e-12)


def test_the_loss_equals_that_of_batch_normalisation_as_the_authors_write_it():
    a, b = (torch.from_numpy(z) for z in pair(16, 6))
    norm = torch.nn.BatchNorm1d(6, affine=False, dtype=torch.float64)
    c = norm(a).T @ norm(b) / 16
    on = (torch.diagonal(c) - 1).pow(2).sum()
    off = (c - torch.diag(torch.diagonal(c))).pow(2).sum()
    got = barlow_twins(a, b, redundancy=0.0051)
    torch.testing.assert_close(sum(got.values()), on + 0.0051 * off)


@given(st.integers(2, 20), st.integers(1, 8), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_rows_permuted_together_change_nothing(n, d, seed):
    a, b = (torch.from_numpy(z) for z in pair(n, d, seed))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(barlow_twins(a[order], b[order]), barlow_twins(a, b))


@given(st.integers(0, 999), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=30, deadline=None)
def test_scale_and_shift_of_a_view_change_nothing(seed, scale, shift):
    a, b = (torch.from_numpy(z) for z in pair(12, 4, seed))
    one, two = (barlow_twins(z, b, epsilon=0.0) for z in (a, scale * a + shift))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)


def test_swapping_the_views_changes_nothing():
    a, b = (torch.from_numpy(z) for z in pair(9, 4))
    torch.testing.assert_close(barlow_twins(b, a), barlow_twins(a, b))


def test_rows_permuted_apart_cost_invariance():
    a, _ = (torch.from_numpy(z) for z in pair(30, 4))
    assert barlow_twins(a, a)["invariance"] < 1e-8
    assert barlow_twins(a, a.flip(0))["invariance"] > 0.5


def test_collapsed_views_pay_the_whole_invariance_and_get_a_finite_gradient():
    z = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
    terms = barlow_twins(z, z.detach().clone())
    np.testing.assert_allclose(terms["invariance"].item(), 3)
    np.testing.assert_allclose(terms["redundancy"].item(), 0)
    sum(terms.values()).backward()
    assert torch.isfinite(z.grad).all()


def test_gradients_equal_numerical_ones():
    a, b = (torch.from_numpy(z).requires_grad_() for z in pair(5, 3))
    assert torch.autograd.gradcheck(lambda x, y: sum(barlow_twins(x, y).values()), (a, b))


@pytest.mark.parametrize(("one", "two"), [
    ((4, 3), (4, 2)), ((4, 3), (5, 3)), ((1, 3), (1, 3)), ((4,), (4,)), ((4, 3, 2), (4, 3, 2)),
])  # fmt: skip
def test_views_that_do_not_match_are_refused(one, two):
    with pytest.raises(ValueError, match=r"barlow_twins: views have shapes .*; two equal \(batch"):
        barlow_twins(torch.zeros(one), torch.zeros(two))
