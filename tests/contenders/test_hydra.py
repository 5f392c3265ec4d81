"""Hydra: against its formula, one sample at a time, and on what it should separate."""

from __future__ import annotations

import numpy as np
import pytest

from crossl.contenders.hydra import KERNELS, Hydra


def noise(n: int, time: int = 60, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, time, channels)).astype(np.float32)


def counted(x: np.ndarray, weight: np.ndarray, dilation: int) -> tuple[np.ndarray, np.ndarray]:
    """Let the 8 kernels of one group compete at every sample; zeros beyond the window."""
    time, half = len(x), 4 * dilation
    padded = np.pad(x.astype(np.float64), ((half, half), (0, 0)))
    soft, hard = np.zeros(KERNELS), np.zeros(KERNELS)
    for t in range(time):
        taps = padded[t : t + 2 * half + 1 : dilation]  # (9, C)
        values = np.array([(taps * kernel.T).sum() for kernel in weight])
        soft[values.argmax()] += values.max()
        hard[values.argmin()] += 1
    return soft, hard


def test_counts_are_those_of_the_formula() -> None:
    x = noise(30)
    hydra = Hydra(4).fit(x)
    found = hydra._counts(x[:2])[1].numpy()
    column = 0
    for dilation, weights in zip(hydra.dilations, hydra.weights, strict=True):
        for seen, weight in zip((x[1], np.diff(x[1], axis=0)), weights, strict=True):
            for group in weight.numpy().reshape(-1, KERNELS, 3, 9):
                soft, hard = counted(seen, group, dilation)
                wanted = np.sqrt(np.maximum(np.r_[soft, hard], 0))
                np.testing.assert_allclose(found[column : column + 16], wanted, atol=1e-3)
                column += 16
    assert column == len(found) == len(hydra.dilations) * 4 * 16


def test_kernels_are_centred_of_absolute_sum_one_and_see_few_channels() -> None:
    hydra = Hydra(2).fit(noise(10, channels=20))
    for kernel in hydra.weights[0][0].numpy():
        used = kernel[np.abs(kernel).sum(axis=1) > 0]
        assert len(used) == 8
        np.testing.assert_allclose(used.sum(axis=1), 0, atol=1e-6)
        np.testing.assert_allclose(np.abs(used).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("time", [1, 2, 9, 10, 33, 500])
def test_windows_of_any_length_have_finite_features(time: int) -> None:
    hydra = Hydra(2).fit(noise(20, time=time))
    assert max(hydra.dilations) * 8 <= max(8, time - 1)
    assert np.isfinite(hydra.transform(noise(3, time=time))).all()


def test_a_kernel_that_never_wins_has_feature_zero() -> None:
    hydra = Hydra(8).fit(noise(40, time=20, channels=1))
    x = noise(5, time=20, channels=1, seed=1)
    np.testing.assert_array_equal(hydra.transform(x)[hydra._counts(x).numpy() == 0], 0)


def test_a_slow_and_a_quick_tone_are_far_apart() -> None:
    t = np.arange(100) / 50
    tones = np.stack([np.sin(2 * np.pi * hz * t) for hz in [1.0] * 10 + [8.0] * 10])[:, :, None]
    x = (tones + 0.1 * noise(20, time=100, channels=1)).astype(np.float32)
    z = Hydra(8).fit(x).transform(x)
    within = np.linalg.norm(z[:9] - z[1:10], axis=1).max()
    assert np.linalg.norm(z[:10].mean(0) - z[10:].mean(0)) > 2 * within


def test_the_seed_decides_the_features() -> None:
    x = noise(30)
    one, same, other = (Hydra(2, seed=s).fit(x).transform(x) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
