"""The example package: installed, then used from the command line and from Python."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import crossl
from crossl.config import build_method, build_model, load_config
from crossl.errors import ConfigError
from crossl.registry import SORTS

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "own_parts"
PARTS = ("encoder.kind=spectrum", "aggregator.kind=average", "method.kind=plain",
         "method.objective.kind=uniform", "method.augmentation.kind=reverse")  # fmt: skip
SMALL = ("encoder.dim=8", "schedule.steps=4", "schedule.batch_size=16", "evaluation.folds=3")
TINY = ("evaluation.methods=[crossl,untrained]", "evaluation.label_fractions=[1.0]",
        "evaluation.main_fraction=1.0", "evaluation.label_seeds=[0]")  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package into a folder of its own, as pip does it for everybody."""
    pytest.importorskip("setuptools", reason="building the example needs setuptools")
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    command = [*pip, "--no-deps", "--no-build-isolation", "--target", folder / "site", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of four people, in the format of the example's reader."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    time = np.arange(200) / 20
    for subject in ("ann", "ben", "cem", "dan"):
        for label, hz in (("slow", 0.5), ("quick", 4.0)):
            wave = np.sin(2 * np.pi * hz * time)[:, None] + rng.normal(0, 0.1, (200, 2))
            np.savetxt(folder / f"{subject}_{label}.txt", wave)
    return folder


def run(installed: Path, *words: object) -> str:
    """Run a command where the package is installed."""
    path = os.pathsep.join(filter(None, (str(installed), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "crossl.cli.main", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_parts_of_an_installed_package_are_used_from_the_command_line(
    installed: Path, tones: Path, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "run"
    run(installed, "prepare", "tones", "--root", tones, "--out", store)
    settings = [word for setting in (*PARTS, *SMALL) for word in ("--set", setting)]
    run(installed, "pretrain", store, "--out", out, *settings)
    kept = yaml.safe_load((out / "config.yaml").read_text())
    assert kept["encoder"] == {"dim": 8, "kind": "spectrum", "bins": 16}
    assert kept["method"]["objective"] == {"kind": "uniform", "uniformity": 1.0}
    told = run(installed, "probe", out, "--store", store, "--label-fraction", 1)
    assert "macro-F1" in told
    (tmp_path / "run.yaml").write_text(
        "contenders: {bands: {kind: energy, bands: 3}}\ntask: {kind: ordinal}\n"
    )
    small = [word for setting in (*SMALL, *TINY) for word in ("--set", setting)]
    run(installed, "benchmark", store, "--out", tmp_path / "compared", "--fold-numbers", 0,
        "--config", tmp_path / "run.yaml", *small)  # fmt: skip
    lines = (tmp_path / "compared" / "results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {"crossl", "untrained", "bands"} <= {row["method"] for row in rows}
    assert {"weighted_kappa", "weighted_kappa_kept"} <= {row["metric"] for row in rows}
    page = run(installed, "report", tmp_path / "compared")
    assert "Weighted kappa on people never seen" in page


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register the parts from a script, without installing; forgotten afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    before = {sort: dict(registry._parts) for sort, registry in SORTS.items()}
    package = importlib.import_module("own_parts")
    package.register()
    yield package
    for sort, registry in SORTS.items():
        registry._parts.clear()
        registry._parts.update(before[sort])
    for watcher in SORTS["encoder"]._watchers:
        watcher()


def test_registered_parts_are_used_from_python(registered: Any) -> None:
    settings = {"encoder.kind": "spectrum", "aggregator.kind": "average", "method.kind": "plain"}
    rng = np.random.default_rng(0)
    x = {"left": rng.normal(size=(40, 40, 1)), "right": rng.normal(size=(40, 40, 1))}
    model = crossl.CroSSL(window_s=2.0, steps=2, batch_size=16, settings=settings).fit(x)
    assert type(model.model_.aggregator).__name__ == "AverageAggregator"
    assert model.transform(x).shape == (40, 192)


def test_what_an_absent_modality_holds_does_not_matter_to_the_parts(registered: Any) -> None:
    import torch

    from crossl.data.batch import Batch

    config = load_config(overrides=[*PARTS, "encoder.dim=8"])
    modalities = [crossl.Modality(name, ("x",), "m/s^2", 20.0) for name in ("left", "right")]
    method = build_method(config, build_model(config, modalities, window_s=2.0, seed=0), seed=0)
    present = torch.tensor([[True, True], [True, False], [False, True]])
    terms = []
    for value in (0.0, 1e4):
        signals = {m.name: torch.randn(3, 40, 1, generator=torch.Generator().manual_seed(i))
                   for i, m in enumerate(modalities)}  # fmt: skip
        for i, m in enumerate(modalities):
            signals[m.name][~present[:, i]] = value
        found = method.terms(Batch(signals, present), torch.Generator().manual_seed(0))
        terms.append({name: term.item() for name, term in found.items()})
    assert terms[0] == terms[1]
    assert set(terms[0]) == {"alignment", "uniformity"}


def test_a_misspelt_key_of_a_registered_part_is_answered_with_what_it_has(registered: Any) -> None:
    with pytest.raises(ConfigError, match=r"encoder.bns: unknown key; did you mean 'bins'"):
        load_config(overrides=["encoder={kind: spectrum, bns: 3}"])
    with pytest.raises(ConfigError, match="unknown encoder 'spectrm'; did you mean 'spectrum'"):
        load_config(overrides=["encoder.kind=spectrm"])
