"""InfoNCE, DCL, hard DCL and COCOA against their formulas, written out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crossl import objectives
from crossl.objectives import cocoa, dcl, hard_dcl, info_nce


def pair(n=6, d=4, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, d))
    return a, a + 0.3 * rng.normal(size=(n, d))


def cosine(u, v):
    return u @ v / np.sqrt((u @ u) * (v @ v))


def contrast(a, b, *, kind, t=0.2, prior=0.01, hardness=2.0):
    """Average over samples, each against the others of the second view."""
    n, total = len(a), 0.0
    for i in range(n):
        positive = math.exp(cosine(a[i], b[i]) / t)
        negative = np.array([math.exp(cosine(a[i], b[j]) / t) for j in range(n) if j != i])
        if kind == "info_nce":
            total -= math.log(positive / (positive + negative.sum()))
            continue
        if kind == "hard_dcl":
            negative = hardness * negative / negative.mean() * negative
        estimate = (negative.sum() - prior * (n - 1) * positive) / (1 - prior)
        estimate = max(estimate, (n - 1) * math.exp(-1 / t))
        total -= math.log(positive / (positive + estimate))
    return total / n


LOSSES = {"info_nce": info_nce, "dcl": dcl, "hard_dcl": hard_dcl}


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [2, 6])
def test_a_contrastive_loss_equals_its_formula(kind, temperature, n):
    a, b = pair(n)
    got = LOSSES[kind](torch.from_numpy(a), torch.from_numpy(b), temperature=temperature)
    np.testing.assert_allclose(got["contrast"].item(), contrast(a, b, kind=kind, t=temperature))


def test_the_debiased_estimate_has_its_floor():
    a = np.eye(4)
    got = dcl(torch.from_numpy(a), torch.from_numpy(a), temperature=0.2, class_prior=0.5)
    wanted = contrast(a, a, kind="dcl", prior=0.5)
    floor = math.log(1 + 3 * math.exp(-5) / math.exp(5))
    np.testing.assert_allclose([got["contrast"].item(), wanted], floor)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_rows_permuted_together_and_rescaled_change_nothing(loss):
    a, b = (torch.from_numpy(z) for z in pair(7))
    order = torch.tensor([3, 0, 6, 5, 1, 2, 4])
    torch.testing.assert_close(loss(a[order], 5 * b[order]), loss(a, b))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_matching_views_cost_less_than_mismatched_ones(loss):
    a, b = (torch.from_numpy(z) for z in pair(7))
    assert loss(a, b)["contrast"] < loss(a, b.roll(1, dims=0))["contrast"]


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
def test_gradients_equal_numerical_ones(loss):
    a, b = (torch.from_numpy(z).requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda x, y: loss(x, y, temperature=0.5)["contrast"], (a, b))


def unit(shape, seed=0):
    z = np.random.default_rng(seed).normal(size=shape)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_cocoa_equals_its_formula():
    z, t = unit((3, 5, 4)), 0.3
    m, b, _ = z.shape
    pull = sum(
        np.mean([math.exp((1 - z[i, s] @ z[j, s]) / t) for i in range(m) for j in range(m)])
        for s in range(b)
    )
    push = sum(
        np.mean([math.exp(z[i, s] @ z[i, other] / t) for other in range(b) if other != s])
        for i in range(m)
        for s in range(b)
    )
    got = cocoa(torch.from_numpy(z), temperature=t, positive=0.5, negative=0.25)
    np.testing.assert_allclose(got["positive"].item(), 0.5 * pull)
    np.testing.assert_allclose(got["negative"].item(), 0.25 * push)


def test_cocoa_does_not_depend_on_the_order_of_samples_or_modalities():
    z = torch.from_numpy(unit((3, 5, 4)))
    for other in (z[[2, 0, 1]], z[:, [4, 2, 0, 1, 3]]):
        torch.testing.assert_close(cocoa(other), cocoa(z))


def test_every_objective_returns_terms_by_name():
    a, b = (torch.from_numpy(z) for z in pair())
    for name in set(objectives.__all__) - {"Objective"}:
        loss = getattr(objectives, name)
        terms = loss(torch.from_numpy(unit((2, 5, 4)))) if name == "cocoa" else loss(a, b)
        assert terms
        for term in terms.values():
            assert term.shape == ()
            assert torch.isfinite(term)
