"""A classifier for one person: what is weighed in, and who says how much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crossl.evaluate.adapt import (
    SHARES,
    choose_share,
    class_counts,
    fit_adapted,
    score_of,
    split_person,
)
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import Probe, fit_probe

from .test_context import parts, people


@pytest.fixture(scope="module")
def odd() -> tuple[Probe, LatentTable, LatentTable, LatentTable, object]:
    """People each of whom wears the sensors in a way of their own: a shift of what is heard."""
    _, table, windows = people(0.7, length=120)
    shift = np.random.default_rng(3).normal(scale=1.5, size=(8, 2, 3)).astype(np.float32)
    number = np.array([int(name[1:]) for name in table.subject])
    moved = replace(table, latent=table.latent + torch.from_numpy(shift[number]))
    train, validation, test = parts(moved)
    probe = fit_probe(train, validation, head="encoders", seed=0)
    return probe, train, validation, test, windows


def test_the_first_windows_of_each_class_are_given_and_none_that_they_reach_into_is_scored(
    odd: tuple,
) -> None:
    _, _, validation, _, windows = odd
    mine = validation.take(validation.subject == "S3")
    given, rest = split_person(mine, windows.places, {0: 4, 1: 1000}, 2)
    assert (mine.label[given] == 0).sum() == 4
    assert (mine.label[given] == 1).sum() == (mine.label == 1).sum() // 2
    assert not (mine.label[given] == 2).any()
    step = windows.places.step[mine.rows]
    apart = np.abs(step[given][:, None] - step[rest]).min()
    assert apart == 3
    assert len(mine) > rest.sum() > 0


def test_a_share_of_nothing_is_the_classifier_as_it_was(odd: tuple) -> None:
    probe, train, _, test, _ = odd
    mine = test.take(test.subject == "S6")
    again = fit_adapted(probe, train, mine, 0.0)
    np.testing.assert_allclose(again.weight, probe.weight, atol=1e-5)
    assert again.strength == probe.strength
    assert again.head == probe.head


def test_a_persons_windows_help_that_person_and_validation_people_say_so(odd: tuple) -> None:
    probe, train, validation, test, windows = odd
    counts = {0: 8, 1: 8, 2: 8}
    chosen = choose_share(probe, train, validation, windows.places, counts, 1)
    assert chosen.scores.shape == (3, len(SHARES))
    assert chosen.share > 0
    assert chosen.gain > 0.03
    for name in ("S6", "S7"):
        mine = test.take(test.subject == name)
        given, rest = split_person(mine, windows.places, counts, 1)
        fitted = fit_adapted(probe, train, mine.take(given), chosen.share)
        assert score_of(fitted, mine.take(rest)) > score_of(probe, mine.take(rest))
    same = choose_share(probe, train, validation, windows.places, counts, 1)
    np.testing.assert_array_equal(same.scores, chosen.scores)


def test_who_has_none_of_the_classes_says_nothing(odd: tuple) -> None:
    probe, train, validation, _, windows = odd
    some = validation.take(validation.label != 2)
    chosen = choose_share(probe, train, some, windows.places, {2: 5}, 1)
    assert chosen.share == 0
    assert np.isnan(chosen.gain)
    assert class_counts(np.array([2, 2, 0, -1]), [0, 1, 2]) == {0: 1, 2: 2}
