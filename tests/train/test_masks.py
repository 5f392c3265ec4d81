"""Masks of methods: every strategy, rates of their own, rates that change, and who may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from crossl.config import RunConfig, load_config
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import CrosslMethod, Method
from crossl.methods.masks import EVERY, Masks, count_tokens
from crossl.nn.masking import OVER_TIME

NAMES = ("wrist_acc", "wrist_heat", "chest_ecg")
every = pytest.mark.parametrize("strategy", EVERY)


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    """Windows some of which lack a modality."""
    batch = collate(store, fold.train[:48])
    assert not batch.present.all()
    return batch


def learn(method: Method, batch: Batch) -> tuple[dict, dict]:
    """Return terms and gradients on a batch, in training mode."""
    torch.nn.Module.zero_grad(method)
    method.train()
    terms = method.terms(batch, torch.Generator().manual_seed(1))
    torch.stack(list(terms.values())).sum().backward()
    found = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    return {name: term.detach() for name, term in terms.items()}, found


@every
@pytest.mark.parametrize("keep_rate", ["1.0", "0.1", "{chest_ecg: 0.2}"])
@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_every_strategy_at_every_ratio_learns_from_what_is_there_alone(
    recipe: str, keep_rate: str, strategy: str, small: Callable[..., RunConfig],
    method_of: Callable[..., Method], batch: Batch,
) -> None:  # fmt: skip
    asked = (f"method.strategy={strategy}", f"method.keep_rate={keep_rate}")
    method = method_of(small(recipe, *asked))
    terms, gradients = learn(method, batch)
    assert all(torch.isfinite(x).all() for x in (*terms.values(), *gradients.values()))
    assert any(g.abs().max() > 0 for n, g in gradients.items() if n.startswith("model.encoders"))
    signals = {
        name: torch.where(batch.present[:, i, None, None], x, float("nan"))
        for i, (name, x) in enumerate(batch.signals.items())
    }
    other_terms, other_gradients = learn(method, replace(batch, signals=signals))
    torch.testing.assert_close(other_terms, terms, rtol=0, atol=0)
    torch.testing.assert_close(other_gradients, gradients, rtol=0, atol=0)
    again, _ = learn(method, batch)
    torch.testing.assert_close(again, terms, rtol=0, atol=0)


@every
def test_a_modality_that_is_not_named_is_never_hidden(
    strategy: str, method_of: Callable[..., Method], batch: Batch
) -> None:
    masks = Masks(method_of().model, strategy=strategy, keep_rate={"wrist_heat": 0.1}, differ=False)
    drawn = masks.draw(batch.present, torch.Generator().manual_seed(0))
    if strategy in OVER_TIME:
        assert (drawn["length"][:, :, [0, 2]] == 0).all()
        assert (drawn["length"][:, :, 1] > 0).any()
    else:
        keep = drawn["keep"] if drawn["keep"].dim() == 4 else drawn["keep"][..., None]
        hidden = batch.present[:, :, None] & ~keep
        assert not hidden[:, :, [0, 2]].any()
        assert hidden[:, :, 1].any()


@every
def test_nothing_is_hidden_at_a_ratio_of_0(
    strategy: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    asked = (f"method.strategy={strategy}", "method.keep_rate=1", "method.differ=false")
    method = method_of(small("crossl", *asked)).eval()
    terms = method.terms(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(terms["prediction"], torch.tensor(0.0))
    present, latents = batch.present, torch.randn(2, len(batch.present), 3, 8)
    drawn = method.draw(present, torch.Generator().manual_seed(0))
    assert isinstance(method, CrosslMethod)
    tokens = {"tokens": torch.randn(len(present), 2, 3, 5, 8)}
    seen = method.masks.see(latents, tokens, present, drawn)
    assert torch.equal(seen.keep, present[None, :, :, None].expand_as(latents))
    assert torch.equal(seen.latent[seen.keep], latents[seen.keep])
    assert not seen.hidden.any()


def test_a_part_of_time_is_the_mean_of_the_tokens_that_are_left(
    method_of: Callable[..., Method],
) -> None:
    model = method_of().model
    masks = Masks(model, strategy="temporal", keep_rate=0.5)
    assert masks.places is not None
    assert masks.places.tolist() == [3, 1, 5]
    torch.testing.assert_close(masks.places, count_tokens(model))
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 1, 3, 8, generator=rng)
    tokens = torch.randn(1, 2, 3, 5, 8, generator=rng)
    present = torch.ones(1, 3, dtype=torch.bool)
    drawn = {  # the first view hides the first half, the second nothing
        "begin": torch.zeros(2, 1, 3),
        "length": torch.tensor([0.5, 0.0])[:, None, None].expand(2, 1, 3),
        "back": torch.zeros(2, 1, 3, dtype=torch.bool),
    }
    seen = masks.see(latent, {"tokens": tokens}, present, drawn)
    torch.testing.assert_close(seen.latent[1], latent[1], rtol=0, atol=0)
    # tokens in the middles of thirds, of the whole, of fifths
    torch.testing.assert_close(seen.latent[0, 0, 0], tokens[0, 0, 0, 1:3].mean(dim=0))
    torch.testing.assert_close(seen.latent[0, 0, 1], latent[0, 0, 1], rtol=0, atol=0)  # all of it
    torch.testing.assert_close(seen.latent[0, 0, 2], tokens[0, 0, 2, 2:].mean(dim=0))
    torch.testing.assert_close(seen.hidden[0, 0], torch.tensor([1 / 3, 0.0, 0.4]))
    assert seen.keep.all()
    drawn["length"] = torch.tensor([0.6, 0.0])[:, None, None].expand(2, 1, 3)
    seen = masks.see(latent, {"tokens": tokens}, present, drawn)
    assert seen.keep[:, 0, :, 0].tolist() == [[True, False, True], [True, True, True]]


def test_the_prediction_counts_each_modality_by_how_much_of_it_is_hidden(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small("crossl", "method.strategy=temporal")).eval()
    assert isinstance(method, CrosslMethod)
    generator = torch.Generator().manual_seed(0)
    encoded = method.encode(method.views(batch, seed=0), batch.present)
    drawn = method.draw(batch.present, generator)
    term = method.compare(encoded, batch.present, drawn)["prediction"]
    latents = encoded["latents"].transpose(0, 1)
    seen = method.masks.see(latents, encoded, batch.present, drawn)
    wanted = torch.zeros(())
    for view in range(2):
        shared = method.model.aggregator.shared(seen.latent[view], seen.keep[view])
        error = (method.model.aggregator.predict(shared) - latents[view]).square().mean(dim=2)
        weight = seen.hidden[view]
        wanted = wanted + (error * weight).sum() / weight.sum()
    torch.testing.assert_close(term, method.prediction_weight * wanted)


def test_rates_go_from_the_start_to_the_end_along_a_line(method_of: Callable[..., Method]) -> None:
    model = method_of().model
    masks = Masks(model, keep_rate={"wrist_acc": 0.7}, final_keep_rate={"chest_ecg": 0.2})
    here, total, seen = torch.device("cpu"), 5, []
    masks.train()
    for step in range(total):
        seen.append(masks.rate(here))
        masks.after_step(step + 1, total)
    wanted = [[0.7, 1.0, 1.0 - 0.2 * step] for step in range(total)]
    torch.testing.assert_close(torch.stack(seen), torch.tensor(wanted))
    masks.load_state_dict({"progress": torch.tensor(0.25)})
    torch.testing.assert_close(masks.rate(here), torch.tensor([0.7, 1.0, 0.8]))
    # validation asks the same at every moment
    torch.testing.assert_close(masks.eval().rate(here), torch.tensor([0.7, 1.0, 0.2]))
    assert not Masks(model, keep_rate=0.3).state_dict()
    assert not Masks(model, keep_rate={"wrist_acc": 0.3}).state_dict()


@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_a_training_hides_more_and_more(
    recipe: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    asked = ("method.strategy=random", "method.keep_rate=0.9", "method.final_keep_rate=0.1")
    method = method_of(small(recipe, *asked)).train()
    shares = []
    for step in range(5):
        keep = (method.draw(batch.present, torch.Generator().manual_seed(step)) or {})["keep"]
        shares.append(float(keep[:, batch.present].double().mean()))
        method.after_step(step + 1, 5)
    torch.testing.assert_close(shares, [0.9, 0.7, 0.5, 0.3, 0.1], rtol=0, atol=0.05)


@pytest.mark.parametrize(("asked", "message"), [
    ("method.keep_rate={wrist_ac: 0.5}", "method.keep_rate: no modality is called 'wrist_ac'; did"),
    ("method.final_keep_rate={ecg: 0.5}", "method.final_keep_rate: no modality is called 'ecg'"),
])  # fmt: skip
@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_rates_of_modalities_that_are_not_there_are_refused(
    recipe: str, asked: str, message: str, small: Callable[..., RunConfig],
    method_of: Callable[..., Method],
) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        method_of(small(recipe, asked))


@pytest.mark.parametrize(("asked", "message"), [
    ("method.keep_rate=0", "method.keep_rate: .*greater than 0, got 0"),
    ("method.keep_rate={a: 1.5}", "method.keep_rate: .*less than or equal to 1, got {a: 1.5}"),
    ("method.final_keep_rate=0", "method.final_keep_rate: .*greater than 0, got 0"),
    ("method.final_keep_rate={a: x}", "method.final_keep_rate: .*number.*, got {a: x}"),
    ("method.strategy=time", "method.strategy: .*'temporal_each', got 'time'"),
])  # fmt: skip
def test_impossible_rates_and_strategies_are_refused(asked: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[asked])


def test_an_unknown_strategy_and_an_encoder_without_tokens_are_refused(
    method_of: Callable[..., Method],
) -> None:
    model = method_of().model
    with pytest.raises(ConfigError, match="strategy 'temporl'; did you mean 'temporal'"):
        Masks(model, strategy="temporl", keep_rate=0.5)  # type: ignore[arg-type]
    model.encoders["encode_wrist_heat"] = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(8, 8)
    )
    with pytest.raises(ConfigError, match="'wrist_heat': Sequential gives no tokens in time"):
        Masks(model, strategy="temporal", keep_rate=0.5)
    assert Masks(model, strategy="random", keep_rate=0.5).places is None


def test_settings_that_did_not_use_to_be_there_are_written_where_they_say_something() -> None:
    written = load_config().model_dump(mode="json")["method"]
    assert not {"strategy", "final_keep_rate", "differ"} & set(written)
    asked = ("method.strategy=random", "method.final_keep_rate={ecg: 0.2}", "method.differ=false")
    written = load_config(overrides=asked).model_dump(mode="json")["method"]
    assert written["strategy"] == "random"
    assert written["final_keep_rate"] == {"ecg": 0.2}
    assert written["differ"] is False
    assert "final_keep_rate" not in load_config(base="paper").model_dump(mode="json")["method"]
