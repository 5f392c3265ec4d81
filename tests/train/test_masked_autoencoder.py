"""The masked autoencoder: what is hidden, what is rebuilt, and what absent patches must not do."""

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
from crossl.methods import MaskedAutoencoderMethod, Method
from crossl.methods.hiding import hide_modalities, hide_places, hide_tokens
from crossl.methods.tokens import normalise_patches

from .test_rival_methods import learn

MethodOf = Callable[..., Method]
PLACES = 4


def config_of(*more: str, places: int = PLACES) -> RunConfig:
    """Four patches of eight numbers for each of three modalities."""
    encoder = f"kind: patch_transformer, read: tokens, places: {places}, dim: {8 * places}"
    return load_config(overrides=[
        f"encoder={{{encoder}, depth: 0}}",
        f"aggregator={{kind: token_transformer, places: {places}, depth: 1, heads: 2}}",
        "method={kind: masked_autoencoder, decoder_dim: 8, decoder_depth: 1, decoder_heads: 2}",
        *more,
    ])  # fmt: skip


@pytest.fixture
def method(method_of: MethodOf) -> MaskedAutoencoderMethod:
    found = method_of(config_of())
    assert isinstance(found, MaskedAutoencoderMethod)
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


def drawn_by(method: MaskedAutoencoderMethod, present: Tensor, seed: int = 0) -> dict[str, Tensor]:
    drawn = method.draw(present, generator(seed))
    assert drawn is not None
    return dict(drawn)


# --- what is hidden


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.8, 0.99])
def test_of_what_a_window_has_a_share_is_hidden_and_never_all(rate: float) -> None:
    present = torch.rand(60, 5, generator=generator()) < 0.6
    hidden = hide_tokens(present, 7, rate=rate, rng=generator(1))
    assert not (hidden & ~present[:, :, None]).any()
    have = 7 * present.sum(dim=1).numpy()
    wanted = np.minimum(np.floor(rate * have + 0.5), np.maximum(have - 1, 0))
    np.testing.assert_array_equal(hidden.sum(dim=(1, 2)).numpy(), wanted)


