"""The example for Bluetooth sensors: what straps and a Movesense send, to JSON lines."""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from crossl.data.recording import Modality
from crossl.stream.lines import LineDecoder
from crossl.stream.source import Chunk, Facts

PATH = Path(__file__).resolve().parents[1] / "examples" / "bluetooth.py"


@pytest.fixture(scope="module")
def bluetooth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bluetooth_example", PATH)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("sent", "rate_hz", "intervals_s", "contact"),
    [
        ("00 48", 72 / 60, (), None),
        ("16 48 55 03", 72 / 60, (853 / 1024,), True),
        ("14 48 55 03 00 04", 72 / 60, (853 / 1024, 1.0), False),
        ("19 2c 01 0a 00 00 02", 300 / 60, (0.5,), None),  # 16 bits, energy, an interval
    ],
)
def test_heart_rate_measurements_of_the_specification(
    bluetooth: ModuleType, sent: str, rate_hz: float, intervals_s: object, contact: object
) -> None:
    assert bluetooth.read_heart_rate(bytes.fromhex(sent)) == (rate_hz, intervals_s, contact)


@pytest.mark.parametrize("sent", ["", "01 48", "10 48 55"])
def test_a_heart_rate_that_is_cut_off_is_refused(bluetooth: ModuleType, sent: str) -> None:
    with pytest.raises(ValueError, match="heart rate: cannot be read, got"):
        bluetooth.read_heart_rate(bytes.fromhex(sent))


def test_samples_of_a_movesense(bluetooth: ModuleType) -> None:
    assert bluetooth.subscription(3, "acc", 52) == b"\x01\x03/Meas/Acc/52"
    # 0000803f is 1.0, 000000c0 -2.0, 00002041 10.0; 1000 ms
    acc = bytes.fromhex("02 03 e8030000 0000803f 000000c0 00002041 0000803f 0000803f 0000803f")
    assert bluetooth.read_movesense(acc, "acc") == (1000, [[1.0, -2.0, 10.0], [1.0, 1.0, 1.0]])
    turned = bytes.fromhex("02 00 00000000 00003443 00000000 00000000")  # 180 degrees a second
    assert bluetooth.read_movesense(turned, "gyro")[1] == [[pytest.approx(np.pi), 0, 0]]
    ecg = bytes.fromhex("02 01 ffffffff e8030000 18fcffff")
    at_ms, values = bluetooth.read_movesense(ecg, "ecg")
    assert at_ms == 2**32 - 1
    np.testing.assert_allclose(values, [[381.47e-6], [-381.47e-6]])
    for sent in ("02 03 e803", "01 03 c8000000", "02 03 e8030000 00"):
        with pytest.raises(ValueError, match="acc: cannot be read, got"):
            bluetooth.read_movesense(bytes.fromhex(sent), "acc")


def test_a_device_clock_follows_the_fastest_message_and_wraps(bluetooth: ModuleType) -> None:
    clock, rng, errors = bluetooth.DeviceClock(), np.random.default_rng(0), []
    began_ms = 2**32 - 5000
    for n in range(600):
        true_s = 1.7e9 + 0.1 * n * 1.00005  # drifts by 50 us a second
        comes_s = true_s + 0.1 + 0.02 + rng.exponential(0.03)
        told_s = clock.time_s((began_ms + 100 * n) % 2**32, 0.1, comes_s)
        errors.append(told_s - true_s)
    assert max(errors[100:]) - min(errors[100:]) < 0.02
    assert 0.015 < np.median(errors[100:]) < 0.04


def test_lines_are_those_that_a_stream_reads(bluetooth: ModuleType) -> None:
    asked = [bluetooth.read_asked(one) for one in ("heart_rate=hr", "acc:52=chest_acc")]
    lines = [json.dumps(bluetooth.header(asked))]
    listener = bluetooth.Listener(asked, lambda one: lines.append(json.dumps(one)), lambda: 100.0)
    listener.heart_rate(None, bytearray.fromhex("0648"))
    listener.heart_rate(None, bytearray.fromhex("0448"))  # no contact: no heart rate
    listener.movesense(None, bytearray(struct.pack("<BBI3f", 2, 1, 500, 1, 2, 3)))
    listener.movesense(None, bytearray.fromhex("0101c800"))  # an answer to a command
    wanted = [Modality("hr", ("rate",), "Hz", 1.0),
              Modality("chest_acc", ("x", "y", "z"), "m/s^2", 52.0)]  # fmt: skip
    decoder = LineDecoder("bluetooth", {m.name: m for m in wanted})
    facts, *chunks = decoder.feed("".join(f"{line}\n" for line in lines).encode())
    assert isinstance(facts, Facts)
    assert facts.sensors == {m.name: m for m in wanted}
    assert [(one.sensor, one.values.tolist()) for one in chunks if isinstance(one, Chunk)][::2] == [
        ("hr", [[1.2]]), ("chest_acc", [[1, 2, 3]]),
    ]  # fmt: skip
    assert np.isnan(chunks[1].values).all()
    assert chunks[2].times == pytest.approx(100.0 - 1 / 52)


def test_what_is_asked_wrongly_or_not_installed_is_told(
    bluetooth: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bluetooth.main(["Polar", "pulse=hr"]) == 2
    assert "'pulse=hr': heart_rate=SENSOR, or one of acc:HZ=SENSOR" in capsys.readouterr().err
    if importlib.util.find_spec("bleak") is None:
        assert bluetooth.main(["Polar", "heart_rate=hr"]) == 2
        assert capsys.readouterr().err == (
            "bluetooth: package 'bleak' is not installed; pip install bleak\n"
        )
