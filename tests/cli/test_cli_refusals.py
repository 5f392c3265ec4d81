"""What cannot be done ends with exit code 2 and one sentence, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from crossl.data.recording import Modality
from crossl.files import json_sha256

Crossl = Callable[..., Any]
Stores = Callable[..., Path]
ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")


def needs_seglearn() -> None:
    try:
        version("seglearn")
    except PackageNotFoundError:
        pytest.skip("seglearn is not installed")


def refused(done: Any, message: str) -> None:
    assert done.code == 2, (done.out, done.err)
    assert done.err.startswith("crossl: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert re.search(message, done.err), done.err


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def rewrite(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes}
    values["sha256"] = json_sha256(values)
    path.write_text(json.dumps(values))


def test_a_missing_store(crossl: Crossl, tmp_path: Path, settings: Sequence[str]) -> None:
    message = "none: is not a store, it has no manifest.json"
    refused(crossl("inspect", tmp_path / "none"), message)
    out = tmp_path / "run"
    refused(crossl("pretrain", tmp_path / "none", "--out", out, *settings), message)
    assert not out.exists()


def test_an_existing_folder_to_prepare(crossl: Crossl, tmp_path: Path) -> None:
    done = crossl("prepare", "seglearn_watch", "--out", tmp_path)
    refused(done, "exists already; name a new folder or delete it first")


def test_an_unknown_reader(crossl: Crossl, tmp_path: Path) -> None:
    done = crossl("prepare", "uci_hra", "--out", tmp_path / "s")
    refused(done, "reader 'uci_hra': unknown; did you mean 'uci_har'")


def test_a_window_longer_than_every_recording(crossl: Crossl, tmp_path: Path) -> None:
    needs_seglearn()
    done = crossl("prepare", "seglearn_watch", "--out", tmp_path / "s", "--window-s", 100000)
    refused(done, "window_s is 100000 but the longest recording lasts")
    assert not list(tmp_path.iterdir())


def test_a_data_set_that_is_not_there_or_not_known(crossl: Crossl, tmp_path: Path) -> None:
    asked = ("demo", "--out", tmp_path / "out", "--data")
    refused(crossl(*asked, tmp_path / "none"), "none: does not exist; name a folder")
    (tmp_path / "data").mkdir()
    refused(crossl(*asked, tmp_path / "data"), "data: holds no data set that crossl knows")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "schedule.stps=3"), "schedule.stps: unknown key; did you mean 'steps'"),
        (("--set", "schedule.steps"), "--set schedule.steps: got no '='"),
        (("--set", "schedule.lr=0"), "schedule.lr: .*greater than 0, got 0"),
        (("--set", "aggregator.kind=mlp"), "needs aggregator.kind 'predictive', got 'mlp'"),
        (("--recipe", "papre"), "recipe 'papre': unknown; did you mean 'paper'"),
        (("--seed", "-1"), "--set seed=-1: seed: "),
        (("--fold", "9"), "folds: got '9'; allowed are 0 to 4"),
        (("--fold", "-1"), "folds: got '-1'; allowed are 0 to 4"),
        (("--set", "evaluation.folds=7"), "7 folds of 6 subject"),
        (("--config", "none.yaml"), "none.yaml: there is no such file"),
    ],
)
def test_settings_that_mean_nothing(
    options: Sequence[str],
    message: str,
    crossl: Crossl,
    stores: Stores,
    tmp_path: Path,
    settings: Sequence[str],
) -> None:
    done = crossl("pretrain", stores(), "--out", tmp_path / "run", *settings, *options)
    refused(done, message)
    assert not list(tmp_path.iterdir())


def test_an_unknown_key_in_a_run_file(crossl: Crossl, stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("encoder: {dmi: 8}\n")
    asked = ("pretrain", stores(), "--out", tmp_path / "run", "--config", tmp_path / "run.yaml")
    refused(crossl(*asked), r"run.yaml: encoder.dmi: unknown key; did you mean 'dim'")


def test_one_subject_only(
    crossl: Crossl, stores: Stores, tmp_path: Path, settings: Sequence[str]
) -> None:
    done = crossl("pretrain", stores("one", subjects=1), "--out", tmp_path / "run", *settings)
    refused(done, "folds: 5 folds of 1 subject;")


@pytest.mark.parametrize("name", [
    "segments/00000/rows.npy", "segments/00000/offsets.npy", "segments/00000/signals/acc.npy",
    "manifest.json",
])  # fmt: skip
def test_a_flipped_byte_in_a_store(
    name: str, crossl: Crossl, stores: Stores, tmp_path: Path, settings: Sequence[str]
) -> None:
    store = Path(shutil.copytree(stores(), tmp_path / "store"))
    flip(store / name)
    done = crossl("pretrain", store, "--out", tmp_path / "run", *settings)
    refused(done, rf"{name}: (was altered|is damaged)")
    refused(crossl("inspect", store), rf"{name}: (was altered|is damaged)")


@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml", "probe.safetensors"])
def test_a_flipped_byte_in_a_run(
    name: str, crossl: Crossl, run: Path, stores: Stores, tmp_path: Path
) -> None:
    flip(run / name)
    asked = ("--store", stores(), "--out", tmp_path / "z.npz")
    refused(crossl("embed", run, *asked), f"{name}: (is missing or )?was altered")
    assert not (tmp_path / "z.npz").exists()


def test_a_run_of_another_version(crossl: Crossl, run: Path, stores: Stores) -> None:
    rewrite(run / "model.json", version=2)
    for command in ("probe", "evaluate"):
        refused(crossl(command, run, "--store", stores()), "of version 2; this crossl reads")


def test_a_folder_that_is_no_run(crossl: Crossl, stores: Stores, tmp_path: Path) -> None:
    for command in ("probe", "evaluate"):
        done = crossl(command, tmp_path, "--store", stores())
        refused(done, "is not a run, it has no model.json")
    refused(crossl("report", tmp_path), "does not exist, and a report needs it")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("foreign", {"modalities": (replace(ECG, name="eeg"),)}, "has no modality that the model"),
        ("fast", {"modalities": (replace(ACC, rate_hz=40.0), ECG)}, "'acc': has 40 Hz; .* 20 Hz"),
        ("unit", {"modalities": (ACC, replace(ECG, unit="mV"))}, "'ecg': is in 'mV'; .*'V'"),
        ("flat", {"modalities": (replace(ACC, channels=("x", "y")), ECG)}, "'acc': has channels"),
        ("long", {"window_s": 4.0}, "windows: last 4 s; the model was made for 2 s"),
    ],
)
def test_embedding_a_store_that_the_model_was_not_made_for(
    name: str, options: dict[str, Any], message: str, crossl: Crossl, trained: Path,
    stores: Stores, tmp_path: Path,
) -> None:  # fmt: skip
    asked = ("--store", stores(name, **options), "--out", tmp_path / "z.npz")
    refused(crossl("embed", trained, *asked), message)
    assert not list(tmp_path.iterdir())


def test_an_embedding_file_that_is_no_npz(
    crossl: Crossl, trained: Path, stores: Stores, tmp_path: Path
) -> None:
    asked = ("--store", stores(), "--out", tmp_path / "z.csv")
    refused(crossl("embed", trained, *asked), r"z.csv: the embedding file must end in .npz")


def test_an_embedding_file_in_a_folder_that_is_not_there(
    crossl: Crossl, trained: Path, stores: Stores, tmp_path: Path
) -> None:
    asked = ("--store", stores(), "--out", tmp_path / "none" / "z.npz")
    refused(crossl("embed", trained, *asked), "No such file or directory")


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_a_label_fraction_that_cannot_be(
    fraction: float, crossl: Crossl, run: Path, stores: Stores
) -> None:
    before = (run / "probe.json").read_bytes()
    done = crossl("probe", run, "--store", stores(), "--label-fraction", fraction)
    refused(done, rf"fraction is {fraction:.1f}; allowed is 0 < fraction <= 1")
    assert (run / "probe.json").read_bytes() == before


def test_an_unknown_head(crossl: Crossl, run: Path, stores: Stores) -> None:
    done = crossl("probe", run, "--store", stores(), "--head", "encoder")
    refused(done, "head 'encoder': unknown; did you mean 'encoders'")


def test_another_store_than_the_one_trained_on(crossl: Crossl, run: Path, stores: Stores) -> None:
    other = stores("seven", subjects=7)
    done = crossl("probe", run, "--store", other)
    refused(done, "is not the store that .*, so its folds would leak; .* say --pretrained-elsewh")


def test_a_run_without_a_probe(crossl: Crossl, run: Path, stores: Stores) -> None:
    (run / "probe.json").unlink()
    refused(crossl("evaluate", run, "--store", stores()), "is not a probe, it has no probe.json")


@pytest.mark.parametrize(
    "options", [("--seed", "4"), ("--set", "schedule.lr=0.5"), ("--fold", "1")]
)
def test_the_folder_of_another_run(
    options: Sequence[str], crossl: Crossl, run: Path, stores: Stores, settings: Sequence[str]
) -> None:
    done = crossl("pretrain", stores(), "--out", run, *settings, *options)
    refused(done, "holds another experiment .*; name a new folder")


def test_the_folder_of_a_run_on_other_data(
    crossl: Crossl, run: Path, stores: Stores, settings: Sequence[str]
) -> None:
    done = crossl("pretrain", stores("seven", subjects=7), "--out", run, *settings)
    refused(done, "holds another experiment")


def test_a_folder_that_holds_something_else(
    crossl: Crossl, run: Path, stores: Stores, tmp_path: Path, settings: Sequence[str]
) -> None:
    (run / "experiment.json").unlink()  # as CroSSL.save leaves it
    done = crossl("pretrain", stores(), "--out", run, *settings)
    refused(done, "holds something else, it has model.json; name a new folder")
    store = Path(shutil.copytree(stores(), tmp_path / "store"))
    done = crossl("pretrain", stores(), "--out", store, *settings)
    refused(done, "holds something else, it has manifest.json")
    (tmp_path / "file").write_text("")
    refused(
        crossl("pretrain", stores(), "--out", tmp_path / "file", *settings),
        "file: is a file, where a folder is needed",
    )


def test_a_damaged_experiment_file(
    crossl: Crossl, run: Path, stores: Stores, settings: Sequence[str]
) -> None:
    (run / "experiment.json").write_text("{")
    done = crossl("pretrain", stores(), "--out", run, *settings)
    refused(done, r"experiment.json: is damaged, not JSON \(.*\); name a new folder")


def test_a_saved_estimator_has_no_folds_to_probe(crossl: Crossl, run: Path, stores: Stores) -> None:
    contract = json.loads((run / "model.json").read_text())
    del contract["store_sha256"]
    rewrite(run / "model.json")
    (run / "model.json").write_text(json.dumps({**contract, "sha256": json_sha256(contract)}))
    refused(crossl("probe", run, "--store", stores()), "is not the store that .* was trained on")


@pytest.mark.parametrize("folds", ["9", "0,x", "-1"])
def test_folds_of_a_demo_that_cannot_be(
    folds: str, crossl: Crossl, stores: Stores, tmp_path: Path, settings: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from crossl.cli import experiment

    monkeypatch.setattr(experiment, "make_demo_store", lambda *_: None)
    shutil.copytree(stores(), tmp_path / "store")
    done = crossl("demo", "--out", tmp_path, f"--fold-numbers={folds}", *settings)
    refused(done, f"folds: got '{folds}'; allowed are ")


@pytest.mark.parametrize("command", ["demo", "benchmark"])
def test_one_number_of_folds_is_not_guessed(
    command: str, crossl: Crossl, stores: Stores, tmp_path: Path
) -> None:
    asked = [command, *([stores()] if command == "benchmark" else []), "--out", tmp_path / "out"]
    told = (
        "--folds: got '1', which may be a fold's number or how many folds; fold numbers start at 0"
    )
    refused(crossl(*asked, "--folds", 1), told)
    refused(crossl(*asked, "--folds", 1), "write --fold-numbers 1 .* or --fold-count 1")
    refused(
        crossl(*asked, "--folds", "all", "--fold-count", 1), "got --folds and --fold-count; give"
    )
    assert not (tmp_path / "out").exists()


def test_a_demo_folder_of_another_demo(crossl: Crossl, stores: Stores, tmp_path: Path) -> None:
    shutil.copytree(stores(), tmp_path / "store")
    done = crossl("demo", "--out", tmp_path)
    refused(done, "store: holds other recordings than 'seglearn_watch'; name a new --out")


def resigned(path: Path, change: Callable[[dict], object]) -> None:
    """Change what a signed file says, and sign it again."""
    values = json.loads(path.read_text())
    change(values)
    values["sha256"] = json_sha256(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("key", ["label_fraction", "seed"])
def test_evaluating_a_classifier_that_does_not_say_how_it_was_fitted(
    key: str, crossl: Crossl, run: Path, stores: Stores
) -> None:
    resigned(run / "probe.json", lambda values: values.pop(key))
    done = crossl("evaluate", run, "--store", stores())
    assert done.code == 2
    assert f"probe.json: does not say its {key}" in done.err


def test_evaluating_a_run_whose_people_are_not_those_of_its_fold(
    crossl: Crossl, run: Path, stores: Stores
) -> None:
    def other(values: dict) -> None:
        values["fold"] = 1

    resigned(run / "model.json", other)
    done = crossl("evaluate", run, "--store", stores())
    assert done.code == 2
    assert "subjects that fold 1 of the store does not have; its scores would leak" in done.err


def test_a_subset_of_no_sensor_is_not_all_of_them(
    run: Path, crossl: Crossl, tmp_path: Path
) -> None:
    done = crossl("export", run, "--out", tmp_path / "m.onnx", "--subset", "")
    refused(done, "--subset: names no sensor; name some, or leave the option out for all")
    assert list(tmp_path.glob("m.*")) == []


@pytest.mark.parametrize(("words", "told"), [
    ("nope", "crossl: no such command 'nope'; see `crossl --help`\n"),
    ("--nope", "crossl: no such option: --nope; see `crossl --help`\n"),
    ("predict", "crossl: predict: missing argument 'run'; see `crossl predict --help`\n"),
    ("data init --nope x", "crossl: data init: no such option: --nope"),
    ("serve r --port x", "crossl: serve: invalid value for '--port': "),
    ("inspect a b", "crossl: inspect: got unexpected extra argument"),
])  # fmt: skip
def test_words_that_a_command_does_not_know_are_told_in_a_sentence(
    crossl: Crossl, words: str, told: str
) -> None:
    done = crossl(*words.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert done.err.startswith(told)
    assert done.err.endswith("--help`\n")


def test_who_says_nothing_gets_the_help(crossl: Crossl) -> None:
    for words in ((), ("data",)):
        done = crossl(*words)
        assert "Commands:" in done.out + done.err
        assert not done.err.startswith("crossl:")
