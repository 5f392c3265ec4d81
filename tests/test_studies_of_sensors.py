"""The scripts of transfer, tuning and people who lack sensors: what they make of recordings."""

from __future__ import annotations

import importlib.util
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml

from crossl.config import load_config
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.experiment.fold import folds_of

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = ("phone_acc", "phone_gyro", "watch_acc", "watch_gyro")


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    path = SCRIPTS / f"{request.param}.py"
    spec = importlib.util.spec_from_file_location(request.param, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("study", None)  # a name that others may have
    return module


def recording() -> Recording:
    known = {n: Modality(n, ("x", "y", "z"), "m/s^2", 100.0) for n in NAMES}
    signals = {n: Signal(np.ones((400, 3), np.float32), 100.0) for n in NAMES}
    return Recording("s01", "one", known, signals, [LabelInterval(0, 4, "sit")])


@pytest.mark.parametrize("script", ["missing"], indirect=True)
def test_sensors_are_dropped_by_chance_and_one_stays(script: ModuleType) -> None:
    rng, one = np.random.default_rng(0), recording()
    left = [set(script.incomplete(one, list(NAMES), rng).signals) for _ in range(400)]
    assert all(left)
    assert all(some <= set(NAMES) for some in left)
    shares = [np.mean([name in some for some in left]) for name in NAMES]
    # half stay by chance, and of the other half a quarter, the one that always does
    np.testing.assert_allclose(shares, 0.5 + 0.5 / 4, atol=0.08)
    assert one.signals.keys() == set(NAMES)


@pytest.mark.parametrize("script", ["transfer"], indirect=True)
def test_both_sets_have_the_targets_names_and_rate_and_no_labels(script: ModuleType) -> None:
    found = script.joined(recording(), script.OTHER)
    assert list(found.signals) == ["total_acc", "gyro", "watch_acc", "watch_gyro"]
    assert {m.rate_hz for m in found.modalities.values()} == {script.RATE_HZ}
    assert {signal.rate_hz for signal in found.signals.values()} == {script.RATE_HZ}
    assert [m.name for m in found.modalities.values()] == list(found.modalities)
    assert (found.subject, found.labels) == ("sp_sw_har:s01", [])


@pytest.mark.parametrize("script", ["transfer"], indirect=True)
def test_what_begins_elsewhere_is_known_to_run_files(script: ModuleType, tmp_path: Path) -> None:
    both = {"uci_har": "here", "sp_sw_har": "there"}
    for name, other in (("uci_har", "sp_sw_har"), ("sp_sw_har", "uci_har")):
        cells = dict(script.begun_elsewhere(name, tmp_path, both))
        (tmp_path / "run.yaml").write_text(yaml.safe_dump({"contenders": cells}))
        found = load_config(tmp_path / "run.yaml").contenders
        assert found.keys() == {f"as_it_is_from_{other}", f"100_steps_from_{other}"}
        assert not dict(script.begun_elsewhere(name, tmp_path, {name: "here"}))


TUNE = pytest.mark.parametrize("script", ["tune"], indirect=True)


@TUNE
def test_every_way_to_pretrain_has_as_many_trials(script: ModuleType, tmp_path: Path) -> None:
    trials = script.all_trials()
    untuned = yaml.safe_load(script.UNTUNED.read_text())["settings"]["contenders"]
    assert trials.keys() == {"crossl", *untuned}
    assert {len(some) for some in trials.values()} == {4}
    for name, some in trials.items():
        assert len({json.dumps(t, sort_keys=True) for t in some}) == 4
        assert name == "crossl" or some[0] == untuned[name]
        blocks = {f"{name}_{i}": one for i, one in enumerate(some)}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump({"contenders": blocks}))
        found = load_config(tmp_path / "run.yaml").contenders
        assert found.keys() == blocks.keys()


def row(method: str, present: int, value: float, **more: object) -> dict[str, object]:
    every = {"fold": None, "seed": None, "model_seed": None, "subject": None, "metric": "macro_f1",
             "budget": "strict", "label_fraction": 0.01}  # fmt: skip
    return {**every, "method": method, "present": ["a", "b", "c"][:present], "value": value, **more}


@TUNE
def test_the_best_trial_is_that_with_every_sensor_and_with_one_missing_alike(
    script: ModuleType, tmp_path: Path
) -> None:  # fmt: skip
    lines = []
    for name, trials in script.all_trials().items():
        for number in range(len(trials)):
            trial = f"{name}_{number}"
            best = number == 2
            lines += [row(trial, 3, 0.7 if best else 0.8), row(trial, 2, 0.7 if best else 0.5),
                      row(trial, 3, 0.99, budget="validation"), row(trial, 3, 0.99, fold=0),
                      row(trial, 1, 0.99 if number == 1 else 0.0)]  # fmt: skip
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    scores = script.trial_scores(path)
    assert {tuple(of) for of in scores.values()} == {(0.65, 0.65, 0.7, 0.65)}
    chosen = script.best(scores)
    assert chosen == {name: trials[2] for name, trials in script.all_trials().items()}


@TUNE
def test_who_is_tested_does_not_tune(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    people = [replace(recording(), subject=f"s{number:02d}") for number in range(12)]
    store = write_store(
        iter(people), tmp_path / "all", modalities=tuple(people[0].modalities.values()),
        classes=("sit",), spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "sp_sw_har"},
    )  # fmt: skip
    opened = nullcontext(SimpleNamespace(read=lambda: iter(people)))
    monkeypatch.setitem(script.changed_store.__globals__, "open_dataset", lambda *_: opened)
    script.store_of_others(tmp_path / "others", store, "sp_sw_har", tmp_path)
    left = set(Store.open(tmp_path / "others").subject.tolist())
    folds = folds_of(store, load_config())
    tested = {s for n in script.TESTED for s in store.subject[folds[n].test].tolist()}
    assert tested
    assert left == {one.subject for one in people} - tested


@TUNE
def test_the_tuned_study_has_what_a_family_chose_in_all_its_sets(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(script, "TUNED", tmp_path / "tuned.yaml")
    trials = script.all_trials()
    script.write_tuned({"sp_sw_har": {n: t[1] for n, t in trials.items()},
                        "noneeg_rec": {n: t[3] for n, t in trials.items()}})  # fmt: skip
    study = yaml.safe_load((tmp_path / "tuned.yaml").read_text())
    assert study["data"].keys() == {"sp_sw_har", "noneeg_rec", "uci_har"}
    asked = {name: block["settings"]["contenders"] for name, block in study["data"].items()}
    assert asked["uci_har"] == asked["sp_sw_har"] != asked["noneeg_rec"]
    assert asked["sp_sw_har"]["crossl_tuned"]["schedule"] == {"lr": 0.004}
    assert asked["noneeg_rec"]["cocoa"]["method"]["temperature"] == 0.3
    assert study["data"]["noneeg_rec"]["settings"]["standardisation"] == {"kind": "recording"}


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_file_is_one(path: Path, tmp_path: Path) -> None:
    study = yaml.safe_load(path.read_text())
    for block in study["data"].values():
        settings = {**study["settings"], **block.get("settings", {})}
        settings["contenders"] = {**study["settings"].get("contenders", {}),
                                  **block.get("settings", {}).get("contenders", {})}  # fmt: skip
        settings["evaluation"] = {**study["settings"]["evaluation"],
                                  **block.get("settings", {}).get("evaluation", {})}  # fmt: skip
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
        for name, contender in load_config(tmp_path / "run.yaml").contenders.items():
            contender.build(name)
