"""Building, pretraining and probing in Python; the same as the command line where both can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import crossl
from crossl.commands.embed import embed_store
from crossl.commands.evaluate import evaluate_run
from crossl.contenders.contender import latent_table
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError, DataError, FormatError, SplitError
from crossl.evaluate.probe import decide_subsets
from crossl.experiment.fold import folds_of


@pytest.fixture(scope="module")
def built(store: Store, settings: dict[str, Any]) -> crossl.Run:
    return crossl.build_model(store, settings=settings)


@pytest.fixture(scope="module")
def run(trained: Path) -> crossl.Run:
    return crossl.load_run(trained)


def weights(run: crossl.Run) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in run.model.state_dict().items()}


def assert_same_weights(one: crossl.Run, other: crossl.Run) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_a_model_is_built_for_the_sensors_of_windows(store: Store, built: crossl.Run) -> None:
    assert built.modalities == store.modalities
    assert built.window_s == store.window_s
    assert built.classes == ()
    x = {name: x[:3] for name, x in store.arrays().items()}
    of_arrays = crossl.build_model(x, window_s=2.0, settings={"encoder.width": 8})
    assert [(m.name, m.rate_hz, m.unit) for m in of_arrays.modalities] == [
        ("acc", 20.0, ""), ("ecg", 32.0, "")
    ]  # fmt: skip


def test_a_model_of_settings_that_are_not_allowed_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"build_model: encoder.widht=8: encoder.widht: unknown"):
        crossl.build_model(store, settings={"encoder.widht": 8})
    with pytest.raises(ConfigError, match="recipe 'best': unknown"):
        crossl.build_model(store, recipe="best")
    with pytest.raises(DataError, match="windows: window_s is None; a positive number of seconds"):
        crossl.build_model({"acc": np.zeros((3, 40, 3))})
    with pytest.raises(ContractError, match="windows: last 2 s; the model was made for 3 s"):
        crossl.build_model(store, window_s=3.0)


def test_pretraining_a_fold_gives_the_weights_of_the_command_line(
    built: crossl.Run, run: crossl.Run, store: Store
) -> None:
    before = {name: array.copy() for name, array in weights(built).items()}
    told: list[int] = []
    done = crossl.pretrain(built, store, progress=lambda step, total, _: told.append(total - step))
    assert_same_weights(done, run)
    assert told[-1] == 0
    for name in ("dataset", "store_sha256", "fold", "subjects", "classes"):
        assert done.contract[name] == run.contract[name]
    for name, array in weights(built).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_probe_fitted_here_is_that_of_the_command_line(run: crossl.Run, store: Store) -> None:
    fitted = crossl.fit_probe(run, store, label_fraction=0.5)
    assert fitted.classifier is not None
    assert run.classifier is not None
    for name, array in fitted.classifier.probe.arrays().items():
        np.testing.assert_array_equal(array, run.classifier.probe.arrays()[name])
    assert fitted.classifier.about == run.classifier.about
    assert fitted.classes == run.classes


def test_named_people_are_learned_from_and_nobody_else(
    built: crossl.Run, store: Store, tmp_path: Path
) -> None:
    who = {"train": ["S0", "S1", "S5"], "validation": ["S2"]}
    done = crossl.pretrain(built, store, **who, out=tmp_path / "run")
    assert done.contract["subjects"] == {**who, "test": ["S3", "S4"]}
    kept = np.isin(store.subject, who["train"] + who["validation"])
    only = crossl.pretrain(built, store.arrays(kept), **who)
    with pytest.raises(ContractError, match=r"has channels .*made for \('0', '1', '2'\)"):
        crossl.pretrain(crossl.build_model(store.arrays(), window_s=2.0), store)
    assert_same_weights(done, only)
    again = crossl.load_run(tmp_path / "run")
    assert_same_weights(again, done)
    assert (tmp_path / "run" / "metrics.jsonl").is_file()
    fitted = crossl.fit_probe(again, store)
    assert fitted.classifier is not None
    assert fitted.classifier.about["subjects"]["test"] == ["S3", "S4"]
    fitted.save(tmp_path / "run")
    scored = evaluate_run(tmp_path / "run", store.path)
    assert scored is not None
    assert scored.notes[0].startswith("scored on 2 people that nothing was learned from: S3, S4")
    embed_store(tmp_path / "run", store.path, tmp_path / "x.npz")


def test_labels_of_people_who_were_to_be_tested_are_remembered(
    run: crossl.Run, store: Store, tmp_path: Path
) -> None:
    people = run.contract["subjects"]
    first, *rest = people["test"]
    fitted = crossl.fit_probe(run, store, train=[first], validation=people["validation"])
    assert fitted.classifier is not None
    assert fitted.classifier.about["subjects"] == {
        "train": [first], "validation": people["validation"], "test": rest
    }  # fmt: skip
    with pytest.raises(SplitError, match=f"test: subject '{first}' was learned from"):
        crossl.evaluate_subsets(fitted, store, test=[first])
    assert set(crossl.evaluate_subsets(fitted, store)["people"]) == {len(rest)}
    fitted.save(tmp_path / "run")
    with pytest.raises(ContractError, match="its classifier was fitted on other people than the"):
        evaluate_run(tmp_path / "run", store.path)
    own = crossl.fit_probe(run, store, train=people["train"], validation=people["validation"])
    own.save(tmp_path / "own")
    evaluate_run(tmp_path / "own", store.path)
    assert (tmp_path / "own" / "summary.json").is_file()


def test_people_of_an_earlier_training_are_not_forgotten(
    built: crossl.Run, store: Store, tmp_path: Path
) -> None:
    x = store.arrays()
    windows = crossl.Windows(dict(x), label=x.label, subject=x.subject)
    first = crossl.pretrain(built, store, train=["S0"], validation=["S1"])
    tested = [np.unique(store.subject[fold.test]) for fold in folds_of(store, built.config)]
    fold = next(i for i, names in enumerate(tested) if "S0" in names)
    with pytest.raises(SplitError, match=rf"fold {fold} tests subject 'S0', whom the run learned"):
        crossl.pretrain(first, store, fold=fold)
    who = {"train": ["S2"], "validation": ["S3"]}
    second = crossl.pretrain(first, store, **who, out=tmp_path / "run")
    assert second.contract["subjects"] == {**who, "test": ["S4", "S5"]}
    assert second.contract["learned_before"] == ["S0", "S1"]
    fitted = crossl.fit_probe(crossl.load_run(tmp_path / "run"), windows, **who)
    assert fitted.classifier is not None
    assert fitted.classifier.about["subjects"]["test"] == ["S4", "S5"]
    with pytest.raises(SplitError, match="test: subject 'S0' was learned from"):
        crossl.evaluate_subsets(fitted, windows, test=["S0"])
    others = crossl.pretrain(first, store, **who, same_names=True)
    assert "learned_before" not in others.contract


def test_the_estimator_remembers_its_people(store: Store, settings: dict[str, Any]) -> None:
    x = store.arrays()
    fitted = crossl.CroSSL(window_s=2.0, settings=settings).fit(x)
    known = fitted.run_.contract["subjects"]
    assert known == {"train": ["S0", "S1", "S2", "S3", "S4"], "validation": ["S5"], "test": []}
    run = crossl.fit_probe(fitted.run_, x, train=["S0"], validation=["S1"])
    with pytest.raises(SplitError, match="the run learned from all of these people"):
        crossl.evaluate_subsets(run, x)


@pytest.mark.parametrize(("given", "message"), [
    ({"seed": -1}, "seed: is -1; a whole number from 0 is needed"),
    ({"seed": "x"}, "seed: is 'x'; a whole number from 0 is needed"),
    ({"head": 3}, "head '3': unknown"),
])  # fmt: skip
def test_numbers_of_a_probe_that_are_none_are_refused(
    given: dict[str, Any], message: str, run: crossl.Run, store: Store
) -> None:
    with pytest.raises(ConfigError, match=message):
        crossl.fit_probe(run, store, **given)


def test_pretraining_does_not_see_test_people(built: crossl.Run, store: Store) -> None:
    x = store.arrays()
    noise = {name: np.array(array) for name, array in x.items()}
    tested = np.isin(store.subject, ["S3", "S4"])
    for array in noise.values():
        array[tested] = np.random.default_rng(9).normal(size=array[tested].shape)
    label = np.where(tested, np.roll(x.label, 7), x.label)
    who = {"train": ["S0", "S1", "S5"], "validation": ["S2"]}
    runs = []
    for windows in (x, crossl.Windows(noise, label=label, subject=store.subject)):
        done = crossl.pretrain(built, windows, **who)
        runs.append(crossl.fit_probe(done, windows))
    assert_same_weights(*runs)
    one, two = (r.classifier.probe.arrays() for r in runs)  # type: ignore[union-attr]
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])


def test_a_run_on_arrays_keeps_its_people(
    store: Store, settings: dict[str, Any], tmp_path: Path
) -> None:
    x = store.arrays()
    run = crossl.build_model(x, window_s=2.0, settings=settings)
    run = crossl.fit_probe(crossl.pretrain(run, x), x)
    run.save(tmp_path / "run")
    again = crossl.load_run(tmp_path / "run")
    assert again.contract["subjects"] == run.contract["subjects"]
    np.testing.assert_array_equal(again.predict(x), run.predict(x))
    assert (run.predict(x) == x.label).mean() > 0.8


def test_windows_without_people_validate_on_the_last(
    store: Store, settings: dict[str, Any]
) -> None:
    x = dict(store.arrays())
    run = crossl.build_model(x, window_s=2.0, settings=settings)
    done = crossl.pretrain(run, x)
    estimator = crossl.CroSSL(window_s=2.0, settings=settings).fit(x)
    np.testing.assert_array_equal(done.embed(x), estimator.transform(x))
    assert done.contract == {}


@pytest.mark.parametrize(("who", "message"), [
    ({"train": ["S0"], "validation": ["S0"]}, "subject 'S0': is in train and in validation"),
    ({"train": ["S9"], "validation": ["S0"]}, "train: names subject 'S9', who has no window; kno"),
    ({"train": [], "validation": ["S0"]}, "train: names nobody; known are S0, S1"),
    ({"train": "S0", "validation": ["S1"]}, "train: is 'S0'; a list of subjects is needed"),
    ({"train": 5, "validation": ["S1"]}, "train: is 5; a list of subjects is needed"),
])  # fmt: skip
def test_people_who_cannot_be_learned_from_are_refused(
    built: crossl.Run, store: Store, who: dict[str, Any], message: str
) -> None:
    for learn in (crossl.pretrain, crossl.fit_probe):
        with pytest.raises(SplitError, match=message):
            learn(built, store, **who)


def test_pretraining_that_cannot_be_is_refused(
    built: crossl.Run, store: Store, trained: Path
) -> None:
    with pytest.raises(SplitError, match="one of train and validation is missing; give both or"):
        crossl.pretrain(built, store, train=["S0"])
    with pytest.raises(ConfigError, match="fold: got 9; allowed are 0 to 4"):
        crossl.pretrain(built, store, fold=9)
    with pytest.raises(DataError, match="run: holds a run already; name a new folder"):
        crossl.pretrain(built, store, out=trained)
    x = {"acc": np.full((9, 40, 3), np.nan)}
    with pytest.raises(DataError, match="windows: 9 have no modality present"):
        crossl.pretrain(built, x)


def test_a_probe_that_cannot_be_is_refused(
    built: crossl.Run, run: crossl.Run, store: Store
) -> None:
    with pytest.raises(SplitError, match="the run does not say who was learned from"):
        crossl.fit_probe(built, store)
    with pytest.raises(SplitError, match="these are not the windows that the run was pretrained"):
        crossl.fit_probe(run, store.arrays())
    with pytest.raises(ConfigError, match="head 'agregator': unknown; did you mean 'aggregator'"):
        crossl.fit_probe(run, store, head="agregator")
    with pytest.raises(DataError, match="windows: have no subjects, and people must be kept apart"):
        crossl.fit_probe(run, dict(store.arrays()), train=["S0"], validation=["S1"])
    with pytest.raises(SplitError, match="label_fraction: is 'x'; a number up to 1 is needed"):
        crossl.fit_probe(run, store, label_fraction="x")  # type: ignore[arg-type]
    bare = crossl.Windows(dict(store.arrays()), subject=store.subject)
    with pytest.raises(ConfigError, match="windows: no window has a class, so task"):
        crossl.fit_probe(run, bare, train=["S0"], validation=["S1"])


def test_a_probe_may_read_latents_side_by_side(run: crossl.Run, store: Store) -> None:
    fitted = crossl.fit_probe(run, store, head="encoders")
    assert fitted.predict_proba(store).shape == (len(store), 2)
    assert (fitted.predict(store) == store.arrays().label).mean() > 0.8


# --- other tasks than classes


@pytest.mark.parametrize(("task", "shape"), [
    ({"kind": "labels", "target": "posture"}, (120, 2)),
    ({"kind": "numbers", "target": "speed"}, (120, 1)),
    ({"kind": "sequence", "context": 1}, (120,)),
], ids=lambda one: one.get("kind") if isinstance(one, dict) else "")  # fmt: skip
def test_other_tasks_are_predicted_and_scored(
    task: dict[str, Any], shape: tuple[int, ...], built: crossl.Run, targets: Store, tmp_path: Path
) -> None:
    who = {"train": ["S0", "S1", "S5"], "validation": ["S2"]}
    run = crossl.fit_probe(crossl.pretrain(built, targets, **who), targets, **who, task=task)
    run.save(tmp_path / "run")
    again = crossl.load_run(tmp_path / "run")
    said = again.predict(targets)
    np.testing.assert_array_equal(said, run.predict(targets))
    assert said.shape == shape
    truth = targets.target_values(task.get("target", "label"))
    if task["kind"] == "sequence":
        truth = np.array(targets.classes)[truth]
    if task["kind"] == "numbers":
        assert np.abs(said - truth).mean() < 1
        with pytest.raises(FormatError, match="its classifier predicts speed as numbers, which"):
            again.predict_proba(targets)
    else:
        assert (said == truth).mean() > 0.8
        assert again.predict_proba(targets).shape == (120, 2)
    table = again.table(targets)
    assert {"target_posture_fast", "target_speed_speed", "predicted"} <= set(table)
    scores = crossl.evaluate_subsets(again, targets)
    assert set(scores["present"]) == {"acc, ecg", "acc", "ecg"}


def test_neighbours_of_a_sequence_are_read_as_in_an_evaluation(
    built: crossl.Run, targets: Store
) -> None:
    who = {"train": ["S0", "S1", "S5"], "validation": ["S2"]}
    task = {"kind": "sequence", "context": 2}
    run = crossl.fit_probe(built, targets, **who, task=task)
    assert run.classifier is not None
    probe = run.classifier.probe
    table = latent_table(built.model, targets, np.arange(len(targets)), probe.task)
    (labels,) = next(iter(decide_subsets([probe], table, [(0, 1)])))
    assert run.predict(targets).tolist() == [targets.classes[i] for i in labels[:, 0]]
    alone = run.predict_proba(targets.arrays())
    assert not np.allclose(alone, run.predict_proba(targets))
    with pytest.raises(ConfigError, match=r"task.kind 'sequence': reads neighbours, which windows"):
        crossl.fit_probe(built, targets.arrays(), **who, task=task)
    with pytest.raises(
        ConfigError, match=r"fit_probe: task=.*unknown task 'sequenze'; did you mean"
    ):
        crossl.fit_probe(built, targets, **who, task={"kind": "sequenze"})


# --- encoders of one's own


def lead_net() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8))


def test_a_module_of_ones_own_is_pretrained_saved_and_loaded(
    store: Store, settings: dict[str, Any], tmp_path: Path
) -> None:
    net, frozen = lead_net(), {**settings, "frozen_encoders": ["ecg"]}
    built = crossl.build_model(store, settings=frozen, encoders={"ecg": net})
    run = crossl.pretrain(built, store, out=tmp_path / "run")
    kept = run.model.encoders.of("ecg")
    assert torch.equal(kept[1].weight, net[1].weight)
    trained = crossl.pretrain(
        crossl.build_model(store, settings=settings, encoders={"ecg": net}), store
    )
    assert not torch.equal(trained.model.encoders.of("ecg")[1].weight, net[1].weight)
    with pytest.raises(ConfigError, match="'ecg' is encoded by a custom module"):
        crossl.load_run(tmp_path / "run")
    again = crossl.load_run(tmp_path / "run", encoders={"ecg": lead_net()})
    np.testing.assert_array_equal(again.embed(store), run.embed(store))


def test_the_estimator_takes_modules_too(settings: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = {"acc": rng.normal(size=(24, 40, 3)), "ecg": rng.normal(size=(24, 64, 1))}
    own = {k: v for k, v in settings.items() if not k.startswith("evaluation")}
    estimator = crossl.CroSSL(settings=own, encoders={"ecg": lead_net()}).fit(x)
    estimator.save(tmp_path)
    again = crossl.CroSSL.load(tmp_path, encoders={"ecg": lead_net()})
    np.testing.assert_array_equal(again.transform(x), estimator.transform(x))
    with pytest.raises(ConfigError, match="hand it over in Python"):
        crossl.CroSSL.load(tmp_path)
