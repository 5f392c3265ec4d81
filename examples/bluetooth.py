"""Bluetooth sensors to the JSON lines that `crossl stream RUN --from -` reads.

Needs the package `bleak` (pip install bleak). Two kinds of devices are known:

- whatever has the standard heart rate service, such as chest straps: the heart rate, in Hz;
- Movesense sensors with the `gatt_sensordata_app` that they are sold with: acceleration (m/s^2),
  angular velocity (rad/s) and ECG (V).

What is listened to is KIND=SENSOR or, of a Movesense, KIND:HZ=SENSOR, where SENSOR is the run's
name for it, and the rate that of the run:

    python examples/bluetooth.py "Polar H10" heart_rate=hr | crossl stream RUN --from -
    python examples/bluetooth.py Movesense acc:52=acc ecg:125=ecg | crossl stream RUN --from -

Times are of this machine's clock, seconds since 1970. A device that goes away is looked for again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

HEART_RATE = "00002a37-0000-1000-8000-00805f9b34fb"
"""Heart Rate Measurement of the Bluetooth SIG (GATT Specification Supplement, 3.113)."""
WRITE = "34800001-7185-4d5d-b431-630e7050e8f0"
NOTIFY = "34800002-7185-4d5d-b431-630e7050e8f0"
"""Of a Movesense: https://www.movesense.com/docs/esw/gatt_sensordata_protocol/"""
SUBSCRIBE, DATA = 1, 2
WRAP_MS = 2**32
"""After so many milliseconds a Movesense counts from 0 again."""


class HeartRate(NamedTuple):
    """A heart rate measurement.

    Attributes:
        rate_hz: beats per second.
        intervals_s: between beats, as far as they are sent.
        contact: whether the strap touches the skin; None where it does not know.
    """

    rate_hz: float
    intervals_s: tuple[float, ...]
    contact: bool | None


def read_heart_rate(data: bytes) -> HeartRate:
    """Read what a heart rate strap sends.

    Raises:
        ValueError: it is shorter than it says.
    """
    try:
        flags, at = data[0], 1
        (beats,) = struct.unpack_from("<H" if flags & 1 else "<B", data, at)
        at += 2 if flags & 1 else 1
        at += 2 if flags & 8 else 0  # energy expended
        rest = data[at:] if flags & 16 else b""
        intervals = struct.unpack(f"<{len(rest) // 2}H", rest)
    except (IndexError, struct.error):
        raise ValueError(f"heart rate: cannot be read, got {data.hex(' ')}") from None
    contact = bool(flags & 2) if flags & 4 else None
    return HeartRate(beats / 60, tuple(one / 1024 for one in intervals), contact)


class Kind(NamedTuple):
    """What a Movesense measures.

    Attributes:
        path: of the resource; a rate follows.
        sample: format of a sample.
        unit: SI.
        factor: from what is sent to SI.
    """

    path: str
    sample: str
    unit: str
    factor: float


KINDS = {
    "acc": Kind("/Meas/Acc/", "<3f", "m/s^2", 1.0),
    "gyro": Kind("/Meas/Gyro/", "<3f", "rad/s", math.pi / 180),
    "ecg": Kind("/Meas/ECG/", "<i", "V", 0.38147e-6),  # 1000 mV / 2^17 at a gain of 20
}


def subscription(reference: int, kind: str, rate_hz: int) -> bytes:
    """Return what asks a Movesense for something; its notifications carry the reference."""
    return bytes([SUBSCRIBE, reference]) + f"{KINDS[kind].path}{rate_hz}".encode()


def read_movesense(data: bytes, kind: str) -> tuple[int, list[list[float]]]:
    """Read a notification of a Movesense that holds samples.

    Args:
        data: as it came.
        kind: what was asked for under its reference.

    Returns:
        Milliseconds on the device's clock of the first sample, and (n, channels) SI values.

    Raises:
        ValueError: it holds something else.
    """
    known, body = KINDS[kind], data[6:]
    if len(data) < 6 or data[0] != DATA or len(body) % struct.calcsize(known.sample):
        raise ValueError(f"{kind}: cannot be read, got {data.hex(' ')}")
    (at_ms,) = struct.unpack_from("<I", data, 2)
    values = [[x * known.factor for x in one] for one in struct.iter_unpack(known.sample, body)]
    return at_ms, values


class DeviceClock:
    """Tells times of a device on this machine's clock.

    A message is never early: of all that came, the one that took the shortest says how far the
    clocks lie apart. It is forgotten slowly, so that clocks may drift.

    Args:
        drift: by how much clocks may drift, seconds a second.
    """

    def __init__(self, drift: float = 1e-4) -> None:
        self._drift = drift
        self._ahead_s: float | None = None
        self._seen_s = 0.0
        self._last_ms = 0
        self._wraps = 0

    def time_s(self, device_ms: int, length_s: float, now_s: float) -> float:
        """Return when a message's first sample was taken.

        Args:
            device_ms: of the first sample.
            length_s: of all its samples.
            now_s: when it came.
        """
        if device_ms < self._last_ms - WRAP_MS // 2:
            self._wraps += 1
        self._last_ms = device_ms
        device_s = (device_ms + self._wraps * WRAP_MS) / 1000
        ahead_s = now_s - (device_s + length_s)
        if self._ahead_s is not None:
            ahead_s = min(ahead_s, self._ahead_s + self._drift * (now_s - self._seen_s))
        self._ahead_s, self._seen_s = ahead_s, now_s
        return device_s + ahead_s


