"""Adam as Keras writes it, augmentations, and the words about collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.methods.augment import Augmentation
from crossl.train.adam import KerasAdam
from crossl.train.collapse import collapse_measures, collapse_warning, effective_rank


def test_keras_adam_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.normal(scale=1e-5, size=(5, 3))
    w = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = KerasAdam([w], lr=1e-2, betas=(0.9, 0.99), epsilon=1e-6)
    wanted, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    for t, g in enumerate(gradients, start=1):
        w.grad = torch.from_numpy(g)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        wanted -= 1e-2 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-6)
        np.testing.assert_allclose(w.detach(), wanted, rtol=1e-9)


def test_keras_adam_goes_on_from_its_saved_state() -> None:
    def train(parameter: torch.Tensor, optimizer: KerasAdam, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = optimizer.step(lambda: (parameter - 1).square().sum().backward())
            assert loss is None

    whole, cut = (torch.nn.Parameter(torch.zeros(4)) for _ in range(2))
    train(whole, KerasAdam([whole], lr=0.1), 6)
    first = KerasAdam([cut], lr=0.1)
    train(cut, first, 3)
    second = KerasAdam([cut], lr=0.5)
    second.load_state_dict(first.state_dict())
    train(cut, second, 3)
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)


def test_keras_adam_leaves_what_has_no_gradient() -> None:
    w = torch.nn.Parameter(torch.ones(2))
    KerasAdam([w]).step()
    torch.testing.assert_close(w.detach(), torch.ones(2))


NONE = Augmentation(jitter=0, scale=0, crop=1, time_mask=0)


@pytest.fixture
def signals() -> dict[str, torch.Tensor]:
    """Two modalities whose first channel is time, in shares of the window."""
    slow = torch.linspace(0, 1, 50)[None, :, None].repeat(6, 1, 2)
    return {"slow": slow, "fast": torch.linspace(0, 1, 200)[None, :, None].repeat(6, 1, 1)}


def augment(how: Augmentation, signals: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return how(signals, torch.Generator().manual_seed(0))


def test_an_augmentation_of_nothing_changes_nothing(signals: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(augment(NONE, signals), signals, rtol=0, atol=0)


def test_augmentations_depend_on_the_generator_alone(signals: dict[str, torch.Tensor]) -> None:
    one, two = (augment(Augmentation(), signals) for _ in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_a_crop_cuts_the_same_stretch_of_every_modality(signals: dict[str, torch.Tensor]) -> None:
    out = augment(Augmentation(jitter=0, scale=0, crop=0.5, time_mask=0), signals)
    assert out["slow"].shape == (6, 25, 2)
    assert out["fast"].shape == (6, 100, 1)
    np.testing.assert_allclose(out["slow"][:, 0, 0], out["fast"][:, 0, 0], atol=0.03)
    assert out["slow"][:, 0, 0].unique().numel() > 1
    steps = out["slow"].diff(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 49))


def test_a_time_mask_hides_one_stretch_behind_the_mean(signals: dict[str, torch.Tensor]) -> None:
    out = augment(Augmentation(jitter=0, scale=0, crop=1, time_mask=0.5), signals)
    changed = out["fast"] != signals["fast"]
    assert changed.any()
    assert float(changed.float().mean(dim=(1, 2)).max()) <= 0.5
    torch.testing.assert_close(out["fast"][changed], torch.full_like(out["fast"][changed], 0.5))


def test_scaling_multiplies_each_channel_by_one_factor(signals: dict[str, torch.Tensor]) -> None:
    out = augment(Augmentation(jitter=0, scale=0.5, crop=1, time_mask=0), signals)
    factor = out["slow"][:, 1:] / signals["slow"][:, 1:]
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor))
    assert (factor > 0).all()
    assert factor[:, 0].unique().numel() == 12


def test_jitter_adds_noise_up_to_its_strength() -> None:
    zeros = {"x": torch.zeros(200, 400, 1)}
    spread = augment(Augmentation(jitter=0.3, scale=0, crop=1, time_mask=0), zeros)["x"].std(dim=1)
    assert 0.28 < float(spread.max()) < 0.35
    assert float(spread.min()) < 0.05


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 9)))[0]
    directions -= directions.mean(axis=0)
    basis = torch.from_numpy(np.linalg.qr(directions)[0][:, :rank])
    z = basis @ torch.eye(rank, 12, dtype=torch.float64)
    np.testing.assert_allclose(effective_rank(z), rank, rtol=1e-6)


def test_measures_of_a_healthy_embedding_warn_of_nothing() -> None:
    z = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    measures = collapse_measures(z)
    np.testing.assert_allclose(measures["embedding_std"], 1, atol=0.05)
    assert measures["effective_rank"] > 15
    assert collapse_warning(measures, 16) is None


def test_an_embedding_that_is_alike_everywhere_is_called_collapsing() -> None:
    measures = collapse_measures(torch.ones(50, 8))
    assert measures == {"embedding_std": 0.0, "effective_rank": 0.0}
    assert "differ by 0 on average" in str(collapse_warning(measures, 8))


def test_an_embedding_on_a_line_is_called_collapsing() -> None:
    z = torch.linspace(-1, 1, 50)[:, None] * torch.ones(8)
    assert "it uses 1 of 8 dimensions" in str(collapse_warning(collapse_measures(z), 8))


def test_one_dimension_of_one_is_no_collapse() -> None:
    assert collapse_warning({"embedding_std": 1.0, "effective_rank": 1.0}, 1) is None
