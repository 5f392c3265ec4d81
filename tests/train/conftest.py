"""A tiny made-up store, and networks small enough to train within a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.config import RunConfig, build_method, build_model, load_config
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.splits import Fold, subject_folds
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.evaluate.latents import LatentTable
from crossl.methods import Method
from crossl.nn.model import CrossModalModel, encode_rows

from .targets import RULES

MODALITIES = (
    Modality("wrist_acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist"),
    Modality("wrist_heat", ("t",), "K", 4.0, "wrist"),
    Modality("chest_ecg", ("lead",), "V", 32.0, "chest"),
)
CLASSES = ("rest", "walk", "run")
BOUT_S = 16.0
SMALL = {
    "crossl": ("encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=16", "features=null",
               "method.expander_dim=16", "schedule.steps=4", "schedule.batch_size=32"),
    "paper": ("encoder.dim=8", "aggregator.hidden=8", "aggregator.dim=8",
              "schedule.epochs=2", "schedule.batch_size=32"),
}  # fmt: skip


def _signal(modality: Modality, rng: np.random.Generator) -> Signal:
    """Each bout is a noisy tone, louder and faster than the one before."""
    time = np.arange(round(len(CLASSES) * BOUT_S * modality.rate_hz)) / modality.rate_hz
    bout = (time // BOUT_S).astype(int)
    tone = (1 + bout) * np.sin(2 * np.pi * (0.4 + 0.4 * bout) * time)
    noise = rng.normal(scale=0.5, size=(len(time), len(modality.channels)))
    return Signal((tone[:, None] + noise + 3).astype(np.float32), modality.rate_hz)


def make_recording(number: int) -> Recording:
    rng = np.random.default_rng(number)
    signals = {m.name: _signal(m, rng) for m in MODALITIES}
    signals["wrist_acc"].values[100:160] = np.nan
    if number == 1:
        del signals["chest_ecg"]
    labels = [LabelInterval(i * BOUT_S, (i + 1) * BOUT_S, name) for i, name in enumerate(CLASSES)]
    labels[-1] = LabelInterval(2 * BOUT_S, 3 * BOUT_S - 4, CLASSES[-1])
    return Recording(f"S{number}", "only", {m.name: m for m in MODALITIES}, signals, labels)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six subjects, three modalities on two devices; one subject has no chest strap."""
    return write_store(
        (make_recording(number) for number in range(6)),
        tmp_path_factory.mktemp("stores") / "tiny",
        modalities=MODALITIES,
        classes=CLASSES,
        spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "tiny", "reader": "none", "description": "made up"},
    )


@pytest.fixture(scope="session")
def told_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same people, with several labels and a number beside the class of each window."""
    return write_store(
        (make_recording(number) for number in range(6)),
        tmp_path_factory.mktemp("stores") / "told",
        modalities=MODALITIES,
        classes=CLASSES,
        spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "told", "reader": "none", "description": "made up"},
        targets=RULES,
    )


@pytest.fixture(scope="session")
def fold(store: Store) -> Fold:
    """Four subjects to learn from (S1 among them), one to validate, one to test."""
    return next(
        fold
        for fold in subject_folds(store.subject, folds=6, seed=0)
        if "S1" in store.subject[fold.train]
    )


@pytest.fixture(scope="session")
def small() -> Callable[..., RunConfig]:
    """Make the config of a recipe, tiny."""

    def make(recipe: str = "crossl", *overrides: str) -> RunConfig:
        return load_config(base=recipe, overrides=[*SMALL[recipe], *overrides])

    return make


@pytest.fixture(scope="session")
def method_of(store: Store, small: Callable[..., RunConfig]) -> Callable[..., Method]:
    """Build the method of a tiny recipe around a model with random weights."""

    def build(config: RunConfig | None = None, *, seed: int = 0) -> Method:
        config = config or small()
        model = build_model(config, store.modalities, window_s=store.window_s, seed=seed)
        return build_method(config, model, seed=seed)

    return build


@pytest.fixture
def model(method_of: Callable[..., Method], store: Store, fold: Fold) -> CrossModalModel:
    """A model with random weights and fitted standardisation."""
    model = method_of().model
    model.standardiser.fit(store, fold.train)
    return model.eval()


@pytest.fixture
def tables(model: CrossModalModel, store: Store, fold: Fold) -> dict[str, LatentTable]:
    """Latents of each part of the fold."""
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    return {
        name: LatentTable(
            model,
            encode_rows(model, store, rows),
            torch.from_numpy(store.present[rows]),
            store.label[rows],
            store.subject[rows],
        )
        for name, rows in parts.items()
    }


@pytest.fixture
def weights_of() -> Callable[[CrossModalModel], dict[str, np.ndarray]]:
    """Copy every parameter and buffer."""
    return lambda model: {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for runs."""
    return tmp_path
