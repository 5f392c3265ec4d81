"""MiniRocket: against its formula, and on what it should tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from crossl.contenders import MinirocketConfig
from crossl.contenders.minirocket import KERNELS, Minirocket


def noise(n: int, time: int = 60, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, time, channels)).astype(np.float32)


def convolved(x: np.ndarray, weight: np.ndarray, dilation: int) -> np.ndarray:
    """Sum over channels and nine taps, zeros beyond the window, one sample at a time."""
    time = len(x)
    out = np.zeros(time)
    for t in range(time):
        for tap in range(9):
            at = t + (tap - 4) * dilation
            if 0 <= at < time:
                out[t] += x[at] @ weight[:, tap]
    return out


def test_features_are_shares_of_positive_values_of_each_kernel() -> None:
    x = noise(40)
    rocket = Minirocket(84 * 5).fit(x)
    found = rocket.transform(x[:2])
    column = 0
    for level, dilation in enumerate(rocket.dilations):
        biases = rocket.biases[level].numpy()
        for number in range(biases.shape[1]):
            for kernel in (0, 17, 83):
                weight = rocket.weights[level][kernel].numpy()
                values = convolved(x[1], weight, dilation)
                if number % 2:
                    values = values[4 * dilation : len(values) - 4 * dilation]
                wanted = (values > biases[kernel, number]).mean()
                np.testing.assert_allclose(found[1, column + kernel], wanted, atol=0.02)
            column += 84
    assert column == found.shape[1] == 84 * 5


def test_kernels_have_three_taps_of_two_and_sum_to_zero() -> None:
    assert len(set(KERNELS)) == 84
    rocket = Minirocket(84).fit(noise(10, channels=1))
    for weight in rocket.weights[0].numpy():
        assert sorted(weight[0].tolist()) == [-1.0] * 6 + [2.0] * 3


@pytest.mark.parametrize("time", [9, 10, 33, 500])
def test_dilations_stay_within_the_window(time: int) -> None:
    rocket = Minirocket(84 * 29).fit(noise(20, time=time))
    assert max(rocket.dilations) * 8 <= max(8, time - 1)
    found = rocket.transform(noise(3, time=time))
    assert found.shape == (3, 84 * 29)
    assert ((found >= 0) & (found <= 1)).all()


def test_windows_shorter_than_a_kernel_have_features_too() -> None:
    x = noise(8, time=5)
    assert np.isfinite(Minirocket(84).fit(x).transform(x)).all()


def test_a_slow_and_a_quick_tone_are_far_apart() -> None:
    t = np.arange(100) / 50
    tones = np.stack([np.sin(2 * np.pi * hz * t) for hz in [1.0] * 10 + [8.0] * 10])[:, :, None]
    x = (tones + 0.1 * noise(20, time=100, channels=1)).astype(np.float32)
    z = Minirocket(84 * 4).fit(x).transform(x)
    within = np.linalg.norm(z[:9] - z[1:10], axis=1).max()
    assert np.linalg.norm(z[:10].mean(0) - z[10:].mean(0)) > 2 * within


def test_the_seed_decides_the_features() -> None:
    x = noise(30)
    one, same, other = (Minirocket(168, seed=s).fit(x).transform(x) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_features_may_be_drawn_once_for_all_pretraining_seeds() -> None:
    assert MinirocketConfig().repeats == "all"
    assert MinirocketConfig(once=True).repeats == "none"
    assert "once" not in MinirocketConfig().model_dump()  # scores of before are known as they were