class Asked(NamedTuple):
    """One thing that is listened to.

    Attributes:
        kind: `heart_rate`, or of `KINDS`.
        rate_hz: samples per second.
        sensor: the run's name for it.
    """

    kind: str
    rate_hz: int
    sensor: str


def read_asked(text: str) -> Asked:
    """Read KIND=SENSOR or KIND:HZ=SENSOR.

    Raises:
        ValueError: it is something else.
    """
    left, _, sensor = text.partition("=")
    kind, _, rate = left.partition(":")
    if kind == "heart_rate" and not rate and sensor:
        return Asked(kind, 1, sensor)
    if kind in KINDS and rate.isdigit() and sensor:
        return Asked(kind, int(rate), sensor)
    others = ", ".join(f"{kind}:HZ=SENSOR" for kind in KINDS)
    raise ValueError(f"'{text}': heart_rate=SENSOR, or one of {others}, is allowed")


def header(asked: Sequence[Asked]) -> dict[str, Any]:
    """Return the line that comes first: what there is, in which unit and how often."""
    units = {"heart_rate": "Hz", **{name: kind.unit for name, kind in KINDS.items()}}
    sensors = {one.sensor: {"unit": units[one.kind], "rate_hz": one.rate_hz} for one in asked}
    # straps tell a heart rate about once a second
    jitter_s = 0.45 if any(one.kind == "heart_rate" for one in asked) else 0.05
    return {"sensors": sensors, "origin_unix_s": 0, "zone": "UTC", "jitter_s": jitter_s}


def print_line(values: dict[str, Any]) -> None:
    """Print a line at once."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class Listener:
    """Turns notifications into lines.

    Args:
        asked: what is listened to; its place is the reference of a Movesense.
        line: called with what a line says.
        now: this machine's clock.
    """

    def __init__(
        self,
        asked: Sequence[Asked],
        line: Callable[[dict[str, Any]], None] = print_line,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._asked, self._line, self._now = asked, line, now
        self._clock = DeviceClock()

    def heart_rate(self, _sender: object, data: bytes) -> None:
        """Take a notification of a strap."""
        found = read_heart_rate(bytes(data))
        (one,) = [one for one in self._asked if one.kind == "heart_rate"]
        value = None if found.contact is False else found.rate_hz
        self._line({"sensor": one.sensor, "time": self._now(), "values": [[value]]})

    def movesense(self, _sender: object, data: bytes) -> None:
        """Take a notification of a Movesense; answers to commands are left out."""
        data = bytes(data)
        if len(data) < 2 or data[0] != DATA or data[1] >= len(self._asked):
            return
        one = self._asked[data[1]]
        at_ms, values = read_movesense(data, one.kind)
        time_s = self._clock.time_s(at_ms, len(values) / one.rate_hz, self._now())
        self._line({"sensor": one.sensor, "time": time_s, "values": values})


async def listen(name: str, asked: Sequence[Asked]) -> None:
    """Listen to a device until it is stopped.

    Args:
        name: that the device's name begins with.
        asked: what is listened to.
    """
    from bleak import BleakClient, BleakScanner
    from bleak.exc import BleakError

    print_line(header(asked))
    while True:
        device = await BleakScanner.find_device_by_filter(
            lambda one, _: bool(one.name and one.name.startswith(name)), timeout=20.0
        )
        if device is None:
            sys.stderr.write(f"bluetooth: no device named {name} is there; still looking\n")
            continue
        gone = asyncio.Event()
        try:
            async with BleakClient(device, lambda _, over=gone: over.set()) as client:
                await subscribe(client, Listener(asked), asked)
                await gone.wait()
        except (BleakError, TimeoutError, OSError) as error:
            sys.stderr.write(f"bluetooth: {name}: {error}\n")
        sys.stderr.write(f"bluetooth: {name} is gone; looking for it\n")


async def subscribe(client: Any, listener: Listener, asked: Sequence[Asked]) -> None:
    """Ask a device that is connected for what is listened to."""
    if any(one.kind == "heart_rate" for one in asked):
        await client.start_notify(HEART_RATE, listener.heart_rate)
    if any(one.kind in KINDS for one in asked):
        await client.start_notify(NOTIFY, listener.movesense)
    for reference, one in enumerate(asked):
        if one.kind in KINDS:
            command = subscription(reference, one.kind, one.rate_hz)
            await client.write_gatt_char(WRITE, command, response=True)


def main(words: Sequence[str] | None = None) -> int:
    """Read what is asked for, and listen."""
    parser = argparse.ArgumentParser(description="Bluetooth sensors to JSON lines.")
    parser.add_argument("name", help="what the device's name begins with, such as 'Polar H10'")
    parser.add_argument("asked", nargs="+", metavar="KIND[:HZ]=SENSOR")
    given = parser.parse_args(words)
    try:
        asked = [read_asked(one) for one in given.asked]
        asyncio.run(listen(given.name, asked))
    except ValueError as error:
        sys.stderr.write(f"bluetooth: {error}\n")
        return 2
    except ModuleNotFoundError:
        sys.stderr.write("bluetooth: package 'bleak' is not installed; pip install bleak\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
