"""The programs of the README beside a model run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def program(readme: Path, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", readme.read_text(encoding="utf-8"), re.S)
    assert found is not None
    return found[1]


def node_modules(package: str) -> Path:
    """Where a package of node is: below this checkout, in CROSSL_NODE_MODULES, or globally."""
    if shutil.which("node") is None:
        pytest.skip("node is not here")
    places = [Path(os.environ.get("CROSSL_NODE_MODULES", ROOT / "node_modules"))]
    if shutil.which("npm"):
        asked = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        places.append(Path(asked.stdout.strip() or "."))
    for place in places:
        if (place / package).is_dir():
            return place
    pytest.skip(f"{package} is not here (npm install {package}, or set CROSSL_NODE_MODULES)")


def test_python(exported):
    path, readme = exported.files
    code = program(readme, "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=path.parent, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert re.match(r"\['(rest|run)'\] \[\[", done.stdout)


def test_javascript(exported, tmp_path):
    path, readme = exported.files
    code = program(readme, "javascript")
    place = node_modules("onnxruntime-web")
    assert 'from "onnxruntime-node"; // in a browser: "onnxruntime-web"' in code
    (tmp_path / "run.mjs").write_text(code.replace("onnxruntime-node", "onnxruntime-web"))
    (tmp_path / "node_modules").symlink_to(place)
    shutil.copy(path, tmp_path)
    done = subprocess.run(["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    from crossl.runtime import Runtime

    said = Runtime(path)({"acc": [[[0.0] * 3] * 40], "ecg": [[[0.0]] * 64]})
    numbers = [float(x) for x in re.findall(r"\d+\.\d+(?:e-\d+)?", done.stdout)]
    assert numbers == pytest.approx(said.probabilities[0].tolist(), abs=1e-4)
    assert "[ 'rest', 'run' ]" in done.stdout


def test_every_program_names_every_sensor(exported):
    _, readme = exported.files
    for language in ("python", "javascript", "cpp"):
        code = program(readme, language)
        assert '"acc"' in code
        assert '"ecg"' in code
        assert "model.onnx" in code
        assert "probabilities" in code
