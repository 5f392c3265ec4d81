"""A small run with a classifier, and what was exported of it, once for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.api.run import load_run
from crossl.api.training import build_model
from crossl.commands.export import Exported, Wanted, export_run
from crossl.commands.probe import probe_run
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")
SPEC = WindowSpec(window_s=2.0, stride_s=1.0)
PEOPLE = ("ann", "bob", "cem", "dee", "eva")
PUBLISHED = {"encoder.dim": 8, "aggregator.dim": 8, "aggregator.hidden": 8}
DEFAULT = {"encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16,
           "method.expander_dim": 16}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recording(name: str, seed: int) -> Recording:
    """40 s of rest and run in turns; the second sensor is off for a while."""
    rng = np.random.default_rng(seed)
    signals = {}
    for m in (ACC, ECG):
        t = np.arange(round(40 * m.rate_hz)) / m.rate_hz
        loud = np.where(t // 10 % 2 == 1, 4.0, 1.0)[:, None]
        values = (3 + loud * rng.normal(size=(len(t), len(m.channels)))).astype(np.float32)
        if m is ECG:
            values[(t >= 30) & (t < 34)] = np.nan
        signals[m.name] = Signal(values, m.rate_hz)
    labels = [LabelInterval(10 * i, 10 * i + 10, ("rest", "run")[i % 2]) for i in range(4)]
    return Recording(name, "", {"acc": ACC, "ecg": ECG}, signals, labels)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five people, beside whom runs will lie."""
    folder = tmp_path_factory.mktemp("study")
    people = [recording(name, seed) for seed, name in enumerate(PEOPLE)]
    return write_store(people, folder / "store", modalities=(ACC, ECG), classes=("rest", "run"),
                       spec=SPEC, about={"dataset": "uci_har", "reader": "uci_har"})  # fmt: skip


def make_run(store: Store, name: str, settings: dict[str, object], base: str = "crossl") -> Path:
    """Train for a step, and fit a classifier."""
    from crossl.api.training import pretrain

    path = store.path.parent / name
    settings = {**settings, "schedule.steps": 2, "schedule.batch_size": 32}
    run = build_model(store, settings=settings, recipe=base)
    pretrain(run, store, out=path)
    probe_run(path, store.path, label_fraction=1.0)
    assert load_run(path).classifier is not None
    return path


@pytest.fixture(scope="session")
def published(store: Store) -> Path:
    """A run of the published recipe, which is quick to export."""
    return make_run(store, "published", PUBLISHED, base="paper")


@pytest.fixture(scope="session")
def exported(published: Path) -> Exported:
    """What the command makes of it, compared on the store beside it."""
    return export_run(published, published.parent / "out" / "model.onnx")


@pytest.fixture(scope="session")
def default_run(store: Store) -> Path:
    """A run of the default recipe."""
    return make_run(store, "default", DEFAULT)


@pytest.fixture(scope="session")
def exported_default(default_run: Path) -> Exported:
    """What the command makes of it, in 8 bits."""
    out = default_run.parent / "out" / "small.onnx"
    return export_run(default_run, out, wanted=Wanted(int8=True, max_drop=0.3))
