"""Lab Streaming Layer: real outlets, in other processes on the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.errors import ContractError, DataError, PackageError
from crossl.stream import lsl as module
from crossl.stream.lsl import Wanted, columns_of, lsl
from crossl.stream.session import Session, label_stream
from crossl.stream.source import Chunk, Facts

from .conftest import SENSORS

try:
    import pylsl
except (ImportError, RuntimeError) as error:
    pytest.skip(f"liblsl is not there: {error}", allow_module_level=True)

OUTLET = Path(__file__).with_name("outlet.py")
LOOPBACK = (
    "[multicast]\nResolveScope = machine\n[lab]\nKnownPeers = {127.0.0.1}\n[log]\nlevel = -3\n"
)


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep outlets and inlets on this machine."""
    path = tmp_path_factory.mktemp("lsl") / "lsl_api.cfg"
    path.write_text(LOOPBACK, encoding="utf-8")
    os.environ["LSLAPICFG"] = str(path)
    yield
    del os.environ["LSLAPICFG"]


def start(*outlets: dict[str, Any], seconds: float = 30.0, **asked: Any) -> subprocess.Popen[str]:
    words = json.dumps({"outlets": outlets, "seconds": seconds, **asked})
    process = subprocess.Popen([sys.executable, str(OUTLET), words], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


ACC = {"name": "acc", "channels": 3, "rate_hz": 20.0, "id": "acc-1"}
ECG = {"name": "ecg", "channels": 1, "rate_hz": 32.0}  # without an id: liblsl cannot recover it


@pytest.mark.slow
def test_outlets_of_another_process_come_jitter_go_and_return(
    loopback: None, session: Any, notes: list[str]
) -> None:
    acc, ecg = ({**one, "name": f"{one['name']}-{os.getpid()}"} for one in (ACC, ECG))
    began_s = pylsl.local_clock()
    steady = start(acc, began_s=began_s, jitter_s=0.015)
    fickle = [start(ecg, began_s=began_s, jitter_s=0.01)]
    one: Session = session(delay_s=1.0)
    rows: list[tuple[float, dict[str, Any]]] = []

    async def work() -> None:
        wanted = Wanted({acc["name"]: "acc", ecg["name"]: "ecg"}, SENSORS)
        async for said in label_stream(lsl(wanted, note=notes.append), one):
            rows.append((pylsl.local_clock(), said))
            whole = [one["present_acc"] and one["present_ecg"] for _, one in rows]
            if len(fickle) == 1 and fickle[0].poll() is None and whole.count(True) == 3:
                kill(fickle[0])
            if len(fickle) == 1 and any(whole) and whole[-3:] == [False] * 3:
                fickle.append(start(ecg, began_s=began_s, jitter_s=0.01))
            if len(rows) > 40 or (len(fickle) == 2 and whole[-1]):
                return

    try:
        asyncio.run(asyncio.wait_for(work(), 60))
    finally:
        for process in (steady, *fickle):
            kill(process)
    assert one.live is not None
    _check_rows(rows, one.live.windower.dropped["acc"])
    told = " ".join(notes)
    assert f"outlet {ecg['name']} is gone; waiting for it" in told
    assert f"outlet {ecg['name']} is back, with ecg" in told


def _check_rows(rows: list[tuple[float, dict[str, Any]]], dropped: int) -> None:
    # on a busy machine one outlet is found seconds before the other
    first = [one["present_acc"] and one["present_ecg"] for _, one in rows].index(True)
    rows = rows[first:]
    said = [one for _, one in rows]
    present = [one["present_ecg"] for one in said]
    assert present[-1]
    assert not all(present)
    assert all(one["present_acc"] and one["label"] for one in said)
    np.testing.assert_allclose(np.diff([one["start_s"] for one in said]), 1.0)
    assert dropped <= 1  # jitter doubles no samples
    # each comes within one stride, and the time that a lost sensor is waited for
    late_s = [at - one["end_s"] for at, one in rows]
    assert np.median(late_s) < 1.0 + 1.0 + 0.5
    assert min(late_s) < 1.0


@pytest.mark.slow
def test_an_outlet_of_another_rate_is_refused_with_both(
    loopback: None, session: Any, notes: list[str]
) -> None:
    name = f"fast-{os.getpid()}"
    process = start({**ACC, "name": name, "rate_hz": 50.0})

    async def work(wanted: Wanted, wait_s: float) -> None:
        async for _ in label_stream(lsl(wanted, wait_s=wait_s), session()):
            pass

    try:
        with pytest.raises(ContractError, match="'acc' has 50 Hz; the run was made for 20 Hz"):
            asyncio.run(work(Wanted({name: "acc"}, SENSORS), 20.0))
        with pytest.raises(DataError, match=r"lsl: no outlet is named nobody within 1.5 s; there "
                           rf"are .*{name}"):  # fmt: skip
            asyncio.run(work(Wanted({"nobody": "acc"}, SENSORS), 1.5))
    finally:
        kill(process)


def info(name: str = "acc", channels: int = 3, rate_hz: float = 20.0, kind: str = "float32",
         labels: list[str] | None = None, units: list[str] | None = None) -> Any:  # fmt: skip
    made = pylsl.StreamInfo(name, "test", channels, rate_hz, kind, "")
    if labels:
        made.set_channel_labels(labels)
    if units:
        made.set_channel_units(units)
    return made


def test_channels_are_found_by_the_name_of_the_outlet_or_by_labels() -> None:
    every = Wanted({}, SENSORS)
    assert columns_of(info(), "acc", every) == {"acc": [0, 1, 2]}
    turned = info(labels=["z", "x", "y"], units=["m/s2"] * 3)
    assert columns_of(turned, "acc", every) == {"acc": [1, 2, 0]}
    strap = info("Polar", 1, 32.0, units=["volts"])
    assert columns_of(strap, "Polar", Wanted({"Polar": "ecg"}, SENSORS)) == {"ecg": [0]}
    both = info("band", 5, 20.0, labels=["ecg_lead", "acc_y", "acc_x", "acc_z", "other"])
    found = columns_of(both, "band", Wanted({"band": ""}, SENSORS))
    assert found == {"acc": [2, 1, 3], "ecg": [0]}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"channels": 2}, r"outlet 'acc': has 2 channels; 'acc' of the run has 3 \(x, y, z\)"),
        ({"rate_hz": 0.0}, r"comes at no regular rate \(0 Hz\)"),
        ({"kind": "string"}, "has text, not numbers"),
        ({"units": ["g"] * 3}, r"'acc' is in 'g'; the run was made for 'm/s\^2'"),
        (
            {"name": "what"},
            "nothing tells which sensor it has; say lsl:what=SENSOR, with one of acc",
        ),
    ],
)
def test_an_outlet_that_does_not_fit_is_refused(made: dict[str, Any], told: str) -> None:
    name = made.get("name", "acc")
    with pytest.raises(ContractError, match=told):
        columns_of(info(**made), name, Wanted({name: ""} if name != "acc" else {}, SENSORS))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'pylsl'", name="pylsl"), r'pip install "crossl\[st'),
        (RuntimeError("LSL binary library file was not found."), "let the environment variable "
         "PYLSL_LIB name its file"),
    ],
)  # fmt: skip
def test_what_is_not_installed_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def lacking(name: str) -> Any:
        raise error

    monkeypatch.setattr(module, "import_module", lacking)

    async def first() -> Facts | Chunk:
        return await anext(lsl(Wanted({}, SENSORS)))

    with pytest.raises(PackageError, match=told):
        asyncio.run(first())
