"""Rivals that train encoders by comparing modalities, and joint embeddings without masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from crossl.config import RunConfig, build_method, build_model, load_config
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import FocalMethod, Method
from crossl.methods.one_view import mean_of_pairs

Small, MethodOf = Callable[..., RunConfig], Callable[..., Method]
NO_CHANGE = ("method.augmentation.jitter=0", "method.augmentation.scale=0")


def plain(small: Small, kind: str, *more: str) -> RunConfig:
    return small("crossl", f"method.kind={kind}", "aggregator.kind=concat", *more)


def learn(method: Method, batch: Batch, steps: int = 60) -> tuple[dict, dict]:
    """Return the terms before and after some steps on one batch."""
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    first = {}
    for _ in range(steps):
        terms = method.terms(batch, generator)
        first = first or {name: term.item() for name, term in terms.items()}
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    return first, {name: term.item() for name, term in terms.items()}


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    return collate(store, fold.train[:24])


@pytest.mark.parametrize("kind", ["cmc", "cocoa", "focal", "joint_embedding"])
def test_it_learns_what_it_asks_for(
    kind: str, small: Small, method_of: MethodOf, batch: Batch
) -> None:
    first, last = learn(method_of(plain(small, kind)), batch)
    assert sum(last.values()) < 0.96 * sum(first.values())


@pytest.mark.parametrize("kind", ["cmc", "cocoa", "focal"])
def test_a_window_that_lacks_a_modality_is_as_without_it(
    kind: str, small: Small, method_of: MethodOf, batch: Batch
) -> None:
    method = method_of(plain(small, kind, *NO_CHANGE)).eval()
    latents = torch.randn(6, 2, 3, method.model.latent_dim, dtype=torch.float32)
    if kind != "focal":
        latents = latents[:, 0]
    present = torch.ones(6, 3, dtype=torch.bool)
    present[4:, 1] = False
    alone = latents.clone()
    alone[4:, ..., 1, :] = 100.0
    one, other = (method.compare({"latents": x}, present, None) for x in (latents, alone))
    torch.testing.assert_close(one, other)


def test_focal_holds_halves_apart(small: Small, method_of: MethodOf, batch: Batch) -> None:
    method = method_of(plain(small, "focal", "method.orthogonality=30"))
    assert isinstance(method, FocalMethod)
    first, last = learn(method, batch)
    assert last["orthogonality"] < 0.3 * first["orthogonality"]


@pytest.mark.parametrize("kind", ["cmc", "cocoa", "focal"])
def test_an_aggregator_that_would_stay_random_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"method.kind '{kind}' needs aggregator.kind 'concat'"):
        load_config(overrides=[f"method.kind={kind}"])


@pytest.mark.parametrize("kind", ["cmc", "cocoa"])
def test_one_modality_has_nothing_to_be_compared_with(
    kind: str, small: Small, store: Store
) -> None:
    config = plain(small, kind)
    model = build_model(config, store.modalities[:1], window_s=store.window_s, seed=0)
    with pytest.raises(ConfigError, match=f"'{kind}': compares modalities, got 1; at least 2"):
        build_method(config, model, seed=0)


def test_pairs_that_nobody_has_are_in_no_mean() -> None:
    terms = [torch.tensor(2.0), torch.tensor(0.0), torch.tensor(4.0)]
    counts = [torch.tensor(5), torch.tensor(1), torch.tensor(2)]
    torch.testing.assert_close(mean_of_pairs(terms, counts), torch.tensor(3.0))
    torch.testing.assert_close(mean_of_pairs(terms, [torch.tensor(0)] * 3), torch.tensor(0.0))


def test_a_joint_embedding_sees_both_views_whole_unless_asked(
    small: Small, method_of: MethodOf, batch: Batch
) -> None:
    generator = torch.Generator().manual_seed(0)
    whole = method_of(plain(small, "joint_embedding", *NO_CHANGE))
    assert whole.draw(batch.present, generator) is None
    terms = whole.terms(replace(batch), generator)
    torch.testing.assert_close(terms["invariance"], torch.tensor(0.0))
    hiding = method_of(plain(small, "joint_embedding", "method.keep_rate=0.5", *NO_CHANGE))
    drawn = hiding.draw(batch.present, generator)
    assert drawn is not None
    assert not (drawn["keep"] & ~batch.present).any()
    assert hiding.terms(batch, generator)["invariance"] > 0
