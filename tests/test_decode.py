"""Decoding: against all sequences of tiny chains, and a follower against the whole recording."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.decode import FORMS, Chain, Decoder, Float64, forward, smooth, viterbi
from crossl.errors import FormatError


def random_chain(rng: np.random.Generator, states: int) -> Chain:
    return Chain(rng.dirichlet(np.ones(states)), rng.dirichlet(np.ones(states), size=states))


def joint(chain: Chain, emission: Float64, strides: Float64) -> dict[tuple[int, ...], float]:
    """The probability of every sequence together with what is seen."""
    out = {}
    for path in product(range(len(chain.initial)), repeat=len(emission)):
        p = 1.0
        for row, state in enumerate(path):
            begins = strides[row] == 0
            since = np.linalg.matrix_power(chain.transition, int(strides[row]))
            p *= chain.initial[state] if begins else since[path[row - 1], state]
            p *= emission[row, state]
        out[path] = p
    return out


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), states=st.integers(2, 3), data=st.data())
def test_decoding_is_what_all_sequences_say(seed: int, states: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    rest = data.draw(st.lists(st.integers(0, 4), min_size=0, max_size=4))
    strides, chain = np.array([0, *rest]), random_chain(rng, states)
    emission = rng.uniform(0.01, 1, size=(len(strides), states))
    every = joint(chain, emission, strides)
    total = sum(every.values())
    wanted = np.zeros_like(emission)
    for path, p in every.items():
        for row, state in enumerate(path):
            wanted[row, state] += p / total
    found = smooth(chain, emission, strides)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
    path = tuple(viterbi(chain, emission, strides).tolist())
    assert every[path] == pytest.approx(max(every.values()), rel=1e-9)
    for end in range(1, len(strides) + 1):  # what came later changes nothing
        part = forward(chain, emission[:end], strides[:end])
        np.testing.assert_array_equal(part, forward(chain, emission, strides)[:end])
        np.testing.assert_allclose(smooth(chain, emission[:end], strides[:end])[-1], part[-1])


def context_of(rng: np.random.Generator, states: int = 3) -> Decoder:
    prior = rng.dirichlet(np.ones(states) * 3)
    return Decoder(
        random_chain(rng, states), prior, 0.5, {"causal": 0.4, "whole": 0.7},
        {"causal": 0.1, "whole": 0.0}, {"causal": True, "whole": False}, 60.0,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), windows=st.integers(1, 30))
def test_a_follower_says_what_the_whole_recording_says_causally(seed: int, windows: int) -> None:
    rng = np.random.default_rng(seed)
    context = context_of(rng)
    start_s = np.cumsum(rng.choice([0.5, 1.0, 7.5, 59.5, 61.0], size=windows))
    said = rng.dirichlet(np.ones(3), size=windows)
    said[rng.random(windows) < 0.2] = np.nan
    whole = context.probabilities(said, start_s, "causal")
    follower = context.follower()
    one_by_one = [follower.next(p, float(t)) for p, t in zip(said, start_s, strict=True)]
    np.testing.assert_array_equal(np.stack(one_by_one), whole)
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(said))
    for form in FORMS:
        found = context.probabilities(said, start_s, form)
        np.testing.assert_allclose(found[~np.isnan(said[:, 0])].sum(axis=1), 1, atol=1e-12)


def test_a_long_gap_begins_anew_and_a_short_one_counts_its_strides() -> None:
    context = context_of(np.random.default_rng(0))
    start_s = np.array([10.0, 10.5, 12.0, 72.0, 132.5])
    assert context.strides(start_s).tolist() == [0, 1, 3, 120, 0]
    assert context.strides(start_s[:0]).tolist() == []
    said = np.random.default_rng(1).dirichlet(np.ones(3), size=5)
    alone = context.probabilities(said[4:], start_s[4:], "whole")
    np.testing.assert_allclose(context.probabilities(said, start_s, "whole")[4:], alone)


def test_what_says_nothing_counts_for_nothing() -> None:
    context = context_of(np.random.default_rng(2))
    said = np.random.default_rng(3).dirichlet(np.ones(3), size=4)
    said[2] = np.nan
    start_s = np.arange(4, dtype=np.float64) * 0.5
    for form in FORMS:
        found = context.probabilities(said, start_s, form)
        without = context.probabilities(np.delete(said, 2, 0), np.delete(start_s, 2), form)
        np.testing.assert_allclose(np.delete(found, 2, 0), without, atol=1e-12)


def test_sets_of_sensors_beside_each_other_are_decoded_as_each_alone() -> None:
    context = context_of(np.random.default_rng(4))
    said = np.random.default_rng(5).dirichlet(np.ones(3), size=(9, 4))
    start_s = np.arange(9, dtype=np.float64) * 0.5
    for form in FORMS:
        found = context.probabilities(said, start_s, form)
        for place in range(4):
            alone = context.probabilities(said[:, place], start_s, form)
            np.testing.assert_allclose(found[:, place], alone, atol=1e-12)


def test_a_lone_slip_between_sure_neighbours_is_corrected() -> None:
    chain = Chain(np.array([0.5, 0.5]), np.array([[0.98, 0.02], [0.02, 0.98]]))
    context = Decoder(chain, np.array([0.5, 0.5]), 1.0, dict.fromkeys(FORMS, 1.0),
                      dict.fromkeys(FORMS, 0.0), dict.fromkeys(FORMS, True))  # fmt: skip
    said = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.9, 0.1], [0.9, 0.1]])
    start_s = np.arange(5.0)
    assert context.path(said, start_s).tolist() == [0] * 5
    assert context.probabilities(said, start_s, "whole").argmax(axis=1).tolist() == [0] * 5


def test_who_forgets_everything_says_of_each_window_what_it_says_alone() -> None:
    context = context_of(np.random.default_rng(7))
    every = replace(context, weight=dict.fromkeys(FORMS, 1.0), forget=dict.fromkeys(FORMS, 1.0),
                    chain=Chain(context.prior, context.chain.transition))  # fmt: skip
    said = np.random.default_rng(8).dirichlet(np.ones(3), size=6)
    start_s = np.arange(6, dtype=np.float64)
    for form in FORMS:
        np.testing.assert_allclose(every.probabilities(said, start_s, form), said, atol=1e-12)
    assert every.path(said, start_s).tolist() == said.argmax(axis=1).tolist()


def test_what_is_impossible_altogether_falls_back_on_what_is_seen() -> None:
    chain = Chain(np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    found = smooth(chain, np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0, 1]))
    np.testing.assert_array_equal(found, [[0, 1], [0, 1]])


def test_a_context_is_kept_and_nonsense_refused() -> None:
    context = context_of(np.random.default_rng(6))
    again = Decoder.from_dict(context.as_dict())
    assert again.as_dict() == context.as_dict()
    assert again.helps == context.helps
    assert (again.weight, again.forget) == (context.weight, context.forget)
    kept = context.as_dict()
    for broken in (
        {}, {**kept, "prior": [1.0]}, {**kept, "transition": kept["transition"][:2]},
        {**kept, "initial": [2.0, 0.0, 0.0]}, {**kept, "weight": {"causal": 1.0}},
        {**kept, "stride_s": 0},
        {**kept, "forget": {"causal": 2.0, "whole": 0.0}}, {**kept, "prior": ["x", 1, 1]},
        {**kept, "initial": [[1.0]]},
    ):  # fmt: skip
        with pytest.raises(FormatError, match="its transitions between classes cannot be used"):
            Decoder.from_dict(broken)
    assert replace(context, restart_s=1.0).strides(np.array([0.0, 2.0])).tolist() == [0, 0]


def test_it_needs_numpy_and_nothing_else() -> None:
    code = (
        "import sys, crossl.decode\n"
        "print([m for m in ('torch', 'scipy', 'pydantic', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
