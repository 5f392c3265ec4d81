"""Standardisation: numpy's numbers over present windows only, kept in the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.data.recording import Modality
from crossl.data.source import ArraySource
from crossl.errors import DataError
from crossl.nn.standardise import Standardiser, channel_statistics

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 10.0)
HEART = Modality("heart", ("bpm",), "Hz", 3.0)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    acc = rng.normal([3.0, -100.0, 1e-3], [0.1, 20.0, 1e-5], size=(30, 20, 3))
    return {"acc": acc.astype(np.float32), "heart": rng.normal(70, 9, size=(30, 6, 1))}


def source(arrays):
    return ArraySource(arrays, modalities=[ACC, HEART], window_s=2.0)


def test_statistics_equal_those_of_numpy_over_present_windows_only(arrays):
    arrays["acc"][::3, 4, 1] = np.nan
    rows = np.arange(4, 27)
    present = [row for row in rows if row % 3]
    mean, std = channel_statistics(source(arrays), rows)["acc"]
    recorded = arrays["acc"][present].astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), recorded.mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(std.numpy(), recorded.std(axis=(0, 1)), rtol=1e-5)


def test_other_rows_do_not_count(arrays):
    before = channel_statistics(source(arrays), np.arange(10))
    arrays["acc"][10:] = 1e6
    after = channel_statistics(source(arrays), np.arange(10))
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_many_batches_equal_one(arrays, monkeypatch):
    one = channel_statistics(source(arrays), np.arange(30))
    from crossl.nn import standardise

    small = standardise.in_batches
    monkeypatch.setattr(standardise, "in_batches", lambda s, r: small(s, r, size=7))
    torch.testing.assert_close(channel_statistics(source(arrays), np.arange(30)), one)


def test_fitted_windows_have_mean_0_and_standard_deviation_1(arrays):
    standardiser, held = Standardiser([ACC, HEART]), source(arrays)
    standardiser.fit(held, np.arange(30))
    signals = {name: torch.from_numpy(x) for name, x in held.gather_zeroed(np.arange(30)).items()}
    for x in standardiser(signals).values():
        np.testing.assert_allclose(x.double().mean(dim=(0, 1)).numpy(), 0.0, atol=1e-3)
        np.testing.assert_allclose(x.double().std(dim=(0, 1)).numpy(), 1.0, atol=1e-2)


@pytest.mark.parametrize("value", [0.0, 5.0, -9.80665, 1e6])
def test_a_channel_that_never_changes_is_only_shifted(arrays, value):
    arrays["acc"][:, :, 1] = value
    standardiser, held = Standardiser([ACC, HEART]), source(arrays)
    standardiser.fit(held, np.arange(30))
    torch.testing.assert_close(standardiser.get_buffer("std_acc")[1], torch.tensor(1.0))
    acc = torch.from_numpy(held.gather_zeroed(np.arange(2))["acc"])
    got = standardiser({"acc": acc})["acc"][:, :, 1]
    torch.testing.assert_close(got, torch.zeros(2, 20), rtol=0, atol=1e-6)


def test_a_modality_that_is_never_present_is_refused(arrays):
    arrays["heart"][:20] = np.nan
    with pytest.raises(DataError, match="'heart': is present in none of the 20 training windows"):
        Standardiser([ACC, HEART]).fit(source(arrays), np.arange(20))


def test_a_refused_fit_changes_nothing(arrays):
    arrays["heart"][:] = np.nan
    standardiser = Standardiser([ACC, HEART])
    with pytest.raises(DataError, match="or give training subjects who have it"):
        standardiser.fit(source(arrays), np.arange(20))
    torch.testing.assert_close(standardiser.get_buffer("mean_acc"), torch.zeros(3))


def test_an_unfitted_standardiser_changes_nothing():
    x = torch.randn(2, 20, 3)
    torch.testing.assert_close(Standardiser([ACC])({"acc": x})["acc"], x, rtol=0, atol=0)


def test_statistics_travel_with_the_weights_and_are_not_trained(arrays):
    fitted, fresh = Standardiser([ACC, HEART]), Standardiser([ACC, HEART])
    fitted.fit(source(arrays), np.arange(30))
    fresh.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(dict(fresh.named_buffers()), dict(fitted.named_buffers()))
    assert not list(fitted.parameters())
