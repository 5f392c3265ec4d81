"""Transitions from few labels, and validation people who say whether they help."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.neighbours import Places
from crossl.data.windows import WindowSpec
from crossl.decode import FORMS, Decoder
from crossl.errors import FormatError
from crossl.evaluate import context
from crossl.evaluate.context import (
    Judged,
    calibrated,
    fit_decoder,
    fit_transition,
    in_context,
    neighbour_counts,
)
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import Probe
from crossl.evaluate.probe_facts import probe_facts
from crossl.evaluate.sets import LEVELS, Sets, fit_sets, rank_of, threshold_by_people
from crossl.nn.aggregators import ConcatConfig
from crossl.tasks import classes_task

TRANSITION = np.array([[0.9, 0.1, 0.0], [0.0, 0.85, 0.15], [0.2, 0.0, 0.8]])
CLASSES = ("rest", "walk", "run")


@dataclass
class Recorded:
    """Where windows lie."""

    places: Places
    start_s: np.ndarray
    spec: WindowSpec = field(default_factory=lambda: WindowSpec(2.0, 1.0))


class Model(torch.nn.Module):
    """What reading latents side by side asks of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.aggregator = ConcatConfig().build(modalities=2, latent_dim=3)
        self.modalities = (SimpleNamespace(name="acc"), SimpleNamespace(name="ecg"))


