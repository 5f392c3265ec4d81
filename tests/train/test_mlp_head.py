"""The authors' classifier on frozen embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from crossl.errors import SplitError
from crossl.evaluate.budgets import STRICT, VALIDATION
from crossl.evaluate.latents import HEADS, LatentTable
from crossl.evaluate.missing import probability_subsets
from crossl.nn.model import CrossModalModel
from crossl.train.mlp_head import MlpHead, fit_mlp_by_budget

Tables = dict[str, LatentTable]
Weights = Callable[[CrossModalModel], dict[str, np.ndarray]]


def fit_to_best(train: LatentTable, validation: LatentTable, **asked: Any) -> MlpHead:
    """Train to the moment that validation subjects like best."""
    return fit_mlp_by_budget(train, validation, **asked)[VALIDATION]


@pytest.mark.parametrize("head", HEADS)
def test_an_mlp_head_learns_on_frozen_embeddings(
    head: str, tables: Tables, model: CrossModalModel, weights_of: Weights
) -> None:
    before = weights_of(model)
    mlp = fit_to_best(tables["train"], tables["validation"], head=head, steps=150, lr=0.01)
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    test = tables["test"].take(tables["test"].label >= 0)
    score = f1_score(test.label, mlp.predict(test.embed(head)), average="macro")
    assert score > 0.8


def test_the_same_seed_trains_the_same_mlp_head(tables: Tables) -> None:
    one, two, other = (
        fit_to_best(tables["train"], tables["validation"], steps=5, seed=s) for s in (0, 0, 1)
    )
    for name in ("hidden_weight", "hidden_bias", "weight", "bias"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(one.weight, other.weight)


def test_an_mlp_head_hides_modalities_only_when_asked(tables: Tables) -> None:
    one, two = (
        fit_to_best(tables["train"], tables["validation"], steps=20, lr=0.05, keep_rate=rate)
        for rate in (0.5, 1.0)
    )
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(one.weight, two.weight)


def test_an_mlp_head_of_one_class_or_without_validation_is_refused(tables: Tables) -> None:
    rest = tables["train"].take(tables["train"].label == 0)
    with pytest.raises(SplitError, match=r"MLP head: .* of 1 class; at least 2"):
        fit_to_best(rest, tables["validation"])
    nobody = tables["validation"].take(tables["validation"].label < 0)
    with pytest.raises(SplitError, match="MLP head: validation subjects have no labelled window"):
        fit_to_best(tables["train"], nobody)


def test_the_strict_budget_alone_needs_no_validation_labels(tables: Tables) -> None:
    nobody = tables["validation"].take(tables["validation"].label < 0)
    alone = fit_mlp_by_budget(tables["train"], nobody, steps=20, budgets=[STRICT])
    both = fit_mlp_by_budget(tables["train"], tables["validation"], steps=20)
    assert list(alone) == [STRICT]
    np.testing.assert_array_equal(alone[STRICT].weight, both[STRICT].weight)
    assert alone[STRICT].step == both[STRICT].step == 20


def test_its_probabilities_are_those_of_its_last_layer(tables: Tables) -> None:
    mlp = fit_to_best(tables["train"], tables["validation"], steps=20)
    (found,) = probability_subsets([mlp], tables["test"], [(0, 1, 2), (1,)])
    assert found is not None
    for subset, probability in found.items():
        assert probability.shape == (len(tables["test"]), 3)
        np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
        said = mlp.predict(tables["test"].embed("encoders", subset))
        np.testing.assert_array_equal(probability.argmax(axis=1), said)
