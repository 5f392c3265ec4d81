"""What only a GPU shows; skipped where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.commands.embed import embed_store
from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import TrainingError
from crossl.methods import Method
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.run_folder import save_run
from crossl.train.cuda_graphs import Given, Recorded
from crossl.train.pretrain import pretrain
from crossl.train.schedule import Schedule

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
    pytest.mark.filterwarnings("ignore:.*AccumulateGrad node's stream"),
]
RECIPES = ("crossl", "paper")
SETTINGS = [
    *((recipe,) for recipe in RECIPES),
    ("crossl", "method.strategy=temporal_each", "method.final_keep_rate={chest_ecg: 0.2}"),
    ("crossl", "method.strategy=random", "aggregator={kind: transformer, shared_dim: 16}"),
]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in whole float32, and the same every time."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    """Windows some of which lack a modality."""
    batch = collate(store, fold.train[:32])
    assert not batch.present.all()
    return batch


def step(method: Method, batch: Batch, *, fast: bool = False) -> tuple[dict, dict]:
    """Return terms and gradients of a step whose draws were made on the CPU."""
    torch.nn.Module.zero_grad(method)
    signals = {n: x.repeat(2, 1, 1) for n, x in method.model.standardise(batch).items()}
    if not hasattr(method, "expander"):
        signals = dict(method.model.standardise(batch))
    drawn = method.draw(batch.present.cpu(), torch.Generator().manual_seed(0))
    there = {name: x.to(batch.present.device) for name, x in (drawn or {}).items()}
    parts, given = method, Given(signals, batch.present, there or None)
    if fast:
        parts = Recorded(method, given, precision="float32")
        assert parts.fits(given)
    terms = parts.compare(parts.encode(signals, batch.present), batch.present, given.drawn)
    torch.stack(list(terms.values())).sum().backward()
    found = {n: p.grad.cpu().clone() for n, p in method.named_parameters() if p.grad is not None}
    return {n: x.detach().cpu() for n, x in terms.items()}, found


@pytest.mark.parametrize("way", ["launched", "recorded"])
@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
def test_a_step_is_that_of_the_cpu(
    settings: tuple[str, ...], way: str, small: Callable[..., RunConfig],
    method_of: Callable[..., Method], batch: Batch,
) -> None:  # fmt: skip
    method = method_of(small(*settings))
    method.train()
    terms, gradients = step(method, batch)
    method.to("cuda")
    there = batch.to("cuda")
    for _ in range(2):  # a recorded step is the same when it is replayed
        got_terms, got_gradients = step(method, there, fast=way == "recorded")
        torch.testing.assert_close(got_terms, terms, rtol=1e-4, atol=1e-5)
        assert set(got_gradients) == set(gradients)
        size = max(float(g.norm()) for g in gradients.values())
        for name, gradient in gradients.items():
            assert float((got_gradients[name] - gradient).norm()) < 1e-4 * size, name


@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
def test_nothing_within_a_step_waits_for_the_device(
    settings: tuple[str, ...], small: Callable[..., RunConfig],
    method_of: Callable[..., Method], batch: Batch,
) -> None:  # fmt: skip
    method = method_of(small(*settings))
    method.train()
    method.to("cuda")
    there, generator = batch.to("cuda"), torch.Generator("cuda").manual_seed(0)
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        drawn = method.draw(there.present, generator)
        encoded = method.encode(method.views(there, seed=1), there.present)
        terms = method.compare(encoded, there.present, drawn)
        torch.stack(list(terms.values())).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def train(
    method: Method, schedule: Schedule, store: Store, fold: Fold, out: Path, *, resume: bool = False
) -> list[dict]:
    """Pretrain, and return what metrics.jsonl says."""
    pretrain(
        method, store, train=fold.train, validation=fold.validation, schedule=schedule, seed=0,
        out=out, resume=resume,
    )  # fmt: skip
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_pretraining_uses_graphs_and_learns(
    recipe: str, precision: str, small: Callable[..., RunConfig],
    method_of: Callable[..., Method], store: Store, fold: Fold, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    config = small(recipe, f"schedule.precision={precision}", "schedule.epochs=6")
    method = method_of(config)
    told = train(method, config.schedule, store, fold, tmp_path)
    assert len(told) == 6
    assert told[-1]["train/loss"] < told[0]["train/loss"]
    assert not [r for r in caplog.records if r.name == "crossl.train.cuda_graphs"], caplog.text
    table = encode_rows(method.model, store, fold.test)
    assert table.device.type == "cpu"
    assert torch.isfinite(table).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resumed_run_goes_on_as_it_would_have(
    recipe: str, small: Callable[..., RunConfig], method_of: Callable[..., Method],
    store: Store, fold: Fold, tmp_path: Path,
) -> None:  # fmt: skip
    schedule = small(recipe, "schedule.epochs=4").schedule
    whole = train(method_of(small(recipe)), schedule, store, fold, tmp_path / "whole")
    # two epochs of four, by a run whose end is four
    part = method_of(small(recipe))

    class EndedError(Exception):
        pass

    def stop(*_: object) -> None:
        if len((tmp_path / "part" / "metrics.jsonl").read_text().splitlines()) == 2:
            raise EndedError

    with pytest.raises(EndedError):
        pretrain(
            part, store, train=fold.train, validation=fold.validation, schedule=schedule, seed=0,
            out=tmp_path / "part", progress=stop,
        )  # fmt: skip
    resumed = train(method_of(small(recipe)), schedule, store, fold, tmp_path / "part", resume=True)
    for a, b in zip(whole, resumed, strict=True):
        assert b["val/loss"] == pytest.approx(a["val/loss"], rel=1e-3)


def test_what_is_not_finite_stops_the_run_and_is_kept(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], store: Store, fold: Fold,
    tmp_path: Path,
) -> None:  # fmt: skip
    class Broken:
        modalities, window_s, present = store.modalities, store.window_s, store.present

        def gather_zeroed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
            found = {name: x.copy() for name, x in store.gather_zeroed(rows).items()}
            found["wrist_acc"][store.present[rows, 0], 5] = np.inf
            return found

        def __len__(self) -> int:
            return len(store)

    method = method_of()
    method.model.standardiser.fit(store, fold.train)
    method.model.standardiser.fit = lambda *_: None
    with pytest.raises(TrainingError, match=r"step 0: the loss is not finite .*wrist_acc.* row"):
        train(method, small().schedule, Broken(), fold, tmp_path)
    assert (tmp_path / "nonfinite" / "batch.npz").is_file()
    assert (tmp_path / "nonfinite" / "weights.safetensors").is_file()
    assert all(torch.isfinite(p).all() for p in method.model.parameters())


def test_a_batch_that_does_not_fit_names_one_that_does(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], store: Store, fold: Fold,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = small("paper", "encoder.dim=1024", "schedule.batch_size=64")
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(3.5e8 / total)
    try:
        with pytest.raises(TrainingError, match="does not fit into the memory of cuda"):
            train(method_of(config), config.schedule, store, fold, tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_bfloat16_embeddings_are_near_those_of_float32(
    method_of: Callable[..., Method], batch: Batch
) -> None:
    model = method_of().model.to("cuda").eval()
    there = replace(batch.to("cuda"), label=None)
    with torch.inference_mode():
        exact = model(there)
        with torch.autocast("cuda", torch.bfloat16):
            short = model(there).float()
    assert float((exact - short).norm() / exact.norm()) < 0.03


def test_a_store_is_embedded_as_on_the_cpu(
    model: CrossModalModel, small: Callable[..., RunConfig], store: Store, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    save_run(tmp_path / "run", model, small(), about={"classes": []})
    embed_store(tmp_path / "run", store.path, tmp_path / "gpu.npz")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    embed_store(tmp_path / "run", store.path, tmp_path / "cpu.npz")
    with np.load(tmp_path / "gpu.npz") as gpu, np.load(tmp_path / "cpu.npz") as cpu:
        assert set(gpu) == set(cpu)
        np.testing.assert_allclose(gpu["embedding"], cpu["embedding"], rtol=1e-3, atol=1e-3)
