"""Shared codes and private ones that may depend on them: what terms are, and that they learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from crossl.config import RunConfig, build_method, build_model
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import DependentSplitMethod, Method
from crossl.methods.dependent_split import Gaussian, describe, described_by, divergence

Make = Callable[..., DependentSplitMethod]


@pytest.fixture
def settings(small: Callable[..., RunConfig]) -> Callable[..., RunConfig]:
    return lambda *overrides: small(
        "crossl", "method.kind=dependent_split", "aggregator.kind=concat", *overrides
    )


@pytest.fixture
def make(settings: Callable[..., RunConfig], method_of: Callable[..., Method]) -> Make:
    def build(*overrides: str) -> DependentSplitMethod:
        method = method_of(settings(*overrides))
        assert isinstance(method, DependentSplitMethod)
        return method

    return build


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    return collate(store, fold.train[:24])


def test_the_divergence_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (Gaussian(*torch.randn(2, 5, 3, generator=generator)) for _ in range(2))
    first, second = (
        torch.distributions.Normal(g.mean, (0.5 * g.log_variance).exp()) for g in (one, other)
    )
    wanted = torch.distributions.kl_divergence(first, second)
    torch.testing.assert_close(divergence(one, other), wanted)


@pytest.mark.parametrize("samples", [1, 2, 3, 8, 40, 100])
def test_a_window_is_described_by_its_level_and_spectrum(samples: int) -> None:
    x = torch.randn(3, samples, 2, dtype=torch.float64)
    looks = describe(x)
    assert looks.shape == (3, 2 * described_by(samples))
    torch.testing.assert_close(looks[:, :2], x.mean(dim=1))
    if samples == 8:  # each of the four magnitudes is a band of its own
        centred = x[0, :, 1].numpy() - x[0, :, 1].numpy().mean()
        wanted = np.log1p(np.abs(np.fft.rfft(centred))[1:] / np.sqrt(8))
        np.testing.assert_allclose(looks[0, -4:].numpy(), wanted)
    shifted = describe(x.roll(samples // 2, dims=1))
    torch.testing.assert_close(shifted, looks)  # phases are not told


@pytest.mark.parametrize("prior", ["dependent", "independent"])
def test_terms_are_their_formulas(prior: str, make: Make) -> None:
    method = make(f"method.prior={prior}").double()
    present = torch.ones(6, 3, dtype=torch.bool)
    present[3:, 1] = False
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(6, 3, method.model.latent_dim, generator=generator).double()
    looks = {
        f"looks_{m.name}": torch.randn(6, f[2].out_features, generator=generator).double()
        for m, f in zip(method.model.modalities, method.tell, strict=True)
    }
    drawn = method.draw(present, generator)
    assert drawn is not None
    found = method.compare({"latents": latents, **looks}, present, drawn)
    errors, distances = [], []
    for i in range(6):
        there = [m for m in range(3) if present[i, m]]
        codes = [method.shared[m](latents[i, m]) for m in there]
        common = torch.stack(codes).mean(dim=0)
        for m in there:
            mean, raw = method.private[m](latents[i, m]).chunk(2)
            spread = (2 * torch.tanh(raw / 4)).exp()
            told = method.tell[m](torch.cat([common, mean + spread * drawn["noise"][i, m]]))
            wanted = looks[f"looks_{method.model.modalities[m].name}"][i]
            errors.append((told - wanted).square().mean())
            other, scale = torch.zeros(len(mean)).double(), torch.ones(len(mean)).double()
            if method.priors is not None:
                other, raw = method.priors[m](common).chunk(2)
                scale = (2 * torch.tanh(raw / 4)).exp()
            one = torch.distributions.Normal(mean, spread)
            prior_of_it = torch.distributions.Normal(other, scale)
            distances.append(torch.distributions.kl_divergence(one, prior_of_it).mean())
    torch.testing.assert_close(found["reconstruction"], 10 * torch.stack(errors).mean())
    torch.testing.assert_close(found["prior"], 0.1 * torch.stack(distances).mean())


def test_a_modality_alone_shares_nothing(
    settings: Callable[..., RunConfig], store: Store, batch: Batch
) -> None:
    config = settings()
    model = build_model(config, store.modalities[:1], window_s=store.window_s, seed=0)
    method = build_method(config, model, seed=0)
    one = {store.modalities[0].name: batch.signals[store.modalities[0].name]}
    terms = method.terms(Batch(one, batch.present[:, :1]), torch.Generator().manual_seed(0))
    assert set(terms) == {"reconstruction", "prior"}


def test_what_is_private_may_follow_from_what_is_shared_at_no_cost(make: Make) -> None:
    costs = {}
    for prior in ("dependent", "independent"):
        method, follows = make(f"method.prior={prior}"), make().priors
        assert follows is not None
        for m, private in enumerate(follows):
            method.shared[m] = method.shared[0]
            method.private[m] = torch.nn.Sequential(method.shared[0], private)
            if method.priors is not None:
                method.priors[m] = private
        latents = torch.randn(8, 1, method.model.latent_dim).expand(-1, 3, -1)
        looks = {
            f"looks_{m.name}": torch.zeros(8, f[2].out_features)
            for m, f in zip(method.model.modalities, method.tell, strict=True)
        }
        present = torch.ones(8, 3, dtype=torch.bool)
        drawn = method.draw(present, torch.Generator().manual_seed(0))
        terms = method.compare({"latents": latents, **looks}, present, drawn)
        costs[prior] = terms["prior"].item()
    assert abs(costs["dependent"]) < 1e-8
    assert costs["independent"] > 1e-4


def test_it_learns_what_it_asks_for(make: Make, batch: Batch) -> None:
    method, generator = make(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    first: dict[str, float] = {}
    for _ in range(60):
        terms = method.terms(batch, generator)
        first = first or {name: term.item() for name, term in terms.items()}
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    for name in ("reconstruction", "shared/variance"):
        assert terms[name] < 0.6 * first[name]
