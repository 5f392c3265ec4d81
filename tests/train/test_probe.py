"""Probes: frozen networks, honest choices, sensors missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from crossl.errors import SplitError
from crossl.evaluate.latents import HEADS, LatentTable, subsets
from crossl.evaluate.probe import STRENGTHS, Probe, fit_probe
from crossl.evaluate.probe_rows import MAX_SUBSETS, probe_subsets
from crossl.nn.model import CrossModalModel

Tables = dict[str, LatentTable]
Weights = Callable[[CrossModalModel], dict[str, np.ndarray]]


def quick(train: LatentTable, validation: LatentTable, **options: object) -> Probe:
    """Fit without a choice to make."""
    return fit_probe(train, validation, **{"strengths": [1e-2], **options})  # type: ignore[arg-type]


def relabelled(table: LatentTable, label: np.ndarray) -> LatentTable:
    return replace(table, label=label)


@pytest.mark.parametrize("head", HEADS)
def test_a_probe_leaves_every_parameter_and_buffer_bit_identical(
    head: str, tables: Tables, model: CrossModalModel, weights_of: Weights
) -> None:
    before, training = weights_of(model), model.training
    quick(tables["train"], tables["validation"], head=head)
    after = weights_of(model)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert model.training == training


@pytest.mark.parametrize("head", HEADS)
def test_a_probe_learns_the_classes_of_a_random_network(head: str, tables: Tables) -> None:
    probe = quick(tables["train"], tables["validation"], head=head)
    test = tables["test"].take(tables["test"].label >= 0)
    score = f1_score(test.label, probe.predict(test.embed(probe.head)), average="macro")
    assert score > 0.8
    assert probe.head == head


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_sum_to_one_and_agree_with_predictions(classes: int, tables: Tables) -> None:
    train, validation = (
        tables[part].take(tables[part].label < classes) for part in ("train", "validation")
    )
    probe = quick(train, validation)
    embedding = tables["test"].embed(probe.head)
    scores = probe.scores(embedding)
    assert scores.shape == (len(embedding), classes)
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probe.classes[scores.argmax(axis=1)], probe.predict(embedding))


def test_a_binary_probe_gives_the_probabilities_of_scikit_learn(tables: Tables) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train = tables["train"].take((tables["train"].label >= 0) & (tables["train"].label < 2))
    probe = fit_probe(train, train, missing=False, strengths=[0.1])
    x = train.embed("aggregator")
    scaler = StandardScaler().fit(x)
    regression = LogisticRegression(C=0.1, max_iter=200, tol=1e-3).fit(
        scaler.transform(x), train.label
    )
    wanted = regression.predict_proba(scaler.transform(x))
    np.testing.assert_allclose(probe.scores(x), wanted, atol=1e-5)


def test_classes_may_be_any_numbers(tables: Tables) -> None:
    renamed = {
        name: relabelled(table, np.where(table.label < 0, -1, 7 * table.label + 2))
        for name, table in tables.items()
    }
    probe = quick(renamed["train"], renamed["validation"])
    np.testing.assert_array_equal(probe.classes, [2, 9, 16])
    assert set(probe.predict(renamed["test"].embed("aggregator"))) <= {2, 9, 16}


def test_the_strength_is_the_one_that_validation_likes_best(tables: Tables) -> None:
    each = {c: fit_probe(tables["train"], tables["validation"], strengths=[c]) for c in STRENGTHS}
    best = fit_probe(tables["train"], tables["validation"])
    scores = {c: probe.validation_score for c, probe in each.items()}
    np.testing.assert_allclose(best.validation_score, max(scores.values()))
    assert best.strength == next(c for c, score in scores.items() if score == max(scores.values()))
    np.testing.assert_array_equal(best.weight, each[best.strength].weight)


def test_validation_decides_even_against_the_training_windows(tables: Tables) -> None:
    rng = np.random.default_rng(0)
    train = tables["train"].take(tables["train"].label >= 0)
    # labels that are noise: weak regularisation learns them by heart, validation sees no use in it
    noise = relabelled(train, rng.integers(0, 3, len(train)))
    chosen = fit_probe(noise, tables["validation"])
    np.testing.assert_allclose(
        chosen.validation_score,
        max(
            fit_probe(noise, tables["validation"], strengths=[c]).validation_score
            for c in STRENGTHS
        ),
    )


def test_the_same_seed_gives_the_same_probe(tables: Tables) -> None:
    one, two = (
        quick(tables["train"], tables["validation"], max_rows=150, seed=3) for _ in range(2)
    )
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(two.arrays()[name], array)


def test_unlabelled_windows_teach_nothing(tables: Tables) -> None:
    train = tables["train"]
    assert (train.label < 0).any()
    one = quick(train, tables["validation"])
    two = quick(train.take(train.label >= 0), tables["validation"])
    np.testing.assert_array_equal(one.weight, two.weight)


def test_a_probe_trained_with_sensors_missing_survives_them_better(model: CrossModalModel) -> None:
    """Modality 0 tells the class loudly, modality 1 softly: only training without 0 uses 1."""
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 150)
    latent = rng.normal(size=(300, 3, 8))
    latent[:, 0] += 20 * label[:, None]  # an absent one looks like class 0
    latent[:, 1] += 1.0 * (2 * label - 1)[:, None]
    table = LatentTable(
        model,
        torch.from_numpy(latent.astype(np.float32)),
        torch.ones(300, 3, dtype=torch.bool),
        label,
        np.repeat("S", 300),
    )
    train, other = table.take(np.arange(200)), table.take(np.arange(200, 300))
    with_missing, without = (
        fit_probe(train, other, head="encoders", missing=missing, strengths=[1e-2])
        for missing in (True, False)
    )
    left = other.embed("encoders", (1, 2))
    better, worse = (
        f1_score(other.label, probe.predict(left), average="macro")
        for probe in (with_missing, without)
    )
    assert better > worse
    assert better > 0.85


def test_a_probe_of_a_subset_ignores_what_is_outside(tables: Tables) -> None:
    def scrambled(table: LatentTable) -> LatentTable:
        latent = table.latent.clone()
        latent[:, 0] = 99
        return replace(table, latent=latent)

    one, two = (
        quick(train, validation, subset=(1, 2), missing=False)
        for train, validation in (
            (tables["train"], tables["validation"]),
            (scrambled(tables["train"]), scrambled(tables["validation"])),
        )
    )
    np.testing.assert_array_equal(one.weight, two.weight)


def test_one_class_is_refused(tables: Tables) -> None:
    rest = tables["train"].take(tables["train"].label == 0)
    with pytest.raises(SplitError, match=r"probe: \d+ labelled training windows of 1 class"):
        fit_probe(rest, tables["validation"])


def test_validation_without_labels_is_refused(tables: Tables) -> None:
    table = tables["validation"]
    unlabelled = relabelled(table, np.full(len(table), -1))
    with pytest.raises(SplitError, match="validation subjects have no labelled window"):
        fit_probe(tables["train"], unlabelled)


def absent(table: LatentTable, column: int) -> LatentTable:
    present = table.present.clone()
    present[:, column] = False
    return replace(table, present=present)


def test_a_subset_that_no_training_window_has_is_refused(tables: Tables) -> None:
    with pytest.raises(SplitError, match=r"probe: 0 labelled training windows of 0 classes"):
        fit_probe(absent(tables["train"], 2), tables["validation"], subset=(2,), missing=False)


def test_a_subset_that_no_validation_window_has_is_refused(tables: Tables) -> None:
    with pytest.raises(SplitError, match="validation subjects have no labelled window"):
        fit_probe(tables["train"], absent(tables["validation"], 2), subset=(2,), missing=False)


def test_subsets_are_listed_from_the_largest_and_once_each() -> None:
    every = subsets(4)
    assert len(every) == len(set(every)) == 15
    assert every[0] == (0, 1, 2, 3)
    assert [len(s) for s in every] == sorted((len(s) for s in every), reverse=True)


def test_many_modalities_train_a_probe_on_a_seeded_draw_of_subsets() -> None:
    one, two, other = (probe_subsets(8, None, missing=True, seed=seed) for seed in (0, 0, 1))
    assert one == two != other
    assert len(set(one)) == MAX_SUBSETS
    assert one[0] == tuple(range(8))
    assert all(subset for subset in one)
    assert probe_subsets(8, (2, 5), missing=True, seed=0) == [(2, 5), (2,), (5,)]


def test_embeddings_of_a_subset_equal_those_of_windows_that_lack_the_rest(tables: Tables) -> None:
    test = tables["test"]
    for head in HEADS:
        np.testing.assert_array_equal(test.embed(head, (0, 2)), absent(test, 1).embed(head))
    np.testing.assert_array_equal(test.embed("encoders", (0,))[:, 8:], 0)


def test_windows_without_any_modality_of_a_subset_are_told(tables: Tables) -> None:
    lacking = absent(tables["test"], 2)
    assert not lacking.usable((2,)).any()
    np.testing.assert_array_equal(lacking.usable(), lacking.present.any(dim=1))


def test_arrays_of_a_probe_make_the_same_probe(tables: Tables) -> None:
    probe = quick(tables["train"], tables["validation"])
    again = Probe(probe.head, **probe.arrays(), classes=probe.classes, strength=probe.strength)
    embedding = tables["test"].embed(probe.head)
    np.testing.assert_array_equal(again.scores(embedding), probe.scores(embedding))
