"""A tiny run behind a real server on a port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import crossl
from crossl.service.app import build_app
from crossl.service.limits import Limits
from crossl.service.server import listen, make_server

ACC = crossl.Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = crossl.Modality("ecg", ("lead",), "V", 32.0, "chest")
SMALL = {
    "encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16, "method.expander_dim": 16,
    "schedule.steps": 4, "schedule.batch_size": 16,
}  # fmt: skip
MAPPING = {
    "name": "study",
    "modalities": {
        "acc": {"channels": ["x", "y", "z"], "unit": "m/s^2", "rate_hz": 20},
        "ecg": {"channels": ["lead"], "unit": "V", "rate_hz": 32},
    },
    "files": [
        {"pattern": "{subject}_acc.csv", "clock": "t", "signals": {"acc": ["x", "y", "z"]}},
        {"pattern": "{subject}_ecg.csv", "clock": "t", "signals": {"ecg": ["lead"]}},
    ],
}  # fmt: skip


def recording(person: int, *, seconds: int = 20, sensors: str = "acc ecg") -> crossl.Recording:
    """Rest, then running: noise that gets louder."""
    rng = np.random.default_rng(person)
    signals = {}
    for m in (ACC, ECG):
        if m.name in sensors.split():
            loud = np.repeat([1.0, 4.0], round(seconds / 2 * m.rate_hz))[:, None]
            values = loud * rng.normal(size=(len(loud), len(m.channels)))
            signals[m.name] = crossl.Signal(values.astype(np.float32), m.rate_hz)
    labels = [crossl.LabelInterval(0, seconds / 2, "rest"),
              crossl.LabelInterval(seconds / 2, seconds, "run")]  # fmt: skip
    return crossl.Recording(f"P{person}", "1", {"acc": ACC, "ecg": ECG}, signals, labels)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a run that learned from it."""
    out = tmp_path_factory.mktemp("service")
    store = crossl.write_store(
        (recording(person) for person in range(5)),
        out / "store",
        modalities=(ACC, ECG),
        classes=("rest", "run"),
        spec=crossl.WindowSpec(window_s=2.0, stride_s=1.0),
        about={},
    )
    people = {"train": ["P0", "P1", "P2"], "validation": ["P3"]}
    run = crossl.pretrain(crossl.build_model(store, settings=SMALL), store, **people)  # type: ignore[arg-type]
    crossl.fit_probe(run, store, label_fraction=1.0, **people).save(out / "run")  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="session")
def run(folder: Path) -> crossl.Run:
    """The run; it knows how files like its own are read."""
    loaded = crossl.load_run(folder / "run")
    return replace(loaded, contract={**loaded.contract, "reading": {"mapping": MAPPING}})


@contextmanager
def served(run: crossl.Run, limits: Limits | None = None, **options: object) -> Iterator[str]:
    """Serve a run in a thread; yield its address."""
    limits, started = limits or Limits(), threading.Event()
    with listen("127.0.0.1", 0) as port:
        app = build_app(run, name="study", limits=limits, **options)  # type: ignore[arg-type]
        server = make_server(app, limits, ready=started.set)
        thread = threading.Thread(target=lambda: __import__("asyncio").run(server.serve([port])))
        thread.start()
        try:
            assert started.wait(30)
            yield f"127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def address(run: crossl.Run) -> Iterator[str]:
    """Where the run is served."""
    with served(run) as found:
        yield found


Post = Callable[..., httpx.Response]


@pytest.fixture
def post(address: str) -> Post:
    """Ask for a prediction."""

    def ask(**what: object) -> httpx.Response:
        return httpx.post(f"http://{address}/predict", timeout=60, **what)  # type: ignore[arg-type]

    return ask


def as_json(one: crossl.Recording) -> dict[str, object]:
    """Return a recording as a program sends it."""
    signals = {
        name: {"values": signal.values.tolist(), "rate_hz": signal.rate_hz}
        for name, signal in one.signals.items()
    }
    return {"modalities": signals, "subject": one.subject, "session": one.session}