def test_places_are_hidden_from_all_modalities_and_modalities_at_all_places() -> None:
    present = torch.rand(60, 5, generator=generator()) < 0.6
    present[0] = False
    places = hide_places(present, 7, rate=0.5, rng=generator(1))
    for row, there in zip(places, present, strict=True):
        assert not row[~there].any()
        assert (row[there] == row[there][:1]).all()
    assert (places[present].sum(dim=1) == 4).all()
    whole = hide_modalities(present, 7, rate=0.5, rng=generator(1))
    assert (whole == whole[:, :, :1]).all()
    count = present.sum(dim=1)
    assert torch.equal(whole[:, :, 0].sum(dim=1), ((count + 1) // 2).minimum((count - 1).clamp(0)))
    assert (hide_places(present, 7, rate=0.5, rng=generator(2)) != places).any()


@pytest.mark.parametrize("seed", range(5))
def test_one_of_three_masks_is_drawn_and_all_that_is_shown_is_encoded(
    method: MaskedAutoencoderMethod, seed: int
) -> None:
    present = torch.rand(200, 3, generator=generator(seed)) < 0.7
    drawn = drawn_by(method, present, seed)
    hidden = drawn["hidden"]
    assert not (hidden & ~present[:, :, None]).any()
    shown = (present[:, :, None] & ~hidden).flatten(1)
    assert (shown.any(dim=1) == present.any(dim=1)).all()
    assert (hidden.flatten(1).any(dim=1) == present.any(dim=1)).all()
    assert shown.sum(dim=1).max() <= method.shown < shown.shape[1]
    rest = drawn["order"][:, method.shown :]
    assert not shown.gather(1, rest).any()
    assert torch.equal(drawn["order"].sort(dim=1).values, torch.arange(12).expand(200, -1))
    full = hidden[present.all(dim=1)]
    by_place = (full == full[:, :1]).all(dim=(1, 2))
    by_modality = (full == full[:, :, :1]).all(dim=(1, 2))
    for share in (by_place, by_modality, ~by_place & ~by_modality):
        assert 0.15 < share.float().mean() < 0.55


# --- what is rebuilt


def test_patches_are_normalised_channel_by_channel() -> None:
    patches = 5 + 3 * torch.randn(2, 3, 8, dtype=torch.float64)
    samples = normalise_patches(patches, 2).unflatten(2, (4, 2))
    ones = torch.ones(2, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(samples.mean(dim=2), 0 * ones)
    torch.testing.assert_close(samples.var(dim=2, correction=0), ones, rtol=1e-4, atol=1e-4)
    constant = normalise_patches(torch.full((1, 1, 8), 3.0), 2)
    torch.testing.assert_close(constant, torch.zeros_like(constant))


def test_the_loss_is_the_error_of_hidden_patches_alone(method_of: MethodOf, batch: Batch) -> None:
    """A decoder that says 1 of everything, against patches counted by hand."""
    method = method_of(config_of("method.normalised=false"))
    assert isinstance(method, MaskedAutoencoderMethod)
    for out in method.outs:
        nn.init.zeros_(out.weight)  # type: ignore[arg-type]
        nn.init.ones_(out.bias)  # type: ignore[arg-type]
    signals = method.views(batch, seed=0)
    drawn = drawn_by(method, batch.present)
    errors = []
    for column, m in enumerate(method.model.modalities):
        for row in range(len(batch.present)):
            for place, patch in enumerate(signals[m.name][row].chunk(PLACES)):
                if drawn["hidden"][row, column, place]:
                    errors.append(float((patch - 1).square().mean()))
    encoded = method.encode(signals, batch.present)
    found = method.compare(encoded, batch.present, drawn)["reconstruction"]
    np.testing.assert_allclose(found.item(), np.mean(errors), rtol=1e-5)


def test_what_a_hidden_patch_holds_is_not_seen(
    method: MaskedAutoencoderMethod, batch: Batch
) -> None:
    drawn = drawn_by(method, batch.present)
    shown = batch.present[:, :, None] & ~drawn["hidden"]
    latents = method.encode(method.views(batch, seed=0), batch.present)["latents"]
    other = latents.unflatten(2, (PLACES, -1)).clone()
    other[~shown] = 50.0
    with torch.no_grad():
        told = [method.rebuild(x, shown, drawn["order"]) for x in (latents, other.flatten(2))]
    torch.testing.assert_close(told[0], told[1], rtol=0, atol=0)


def test_leaving_tokens_out_is_as_masking_them(
    method: MaskedAutoencoderMethod, batch: Batch
) -> None:
    drawn = drawn_by(method, batch.present)
    shown = batch.present[:, :, None] & ~drawn["hidden"]
    latents = method.encode(method.views(batch, seed=0), batch.present)["latents"]
    some = method.rebuild(latents, shown, drawn["order"])
    method.shown = 3 * PLACES
    torch.testing.assert_close(method.rebuild(latents, shown, drawn["order"]), some)


@pytest.mark.parametrize("absent", [7.0, torch.nan, 1e30])
def test_inherited_patches_have_no_influence_and_no_gradient(
    method: MaskedAutoencoderMethod, batch: Batch, absent: float
) -> None:
    results = []
    for filling in (0.0, absent):
        signals = {
            m.name: torch.where(
                batch.present[:, column, None, None], batch.signals[m.name], filling
            ).requires_grad_()
            for column, m in enumerate(method.model.modalities)
        }
        method.zero_grad()
        loss = method.terms(Batch(signals, batch.present), generator())["reconstruction"]
        loss.backward()
        for column, m in enumerate(method.model.modalities):
            gradient = signals[m.name].grad
            assert gradient is not None
            assert not gradient[~batch.present[:, column]].any()
            assert gradient[batch.present[:, column]].any()
        results.append([loss.detach(), *[p.grad for p in method.parameters()]])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_it_learns_to_rebuild(method_of: MethodOf, batch: Batch) -> None:
    first, last = learn(method_of(config_of("method.normalised=false")), batch)
    assert last["reconstruction"] < 0.8 * first["reconstruction"]


def test_a_window_of_nothing_and_one_modality_are_finite(method_of: MethodOf) -> None:
    method = method_of(config_of())
    names = [m.name for m in method.model.modalities]
    present = torch.tensor([[False] * 3, [True, False, False]])
    signals = {name: torch.randn(2, n, c) for name, n, c in zip(names, (40, 8, 64), (3, 1, 1),
                                                                strict=True)}  # fmt: skip
    loss = method.terms(Batch(signals, present), generator())["reconstruction"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in method.model.parameters())  # type: ignore[union-attr]


# --- what does not fit


@pytest.mark.parametrize(("settings", "message"), [
    (["aggregator={kind: concat}"], "needs aggregator.kind 'token_transformer', got 'concat'"),
    (["encoder={kind: strided, dim: 32}"], "needs encoder.kind 'patch_transformer' with read "
     "'tokens' and places 4, as the aggregator, got 'strided'"),
    (["encoder.places=2"], "with read 'tokens' and places 4, as the aggregator"),
    (["method.decoder_heads=3"], "decoder_heads is 3 of decoder_dim 8; allowed are divisors of 8$"),
    (["encoder.depth=1"], "needs encoder.depth 0, or hidden patches would leak, has 1"),
])  # fmt: skip
def test_parts_that_do_not_fit_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(*settings)


def test_a_single_patch_cannot_be_hidden(store: Store) -> None:
    config = config_of(places=1)
    model = build_model(config, store.modalities[:1], window_s=store.window_s, seed=0)
    with pytest.raises(ConfigError, match="a window is 1 patch; at least 2 are needed"):
        build_method(config, model, seed=0)
