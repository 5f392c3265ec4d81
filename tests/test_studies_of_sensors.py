"""The scripts of transfer and of people who lack sensors: what they make of recordings."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from crossl.config import load_config
from crossl.data.recording import LabelInterval, Modality, Recording, Signal

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
