"""The hybrid of masked prediction and contrast: each term, who learns from it, what is absent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crossl.config import RunConfig, build_method, build_model, load_config
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import HybridMethod, Method
from crossl.methods.hiding import hide_each
from crossl.objectives.nt_xent import nt_xent
from crossl.objectives.pairs import nt_xent_among

from .test_rival_methods import learn

MethodOf = Callable[..., Method]
PLACES = 4


def config_of(*more: str, places: int = PLACES) -> RunConfig:
    """Four tokens of eight numbers for each of three modalities."""
    encoder = f"kind: patch_transformer, read: tokens, places: {places}, dim: {8 * places}"
    small = "decoder_dim: 8, decoder_heads: 2, hidden: 16, dim: 8"
    return load_config(overrides=[
        f"encoder={{{encoder}, depth: 1, heads: 2}}",
        f"aggregator={{kind: token_transformer, places: {places}, depth: 1, heads: 2}}",
        f"method={{kind: hybrid, {small}}}",
        *more,
    ])  # fmt: skip


@pytest.fixture
def method(method_of: MethodOf) -> HybridMethod:
    found = method_of(config_of())
    assert isinstance(found, HybridMethod)
    return found


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    whole = collate(store, fold.train[:24])
    present = whole.present.clone()
    present[3, 0] = present[4, 1] = False
    present[5, :2] = False
    return Batch(whole.signals, present)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(method: HybridMethod, batch: Batch, *names: str) -> dict[str, Tensor]:
    """Return the gradient of the sum of some terms, of all that learns from them."""
    method.zero_grad()
    terms = method.terms(batch, generator())
    torch.stack([terms[name] for name in names]).sum().backward()
    found = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    return {name: gradient for name, gradient in found.items() if gradient.any()}


def test_as_many_tokens_of_each_modality_are_hidden() -> None:
    present = torch.rand(50, 3, generator=generator()) < 0.6
    hidden = hide_each(present, 8, rate=0.4, rng=generator(1))
    assert (hidden.sum(dim=2)[present] == 3).all()
    assert not hidden[~present].any()
    assert len({tuple(row.tolist()) for row in hidden[present]}) > 20


def test_hidden_tokens_are_told_by_hand_counted_errors(method: HybridMethod, batch: Batch) -> None:
    """Predictors that say 1 of every token, against tokens counted one by one."""
    for out in method.told:
        nn.init.zeros_(out.weight)  # type: ignore[arg-type]
        nn.init.ones_(out.bias)  # type: ignore[arg-type]
    encoded = method.encode(method.views(batch, seed=0), batch.present)
    drawn = method.draw(batch.present, generator())
    assert drawn is not None
    tokens = encoded["latents"].detach().unflatten(2, (PLACES, -1))
    errors = [
        float((tokens[row, column, place] - 1).square().mean())
        for row, column, place in drawn["hidden"].nonzero().tolist()
        if batch.present[row, column]
    ]
    found = method.compare(encoded, batch.present, drawn)["tokens"]
    np.testing.assert_allclose(found.item(), np.mean(errors), rtol=1e-5)


def test_tokens_that_are_hidden_do_not_reach_what_is_joined(
    method: HybridMethod, batch: Batch
) -> None:
    drawn = method.draw(batch.present, generator())
    assert drawn is not None
    latents = method.encode(method.views(batch, seed=0), batch.present)["latents"]
    tokens = latents.unflatten(2, (PLACES, -1))
    other = torch.where(drawn["hidden"][..., None], 50.0, tokens)
    index = method._shown(drawn["hidden"], method.hide_rate)
    one, two = (method._join(z, batch.present, index) for z in (tokens, other))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_backbones_learn_from_their_own_modality_alone(method: HybridMethod, batch: Batch) -> None:
    joint = gradients(method, batch, "tokens", "contrast")
    assert any(name.startswith("model.aggregator") for name in joint)
    assert not any(name.startswith("model.encoders") for name in joint)
    own = gradients(method, batch, "backbone")
    assert any(name.startswith("model.encoders") for name in own)
    assert not any(name.startswith("model.aggregator") for name in own)


def test_backbones_learn_from_all_if_they_are_asked_to(method_of: MethodOf, batch: Batch) -> None:
    method = method_of(config_of("method.frozen=false"))
    assert isinstance(method, HybridMethod)
    for term in ("tokens", "contrast"):
        assert any(name.startswith("model.encoders") for name in gradients(method, batch, term))


def test_what_is_told_is_no_teacher_of_itself(method_of: MethodOf, batch: Batch) -> None:
    """The tokens to be told are fixed: nothing learns to be easy to tell."""
    method = method_of(config_of("method.frozen=false"))
    assert isinstance(method, HybridMethod)
    encoded = method.encode(method.views(batch, seed=0), batch.present)
    latents = encoded["latents"].detach().requires_grad_()
    drawn = method.draw(batch.present, generator())
    assert drawn is not None
    method.compare({**encoded, "latents": latents}, batch.present, drawn)["tokens"].backward()
    assert latents.grad is not None
    gradient = latents.grad.unflatten(2, (PLACES, -1))
    assert not gradient[drawn["hidden"]].any()
    assert gradient[~drawn["hidden"] & batch.present[:, :, None]].any()


@pytest.mark.parametrize("absent", [7.0, torch.nan])
def test_what_an_absent_modality_holds_changes_nothing(
    method: HybridMethod, batch: Batch, absent: float
) -> None:
    results = []
    for filling in (0.0, absent):
        signals = {
            m.name: torch.where(batch.present[:, i, None, None], batch.signals[m.name], filling)
            for i, m in enumerate(method.model.modalities)
        }
        method.zero_grad()
        terms = method.terms(Batch(signals, batch.present), generator())
        torch.stack(list(terms.values())).sum().backward()
        results.append([*terms.values(), *[p.grad for p in method.parameters()]])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_it_learns_all_three(method: HybridMethod, batch: Batch) -> None:
    first, last = learn(method, batch)
    assert set(first) == {"backbone", "tokens", "contrast"}
    assert last["contrast"] < 0.9 * first["contrast"]
    assert last["backbone"] < 0.9 * first["backbone"]
    assert last["tokens"] < 0.9 * first["tokens"]


def test_a_weight_scales_the_contrast(method_of: MethodOf, batch: Batch) -> None:
    one, other = (
        method_of(config_of(f"method.contrast_weight={w}")).terms(batch, generator())
        for w in (1, 3)
    )
    torch.testing.assert_close(other["contrast"], 3 * one["contrast"])
    torch.testing.assert_close(other["tokens"], one["tokens"])


def test_parts_that_do_not_fit_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"'hybrid' needs aggregator\.kind 'token_transformer'"):
        config_of("aggregator={kind: concat}")
    config = config_of(places=1)
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    with pytest.raises(ConfigError, match=r"encoder\.places is 1; at least 2 are needed"):
        build_method(config, model, seed=0)


# --- NT-Xent among what is there


def test_nt_xent_of_what_is_there_is_that_of_a_batch_without_the_rest() -> None:
    a, b = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator()).unbind()
    everything = torch.ones(7, dtype=torch.bool)
    wanted = nt_xent(a, b, temperature=0.3)["contrast"]
    torch.testing.assert_close(nt_xent_among(a, b, everything, temperature=0.3), wanted)
    there = torch.tensor([True, False, True, True, False, True, True])
    wanted = nt_xent(a[there], b[there], temperature=0.3)["contrast"]
    a[~there], b[~there] = 1e6, -3.0
    found = nt_xent_among(a.requires_grad_(), b, there, temperature=0.3)
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    assert not a.grad[~there].any()
    for count in (0, 1):
        assert nt_xent_among(a, b, torch.arange(7) < count, temperature=0.3).item() == 0
