"""A run that labels streams, recordings, and what plays them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from crossl.api.run import Run
from crossl.api.training import build_model, fit_probe
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.predict.live import LiveClassifier
from crossl.stream.session import Session, Wishes, label_stream
from crossl.stream.source import Chunk, Facts

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")
SENSORS = {"acc": ACC, "ecg": ECG}
SPEC = WindowSpec(window_s=2.0, stride_s=1.0)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recorded(name: str = "ann", *, seconds: int = 20, without: tuple[str, ...] = ()) -> Recording:
    """Make a recording of two halves: rest, then run."""
    rng = np.random.default_rng(sum(name.encode()))
    signals = {}
    for m in (ACC, ECG):
        loud = np.repeat([1.0, 4.0], round(seconds / 2 * m.rate_hz))[:, None]
        usual = 1e-3 if m is ECG else 1.0
        values = usual * loud * rng.normal(size=(len(loud), len(m.channels)))
        if m.name not in without:
            signals[m.name] = Signal(values.astype(np.float32), m.rate_hz)
    labels = [LabelInterval(0, seconds / 2, "rest"), LabelInterval(seconds / 2, seconds, "run")]
    return Recording(name, "1", SENSORS, signals, labels)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Random weights, and a probe that tells loud windows from quiet ones."""
    store = write_store(
        [recorded(name, seconds=40) for name in ("bob", "cem", "dee")],
        tmp_path_factory.mktemp("stores") / "three", modalities=(ACC, ECG),
        classes=("rest", "run"), spec=SPEC, about={},
    )  # fmt: skip
    settings = {"encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16,
                "method.expander_dim": 16}  # fmt: skip
    made = build_model(store, settings=settings)
    made = fit_probe(made, store, train=["bob", "cem"], validation=["dee"])
    assert made.classifier is not None
    about = {name: told for name, told in made.classifier.about.items() if name != "context"}
    fitted = replace(made.classifier, about=about)
    return replace(made, contract={**made.contract, "window": SPEC.as_dict()}, classifier=fitted)


@pytest.fixture
def notes() -> list[str]:
    """What was noted."""
    return []


@pytest.fixture
def session(run: Run, notes: list[str]) -> Callable[..., Session]:
    """Make a session; options are those of `run.live` and `Wishes`."""

    def make(*, delay_s: float = 2.0, resample: tuple[str, ...] = (), **wishes: Any) -> Session:
        def opened(facts: Facts) -> LiveClassifier:
            return run.live(max_delay_s=delay_s, in_order=facts.in_order, resample=resample,
                            origin_unix_s=facts.origin_unix_s, zone=facts.zone)  # fmt: skip

        return Session(opened, run.modalities, wishes=Wishes(**wishes), note=notes.append)

    return make


async def source_of(items: list[Facts | Chunk]) -> AsyncIterator[Facts | Chunk]:
    """Yield items that are there already."""
    for item in items:
        yield item


def labelled(source: Any, session: Session) -> list[dict[str, Any]]:
    """Label all that a source yields."""

    async def work() -> list[dict[str, Any]]:
        return [one async for one in label_stream(source, session)]

    return asyncio.run(work())


def chunks_of(recording: Recording, *, length_s: float = 0.5) -> list[Facts | Chunk]:
    """Cut a recording into chunks, in order of time."""
    items = []
    for name, signal in recording.signals.items():
        step = max(1, round(length_s * signal.rate_hz))
        for begin in range(0, len(signal.values), step):
            start_s = signal.start_s + begin / signal.rate_hz
            items.append(Chunk(name, start_s, signal.values[begin : begin + step]))
    return sorted(items, key=lambda chunk: float(chunk.times))  # type: ignore[arg-type]


def assert_said(said: list[dict[str, Any]], line: dict[str, Any]) -> None:
    """Compare rows with a timeline: to the bit but for probabilities."""
    for name in ("start_s", "end_s", "label", "reason", "present_acc", "present_ecg"):
        assert [one[name] for one in said] == line[name].tolist(), name
    for name in ("probability_rest", "probability_run"):
        told = np.array([one[name] for one in said], dtype=np.float64)
        np.testing.assert_allclose(told, line[name], rtol=0, atol=1e-5)
