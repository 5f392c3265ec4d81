"""TS-TCC: stretches that change places, past and future, and that it learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import Method, TsTccMethod
from crossl.methods.permutation import Permutation, permute

Make = Callable[..., TsTccMethod]


@pytest.fixture
def make(small: Callable[..., RunConfig], method_of: Callable[..., Method]) -> Make:
    def build(*overrides: str) -> TsTccMethod:
        method = method_of(small("crossl", "method={kind: ts_tcc, width: 16}", *overrides))
        assert isinstance(method, TsTccMethod)
        return method

    return build


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    return collate(store, fold.train[:24])


def test_a_permutation_loses_and_mixes_nothing() -> None:
    x = torch.stack([torch.arange(60.0), 100 + torch.arange(60.0)], dim=1).expand(200, 60, 2)
    chance = torch.rand(200, 16, generator=torch.Generator().manual_seed(0))
    moved = permute(x, chance)
    torch.testing.assert_close(moved.sort(dim=1).values, x)
    torch.testing.assert_close(moved[..., 1] - moved[..., 0], torch.full((200, 60), 100.0))
    jumps = (moved[..., 0].diff(dim=1) != 1).sum(dim=1)
    assert jumps.max() <= 7  # eight stretches at most
    assert (jumps == 0).any()
    assert len(set(jumps.tolist())) == 8


def test_modalities_of_a_window_are_cut_at_the_same_times() -> None:
    fast, slow = (torch.arange(n).float()[None, :, None] / n for n in (80, 20))
    chance = torch.rand(1, 16, generator=torch.Generator().manual_seed(3))
    one, other = permute(fast, chance)[0, ::4, 0], permute(slow, chance)[0, :, 0]
    # but for the samples at a cut, a place holds what was then
    assert ((one - other).abs() < 0.06).float().mean() > 0.5
    same = permute(fast, chance)
    torch.testing.assert_close(permute(fast.expand(3, -1, -1), chance.expand(3, -1))[2:], same)


def test_one_stretch_and_no_noise_leave_a_window_as_it_is() -> None:
    signals = {"acc": torch.randn(3, 20, 2)}
    plain = Permutation(segments=1, jitter=0).build()
    torch.testing.assert_close(plain(signals, torch.Generator()), signals)


def test_terms_are_their_formulas(make: Make) -> None:
    method = make("method.ahead=2").double().eval()
    present = torch.ones(5, 3, dtype=torch.bool)
    tokens = torch.randn(5, 2, 4, 3, method.model.latent_dim, dtype=torch.float64)
    found = method.compare({"tokens": tokens}, present, {"end": torch.tensor(0.99)})
    past, views = 2, []  # of four places the last two are predicted
    for view in range(2):
        rows = [method.model.aggregate(tokens[:, view, p], present) for p in range(4)]
        z = torch.stack([method.into(row) for row in rows], dim=1)
        views.append(z / z.norm(dim=2, keepdim=True))
    contexts = []
    for z in views:
        x = torch.cat([method.start.expand(5, 1, -1), (z + method.position[:4])[:, :past]], dim=1)
        for block in method.blocks:  # of the past alone
            x = block(x)
        contexts.append(method.norm(x[:, 0]))
    temporal = 0.0
    for view in range(2):
        for step in range(2):
            told = method.tell[step](contexts[view])
            scores = (views[1 - view][:, past + step] @ told.T).detach().numpy()
            own = np.exp(np.diag(scores)) / np.exp(scores).sum(axis=1)
            temporal += -np.log(own).mean() / 2
    np.testing.assert_allclose(found["temporal"].item(), temporal)
    a, b = (method.projection(c).detach().numpy() for c in contexts)
    z = np.concatenate([a, b])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    scores = np.exp(z @ z.T / 0.2)
    losses = [
        -np.log(scores[i, (i + 5) % 10] / (scores[i].sum() - scores[i, i])) for i in range(10)
    ]
    np.testing.assert_allclose(found["contextual"].item(), 0.7 * np.mean(losses))


def test_what_comes_after_does_not_reach_the_context(make: Make) -> None:
    method = make().eval()
    z = torch.randn(4, 6, 16)
    other = z.clone()
    other[:, 3:] = 50.0
    past = torch.tensor(3)
    torch.testing.assert_close(method._context(other, past), method._context(z, past))
    other[:, 2] += 1
    assert (method._context(other, past) != method._context(z, past)).any()


def test_every_past_comes_up(make: Make, batch: Batch) -> None:
    method = make("method.ahead=2")
    seen = set()
    method._context = lambda z, past: seen.add(int(past)) or z[:, 0]  # type: ignore[method-assign]
    encoded = {"tokens": torch.randn(len(batch), 2, 5, 3, method.model.latent_dim)}
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        method.compare(encoded, batch.present, method.draw(batch.present, generator))
    assert seen == {1, 2, 3}


def test_a_single_token_and_views_of_other_lengths_are_refused(make: Make, batch: Batch) -> None:
    method = make()
    tokens = torch.randn(4, 2, 1, 3, method.model.latent_dim)
    present = torch.ones(4, 3, dtype=torch.bool)
    with pytest.raises(ConfigError, match="'ts_tcc': encoders give 1 token of a window; at least"):
        method.compare({"tokens": tokens}, present, {"end": torch.tensor(0.5)})
    shorter = make("method.weak={kind: general, crop: 0.5}")
    with pytest.raises(ConfigError, match="give windows of 20 and 40 samples of 'wrist_acc'"):
        shorter.views(batch, seed=0)


def test_it_learns_what_it_asks_for(make: Make, batch: Batch) -> None:
    method, generator = make(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(method.parameters(), lr=5e-3)
    terms = []
    for _ in range(50):
        found = method.terms(batch, generator)
        terms.append({name: term.item() for name, term in found.items()})
        optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
    for name in ("temporal", "contextual"):
        first, last = (np.mean([t[name] for t in some]) for some in (terms[:5], terms[-5:]))
        assert last < 0.9 * first