@pytest.fixture(autouse=True)
def few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try few ways to damp the chain, which takes most of the time."""
    monkeypatch.setattr(context, "WEIGHTS", (0.7, 1.0))
    monkeypatch.setattr(context, "FORGETS", (0.0, 0.2, 0.85))


def chain_of(length: int, rng: np.random.Generator, transition: np.ndarray) -> np.ndarray:
    out = np.zeros(length, dtype=np.int64)
    for step in range(1, length):
        out[step] = rng.choice(len(transition), p=transition[out[step - 1]])
    return out


def people(
    noise: float, *, transition: np.ndarray = TRANSITION, length: int = 300, count: int = 8
) -> tuple[Probe, LatentTable, Recorded]:
    """Make people whose labels follow a chain, and a probe that hears them through noise."""
    rng = np.random.default_rng(0)
    label = np.concatenate([chain_of(length, rng, transition) for _ in range(count)])
    recording = np.repeat(np.arange(count), length)
    start_s = np.tile(np.arange(length, dtype=np.float64), count)
    seen = np.eye(3)[label][:, None] + noise * rng.normal(size=(len(label), 2, 3))
    weight = np.tile(np.eye(3) / noise**2, (1, 2)).astype(np.float32)
    probe = Probe(
        "encoders", np.zeros(6, np.float32), np.ones(6, np.float32), weight,
        np.zeros(3, np.float32), np.arange(3), 1.0, task=classes_task(CLASSES),
    )  # fmt: skip
    model: Any = Model()
    latent, present = torch.from_numpy(seen.astype(np.float32)), torch.ones(len(label), 2) > 0
    table = LatentTable(
        model, latent, present, label, np.array([f"S{i}" for i in recording]), probe.task,
        rows=np.arange(len(label)),
    )  # fmt: skip
    return probe, table, Recorded(Places.of(recording, start_s, 1.0), start_s)


def parts(table: LatentTable, share: float = 1.0) -> tuple[LatentTable, LatentTable, LatentTable]:
    """Return some labelled windows of three people, and all of three and of two others."""
    number = np.array([int(name[1:]) for name in table.subject])
    drawn = np.random.default_rng(1).random(len(table)) < share
    return (table.take((number < 3) & drawn), table.take((number >= 3) & (number < 6)),
            table.take(number >= 6))  # fmt: skip


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_transitions_are_found_also_where_few_windows_are_labelled(share: float) -> None:
    _, table, windows = people(1.0, count=40)
    rows = np.flatnonzero(np.random.default_rng(2).random(len(table)) < share)
    pairs = neighbour_counts(windows.places, rows, table.label[rows], 3)
    found = fit_transition(pairs, 3)
    np.testing.assert_allclose(found, TRANSITION, atol=0.05)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    assert sum(pair.sum() for pair in pairs.values()) <= len(rows) - 1


def test_context_helps_where_labels_follow_each_other_and_windows_are_noisy() -> None:
    probe, table, windows = people(1.2, count=16)
    train, validation, test = parts(table)
    fitted = fit_decoder(probe, None, train, validation, windows)
    assert fitted is not None
    decoder, judged = fitted
    alone = calibrated(probe, None, test, [(0, 1)])[:, 0]
    before = (alone.argmax(axis=1) == test.label).mean()
    for form in FORMS:
        assert decoder.helps[form]
        assert judged[form].loss < judged[form].before
        found = in_context(decoder, alone, test, windows, form)
        assert (found.argmax(axis=1) == test.label).mean() > before + 0.03
    whole = in_context(decoder, alone, test, windows, "whole")
    rows = slice(0, 300)  # a recording knows nothing of another
    np.testing.assert_allclose(
        whole[rows], decoder.probabilities(alone[rows], windows.start_s[rows], "whole")
    )


def test_context_is_off_where_labels_come_in_any_order() -> None:
    any_order = np.full((3, 3), 1 / 3)
    probe, table, windows = people(1.2, transition=any_order)
    train, validation, _ = parts(table)
    fitted = fit_decoder(probe, None, train, validation, windows)
    assert fitted is not None
    decoder, judged = fitted
    assert abs(judged["whole"].gain.mean()) < 0.02
    np.testing.assert_allclose(decoder.chain.transition, any_order, atol=0.1)


def test_nothing_is_learned_where_each_recording_is_of_one_class_or_rows_are_unknown() -> None:
    probe, table, windows = people(1.2, transition=np.eye(3))
    train, validation, _ = parts(table)
    assert fit_decoder(probe, None, train, validation, windows) is None
    probe, table, windows = people(1.2)
    train, validation, _ = parts(table)
    few = train.take(np.arange(8))
    assert fit_decoder(probe, None, few, validation, windows) is None
    assert fit_decoder(probe, None, replace(train, rows=None), validation, windows) is None
    nobody = replace(validation, label=np.full(len(validation), -1))
    assert fit_decoder(probe, None, train, nobody, windows) is None


def test_it_is_used_only_if_three_people_are_better_off_and_nobody_loses() -> None:
    good = Judged(np.array([0.02, 0.0, 0.01]), 0.5, 0.6)
    assert good.helps
    assert not good._replace(gain=np.array([0.1, 0.1])).helps
    assert not good._replace(gain=np.array([0.1, 0.1, -0.02])).helps
    assert not good._replace(loss=0.7).helps
    assert not good._replace(gain=np.zeros(3)).helps


def test_many_windows_are_judged_by_the_first_of_each_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe, table, windows = people(0.8, length=100, count=6)
    train, validation, _ = parts(table)
    monkeypatch.setattr(context, "MOST_WINDOWS", 90)
    first = np.tile(np.arange(100) < 30, 3)
    fitted, short = (fit_decoder(probe, None, train, some, windows)
                     for some in (validation, validation.take(first)))  # fmt: skip
    assert fitted is not None
    assert short is not None
    assert fitted[0].as_dict() == short[0].as_dict()
    assert len(fitted[1]["whole"].gain) == 3


def test_what_is_kept_beside_a_probe_is_read_again() -> None:
    probe, table, windows = people(1.2)
    train, validation, _ = parts(table, 0.3)
    facts = probe_facts(probe, train, validation, windows)
    assert set(facts) == {"temperatures", "context", "sets"}
    decoder = Decoder.from_dict(facts["context"])
    assert decoder.helps == {"causal": True, "whole": True}
    assert len(facts["context"]["judged"]["whole"]["gain"]) == 3
    sets = Sets.from_dict(facts["sets"])
    assert sets.people == 3
    assert set(sets.thresholds) == {"off", "causal", "whole"}
    assert set(sets.thresholds["off"]) == {"acc,ecg", "acc", "ecg"}
    alone = probe_facts(probe, train, validation, None)
    assert set(alone) == {"temperatures", "sets"}
    assert set(alone["sets"]["thresholds"]) == {"off"}
    for broken in (
        {}, {**facts["sets"], "people": 0}, {**facts["sets"], "thresholds": {}},
        {**facts["sets"], "thresholds": {"off": {"acc": [2.0] * len(LEVELS)}}},
    ):  # fmt: skip
        with pytest.raises(FormatError, match="its sets cannot be used"):
            Sets.from_dict(broken)


def test_sets_hold_the_true_label_of_people_who_were_not_asked() -> None:
    probe, table, _ = people(1.0, count=30)
    number = np.array([int(name[1:]) for name in table.subject])
    asked, others = table.take(number < 10), table.take(number >= 10)
    sets = fit_sets(probe, None, asked)
    assert sets is not None
    present, sizes = np.asarray(others.present), []
    for level in (0.6, 0.8, 0.9):
        alone = calibrated(probe, None, others, [(0, 1)])[:, 0]
        inside = sets.member(alone, present, level, "off")
        covered = inside[np.arange(len(others)), others.label]
        by_person = [covered[others.subject == name].mean() for name in np.unique(others.subject)]
        assert np.mean(np.array(by_person) >= level - 0.03) >= 0.8
        sizes.append(inside.sum(axis=1).mean())
        assert (inside.sum(axis=1) >= 1).all()
    assert sizes[0] < sizes[1] < sizes[2] < 3
    # a single sensor knows less, so its sets are larger
    alone = calibrated(probe, None, others, [(0,)])[:, 0]
    shown = present & np.array([True, False])
    assert sets.member(alone, shown, 0.9, "off").sum(axis=1).mean() > sizes[2]
    nothing = np.full((1, 3), np.nan)
    assert not sets.member(nothing, np.zeros((1, 2), bool), 0.9, "off").any()
    assert fit_sets(probe, None, replace(asked, label=np.full(len(asked), -1))) is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 12), level=st.sampled_from(LEVELS[::7]))
def test_a_threshold_suffices_for_new_people_as_often_as_is_said(
    seed: int, count: int, level: float
) -> None:
    rng = np.random.default_rng(seed)
    windows, rounds = 40, 300
    fine = 0
    for _ in range(rounds):
        people_ = rng.beta(*rng.uniform(0.5, 3, size=(2, count + 1, 1)), size=(count + 1, windows))
        limits = threshold_by_people(people_[:-1].ravel(), np.repeat(np.arange(count), windows))
        fine += (people_[-1] <= limits[LEVELS.index(level)]).mean() >= level
    expected = rank_of(count) / (count + 1)
    assert fine / rounds >= expected - 4 * np.sqrt(expected * (1 - expected) / rounds)
