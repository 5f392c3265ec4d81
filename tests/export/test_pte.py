"""A run as an ExecuTorch program."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from crossl.commands.export import Wanted, export_run
from crossl.errors import ConfigError, PackageError


def test_what_a_program_cannot_be_is_refused(published, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    out = tmp_path / "m.pte"
    with pytest.raises(ConfigError, match=r"--format: got 'tflite'; allowed are 'onnx', 'pte'"):
        export_run(published, out, wanted=Wanted(format="tflite"))
    with pytest.raises(ConfigError, match=r"--out: got 'm.onnx'; a name that ends in .pte"):
        export_run(published, tmp_path / "m.onnx", wanted=Wanted(format="pte"))
    monkeypatch.setattr("crossl.export.onnx_model.find_spec", lambda name: None)
    with pytest.raises(PackageError, match=r'pip install "crossl\[edge\]"'):
        export_run(published, out, wanted=Wanted(format="pte"))
    monkeypatch.setattr("crossl.export.onnx_model.find_spec", lambda name: True)
    with pytest.raises(ConfigError, match="--format pte: has no --int8 and no --page"):
        export_run(published, out, wanted=Wanted(format="pte", int8=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_program_gives_what_the_run_gives(published, tmp_path):
    pytest.importorskip("executorch")
    found = export_run(published, tmp_path / "model.pte", wanted=Wanted(format="pte"))
    names = ["model.pte", "model.README.md", "model.pte.json"]
    assert [path.name for path in found.files] == names
    parity = found.contract["parity"]
    assert parity["every_subset"]
    assert max(parity["largest_difference"].values()) < 1e-4
    told = json.loads(found.files[2].read_text())
    assert told["modalities"] == found.contract["modalities"]
    code = re.search(r"```python\n(.*?)```", found.files[1].read_text(), re.S)
    assert code is not None
    shown = f"{code[1]}\nprint(tuple(probabilities.shape))"
    done = subprocess.run([sys.executable, "-c", shown], cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "(1, 2)"


@pytest.mark.slow
def test_so_does_one_with_untrained_features(default_run, tmp_path):
    pytest.importorskip("executorch")
    found = export_run(default_run, tmp_path / "model.pte", wanted=Wanted(format="pte"))
    assert max(found.contract["parity"]["largest_difference"].values()) < 1e-4
