"""Latents are computed once: what is read from them under many subsets equals the plain way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from crossl.config import RunConfig, build_model
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.evaluate.budgets import VALIDATION
from crossl.evaluate.latents import HEADS, Head, LatentTable, subsets
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.probe import Classifier, fit_probe, fit_probes
from crossl.nn.model import encode_rows
from crossl.train.finetune import LinearHead
from crossl.train.mlp_head import fit_mlp_by_budget

Tables = dict[str, LatentTable]
CLASSIFIERS = ("probe", "mlp head", "linear head")


@pytest.fixture(params=["crossl", "paper"])
def holed(
    request: pytest.FixtureRequest, store: Store, fold: Fold, small: Callable[..., RunConfig]
) -> Tables:
    """Latents of either recipe, with modalities missing at random; some windows have none."""
    model = build_model(small(request.param), store.modalities, window_s=store.window_s, seed=0)
    model.standardiser.fit(store, fold.train)
    rng = torch.Generator().manual_seed(0)
    tables = {}
    for part, rows in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
        recorded = torch.from_numpy(store.present[rows])
        present = recorded & (torch.rand(recorded.shape, generator=rng) < 0.7)
        latent = encode_rows(model.eval(), store, rows) * present[:, :, None]
        tables[part] = LatentTable(model, latent, present, store.label[rows], store.subject[rows])
    return tables


def classifier_of(kind: str, head: Head, tables: Tables) -> Classifier:
    if kind == "mlp head":
        found = fit_mlp_by_budget(tables["train"], tables["validation"], head=head, steps=40)
        return found[VALIDATION]
    probe = fit_probe(tables["train"], tables["validation"], head=head, strengths=[0.1])
    if kind == "probe":
        return probe
    return LinearHead(head, probe.weight / probe.scale, probe.bias, probe.classes)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_predictions_of_all_subsets_equal_those_of_each(
    kind: str, head: Head, holed: Tables
) -> None:
    test, choices = holed["test"], subsets(3)
    classifier = classifier_of(kind, head, holed)
    (found,) = predict_subsets([classifier], test, choices)
    for subset in choices:
        wanted = classifier.predict(test.embed(head, subset))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(found[subset], wanted)


@pytest.mark.parametrize("head", HEADS)
def test_embeddings_read_for_all_subsets_equal_those_of_each(head: Head, holed: Tables) -> None:
    test, choices = holed["test"], subsets(3)
    width = test.embed(head).shape[1]
    eye, zero = np.eye(width, dtype=np.float32), np.zeros(width, dtype=np.float32)
    read = np.concatenate(list(test.read(head, choices, eye, zero)))
    for i, subset in enumerate(choices):
        np.testing.assert_allclose(read[:, i], test.embed(head, subset), rtol=1e-5, atol=1e-5)


def test_windows_are_read_in_blocks_that_join_in_order(tables: Tables) -> None:
    table = tables["train"].take(np.arange(300) % len(tables["train"]))
    weight, bias = np.ones((1, 3 * 8), np.float32), np.zeros(1, np.float32)
    blocks = list(table.read("encoders", [(0,), (0, 2)], weight, bias))
    assert [len(block) for block in blocks] == [128, 128, 44]
    wanted = table.embed("encoders", (0, 2)).sum(axis=1)
    np.testing.assert_allclose(np.concatenate(blocks)[:, 1, 0], wanted, rtol=1e-4, atol=1e-4)


def test_within_a_subset_the_rest_is_absent(tables: Tables) -> None:
    table = tables["test"]
    assert table.within(None) is table
    np.testing.assert_array_equal(table.within((1,)).present[:, [0, 2]], False)
    np.testing.assert_array_equal(table.within((1,)).present[:, 1], table.present[:, 1])


@pytest.mark.parametrize("head", HEADS)
def test_probes_fitted_together_equal_those_fitted_one_by_one(head: Head, tables: Tables) -> None:
    train, validation = tables["train"], tables["validation"]
    rng = np.random.default_rng(0)
    draws = [(train.take(rng.permutation(len(train))[:n]), seed) for seed, n in enumerate((30, 60))]
    for (table, seed), together in zip(
        draws, fit_probes(draws, validation, head=head), strict=True
    ):
        alone = fit_probe(table, validation, head=head, seed=seed)
        assert together.strength == alone.strength
        np.testing.assert_array_equal(together.weight, alone.weight)
        np.testing.assert_allclose(together.validation_score, alone.validation_score)


def test_probes_of_draws_that_know_other_classes_are_scored_apart(tables: Tables) -> None:
    train, validation = tables["train"], tables["validation"]
    two = train.take(train.label != 2)
    few, all_of_them = fit_probes([(two, 0), (train, 0)], validation)
    np.testing.assert_array_equal(few.classes, [0, 1])
    np.testing.assert_array_equal(all_of_them.classes, [0, 1, 2])
    for probe, table in ((few, two), (all_of_them, train)):
        alone = fit_probe(table, validation)
        np.testing.assert_allclose(probe.validation_score, alone.validation_score)


def test_the_validation_score_is_that_of_scikit_learn(holed: Tables) -> None:
    from sklearn.metrics import f1_score

    validation = holed["validation"].take(holed["validation"].label >= 0)
    probe = fit_probe(holed["train"], validation, strengths=[0.1])
    scores = []
    for subset in subsets(3):
        shown = validation.usable() & validation.usable(subset)
        if shown.any():
            predicted = probe.predict(validation.embed("aggregator", subset))[shown]
            scores.append(f1_score(validation.label[shown], predicted, average="macro"))
    wanted = (scores[0] + np.mean(scores[1:])) / 2
    np.testing.assert_allclose(probe.validation_score, wanted)


def test_a_reading_ignores_the_latent_of_an_absent_modality(holed: Tables) -> None:
    test = holed["test"]
    loud = torch.where(test.present[:, :, None], test.latent, float("nan"))
    probe = fit_probe(holed["train"], holed["validation"], strengths=[0.1])
    one, two = (
        predict_subsets([probe], table, subsets(3))[0]
        for table in (test, replace(test, latent=loud))
    )
    for subset, labels in one.items():
        np.testing.assert_array_equal(two[subset], labels)
