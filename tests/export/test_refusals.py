"""What `crossl export` refuses, and that nothing is written then."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from crossl.commands.export import Wanted, export_run
from crossl.data.readers import get_reader
from crossl.errors import ConfigError, ContractError, CrosslError, PackageError
from crossl.export.contract import licence_of
from crossl.files import file_sha256, read_json, write_signed_json
from crossl.run_folder import load_run

pytest.importorskip("onnx")


def test_a_model_that_differs_is_not_written(published, tmp_path, monkeypatch):
    def off(graph, signals, present):
        inputs = {name: torch.from_numpy(x) for name, x in signals.items()}
        with torch.inference_mode():
            found = graph(inputs, torch.from_numpy(present))
        shown = {name: x.numpy() for name, x in zip(graph.outputs, found, strict=True)}
        return {**shown, "probabilities": shown["probabilities"] + 0.01}

    monkeypatch.setattr("crossl.commands.export.onnx_bytes", lambda graph: graph)
    monkeypatch.setattr("crossl.commands.export.open_session", lambda graph: graph)
    monkeypatch.setattr("crossl.commands.export.run_session", off)
    with pytest.raises(CrosslError, match="'probabilities' of the exported model differs"):
        export_run(published, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_in_a_sentence(published, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"--out: got 'model.pb'; a name that ends in .onnx"):
        export_run(published, tmp_path / "model.pb")
    with pytest.raises(ConfigError, match=r"--subset: modality 'exg'; did you mean 'ecg'\?"):
        export_run(published, tmp_path / "m.onnx", wanted=Wanted(("exg",)))
    monkeypatch.setattr("crossl.export.onnx_model.find_spec", lambda name: None)
    with pytest.raises(PackageError, match=r'pip install "crossl\[export\]"'):
        export_run(published, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_terms_of_a_published_set_are_those_of_its_reader_and_not_of_its_name(published, store):
    run = load_run(published)
    published_terms = get_reader("uci_har").CARD.licence
    assert licence_of(run, None) == published_terms
    assert licence_of(run, "mine") == "mine"
    assert run.contract["dataset"] == "uci_har"
    kept = {key: value for key, value in run.contract.items() if key != "reading"}
    unread = replace(run, contract=kept)  # of before, or of recordings in memory
    assert licence_of(unread, None) == "not stated"
    assert licence_of(unread, None, store) == published_terms
    other = replace(run, contract={**kept, "store_sha256": "0" * 64})
    assert licence_of(other, None, store) == "not stated"
    own = replace(run, contract={**kept, "reading": {"reader": "folder", "options": {}}})
    assert licence_of(own, None) == "not stated"


def test_a_run_that_needs_its_whole_recording_is_refused(published, tmp_path):
    run = shutil.copytree(published, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    assert "standardisation" not in config or "kind: training" in config
    (run / "config.yaml").write_text(
        config.replace("standardisation:\n  kind: training\n", "")
        + "standardisation: {kind: recording}\n"
    )
    contract = read_json(run / "model.json", cure="")
    contract["files"]["config.yaml"] = file_sha256(run / "config.yaml")
    contract["standardisation"] = {
        "kind": "recording", "causal": False, "minutes": None, "by": "recording", "floor": 0.1,
        "typical_deviation": {"acc": [1.0, 1.0, 1.0], "ecg": [1.0]}, "mean_and_deviation_of": "",
    }  # fmt: skip
    write_signed_json(run / "model.json", contract)
    with pytest.raises(ContractError, match="calibrates each window by the whole of its recording"):
        export_run(run, tmp_path / "m.onnx")
