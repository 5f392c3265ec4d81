"""A run in Python: loaded with its classifier, asked of stores and arrays."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import crossl
from crossl.api.inputs import take_given
from crossl.api.training import split_rows
from crossl.commands.embed import embed_store
from crossl.commands.evaluate import evaluate_run
from crossl.config import config_from, differences, load_config
from crossl.data.store import Store
from crossl.errors import ContractError, DataError, FormatError
from crossl.nn.fast import few_windows


@pytest.fixture(scope="module")
def run(trained: Path) -> crossl.Run:
    return crossl.load_run(trained)


def test_a_run_of_the_command_line_is_loaded_with_its_classifier(run: crossl.Run) -> None:
    assert run.classes == ("rest", "run")
    assert [m.name for m in run.modalities] == ["acc", "ecg"]
    assert run.window_s == 2.0
    assert run.contract["dataset"] == "tiny"
    assert run.contract["subjects"]["test"]


def test_it_predicts_as_the_embedding_file_of_the_command_line_says(
    run: crossl.Run, store: Store, trained: Path, tmp_path: Path
) -> None:
    embed_store(trained, store.path, tmp_path / "x.npz")
    table = run.table(store)
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_allclose(run.embed(store), file["embedding"], atol=1e-5)
        np.testing.assert_allclose(run.predict_proba(store), file["probability"], atol=1e-5)
        assert run.predict(store).tolist() == file["predicted"].tolist()
        for name in ("subject", "session", "start_s", "start_time", "zone", "label", "predicted"):
            np.testing.assert_array_equal(table[name], file[name])
        np.testing.assert_array_equal(table["present_ecg"], file["present"][:, 1])
    np.testing.assert_array_equal(table["embedding"], run.embed(store))
    np.testing.assert_array_equal(table["probability_run"], run.predict_proba(store)[:, 1])


@pytest.mark.parametrize("ask", ["predict", "predict_proba", "embed", "latents"])
def test_a_store_its_path_and_its_arrays_give_the_same(
    ask: str, run: crossl.Run, store: Store
) -> None:
    said = getattr(run, ask)(store)
    for same in (store.path, str(store.path), store.arrays(), dict(store.arrays())):
        np.testing.assert_array_equal(getattr(run, ask)(same), said)


def test_what_was_not_recorded_may_be_nan_none_or_left_out(run: crossl.Run, store: Store) -> None:
    acc = store.arrays(np.arange(7))["acc"]
    alone = run.predict_proba({"acc": acc})
    nan = np.full((7, 64, 1), np.nan)
    for same in ({"acc": acc, "ecg": None}, {"acc": acc, "ecg": nan}, {"ecg": nan, "acc": acc}):
        np.testing.assert_array_equal(run.predict_proba(same), alone)
    assert not np.allclose(run.predict_proba(store.arrays(np.arange(7))), alone)


def test_a_window_in_which_nothing_was_recorded_has_no_answer(
    run: crossl.Run, store: Store
) -> None:
    x = {name: np.array(array) for name, array in store.arrays(np.arange(3)).items()}
    x["acc"][1], x["ecg"][1] = np.nan, np.nan
    said = run.predict(x)
    assert said[1] == ""
    assert set(said[[0, 2]]) <= {"rest", "run"}
    for told in (run.predict_proba(x), run.embed(x), run.latents(x)):
        assert np.isnan(told[1]).all()
        assert np.isfinite(told[[0, 2]]).all()


def test_latents_are_nan_where_a_modality_is_absent(run: crossl.Run, store: Store) -> None:
    latent = run.latents(store)
    assert latent.shape == (len(store), 2, 72)
    np.testing.assert_array_equal(np.isfinite(latent).all(axis=2), store.present)
    np.testing.assert_array_equal(np.isnan(latent).all(axis=2), ~store.present)
    np.testing.assert_array_equal(run.table(store, latents=True)["latent_ecg"], latent[:, 1])


def test_probabilities_are_those_of_classes_in_order(run: crossl.Run, store: Store) -> None:
    probability = run.predict_proba(store)
    assert probability.shape == (len(store), 2)
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-6)
    said = run.predict(store)
    np.testing.assert_array_equal(said, np.array(run.classes)[probability.argmax(axis=1)])
    assert (said == np.array(store.classes)[store.label]).mean() > 0.8


def test_no_windows_give_no_answers(run: crossl.Run) -> None:
    x = {"acc": np.zeros((0, 40, 3))}
    assert run.predict(x).shape == (0,)
    assert run.predict_proba(x).shape == (0, 2)
    assert run.embed(x).shape == (0, 160)
    assert run.latents(x).shape == (0, 2, 72)


def test_nothing_is_warned_of(run: crossl.Run, store: Store) -> None:
    x = store.arrays(np.arange(4))
    locked = {name: np.array(array) for name, array in x.items()}
    for array in locked.values():
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = run.predict(locked)
        one = locked["acc"][:1].astype(np.float64)
        assert len(set(run.predict({"acc": np.broadcast_to(one, (4, 40, 3))}))) == 1
        lists = {name: array.tolist() for name, array in x.items()}
        np.testing.assert_array_equal(run.predict(lists), said)


@pytest.mark.parametrize(("x", "error", "message"), [
    ({"eeg": np.zeros((2, 40, 1))}, ContractError, "modality 'eeg': the model never saw it"),
    ({"acc": np.zeros((2, 20, 3))}, DataError, r"'acc': array has shape \(2, 20, 3\); allowed is"),
    ({"acc": np.full((2, 40, 3), np.inf)}, DataError, "'acc': array holds infinite values"),
    ({"acc": np.full((2, 40, 3), 1e25)}, DataError, r"lie beyond 1e\+15 standard deviations"),
    ({"acc": np.full((2, 40, 3), "x")}, DataError, "'acc': holds <U1 values; numbers are needed"),
    ({"acc": torch.zeros(2, 40, 3, requires_grad=True)}, DataError, "'acc': is not an array that"),
    ({"acc": None}, DataError, "arrays: no modality is given; at least one array is needed"),
    ({}, DataError, "arrays: no modality is given; at least one array is needed"),
    (np.zeros((2, 40, 3)), DataError, "windows: is not a dict of arrays by modality, got ndarray"),
    (None, DataError, "windows: is not a dict of arrays by modality, got NoneType"),
    ("nowhere", FormatError, "nowhere"),
])  # fmt: skip
def test_windows_that_are_none_of_the_run_are_refused(
    run: crossl.Run, x: Any, error: type[Exception], message: str
) -> None:
    for ask in (run.predict, run.predict_proba, run.embed, run.latents, run.table):
        with pytest.raises(error, match=message):
            ask(x)


def test_a_run_without_classifier_says_how_to_fit_one(
    trained: Path, store: Store, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(trained, tmp_path / "run"))
    for name in ("probe.json", "probe.safetensors"):
        (bare / name).unlink()
    run = crossl.load_run(bare)
    assert run.classes == ()
    assert run.classifier is None
    assert np.isfinite(run.embed(store)).all()
    for ask in (run.predict, run.predict_proba):
        with pytest.raises(FormatError, match=r"run: has no classifier; fit one by crossl.fit_pro"):
            ask(store)
    assert not {"predicted", "probability_run"} & set(run.table(store))


def test_a_damaged_classifier_is_refused(trained: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(trained, tmp_path / "run"))
    with (bad / "probe.safetensors").open("ab") as file:
        file.write(b"!")
    with pytest.raises(FormatError, match=r"probe.safetensors: is missing or was altered"):
        crossl.load_run(bad)


def test_a_saved_run_is_the_same_when_loaded_here_and_on_the_command_line(
    run: crossl.Run, store: Store, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    run.save(copy)
    again = crossl.load_run(copy)
    np.testing.assert_array_equal(again.predict_proba(store), run.predict_proba(store))
    assert run.path is not None
    for file in ("weights.safetensors", "config.yaml", "probe.safetensors"):
        assert (copy / file).read_bytes() == (run.path / file).read_bytes()
    for name in set(run.contract) - {"versions", "commit", "sha256"}:
        assert again.contract[name] == run.contract[name]
    evaluate_run(copy, store.path)
    assert (copy / "results.jsonl").is_file()


def test_saving_removes_what_was_of_another_classifier(run: crossl.Run, tmp_path: Path) -> None:
    run.save(tmp_path / "copy")
    (tmp_path / "copy" / "results.jsonl").write_text("{}\n")
    replace(run, classifier=None).save(tmp_path / "copy")
    assert not (tmp_path / "copy" / "results.jsonl").exists()
    assert crossl.load_run(tmp_path / "copy").classifier is None


# --- the estimator and the command line read each other's runs


def test_an_estimator_reads_runs_of_the_command_line(
    run: crossl.Run, store: Store, trained: Path
) -> None:
    estimator = crossl.CroSSL.load(trained)
    for x in (store, store.arrays()):
        np.testing.assert_array_equal(estimator.transform(x), run.embed(store))
        np.testing.assert_array_equal(estimator.predict(x), run.predict(store))
        np.testing.assert_array_equal(estimator.predict_proba(x), run.predict_proba(store))
    assert estimator.classes_.tolist() == ["rest", "run"]
    assert estimator.window_s == 2.0
    assert estimator._config() == run.config


def test_an_estimator_of_a_run_without_classifier_does_not_predict(
    run: crossl.Run, store: Store, tmp_path: Path
) -> None:
    replace(run, classifier=None).save(tmp_path / "bare")
    estimator = crossl.CroSSL.load(tmp_path / "bare")
    assert not hasattr(estimator, "predict")
    assert not hasattr(estimator, "classes_")
    assert estimator.transform(store).shape == (len(store), 160)


def test_settings_of_a_run_come_back_as_parameters(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    paper = {"encoder.dim": 8, "aggregator.hidden": 8, "aggregator.dim": 8, "seed": 7,
             "evaluation.label_seeds": (3, 4)}  # fmt: skip
    tcn = {"encoder": {"kind": "tcn", "dim": 8}, "aggregator.shared_dim": 8}
    x = {"acc": np.zeros((4, 40, 3))}
    for recipe, asked in (("paper", paper), ("crossl", tcn), ("crossl", settings)):
        built = crossl.build_model(x, window_s=2.0, recipe=recipe, settings=asked)
        folder = tmp_path / f"{recipe}-{len(asked)}"
        built.save(folder)
        estimator = crossl.CroSSL.load(folder)
        assert estimator.recipe == recipe
        assert estimator._config() == built.config


def test_an_estimator_fitted_on_a_store_is_a_run_of_the_command_line(
    store: Store, settings: dict[str, Any], tmp_path: Path
) -> None:
    estimator = crossl.CroSSL(settings=settings).fit(store)
    estimator.save(tmp_path / "run")
    assert estimator.modalities_ == store.modalities
    assert set(estimator.contract_["subjects"]["validation"]) == {"S5"}
    run = crossl.load_run(tmp_path / "run")
    np.testing.assert_array_equal(run.embed(store), estimator.transform(store))
    assert run.windower(max_delay_s=1.0) is not None
    scored = crossl.evaluate_subsets(
        crossl.fit_probe(run, store, train=["S0", "S1"], validation=["S5"]), store,
        same_names=True, test=["S2"],
    )  # fmt: skip
    assert scored["people"].max() == 1
    embed_store(tmp_path / "run", store.path, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_allclose(file["embedding"], estimator.transform(store), atol=1e-5)
    again = crossl.CroSSL.load(tmp_path / "run")
    assert again.get_params() == estimator.get_params()


def test_an_estimator_keeps_the_people_of_a_store_apart(store: Store) -> None:
    given = take_given(store)
    train, validation = split_rows(len(given), given.subject)
    assert set(store.subject[train]).isdisjoint(store.subject[validation])
    assert len(train) + len(validation) == len(store)


def test_settings_in_python_and_on_the_command_line_are_the_same(
    settings: dict[str, Any],
) -> None:
    config = config_from(settings)
    assert config == load_config(overrides=[f"{k}={v}" for k, v in settings.items()])
    assert config_from(differences(config)) == config


def test_few_windows_are_embedded_by_stacked_encoders_to_the_same_numbers() -> None:
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(30, 50, 3)) for name in ("left", "right")}
    run = crossl.build_model(x, window_s=1.0)
    wanted = run.embed(x)
    assert run.model not in few_windows._prepared
    some = run.embed({name: array[:3] for name, array in x.items()})
    assert run.model in few_windows._prepared
    np.testing.assert_allclose(some, wanted[:3], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(run.embed(x), wanted)  # many go as before
