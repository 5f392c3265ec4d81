"""What is absent is predicted from what is present, and nothing else is changed."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from crossl.contenders.impute import DIMS, PENALTIES, FilledIn, ImputeConfig, ridge_by_group
from crossl.evaluate.latents import LatentTable


def table(latent: np.ndarray, present: np.ndarray) -> LatentTable:
    """Windows of six people."""
    subject = np.array([f"S{i % 6}" for i in range(len(latent))])
    shown = np.where(present[:, :, None], latent, 0).astype(np.float32)
    return LatentTable(cast(Any, None), torch.from_numpy(shown), torch.from_numpy(present),
                       np.zeros(len(latent), int), subject)  # fmt: skip


@pytest.fixture
def linked() -> np.ndarray:
    """Features (240, 3, 4) of which those of the last modality follow from the others."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 240, 4))
    last = first @ rng.normal(size=(4, 4)) + second @ rng.normal(size=(4, 4))
    return np.stack([first, second, last], axis=1).astype(np.float32)


def test_only_what_is_drawn_at_random_is_computed_for_other_seeds() -> None:
    assert ImputeConfig().repeats == "none"
    assert ImputeConfig(features="minirocket").repeats == "all"


def test_what_follows_from_the_others_is_told_exactly_and_what_is_there_stays(
    linked: np.ndarray,
) -> None:
    present = np.ones((240, 3), bool)
    present[::5, 0] = False  # who lacks it teaches what the others say of each other
    present[1::5, 2] = False
    model = FilledIn(table(linked, present))
    fresh = torch.from_numpy(linked[:7])
    keep = torch.tensor([[True, True, False]]).expand(7, 3)
    filled = model.aggregate(fresh, keep).unflatten(1, (3, 4))
    torch.testing.assert_close(filled, fresh, rtol=0.01, atol=0.02)
    torch.testing.assert_close(filled[:, :2], fresh[:, :2], rtol=0, atol=0)
    # of one modality alone the other two follow in part
    alone = model.aggregate(fresh, torch.tensor([[True, False, False]]).expand(7, 3))
    guess, wanted = alone.unflatten(1, (3, 4))[:, 2], fresh[:, 2]
    assert float((guess - wanted).square().mean()) < 0.9 * float(wanted.square().mean())


def test_windows_of_several_patterns_are_each_filled_in_as_alone(linked: np.ndarray) -> None:
    model = FilledIn(table(linked, np.ones((240, 3), bool)))
    keep = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 0, 1]]).bool()
    latent = torch.from_numpy(linked[:5])
    together = model.aggregate(latent, keep)
    for row in range(5):
        one = model.aggregate(latent[row : row + 1], keep[row : row + 1, :, None].expand(1, 3, 4))
        torch.testing.assert_close(one[0], together[row], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together[0], latent[0].flatten(), rtol=0, atol=0)
    assert not together[2].any()
    # what stands where nothing is kept does not matter
    latent[1, 1], latent[2] = 99, 99
    torch.testing.assert_close(model.aggregate(latent, keep), together, rtol=0, atol=0)


def test_a_modality_that_nobody_had_beside_the_others_is_left_at_the_mean(
    linked: np.ndarray,
) -> None:
    present = np.ones((240, 3), bool)
    present[:, 2] = False
    model = FilledIn(table(linked, present))
    filled = model.aggregate(torch.from_numpy(linked[:3]), torch.tensor([[True, True, False]] * 3))
    assert not filled.unflatten(1, (3, 4))[:, 2].any()


def test_many_features_are_told_by_their_principal_components() -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(100, 5))
    latent = np.stack([hidden @ rng.normal(size=(5, DIMS + 20)) for _ in "ab"], axis=1)
    model = FilledIn(table(latent, np.ones((100, 2), bool)))
    assert model.components.shape == (2, DIMS + 20, DIMS)
    shown = torch.from_numpy(latent.astype(np.float32))
    filled = model.aggregate(shown, torch.tensor([[True, False]]).expand(100, 2))
    error = (filled.unflatten(1, (2, -1)) - shown).square().mean()
    assert float(error) < 0.02 * float(shown.square().mean())


def test_maps_are_ridge_regressions_whose_penalty_people_left_out_prefer() -> None:
    rng = np.random.default_rng(2)
    x, group = rng.normal(2, 1, size=(60, 5)), np.arange(60) % 4
    clear = x @ rng.normal(size=(5, 3)) + 1
    for y, penalty in ((clear, PENALTIES[0]), (rng.normal(size=(60, 3)), None)):
        weight, bias = ridge_by_group(x, y, group)
        wanted = [Ridge(alpha=p * 60).fit(x, y) for p in PENALTIES]
        gaps = [np.abs(one.coef_.T - weight).max() + np.abs(one.intercept_ - bias).max()
                for one in wanted]  # fmt: skip
        assert min(gaps) < 1e-8
        chosen = PENALTIES[int(np.argmin(gaps))]
        assert chosen == penalty if penalty else chosen >= 1
    alone = ridge_by_group(x, clear, np.zeros(60, int))
    np.testing.assert_allclose(alone[0], Ridge(alpha=PENALTIES[3] * 60).fit(x, clear).coef_.T)
