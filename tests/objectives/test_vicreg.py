"""Each term of VICReg against its formula in float64, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.objectives import vicreg
from crossl.objectives.vicreg import (
    covariance_term,
    invariance_term,
    variance_term,
    vicreg_of_several,
)


def pair(n, d, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(d, d))
    return tuple(scale * rng.normal(size=(n, d)) @ mixed + rng.normal(size=d) for _ in range(2))


def variance_of(z):
    n, d = z.shape
    total = 0.0
    for j in range(d):
        mean = sum(z[:, j]) / n
        variance = sum((z[i, j] - mean) ** 2 for i in range(n)) / n
        total += max(0.0, 1 - np.sqrt(variance + 1e-4))
    return total / d


def covariance_of(z):
    c = np.cov(z, rowvar=False).reshape(z.shape[1], z.shape[1])
    return sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j) / len(c)


shapes = pytest.mark.parametrize(("n", "d", "scale"), [
    (2, 1, 1.0), (2, 7, 0.1), (8, 5, 0.2), (33, 4, 1.0), (5, 32, 0.01),
])  # fmt: skip


@shapes
def test_each_term_equals_its_formula(n, d, scale):
    a, b = pair(n, d, scale=scale)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(invariance_term(x, y).item(), ((a - b) ** 2).sum() / (n * d))
    np.testing.assert_allclose(variance_term(x).item(), variance_of(a), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(covariance_term(x).item(), covariance_of(a), rtol=1e-9, atol=1e-12)


@shapes
def test_terms_are_weighted_and_joined_as_the_original_does(n, d, scale):
    a, b = pair(n, d, scale=scale)
    got = vicreg(torch.from_numpy(a), torch.from_numpy(b), invariance=2, variance=3, covariance=5)
    wanted = {
        "invariance": 2 * ((a - b) ** 2).mean(),
        "variance": 3 * (variance_of(a) + variance_of(b)) / 2,
        "covariance": 5 * (covariance_of(a) + covariance_of(b)),
    }
    assert list(got) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name].item(), value, rtol=1e-9, atol=1e-12)


@given(st.integers(2, 20), st.integers(1, 8), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_rows_permuted_together_change_nothing(n, d, seed):
    a, b = (torch.from_numpy(z) for z in pair(n, d, seed))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(vicreg(a[order], b[order]), vicreg(a, b))


def test_rows_permuted_apart_change_the_invariance_only():
    a, b = (torch.from_numpy(z) for z in pair(9, 4))
    apart, together = vicreg(a, b.flip(0)), vicreg(a, b)
    assert (apart["invariance"] - together["invariance"]).abs() > 1e-3
    for name in ("variance", "covariance"):
        torch.testing.assert_close(apart[name], together[name])


def test_swapping_the_views_changes_nothing():
    a, b = (torch.from_numpy(z) for z in pair(9, 4))
    torch.testing.assert_close(vicreg(b, a), vicreg(a, b))


def test_collapsed_views_pay_the_whole_variance_and_get_a_finite_gradient():
    z = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
    terms = vicreg(z, z.detach().clone(), invariance=1, variance=1, covariance=1)
    wanted = {"invariance": 0.0, "variance": 0.99, "covariance": 0.0}
    for name, value in wanted.items():
        np.testing.assert_allclose(terms[name].item(), value, atol=1e-12)
    sum(terms.values()).backward()
    assert torch.isfinite(z.grad).all()


def test_gradients_equal_numerical_ones():
    a, b = (torch.from_numpy(z).requires_grad_() for z in pair(5, 3, scale=0.3))
    assert torch.autograd.gradcheck(lambda x, y: sum(vicreg(x, y).values()), (a, b))


@pytest.mark.parametrize(("one", "two"), [
    ((4, 3), (4, 2)), ((4, 3), (5, 3)), ((1, 3), (1, 3)), ((4,), (4,)), ((4, 3, 2), (4, 3, 2)),
])  # fmt: skip
def test_views_that_do_not_match_are_refused(one, two):
    with pytest.raises(ValueError, match=r"vicreg: views have shapes .*; two equal \(batch, dim\)"):
        vicreg(torch.zeros(one), torch.zeros(two))


def several(batches, n, d):
    """Return (batch, d, n) views of noise, samples last."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, batches, d, n)) * 0.3 + rng.normal(size=(batches, 1, 1))
    return torch.from_numpy(a), torch.from_numpy(b)


def test_vicreg_of_several_batches_is_that_of_each():
    a, b = several(3, 9, 5)
    got = vicreg_of_several(a, b, invariance=2, variance=3, covariance=5)
    for i in range(3):
        wanted = vicreg(a[i].T, b[i].T, invariance=2, variance=3, covariance=5)
        torch.testing.assert_close({k: v[i] for k, v in got.items()}, wanted)


def test_samples_that_do_not_count_change_neither_terms_nor_gradients():
    a, b = several(4, 9, 5)
    rows = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    rows[2], rows[3] = False, False
    rows[3, 4] = True  # one sample has no variance
    found = []
    for filling in (0.0, 1e3):
        filled = [torch.where(rows[:, None], x, filling).requires_grad_() for x in (a, b)]
        terms = vicreg_of_several(*filled, rows.double())
        sum(term.sum() for term in terms.values()).backward()
        found.append({**terms, "a": filled[0].grad, "b": filled[1].grad})
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    for i in range(2):
        wanted = vicreg(a[i][:, rows[i]].T, b[i][:, rows[i]].T)
        torch.testing.assert_close({k: found[0][k][i] for k in wanted}, wanted)
    for i in (2, 3):
        assert not any(found[0][k][i] for k in ("invariance", "variance", "covariance"))
    assert not found[0]["a"][~rows[:, None].expand_as(a)].any()
