"""Masks: within what is present, at the asked rate, and views that are worth comparing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.errors import ConfigError
from crossl.nn.masking import (
    OVER_TIME,
    STRATEGIES,
    draw_keep,
    draw_spatial_views,
    draw_stretches,
    keep_some,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


presents = st.integers(1, 6).flatmap(
    lambda m: st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=1, max_size=12)
).map(torch.tensor)  # fmt: skip
rates = st.one_of(st.just(1.0), st.floats(0.01, 1.0))
seeds = st.integers(0, 2**31)


@given(presents, rates, seeds, st.sampled_from(STRATEGIES), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_keep_lies_within_present_and_has_the_form_of_its_strategy(
    present, rate, seed, strategy, dim
):
    keep = draw_keep(present, dim, strategy=strategy, keep_rate=rate, generator=rng(seed))
    assert keep.dtype == torch.bool
    assert keep.shape == (*present.shape, dim)
    assert not (keep & ~present[:, :, None]).any()
    if strategy == "spatial":
        torch.testing.assert_close(keep, keep[:, :, :1].expand_as(keep))
    if strategy == "column":
        wanted = keep.any(dim=1, keepdim=True) & present[:, :, None]
        torch.testing.assert_close(keep, wanted)
    if rate == 1:
        torch.testing.assert_close(keep, present[:, :, None].expand_as(keep))


@pytest.mark.parametrize("keep_rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("strategy", "draws"), [
    ("random", 3000 * 4 * 6), ("spatial", 3000 * 4), ("column", 3000 * 6),
])  # fmt: skip
def test_entries_are_kept_as_often_as_asked(strategy, draws, keep_rate):
    present = torch.ones(3000, 4, dtype=torch.bool)
    keep = draw_keep(present, 6, strategy=strategy, keep_rate=keep_rate, generator=rng())
    sigma = math.sqrt(keep_rate * (1 - keep_rate) / draws)
    rate = keep.double().mean()
    torch.testing.assert_close(rate, torch.tensor(keep_rate).double(), rtol=0, atol=5 * sigma)


def test_absent_modalities_do_not_change_how_often_others_are_kept():
    present = torch.zeros(20000, 3, dtype=torch.bool)
    present[:, 1] = True
    keep = draw_keep(present, 2, strategy="random", keep_rate=0.7, generator=rng())
    rate = keep[:, 1].double().mean()
    torch.testing.assert_close(rate, torch.tensor(0.7).double(), rtol=0, atol=0.02)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_draws_the_same_and_another_does_not(strategy):
    present = torch.ones(50, 4, dtype=torch.bool)
    one, again, other = (
        draw_keep(present, 8, strategy=strategy, keep_rate=0.5, generator=rng(seed))
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(one, again)
    assert (one != other).any()


@pytest.mark.parametrize("keep_rate", [0.0, -0.1, 1.1, math.nan])
def test_an_impossible_keep_rate_is_refused(keep_rate):
    with pytest.raises(ConfigError, match=r"keep_rate is .*; allowed is 0 < keep_rate <= 1"):
        draw_keep(torch.ones(1, 1).bool(), 2, strategy="random", keep_rate=keep_rate,
                  generator=rng())  # fmt: skip


def test_an_unknown_strategy_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="strategy 'spacial'; did you mean 'spatial'"):
        draw_keep(torch.ones(1, 1).bool(), 2, strategy="spacial", keep_rate=0.5, generator=rng())


@given(presents, rates, seeds)
@settings(max_examples=150, deadline=None)
def test_spatial_views_are_within_present_never_empty_and_differ_where_they_can(
    present, rate, seed
):
    a, b = draw_spatial_views(present, keep_rate=rate, generator=rng(seed))
    for view in (a, b):
        assert view.shape == present.shape
        assert not (view & ~present).any()
        torch.testing.assert_close(view.any(dim=1), present.any(dim=1))
    torch.testing.assert_close((a != b).any(dim=1), present.sum(dim=1) > 1)


@given(presents, rates, seeds)
@settings(max_examples=100, deadline=None)
def test_keep_some_keeps_at_least_one_of_what_is_present(present, rate, seed):
    keep = keep_some(present, keep_rate=rate, generator=rng(seed))
    assert not (keep & ~present).any()
    torch.testing.assert_close(keep.any(dim=1), present.any(dim=1))
    if rate == 1:
        torch.testing.assert_close(keep, present)


@pytest.mark.parametrize("keep_rate", [0.2, 0.6])
def test_keep_some_keeps_as_often_as_its_guarantee_allows(keep_rate):
    present = torch.ones(30000, 3, dtype=torch.bool)
    keep = keep_some(present, keep_rate=keep_rate, generator=rng())
    # each of three gets the place back in a third of the samples that lost everything
    wanted = keep_rate + (1 - keep_rate) ** 3 / 3
    torch.testing.assert_close(
        keep.double().mean(dim=0), torch.full((3,), wanted).double(), rtol=0, atol=0.015
    )


def test_modalities_are_kept_as_often_as_each_one_asks():
    present = torch.ones(30000, 4, dtype=torch.bool)
    keep = keep_some(present, keep_rate=torch.tensor([1.0, 0.9, 0.5, 0.3]), generator=rng())
    wanted = torch.tensor([1.0, 0.9, 0.5, 0.3]).double()
    torch.testing.assert_close(keep.double().mean(dim=0), wanted, rtol=0, atol=0.015)


def test_the_modality_given_back_is_drawn_evenly():
    present = torch.tensor([[True, False, True, True]]).expand(30000, 4)
    keep = keep_some(present, keep_rate=1e-9, generator=rng())
    torch.testing.assert_close(keep.sum(dim=1), torch.ones(30000, dtype=torch.int64))
    share = keep.double().mean(dim=0)
    wanted = torch.tensor([1 / 3, 0, 1 / 3, 1 / 3]).double()
    torch.testing.assert_close(share, wanted, rtol=0, atol=0.015)


@given(presents, rates, seeds, st.sampled_from(STRATEGIES))
@settings(max_examples=100, deadline=None)
def test_a_mask_that_may_not_be_empty_keeps_some_of_what_is_present(present, rate, seed, strategy):
    keep = draw_keep(
        present, 3, strategy=strategy, keep_rate=rate, generator=rng(seed), never_empty=True
    )
    assert not (keep & ~present[:, :, None]).any()
    torch.testing.assert_close(keep.any(dim=(1, 2)), present.any(dim=1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_modality_is_kept_as_often_as_its_own_rate_says(strategy):
    present = torch.ones(20000, 3, dtype=torch.bool)
    rates = torch.tensor([1.0, 0.1, 0.6])
    keep = draw_keep(present, 2, strategy=strategy, keep_rate=rates, generator=rng())
    share = keep.double().mean(dim=(0, 2))
    torch.testing.assert_close(share, rates.double(), rtol=0, atol=0.015)
    assert keep[:, 0].all()
    if strategy == "column":  # who is kept less often is kept where the others are
        assert not (keep[:, 1] & ~keep[:, 2]).any()


def test_views_that_need_not_differ_are_as_drawn():
    present = torch.tensor([[True, True, False]]).expand(4000, 3)
    a, b = draw_spatial_views(present, keep_rate=1.0, generator=rng(), differ=False)
    torch.testing.assert_close(a, present)
    torch.testing.assert_close(b, present)


@pytest.mark.parametrize("differ", [True, False])
def test_spatial_views_keep_each_modality_by_its_own_rate(differ):
    present = torch.tensor([[True, True, True]]).expand(20000, 3)
    rates = torch.tensor([1.0, 0.9, 0.3])
    views = draw_spatial_views(present, keep_rate=rates, generator=rng(), differ=differ)
    first, second = (view.double().mean(dim=0) for view in views)
    torch.testing.assert_close(first, rates.double(), rtol=0, atol=0.015)
    if not differ:
        torch.testing.assert_close(second, rates.double(), rtol=0, atol=0.015)
    # of views that are the same, one of three places is flipped
    torch.testing.assert_close(bool((views[0] == views[1]).all(dim=1).any()), not differ)


places = torch.tensor([8, 5, 1])


def tokens_of(present, most=8):
    return present[:, :, None] & (torch.arange(most) < places[: present.shape[1], None])


@pytest.mark.parametrize("each", [False, True], ids=OVER_TIME)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_every_token_is_hidden_as_often_as_asked(each, ratio):
    there = tokens_of(torch.ones(30000, 3, dtype=torch.bool))
    drawn = draw_stretches(there.any(dim=2), keep_rate=1 - ratio, each=each, generator=rng())
    hidden = 1 - drawn.keep(there).double().mean(dim=0)
    # what is given back where all would be lost takes a little of it, and most of a single token
    for column, slack in enumerate((0.03, 0.03, 0.12) if ratio == 0.9 else [0.015] * 3):
        found = hidden[column, there[0, column]]
        wanted = torch.full_like(found, ratio)
        torch.testing.assert_close(found, wanted, rtol=0, atol=slack)


@pytest.mark.parametrize("each", [False, True], ids=OVER_TIME)
def test_each_modality_loses_as_much_time_as_its_own_rate_says(each):
    there = tokens_of(torch.ones(20000, 2, dtype=torch.bool))
    rates = torch.tensor([1.0, 0.3])
    drawn = draw_stretches(there.any(dim=2), keep_rate=rates, each=each, generator=rng())
    keep = drawn.keep(there)
    assert keep[:, 0].equal(there[:, 0])
    share = keep[:, 1, :5].double().mean()
    torch.testing.assert_close(share, torch.tensor(0.3).double(), rtol=0, atol=0.015)


@given(presents.filter(lambda p: p.shape[1] <= 3), rates, seeds, st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_left_of_time_is_there_and_never_nothing(present, rate, seed, each):
    there = tokens_of(present)
    drawn = draw_stretches(present, keep_rate=rate, each=each, generator=rng(seed))
    again = draw_stretches(present, keep_rate=rate, each=each, generator=rng(seed))
    keep = drawn.keep(there)
    torch.testing.assert_close(tuple(drawn), tuple(again), rtol=0, atol=0)
    assert not (keep & ~there).any()
    torch.testing.assert_close(keep.any(dim=(1, 2)), present.any(dim=1))
    if rate == 1:
        torch.testing.assert_close(keep, there)
    hidden = there & ~keep
    for column, count in enumerate(places[: present.shape[1]].tolist()):
        ring = hidden[:, column, :count]
        # one stretch of a ring has one beginning
        begins = (ring & ~ring.roll(1, dims=1)).sum(dim=1)
        assert (begins <= 1).all()


def test_one_stretch_is_that_of_all_modalities_and_several_are_not():
    there = torch.ones(2000, 3, 8, dtype=torch.bool)
    for each in (False, True):
        drawn = draw_stretches(there.any(dim=2), keep_rate=0.5, each=each, generator=rng())
        keep = drawn.keep(there)
        same = (keep == keep[:, :1]).all()
        assert bool(same) != each
        whole = keep.all(dim=2)
        assert whole.any() == each  # those that are not hit


def test_two_views_hide_stretches_of_their_own():
    there = tokens_of(torch.ones(50, 3, dtype=torch.bool))
    one, two = (
        draw_stretches(there.any(dim=2), keep_rate=0.5, each=False, generator=generator).keep(there)
        for generator in [rng()] * 2
    )
    assert (one != two).any()
