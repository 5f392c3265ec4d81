"""Units that are declared and cannot be: what is told, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from crossl.data.readers import open_dataset
from crossl.data.recording import Modality, Recording, Signal, warnings_in
from crossl.doctor.units import unit_warnings, with_unit_warnings

G = 9.80665
HOUR = 3600 * 50


def worn(size: float, *, count: int = 3000) -> np.ndarray:
    """Half at rest, half moved, in another orientation."""
    rng = np.random.default_rng(0)
    noise = np.repeat([0.01, 0.3], count // 2)[:, None] * rng.normal(size=(count, 3))
    values = np.where(np.arange(count)[:, None] < count / 2, [0, 0, 1], [0.8, 0, 0.6]) + noise
    return (size * values).astype(np.float32)


@pytest.mark.parametrize(("size", "unit", "looks"), [
    (1.0, "m/s^2", "g"),
    (G * G, "m/s^2", "m/s^2, where g is declared"),
    (1000.0, "m/s^2", "mg or cm/s^2"),
    (60.0, "rad/s", "deg/s"),
    (G, "m/s^2", ""),
    (1.0, "g", ""),
    (0.5, "rad/s", ""),
])  # fmt: skip
@pytest.mark.parametrize("count", [3000, HOUR])
def test_a_wrong_unit_is_told_by_some_samples(size, unit, looks, count):
    acc = Modality("acc", ("x", "y", "z"), unit, 50.0)
    one = Recording("ann", "1", {"acc": acc}, {"acc": Signal(worn(size, count=count), 50.0)})
    found = unit_warnings(one)
    assert len(found) == bool(looks)
    assert all(f"acc: its values look like {looks}, which its declared" in each for each in found)


def test_a_signal_that_is_hardly_recorded_or_without_gravity_says_nothing():
    acc = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)
    values = np.full((200_000, 3), np.nan, dtype=np.float32)
    values[1] = 1.0  # between the samples that are looked at
    one = Recording("ann", "1", {"acc": acc}, {"acc": Signal(values, 50.0)})
    assert unit_warnings(one) == []
    free = np.abs(np.random.default_rng(0).normal(size=(3000, 3))).astype(np.float32)
    free *= np.linspace(0, 1.5, 3000, dtype=np.float32)[:, None]
    assert unit_warnings(Recording("ann", "1", {"acc": acc}, {"acc": Signal(free, 50.0)})) == []


@pytest.mark.parametrize(("reader", "folder"), [
    ("uci_har", "fixtures/UCI HAR Dataset"), ("eegmat", "eegmat"), ("noneeg", "noneeg"),
    ("pamap2", "fixtures/pamap2_excerpt"), ("mhealth", "fixtures/mhealth_excerpt"),
    ("sp_sw_har", "fixtures/sp_sw_har"), ("e4", "biosignal_samples/flirt_e4"),
])  # fmt: skip
def test_published_sets_have_the_units_that_their_readers_declare(real_data, reader, folder):
    with open_dataset(reader, real_data(folder), {}) as dataset:
        parts = with_unit_warnings(dataset).parts[:3]
        told = [note for part in parts for one in part.read() for note in warnings_in(one.notes)]
    assert told == []
