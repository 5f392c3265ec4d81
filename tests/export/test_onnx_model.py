"""A run of the published recipe as an ONNX model, and of the default one."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from crossl.api.run import load_run
from crossl.cli.main import run as run_app
from crossl.files import read_json
from crossl.runtime import Runtime

from .conftest import recording

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.slow


def test_a_model_carries_its_whole_contract(exported, published):
    path, readme = exported.files
    model = onnx.load(path)
    onnx.checker.check_model(model)
    told = {one.key: one.value for one in model.metadata_props}
    contract = json.loads(told["crossl"])
    assert contract == exported.contract
    run = read_json(published / "model.json", cure="")
    assert contract["modalities"] == run["modalities"]
    assert contract["window"] == run["window"]
    assert contract["run"]["model_json"] == run["sha256"]
    assert contract["run"]["store"] == run["store_sha256"]
    assert contract["run"]["weights"] == run["files"]["weights.safetensors"]
    assert contract["names"] == ["rest", "run"]
    assert contract["opset"] == 20
    assert contract["data_licence"].startswith("CC BY 4.0")
    assert contract["inputs"]["ecg"] == {"type": "float32", "shape": ["batch", 64, 1],
                                         "unit": "V", "values": "as recorded"}  # fmt: skip
    assert contract["temperatures"] is not None
    assert contract["parity"]["windows"] == "real windows"
    assert contract["parity"]["every_subset"]
    assert max(contract["parity"]["largest_difference"].values()) < 1e-4
    text = path.read_bytes()
    assert b"site-packages" not in text
    assert b"/src/crossl" not in text
    assert "| `acc` | (batch, 40, 3) | m/s^2 | 20 Hz | x, y, z |" in readme.read_text()


def test_the_batch_is_of_any_size(exported):
    model = onnx.load(exported.files[0])
    for value in [*model.graph.input, *model.graph.output]:
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_what_a_model_says_is_what_predict_says(exported, published, store):
    run, runtime = load_run(published), Runtime(exported.files[0])
    windows = {m.name: store.arrays()[m.name] for m in store.modalities}
    answer = runtime(windows)
    np.testing.assert_allclose(answer.embedding, run.embed(windows), rtol=0, atol=1e-4)
    assert (answer.label == run.predict(windows)).all()
    plain = run.predict_proba(windows)
    logits = answer.logits - answer.logits.max(axis=1, keepdims=True)
    plain_again = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(plain_again, plain, atol=1e-4)


def test_a_device_that_never_has_a_sensor_gets_a_smaller_model(
    exported, published, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "m" / "acc.onnx"
    words = ["crossl", "export", published, "--out", path, "--subset", "acc", "--licence", "mine"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    with pytest.raises(SystemExit) as end:
        run_app()
    told = capsys.readouterr().out
    assert end.value.code == 0
    assert re.search(r"float32 +\d+\.\d\d MB +\d+\.\d{3} ms", told)
    assert "compared with the run under every set of sensors" in told
    assert {one.name for one in path.parent.iterdir()} == {"acc.onnx", "acc.README.md"}
    assert path.stat().st_size < exported.files[0].stat().st_size
    model = onnx.load(path)
    assert [value.name for value in model.graph.input] == ["acc", "present"]
    assert not [one.name for one in model.graph.initializer if "ecg" in one.name]
    contract = Runtime(path).contract
    assert (contract["left_out"], contract["data_licence"]) == (["ecg"], "mine")
    assert "Made for devices without ecg." in (path.parent / "acc.README.md").read_text()


def test_a_recording_cut_and_decoded_without_torch_is_as_predict_says(exported, published):
    run, runtime = load_run(published), Runtime(exported.files[0])
    eva = recording("eva", 11)
    line = run.timeline(eva, context="causal", keep_unusable=True)
    windower = runtime.windower()
    found = windower.feed({name: eva.signals[name] for name in ("acc", "ecg")}) + windower.flush()
    start_s = [one.start_s for one in found]
    said = runtime.in_context(runtime(windower.arrays(found)), start_s)
    assert line["start_s"].tolist() == start_s
    for place, name in enumerate(runtime.names):
        wanted = line[f"probability_{name}"]
        np.testing.assert_allclose(said.probabilities[:, place], wanted, atol=1e-4)
    assert line["label"].tolist() == said.label.tolist()
