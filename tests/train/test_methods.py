"""Methods: what their terms are, and what an absent modality cannot do to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from crossl.config import RunConfig, load_config
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import CrosslMethod, Method, PaperMethod
from crossl.methods.compare import compare
from crossl.nn.encoders import TcnEncoder
from crossl.objectives.objective import Objective
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import METHODS, OBJECTIVES, kind_of

RECIPES = ("crossl", "paper")
load_config()  # registers what crossl has
EVERY = sorted(set(METHODS) - {"distil"})  # needs a teacher: test_distil


WITH_OBJECTIVE = [name for name in EVERY if "objective" in METHODS[name].model_fields]


PATCHES = (
    "encoder={kind: patch_transformer, read: tokens, depth: 0, dim: 32, places: 4}",
    "aggregator={kind: token_transformer, places: 4}",
)
NEEDS = {
    "masked_autoencoder": PATCHES,
    "hybrid": PATCHES,
    "cross_reconstruction": (
        "encoder={kind: time_frequency, dim: 24, places: 5, bands: 4, depth: 1, heads: 2}",
        "aggregator.kind=concat",
        "method.instance=1",  # its weight is so small that its gradient would seem to be none
    ),
}
"""Other parts than those of the recipe, of methods that need them."""


def settings_of(method: str) -> tuple[str, ...]:
    """A recipe, and what makes another method of it."""
    if method in RECIPES:
        return (method,)
    if method in NEEDS:
        return ("crossl", f"method.kind={method}", *NEEDS[method])
    plain = METHODS[method]().refuses(load_config().aggregator)
    aggregator = ("aggregator.kind=concat",) if plain else ()
    return ("crossl", f"method.kind={method}", *aggregator)


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    """Windows some of which lack a modality."""
    rows = fold.train[~store.present[fold.train].all(axis=1)][:8]
    batch = collate(store, np.r_[rows, fold.train[store.present[fold.train].all(axis=1)][:8]])
    assert not batch.present.all()
    return batch


def filled(batch: Batch, value: float) -> Batch:
    """Put a value wherever a modality is absent."""
    signals = {
        name: torch.where(batch.present[:, i, None, None], x, value)
        for i, (name, x) in enumerate(batch.signals.items())
    }
    return replace(batch, signals=signals)


def learn(method: Method, batch: Batch) -> tuple[dict, dict]:
    """Return terms and gradients on a batch, in training mode."""
    torch.nn.Module.zero_grad(method)
    method.train()
    torch.manual_seed(0)
    terms = method.terms(batch, torch.Generator().manual_seed(1))
    torch.stack(list(terms.values())).sum().backward()
    gradients = {
        name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None
    }
    return {name: term.detach() for name, term in terms.items()}, gradients


@pytest.mark.parametrize("value", [1e4, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("recipe", EVERY)
def test_what_an_absent_modality_holds_changes_no_term_and_no_gradient(
    recipe: str,
    value: float,
    small: Callable[..., RunConfig],
    method_of: Callable[..., Method],
    batch: Batch,
) -> None:
    method = method_of(small(*settings_of(recipe)))
    terms, gradients = learn(method, batch)
    other_terms, other_gradients = learn(method, filled(batch, value))
    torch.testing.assert_close(other_terms, terms, rtol=0, atol=0)
    torch.testing.assert_close(other_gradients, gradients, rtol=0, atol=0)
    assert all(torch.isfinite(g).all() for g in gradients.values())


@pytest.mark.parametrize("recipe", EVERY)
def test_every_parameter_of_a_method_gets_a_gradient(
    recipe: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    # what stands for a hidden modality is only asked where one is hidden
    hides = "keep_rate" in METHODS[recipe].model_fields
    settings = (*settings_of(recipe), *(["method.keep_rate=0.5"] if hides else []))
    method = method_of(small(*settings))
    _, gradients = learn(method, batch)
    assert set(gradients) == {name for name, _ in method.named_parameters()}
    # VICReg does not see what moves all embeddings alike, nor does a normalisation over the batch
    blind = re.compile(r".*expanders?\.(\d\.)?[03]\.bias|model\.aggregator\.norm\.bias")
    still = {name for name, g in gradients.items() if g.abs().max() < 1e-5}
    assert {name for name in still if not blind.fullmatch(name)} == set()


@pytest.mark.parametrize("recipe", EVERY)
def test_terms_depend_on_the_generator_alone(
    recipe: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small(*settings_of(recipe))).eval()
    one, two, other = (
        method.terms(batch, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    torch.testing.assert_close(dict(one), dict(two), rtol=0, atol=0)
    if recipe == "autoencoder":  # draws nothing
        torch.testing.assert_close(dict(one), dict(other), rtol=0, atol=0)
        return
    with pytest.raises(AssertionError):
        torch.testing.assert_close(dict(one), dict(other))


def test_crossl_has_global_modality_and_prediction_terms(
    method_of: Callable[..., Method], batch: Batch
) -> None:
    parts = ("invariance", "variance", "covariance")
    terms = method_of().terms(batch, torch.Generator().manual_seed(0))
    wanted = {f"{kind}/{part}" for kind in ("global", "modality") for part in parts}
    assert set(terms) == wanted | {"prediction"}


@pytest.mark.parametrize("kind", ["gated", "attention", "transformer"])
def test_crossl_trains_every_parameter_of_an_aggregator_that_completes(
    kind: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small("crossl", f"aggregator={{kind: {kind}, shared_dim: 16}}"))
    _, gradients = learn(method, batch)
    parts = {n: g for n, g in gradients.items() if n.startswith("model.aggregator.")}
    assert set(parts) == {
        n for n, _ in method.named_parameters() if n.startswith("model.aggregator.")
    }
    assert {n for n, g in parts.items() if g.abs().max() < 1e-7} == set()


def test_crossl_weighs_its_terms(method_of: Callable[..., Method], batch: Batch) -> None:
    method = method_of().eval()
    assert isinstance(method, CrosslMethod)
    terms = method.terms(batch, torch.Generator().manual_seed(0))
    method.modality_weight *= 2
    method.prediction_weight *= 3
    heavier = method.terms(batch, torch.Generator().manual_seed(0))
    for name, term in terms.items():
        factor = {"modality": 2, "prediction": 3, "global": 1}[name.split("/")[0]]
        torch.testing.assert_close(heavier[name], factor * term)


def test_no_gradient_reaches_the_latents_that_are_predicted(
    method_of: Callable[..., Method],
) -> None:
    method = method_of()
    assert isinstance(method, CrosslMethod)
    latents = torch.randn(5, 2, 3, method.model.latent_dim, requires_grad=True)
    keeps = torch.zeros(2, 5, 3, dtype=torch.bool)
    keeps[0, :, 0], keeps[1, :, 1:] = True, True
    present = torch.ones(5, 3, dtype=torch.bool)
    method.compare({"latents": latents}, present, {"keep": keeps})["prediction"].backward()
    assert latents.grad is not None
    moved = latents.grad.abs().sum(dim=3).transpose(0, 1) > 0  # (view, batch, modality)
    torch.testing.assert_close(moved, keeps)


def test_a_modality_that_one_window_has_adds_nothing_to_the_modality_terms(
    method_of: Callable[..., Method], batch: Batch
) -> None:
    def modality_terms(windows: int) -> dict[str, torch.Tensor]:
        present = torch.ones_like(batch.present)
        present[windows:, 2] = False
        terms = method.terms(replace(batch, present=present), torch.Generator().manual_seed(0))
        assert torch.isfinite(torch.stack(list(terms.values()))).all()
        return {name: term for name, term in terms.items() if name.startswith("modality/")}

    method = method_of().train()
    none, one, three = (modality_terms(windows) for windows in (0, 1, 3))
    torch.testing.assert_close(one, none)
    # one sample has no variance; three have some, and it counts
    assert three["modality/variance"] > none["modality/variance"]


@pytest.mark.parametrize("strategy", ["random", "spatial", "column"])
def test_paper_compares_two_masks_of_one_encoder_pass(
    strategy: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small("paper", f"method.strategy={strategy}"))
    terms = method.terms(batch, torch.Generator().manual_seed(0))
    assert set(terms) == {"invariance", "variance", "covariance", "kernel_decay"}
    method.masks.keep_rate = 1.0
    same = method.terms(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same["invariance"], torch.tensor(0.0))


def test_paper_encoders_stay_without_dropout_while_pretraining(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small("paper", "encoder.dropout=0.5")).train()
    assert method.training
    assert method.model.aggregator.training
    assert not any(module.training for module in method.model.encoders.modules())
    one, two = (method.model.latent(batch) for _ in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_paper_decays_the_squares_of_convolution_kernels(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small("paper"))
    assert isinstance(method, PaperMethod)
    wanted = sum(
        float(convolution.weight.detach().double().square().sum())
        for encoder in method.model.encoders.values()
        if isinstance(encoder, TcnEncoder)
        for convolution in encoder.convolutions
    )
    term = method.terms(batch, torch.Generator().manual_seed(0))["kernel_decay"]
    np.testing.assert_allclose(term.item(), method.kernel_decay * wanted, rtol=1e-5)


def test_paper_has_no_kernel_decay_for_other_encoders(
    method_of: Callable[..., Method], batch: Batch
) -> None:
    method = PaperMethod(method_of().model)
    term = method.terms(batch, torch.Generator().manual_seed(0))["kernel_decay"]
    torch.testing.assert_close(term, torch.tensor(0.0))


def test_vicreg_weights_multiply_the_terms() -> None:
    a, b = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0)).unbind()
    one, weighed = (
        compare(VicregConfig(invariance=x, variance=y, covariance=z), a, b)
        for x, y, z in ((1, 1, 1), (2, 3, 5))
    )
    for factor, name in ((2, "invariance"), (3, "variance"), (5, "covariance")):
        torch.testing.assert_close(weighed[name], factor * one[name])


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_several_batches_are_compared_as_each_alone(name: str) -> None:
    objective = OBJECTIVES[name]()
    z = torch.randn(2, 3, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.ones(3, 9, dtype=torch.float64)
    rows[1, 4:], rows[2, 1:] = 0, 0
    for counting in (None, rows):
        found = objective.compare_several(z[0], z[1], counting)
        counts = [9, 9, 9] if counting is None else [9, 4, 1]
        for network, count in enumerate(counts):
            alone = objective.compare(*(view[network, :, : max(count, 2)].T for view in z))
            for term, value in alone.items():
                wanted = value if count > 1 else torch.zeros_like(value)
                torch.testing.assert_close(found[term][network], wanted)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@pytest.mark.parametrize("recipe", WITH_OBJECTIVE)
def test_every_method_learns_by_every_objective(
    recipe: str,
    name: str,
    small: Callable[..., RunConfig],
    method_of: Callable[..., Method],
    batch: Batch,
) -> None:
    method = method_of(small(*settings_of(recipe), f"method.objective.kind={name}"))
    terms, gradients = learn(method, batch)
    assert all(torch.isfinite(term) for term in terms.values())
    assert any(g.abs().max() > 1e-6 for n, g in gradients.items() if n.startswith("model.encoders"))
    assert kind_of(method.objective) == name  # type: ignore[attr-defined]
    assert isinstance(method.objective, Objective)  # type: ignore[attr-defined]
