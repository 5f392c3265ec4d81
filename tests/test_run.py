"""Run folders: what is saved is what is loaded, or it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from crossl import run_folder
from crossl.config import RunConfig, build_model, load_config
from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.errors import ContractError, DataError, FormatError
from crossl.evaluate.probe import Probe
from crossl.files import file_sha256, json_sha256, write_whole
from crossl.nn.model import CrossModalModel
from crossl.run_folder import known_by, load_probe, load_run, save_probe, save_run

MODALITIES = (
    Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist"),
    Modality("heat", ("t",), "K", 4.0, "wrist"),
)
SMALL = {
    "crossl": ("encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=16"),
    "paper": ("encoder.dim=8", "aggregator.hidden=8", "aggregator.dim=8"),
}


def make(recipe: str = "crossl") -> tuple[CrossModalModel, RunConfig]:
    config = load_config(base=recipe, overrides=SMALL[recipe])
    model = build_model(config, MODALITIES, window_s=2.0, seed=3)
    model.standardiser.get_buffer("mean_acc").copy_(torch.tensor([1.0, 2.0, 3.0]))
    return model.eval(), config


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run folder of a tiny network, with random weights, and a probe."""
    model, config = make()
    save_run(tmp_path / "run", model, config, about={"dataset": "tiny", "classes": ["a", "b"]})
    save_probe(tmp_path / "run", probe(), classes=("a", "b", "c"), about={"label_fraction": 0.1})
    return tmp_path / "run"


def probe() -> Probe:
    rng = np.random.default_rng(0)
    arrays = {"mean": rng.normal(size=32), "scale": rng.random(32) + 1,
              "weight": rng.normal(size=(2, 32)), "bias": rng.normal(size=2)}  # fmt: skip
    small = {name: a.astype(np.float32) for name, a in arrays.items()}
    return Probe("aggregator", **small, classes=np.array([0, 2]), strength=0.1,
                 validation_score=0.5)  # fmt: skip


def batch() -> Batch:
    rng = torch.Generator().manual_seed(0)
    signals = {
        "acc": torch.randn(5, 40, 3, generator=rng),
        "heat": torch.randn(5, 8, 1, generator=rng),
    }
    present = torch.ones(5, 2, dtype=torch.bool)
    present[0, 1] = False
    return Batch(signals, present)


@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_a_loaded_run_embeds_as_the_saved_model_did(recipe: str, tmp_path: Path) -> None:
    model, config = make(recipe)
    save_run(tmp_path / "run", model, config, about={"dataset": "tiny"})
    run = load_run(str(tmp_path / "run"))
    with torch.inference_mode():
        torch.testing.assert_close(run.model(batch()), model(batch()), rtol=0, atol=0)
    assert run.config == config
    assert run.contract["dataset"] == "tiny"
    assert run.model.modalities == MODALITIES
    assert not run.model.training


def test_a_contract_says_what_input_and_software_it_was(saved: Path) -> None:
    contract = load_run(saved).contract
    assert contract["modalities"] == [m.as_dict() for m in MODALITIES]
    assert contract["window_s"] == 2.0
    assert set(contract["versions"]) == {"python", *run_folder.PACKAGES}
    assert contract["files"] == {
        name: file_sha256(saved / name) for name in ("weights.safetensors", "config.yaml")
    }


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml"])
def test_an_altered_or_truncated_file_is_refused(
    name: str, damage: Callable[[Path], None], saved: Path
) -> None:
    damage(saved / name)
    with pytest.raises(FormatError, match=f"{name}: was altered, its hash is not the one in model"):
        load_run(saved)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml"])
def test_a_missing_file_is_refused(name: str, saved: Path) -> None:
    (saved / name).unlink()
    with pytest.raises(FormatError, match=f"{name}: is missing; train the run again"):
        load_run(saved)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none: is not a run, it has no model.json"):
        load_run(tmp_path / "none")


