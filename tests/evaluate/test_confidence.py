"""Temperatures: probabilities that mean what they say, for each set of sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crossl.errors import FormatError
from crossl.evaluate import confidence
from crossl.evaluate.confidence import (
    GRID,
    Temperatures,
    fit_temperatures,
    reliability,
    reliability_by_set,
    sets_of,
)
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import Probe
from crossl.nn.aggregators import ConcatConfig
from crossl.tasks import classes_task

NAMES = ("acc", "ecg")


def test_sets_of_many_sensors_are_all_all_but_one_and_each_alone() -> None:
    assert len(sets_of(4)) == 15
    assert len(sets_of(8)) == 1 + 8 + 8
    assert sets_of(8)[0] == tuple(range(8))


@pytest.fixture(scope="module")
def made() -> Callable[..., tuple[Probe, LatentTable]]:
    """A probe of two classes whose outputs are known, and people whose labels follow them."""

    def make(scale: float, *, random_ecg: bool = False) -> tuple[Probe, LatentTable]:
        rng = np.random.default_rng(0)
        count = 4000
        latent = rng.normal(size=(count, 2, 1)).astype(np.float32)
        logit = latent.sum(axis=(1, 2)) if not random_ecg else latent[:, 0, 0]
        label = (rng.random(count) < 1 / (1 + np.exp(-2 * logit))).astype(np.int64)
        task = classes_task(("no", "yes"))
        weight = scale * np.array([[-1.0, -1.0], [1.0, 1.0]], dtype=np.float32)
        probe = Probe("encoders", np.zeros(2, np.float32), np.ones(2, np.float32), weight,
                      np.zeros(2, np.float32), np.array([0, 1]), 1.0, task=task)  # fmt: skip
        subject = np.tile([f"S{i}" for i in range(4)], count // 4)
        model: Any = _Model()
        present = torch.ones(count, 2, dtype=torch.bool)
        table = LatentTable(model, torch.from_numpy(latent), present, label, subject, task)
        return probe, table

    return make


class _Model(torch.nn.Module):
    """What reading latents side by side asks of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.aggregator = ConcatConfig().build(modalities=2, latent_dim=1)


@pytest.mark.parametrize("scale", [1.0, 4.0, 0.25])
def test_outputs_that_are_too_large_are_divided_by_as_much(made: Callable, scale: float) -> None:
    probe, table = made(scale)
    found = fit_temperatures(probe, table, NAMES)
    assert found is not None
    both = found.of(np.array([[True, True]]))[0]
    assert both == pytest.approx(scale, rel=0.12)


def test_a_sensor_that_tells_nothing_lowers_confidence_where_it_is_alone(made: Callable) -> None:
    probe, table = made(2.0, random_ecg=True)
    found = fit_temperatures(probe, table, NAMES)
    assert found is not None
    assert found.kind == "subset"
    acc, ecg = found.of(np.array([[True, False], [False, True]]))
    assert ecg > 2 * acc
    sets = reliability_by_set(probe, table, found)
    assert [one["present"] for one in sets] == [["acc", "ecg"], ["acc"], ["ecg"]]
    alone = sets[2]
    assert alone["as_it_was"]["ece"] > 0.2
    assert alone["calibrated"]["ece"] < 0.1
    assert alone["temperature"] == pytest.approx(ecg, abs=1e-3)
    right = [sum(a * n for a, n in zip(one["accuracy"], one["count"], strict=True) if n)
             for one in (alone["as_it_was"], alone["calibrated"])]  # fmt: skip
    assert right[0] == pytest.approx(right[1], abs=1e-2)  # no label changes


def test_nothing_is_fitted_for_other_tasks_or_without_labels(made: Callable) -> None:
    probe, table = made(1.0)
    nobody = replace(table, label=np.full(len(table), -1))
    assert fit_temperatures(probe, nobody, NAMES) is None


def test_what_it_depends_on_is_chosen_by_people_who_did_not_fit_it() -> None:
    choices = sets_of(2)
    at = np.log(GRID)
    best = np.log([[1.0, 2.0, 2.0], [1.0, 2.0, 2.0], [1.0, 2.0, 2.0]])  # (subject, set)
    loss = (at - best[:, :, None]) ** 2
    count = np.ones((3, 3), dtype=np.int64)
    scores = {kind: confidence._held_out(kind, loss, count, choices) for kind in confidence.KINDS}
    assert min(confidence.KINDS, key=lambda kind: scores[kind]) == "number"
    alone = (at - np.log([[1.0] * 3] * 3)[:, :, None]) ** 2
    scores = {kind: confidence._held_out(kind, alone, count, choices) for kind in confidence.KINDS}
    assert min(confidence.KINDS, key=lambda kind: scores[kind]) == "none"


def test_sets_that_nobody_had_get_the_temperature_of_their_number() -> None:
    kept = Temperatures("subset", NAMES, 3.0, {"1": 2.0}, {"acc": 1.5})
    present = np.array([[True, False], [False, True], [True, True], [True, False]])
    assert kept.of(present).tolist() == [1.5, 2.0, 3.0, 1.5]
    assert replace(kept, kind="number").of(present).tolist() == [2.0, 2.0, 3.0, 2.0]
    assert replace(kept, kind="none").of(present).tolist() == [1.0] * 4
    assert Temperatures.from_dict(kept.as_dict()) == kept


@pytest.mark.parametrize("change", [{"one": 0.0}, {"kind": "x"}, {"number": None}, {"one": "a"}])
def test_temperatures_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    kept = Temperatures("one", NAMES, 3.0, {}, {}).as_dict()
    with pytest.raises(FormatError, match="its temperatures cannot be used"):
        Temperatures.from_dict(kept | change)


def test_the_error_is_the_gap_between_sure_and_right() -> None:
    sure = np.array([0.95, 0.95, 0.55, 0.55, 1.0])
    found = reliability(sure, np.array([True, False, True, False, True]))
    # bins: two at 0.55 (right 0.5), three at 0.95 to 1 (right 2/3)
    assert found["ece"] == pytest.approx((2 * 0.05 + (2.9 - 2)) / 5, abs=1e-6)
    assert found["count"] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 3]
    assert found["accuracy"][5] == 0.5
    assert found["confidence"][0] is None


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_class_that_the_probe_never_saw_is_a_mistake_however_sure_it_was(made: Callable) -> None:
    probe, table = made(1.0)
    task = classes_task(("no", "yes", "other"))
    label = table.label.copy()
    label[::2], label[1::4] = 2, -1  # half are of another class, a quarter has no label
    found = fit_temperatures(replace(probe, task=task), table, NAMES)
    assert found is not None
    other = replace(table, label=label, task=task)
    told = reliability_by_set(replace(probe, task=task), other, found)[0]["calibrated"]
    assert told["windows"] == 3000
    right = sum(n * (share or 0) for n, share in zip(told["count"], told["accuracy"], strict=True))
    assert right / 3000 < 1 / 3
    again = fit_temperatures(replace(probe, task=task), other, NAMES)
    assert again is not None  # such windows have no probability to be fitted on
    seen = other.take(np.flatnonzero(label >= 0)[label[label >= 0] < 2])
    assert again.one == pytest.approx(fit_temperatures(probe, seen, NAMES).one, rel=0.06)  # type: ignore[union-attr]
