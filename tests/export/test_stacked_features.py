"""Untrained features by few operators are those of the run."""

from __future__ import annotations

import pytest
import torch

from crossl.export.stacked_features import StackedFeatures
from crossl.export.stacked_statistics import StackedStatistics
from crossl.nn.features import WindowFeatures
from crossl.nn.window_statistics import window_statistics

SHAPES = [(3, 1), (1, 2), (3, 7), (2, 100), (3, 512), (1, 600), (4, 1030), (1, 1031)]
"""Channels and samples: one product, two, a plain transform, windows that are looked at in part."""


@pytest.mark.parametrize(("channels", "samples"), SHAPES)
def test_statistics_of_several_modalities_are_those_of_each(channels, samples):
    torch.manual_seed(0)
    x = torch.randn(2, 3, samples, channels)
    x[0, 1] = 0  # nothing moves
    x[1, 2] += 4 * torch.sin(0.7 * torch.arange(samples))[:, None]
    statistics = StackedStatistics(channels, samples)
    found = statistics(x.transpose(2, 3))
    wanted = window_statistics(x.flatten(0, 1)).unflatten(0, (2, 3))[..., statistics.order]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert sorted(statistics.order.tolist()) == list(range(wanted.shape[2]))


@pytest.mark.parametrize("kernels", [0, 4, 6])
def test_features_of_several_modalities_are_those_of_each(kernels):
    torch.manual_seed(0)
    x = torch.randn(9, 2, 300, 3)
    every = [WindowFeatures(3, 300, kernels=kernels, width=12, seed=seed) for seed in range(2)]
    for place, one in enumerate(every):
        one.fit(x[:, place])
    found = StackedFeatures(every, 3, 300)(x.transpose(2, 3))
    wanted = torch.stack([one(x[:, place]) for place, one in enumerate(every)], dim=1)
    assert wanted.abs().max() > 1
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
