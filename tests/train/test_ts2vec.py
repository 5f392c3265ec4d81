"""TS2Vec: places, crops, what is hidden, and that it learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import Method, Ts2vecMethod
from crossl.methods.places import encode_places, shares_of_places
from crossl.methods.ts2vec import overlapping_crops

Make = Callable[..., Ts2vecMethod]


@pytest.fixture
def make(small: Callable[..., RunConfig], method_of: Callable[..., Method]) -> Make:
    def build(*overrides: str) -> Ts2vecMethod:
        method = method_of(small("crossl", "method.kind=ts2vec", *overrides))
        assert isinstance(method, Ts2vecMethod)
        return method

    return build


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    return collate(store, fold.train[:24])


def test_places_average_the_tokens_that_lie_there() -> None:
    shares = shares_of_places(torch.tensor([6, 3, 2, 0]), 3, 6)
    torch.testing.assert_close(shares.sum(dim=2), torch.tensor([[1.0], [1], [1], [0]]).expand(4, 3))
    tokens = torch.arange(6.0)
    wanted = torch.tensor([[0.5, 2.5, 4.5], [0, 1, 2], [0, 0.5, 1], [0, 0, 0]])
    torch.testing.assert_close(shares @ tokens, wanted)


@pytest.mark.parametrize("kind", ["strided", "tcn", "resnet", "deepconvlstm", "patch_transformer"])
def test_encoders_of_any_kind_give_tokens_at_the_same_places(
    kind: str, make: Make, batch: Batch, store: Store
) -> None:
    keys = () if kind == "strided" else (f"encoder.kind={kind}", "encoder.dim=8")
    model = make(*keys).model.eval()
    signals = model.standardise(batch)
    tokens = encode_places(model, signals, batch.present, most=4)
    assert tokens.shape[::3] == (len(batch), 8)
    assert tokens.shape[2] <= 4
    assert not tokens[~batch.present].any()
    one = model.encode_tokens(signals, batch.present)
    counts = one.present.sum(dim=2).amax(dim=0)
    for m in range(len(counts)):
        mean = one.values[:, m, : counts[m]].mean(dim=1)
        torch.testing.assert_close(tokens[:, m].mean(dim=1), mean, rtol=1e-4, atol=1e-5)


def test_crops_overlap_and_all_of_them_come_up() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(400):
        one, other = overlapping_crops(torch.rand(4, generator=generator), 4)
        assert (one & other).sum() >= 2
        for crop in (one, other):  # each is one stretch
            assert (crop.int().diff() == 1).sum() + crop[0].int() == 1
        assert one.int().argmax() <= other.int().argmax()
        seen.add((*one.tolist(), *other.tolist()))
    assert len(seen) == 10 + 4 + 1  # overlaps of two, of three, of all four places
    whole = overlapping_crops(torch.tensor([0.3, 0.9, 0.1, 0.5]), 1)
    assert whole.all()


def test_what_is_hidden_or_cut_off_changes_nothing_that_is_seen(make: Make, batch: Batch) -> None:
    method = make().eval()
    x = torch.randn(5, 6, method.into.out_features)
    crop = torch.tensor([False, True, True, True, True, False])
    hidden = torch.zeros(5, 6, dtype=torch.bool)
    hidden[:, 2] = True
    other = torch.where((hidden | ~crop)[..., None], 7.0, x)
    found, wanted = method._read(other, crop, hidden), method._read(x, crop, hidden)
    torch.testing.assert_close(found[:, 1:5], wanted[:, 1:5], rtol=0, atol=0)
    # a crop is as if nothing lay around it
    alone = method._read(x[:, 1:5], crop[1:5], hidden[:, 1:5])
    torch.testing.assert_close(alone, wanted[:, 1:5])
    changed = x.clone()
    changed[:, 4] += 1
    assert (method._read(changed, crop, hidden)[:, 1] != wanted[:, 1]).any()


def test_the_share_of_hidden_places_and_kept_modalities_is_as_asked(make: Make) -> None:
    method = make("method.hidden_rate=0.25", "method.keep_rate=0.5")
    present = torch.ones(400, 3, dtype=torch.bool)
    present[:, 2] = False
    drawn = method.draw(present, torch.Generator().manual_seed(0))
    assert drawn is not None
    assert abs(drawn["hidden"].float().mean() - 0.25) < 0.02
    assert not drawn["keep"][:, :, 2].any()
    assert drawn["keep"].any(dim=2).all()
    assert "keep" not in (make().draw(present, torch.Generator()) or {})


def test_it_learns_to_tell_places_and_windows_apart(make: Make, batch: Batch) -> None:
    method, generator = make(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)

    def mean_terms() -> dict[str, float]:
        with torch.no_grad():
            found = [
                method.terms(batch, torch.Generator().manual_seed(seed)) for seed in range(100, 108)
            ]
        return {name: sum(t[name].item() for t in found) / len(found) for name in found[0]}

    before = mean_terms()
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(method.terms(batch, generator).values())).sum().backward()
        optimizer.step()
    after = mean_terms()
    assert after["instance"] < 0.8 * before["instance"]
    assert after["temporal"] < before["temporal"]