def rewrite(path: Path, *, seal: bool = True, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes}
    if seal:
        values["sha256"] = json_sha256(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"model.json: is damaged, not JSON \(.*\)"),
        ("[]", "model.json: does not describe a run, expected format 'crossl-run'"),
        ('{"format": "other"}', "model.json: does not describe a run, expected format"),
    ],
)
def test_a_contract_that_is_none_is_refused(text: str, message: str, saved: Path) -> None:
    (saved / "model.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        load_run(saved)


def test_a_run_of_another_version_is_refused(saved: Path) -> None:
    rewrite(saved / "model.json", version=99)
    with pytest.raises(FormatError, match="of version 99; this crossl reads version 1"):
        load_run(saved)


def test_an_altered_contract_is_refused(saved: Path) -> None:
    rewrite(saved / "model.json", seal=False, window_s=4.0)
    with pytest.raises(FormatError, match=r"model.json: was altered, its hash does not match"):
        load_run(saved)


def reseal(saved: Path, weights: dict[str, torch.Tensor]) -> None:
    """Replace the weights and make every hash agree, as an attacker or a careless merge would."""
    safetensors.torch.save_file(weights, saved / "weights.safetensors")
    files = json.loads((saved / "model.json").read_text())["files"]
    files["weights.safetensors"] = file_sha256(saved / "weights.safetensors")
    rewrite(saved / "model.json", files=files)


def test_a_tensor_of_another_shape_is_refused(saved: Path) -> None:
    weights = safetensors.torch.load_file(saved / "weights.safetensors")
    weights["standardiser.mean_acc"] = torch.zeros(2)
    reseal(saved, weights)
    with pytest.raises(
        ContractError,
        match=r"tensor 'standardiser.mean_acc' has shape \(2,\); the network .* needs \(3,\)",
    ):
        load_run(saved)


def test_a_missing_or_needless_tensor_is_refused(saved: Path) -> None:
    weights = safetensors.torch.load_file(saved / "weights.safetensors")
    lacking = {k: v for k, v in weights.items() if k != "standardiser.mean_acc"}
    reseal(saved, lacking)
    with pytest.raises(ContractError, match=r"'standardiser.mean_acc' has shape None"):
        load_run(saved)
    reseal(saved, {**weights, "stray": torch.zeros(1)})
    with pytest.raises(ContractError, match=r"'stray' has shape \(1,\).*needs None"):
        load_run(saved)


def test_weights_that_are_no_tensors_are_refused(saved: Path) -> None:
    reseal(saved, {})
    (saved / "weights.safetensors").write_bytes(b"not tensors at all")
    files = json.loads((saved / "model.json").read_text())["files"]
    files["weights.safetensors"] = file_sha256(saved / "weights.safetensors")
    rewrite(saved / "model.json", files=files)
    with pytest.raises(FormatError, match=r"weights.safetensors: cannot be read \(.*train again"):
        load_run(saved)


def test_a_loaded_probe_answers_as_the_saved_one_did(saved: Path) -> None:
    embedding = np.random.default_rng(1).normal(size=(9, 32)).astype(np.float32)
    loaded, classes = load_probe(saved)
    assert classes == ["a", "c"]
    assert (loaded.head, loaded.strength, loaded.validation_score) == ("aggregator", 0.1, 0.5)
    np.testing.assert_array_equal(loaded.scores(embedding), probe().scores(embedding))
    np.testing.assert_array_equal(loaded.predict(embedding), probe().predict(embedding))


def test_a_run_without_a_probe_is_told(saved: Path) -> None:
    (saved / "probe.json").unlink()
    with pytest.raises(FormatError, match=r"run: is not a probe, it has no probe.json"):
        load_probe(saved)


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_an_altered_probe_is_refused(damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / "probe.safetensors")
    with pytest.raises(FormatError, match=r"probe.safetensors: is missing or was altered"):
        load_probe(saved)


def test_an_altered_head_of_a_probe_is_refused(saved: Path) -> None:
    rewrite(saved / "probe.json", seal=False, classes=["c", "a"])
    with pytest.raises(FormatError, match=r"probe.json: was altered"):
        load_probe(saved)


def test_a_probe_of_other_weights_is_refused(saved: Path) -> None:
    model, config = make()
    with torch.no_grad():
        next(model.parameters()).add_(1)
    save_run(saved, model, config, about={})
    with pytest.raises(FormatError, match="its probe is of other weights; run `crossl probe`"):
        load_probe(saved)


def test_a_probe_of_another_version_is_refused(saved: Path) -> None:
    rewrite(saved / "probe.json", version=2)
    with pytest.raises(FormatError, match="of version 2; this crossl reads version 1"):
        load_probe(saved)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "file", b"old")

    def fail(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_source_tree_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert run_folder.git_commit() is None


def test_a_folder_in_which_nothing_was_done_may_be_begun_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "experiment.json").write_text("{}")
    with pytest.raises(DataError, match="no"), run_folder.forgotten_if_refused(out):
        raise DataError("no")
    assert not out.exists()
    out.mkdir()
    (out / "experiment.json").write_text("{}")
    (out / "metrics.jsonl").write_text("{}")
    with pytest.raises(DataError, match="no"), run_folder.forgotten_if_refused(out):
        raise DataError("no")
    assert (out / "experiment.json").exists()


def test_settings_younger_than_a_folder_do_not_make_it_another_experiment() -> None:
    plain = load_config()
    assert "precision" not in known_by(plain)["finetuning"]
    other = load_config(overrides=["finetuning.precision=bfloat16"])
    assert known_by(other)["finetuning"]["precision"] == "bfloat16"
    assert "precision" in known_by(plain)["schedule"]


@pytest.mark.parametrize(("recipe", "sha256"), [
    ("crossl", "314de3b3c666d939b0ad109e93cc23456c066e0c7f367973e70295c47b561213"),
    ("paper", "2d23dbfb34b8a3d5666407f4817511249b73e168d7ac1c59561a6a4038d85c82"),
])  # fmt: skip
def test_experiments_of_earlier_versions_are_known_by_the_same_settings(
    recipe: str, sha256: str
) -> None:
    """Hashes that version 0.1.0 wrote: a setting that came later must be in `came_later`."""
    assert (
        json_sha256(
            known_by(load_config(base=recipe, overrides=["features=null"]), without={"contenders"})
        )
        == sha256
    )
