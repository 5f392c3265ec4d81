"""Statistics of windows, and ridge regression as probes are fitted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from crossl.contenders.statistics import statistics
from crossl.evaluate.probe import ProbeRows, fit_strengths


def test_statistics_of_a_tone_are_known() -> None:
    t = np.arange(200) / 50
    x = (3 + np.sin(2 * np.pi * 5 * t))[None, :, None]
    found = statistics(x, 50.0)[0]
    mean, std, low, high = found[:4]
    np.testing.assert_allclose([mean, std, low, high], [3, np.sqrt(0.5), 2, 4], atol=0.06)
    np.testing.assert_allclose(found[6], 3, atol=1e-3)  # median
    assert found[-1] == 5.0  # frequency of the largest peak
    bands = found[-6:-1]
    assert bands.argmax() == 2  # 3.125 to 6.25 Hz of 25 Hz: octaves from below
    assert np.isfinite(found).all()


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 2, 2), (4, 50, 3), (0, 50, 3)])
def test_statistics_of_any_shape_are_finite(shape: tuple[int, ...]) -> None:
    for x in (np.zeros(shape), np.random.default_rng(0).normal(size=shape)):
        found = statistics(x, 20.0)
        assert found.shape[0] == shape[0]
        assert np.isfinite(found).all()


def test_three_channels_get_the_length_of_their_vector_and_correlations() -> None:
    x = np.random.default_rng(0).normal(size=(2, 300, 3))
    x[:, :, 1] = x[:, :, 0]
    found = statistics(x, 50.0)
    assert found.shape == (2, 4 * 18 + 6)
    np.testing.assert_allclose(found[:, -6], 1, atol=1e-5)  # the first two channels move as one


@pytest.mark.parametrize("shape", [(50, 8), (12, 40)])
def test_ridge_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    rng, penalties = np.random.default_rng(0), (0.1, 1, 10, 100, 1000, 10000)
    x = rng.normal(size=shape).astype(np.float32)
    label, weight = rng.integers(0, 3, shape[0]) * 2, rng.uniform(0.5, 2, shape[0])
    found = fit_strengths(
        ProbeRows(x, label, weight), "encoders", [1 / p for p in penalties],
        fit=lambda task: task.fit_ridge,
    )  # fmt: skip
    scaled = StandardScaler().fit_transform(x)
    for probe, penalty in zip(found, penalties, strict=True):
        target = np.where(label[:, None] == [0, 2, 4], 1.0, -1.0)
        wanted = Ridge(alpha=penalty).fit(scaled, target, sample_weight=weight)
        np.testing.assert_allclose(probe.weight, wanted.coef_, atol=1e-5)
        np.testing.assert_allclose(probe.bias, wanted.intercept_, atol=1e-5)
        np.testing.assert_array_equal(probe.classes, [0, 2, 4])
        assert probe.strength == pytest.approx(1 / penalty)
