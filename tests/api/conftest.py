"""A store of people in two classes, and a run of the command line with its classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossl.commands.pretrain import pretrain_run
from crossl.commands.probe import probe_run
from crossl.config import load_config
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.target_rules import WindowsOf
from crossl.data.targets import Target
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")
CLASSES = ("rest", "run")
SETTINGS: dict[str, Any] = {
    "encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16,
    "method.expander_dim": 16, "schedule.steps": 4, "schedule.batch_size": 32,
    "evaluation.methods": ["crossl"],
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    """Settings of a network that is tiny."""
    return dict(SETTINGS)


def recording(number: int) -> Recording:
    """Noise that is louder while running; S5 has no chest strap."""
    rng = np.random.default_rng(number)
    signals = {}
    for m in (ACC, ECG) if number < 5 else (ACC,):
        loud = np.repeat([1.0, 4.0], round(20 * m.rate_hz))[:, None]
        noise = loud * rng.normal(size=(len(loud), len(m.channels)))
        signals[m.name] = Signal(noise.astype(np.float32), m.rate_hz)
    labels = [LabelInterval(20 * i, 20 * i + 20, one) for i, one in enumerate(CLASSES)]
    return Recording(f"S{number}", "only", {m.name: m for m in (ACC, ECG)}, signals, labels)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six people, 20 windows each; S5 lacks the ECG."""
    return write_store(
        (recording(n) for n in range(6)),
        tmp_path_factory.mktemp("stores") / "tiny",
        modalities=(ACC, ECG),
        classes=CLASSES,
        spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "tiny", "reader": "none"},
    )


TARGETS = (
    Target("posture", "labels", ("upright", "fast")),
    Target("speed", "numbers", ("speed",), ("m/s",)),
)


@dataclass(frozen=True)
class FromTime:
    """A target that follows from when a window starts: people run from 20 s on."""

    target: Target
    signals: tuple[Modality, ...] = field(default=())

    def values(self, windows: WindowsOf) -> np.ndarray:
        runs = windows.start_s >= 20
        told = {"posture": np.stack([runs >= 0, runs], axis=1), "speed": 3.0 * runs[:, None]}
        return told[self.target.name].astype(self.target.unknown(1).dtype)


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same people, with several labels and a number for each window too."""
    return write_store(
        (recording(n) for n in range(6)),
        tmp_path_factory.mktemp("stores") / "targets",
        modalities=(ACC, ECG),
        classes=CLASSES,
        spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={},
        targets=[FromTime(target) for target in TARGETS],
    )


@pytest.fixture(scope="session")
def trained(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `crossl pretrain` and `crossl probe` leave; copy it before changing it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    overrides = [f"{name}={value}" for name, value in SETTINGS.items()]
    pretrain_run(store.path, load_config(overrides=overrides), out)
    probe_run(out, store.path, label_fraction=0.5)
    return out
