"""A recording of two halves, a run that knows its sensors, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from crossl.api.run import Run
from crossl.api.training import build_model, fit_probe
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.predict.sight import Seen, Sight
from crossl.predict.timeline import Timeline, timeline_of

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")
MADRID_S = 1717236000.0
"""2024-06-01 12:00 in Madrid."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recorded() -> Callable[..., Recording]:
    """Make a recording of 40 s: rest, then run; options take something away."""

    def make(
        *,
        without: tuple[str, ...] = (),
        gap_s: tuple[float, float] | None = None,
        seconds: int = 40,
        labelled: bool = True,
        dated: bool = True,
        start_s: float = 0.0,
    ) -> Recording:
        rng = np.random.default_rng(7)
        signals = {}
        for m in (ACC, ECG):
            t = np.arange(round(seconds * m.rate_hz)) / m.rate_hz
            loud = np.where(t >= seconds / 2, 4.0, 1.0)[:, None]
            values = (loud * rng.normal(size=(len(t), len(m.channels)))).astype(np.float32)
            if gap_s is not None:
                values[(t >= gap_s[0]) & (t < gap_s[1])] = np.nan
            if m.name not in without:
                signals[m.name] = Signal(values, m.rate_hz, start_s)
        half = start_s + seconds / 2
        labels = (LabelInterval(start_s, half, "rest"),
                  LabelInterval(half, start_s + seconds, "run"))  # fmt: skip
        return Recording(
            "ann", "monday", {"acc": ACC, "ecg": ECG}, signals, labels if labelled else (),
            origin_unix_s=MADRID_S - start_s if dated else None,
            zone="Europe/Madrid" if dated else "",
        )  # fmt: skip

    return make


SPEC = WindowSpec(window_s=2.0, stride_s=1.0)


@pytest.fixture(scope="session")
def store(recorded: Callable[..., Recording], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four people; the last one has no ECG, and a gap."""
    people = [replace(recorded(), subject=name) for name in ("bob", "cem", "dee")]
    people.append(recorded(without=("ecg",), gap_s=(10.0, 14.0)))
    return write_store(
        people, tmp_path_factory.mktemp("stores") / "four", modalities=(ACC, ECG),
        classes=("rest", "run"), spec=SPEC, about={},
    )  # fmt: skip


@pytest.fixture(scope="session")
def run(store: Store) -> Run:
    """Random weights, and a probe that tells loud windows from quiet ones."""
    settings = {"encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16,
                "method.expander_dim": 16}  # fmt: skip
    made = build_model(store, settings=settings)
    return fit_probe(made, store, train=["bob", "cem"], validation=["dee"])


@pytest.fixture(scope="session")
def sight(run: Run) -> Sight:
    """How the run sees recordings."""
    return Sight(run.modalities, SPEC)


@pytest.fixture(scope="session")
def timeline(
    run: Run, sight: Sight, recorded: Callable[..., Recording]
) -> Callable[..., tuple[Seen, Timeline]]:
    """Make a recording, and what the run says of it."""

    def make(**options: object) -> tuple[Seen, Timeline]:
        seen = sight.see(recorded(**options))
        assert run.classifier is not None
        return seen, timeline_of(run.model, run.classifier.probe, seen)

    return make
