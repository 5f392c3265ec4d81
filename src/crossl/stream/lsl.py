"""Lab Streaming Layer as a source: outlets on the network that hold a run's sensors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from time import time
from typing import Any

import numpy as np

from crossl.data.recording import Modality
from crossl.errors import ContractError, DataError, PackageError
from crossl.stream.messages import same_unit
from crossl.stream.source import Chunk, Facts

EVERY_S = 0.03
"""How often is asked for samples."""
JITTER_S = 0.02
"""By how much the times of samples may be off."""
FORGET_S = 3.0
"""An outlet that has not been seen for so long is gone."""
BUFFER_S = 60
MOST_SAMPLES = 4096
"""Of an outlet, at once."""
UNITS = {"microvolts": "uV", "millivolts": "mV", "volts": "V", "meters/second^2": "m/s^2",
         "celsius": "degC", "siemens": "S", "microsiemens": "uS"}  # fmt: skip
"""How XDF's conventions spell units, and how we do."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of the network.

    Attributes:
        outlets: names of outlets, with the sensor that each has where that was said; none for all
            that are named like a sensor.
        sensors: of the run.
    """

    outlets: Mapping[str, str]
    sensors: Mapping[str, Modality]


@dataclass
class _Inlet:
    """One outlet that is listened to."""

    uid: str
    name: str
    inlet: Any
    columns: Mapping[str, list[int]]


async def lsl(
    wanted: Wanted,
    *,
    wait_s: float = 10.0,
    note: Callable[[str], None] = lambda _sentence: None,
) -> AsyncIterator[Facts | Chunk]:
    """Yield the samples of outlets, on this machine's clock.

    Offsets between clocks are measured by LSL and taken off. An outlet that goes away is looked
    for; so are those that were not there at first. It ends never.

    An outlet has the sensor that is named for it, or the one that it is named like, or, by the
    labels `SENSOR_CHANNEL` of its channels, several.

    Args:
        wanted: which outlets and sensors.
        wait_s: for the first outlet, seconds.
        note: called when an outlet comes or goes, with a sentence.

    Raises:
        ContractError: an outlet has other channels, another unit or rate than the run was made for.
        DataError: no outlet was found in time.
        PackageError: pylsl or liblsl is not installed.
    """
    pylsl = needs_lsl()
    resolver = pylsl.ContinuousResolver(forget_after=FORGET_S)
    network = _Network(pylsl, wanted, note)
    facts = Facts(origin_unix_s=time() - pylsl.local_clock(), zone="UTC", in_order=True,
                  jitter_s=JITTER_S)  # fmt: skip
    known = 0
    yield facts
    loop = asyncio.get_running_loop()
    began_s, looked_s = loop.time(), -1.0
    while True:
        if loop.time() - looked_s > 0.5:
            looked_s = loop.time()
            # opening an outlet asks it over the network, and waits for the answer
            await asyncio.to_thread(network.look, resolver.results())
            if not network.opened and loop.time() - began_s > wait_s:
                raise network.none_found(resolver.results(), wait_s)
            if network.opened > known:
                known = network.opened
                yield replace(facts, sensors=network.sensors)
        for chunk in network.pull():
            yield chunk
        await asyncio.sleep(EVERY_S)


class _Network:
    """The outlets that are listened to."""

    def __init__(self, pylsl: Any, wanted: Wanted, note: Callable[[str], None]) -> None:
        self._pylsl, self._wanted, self._note = pylsl, wanted, note
        self._inlets: dict[str, _Inlet] = {}
        self._gone: set[str] = set()
        self.opened = 0
        self.sensors: dict[str, Modality] = {}

    def look(self, found: Sequence[Any]) -> None:
        """Open the outlets that are wanted and not listened to."""
        asked, sensors = self._wanted.outlets, self._wanted.sensors
        for info in found:
            name, uid = info.name(), info.uid()
            if uid in self._inlets or name not in (asked or sensors):
                continue
            if any(one.name == name for one in self._inlets.values()):
                continue  # two of a name: the first is listened to, until it goes
            self._open(info, name, uid)

    def _open(self, info: Any, name: str, uid: str) -> None:
        flags = self._pylsl.proc_clocksync
        # what is lost is found again by name, also where it has no id of its own
        inlet = self._pylsl.StreamInlet(info, max_buflen=BUFFER_S, recover=False,
                                        processing_flags=flags)  # fmt: skip
        try:
            full = inlet.info(timeout=5.0)
            inlet.open_stream(timeout=5.0)
        except (self._pylsl.util.LostError, self._pylsl.util.TimeoutError):
            return  # gone already
        columns = columns_of(full, name, self._wanted)
        self._inlets[uid] = _Inlet(uid, name, inlet, columns)
        self.opened += 1
        rate_hz = full.nominal_srate()
        self.sensors |= {
            one: replace(self._wanted.sensors[one], rate_hz=rate_hz) for one in columns
        }
        self._note(f"outlet {name} {'is back' if name in self._gone else 'is there'}, with "
                   f"{', '.join(columns)}")  # fmt: skip
        self._gone.discard(name)

    def pull(self) -> list[Chunk]:
        """Return what came since."""
        chunks = []
        for one in list(self._inlets.values()):
            try:
                values, times = one.inlet.pull_chunk(timeout=0.0, max_samples=MOST_SAMPLES)
            except self._pylsl.util.LostError:
                del self._inlets[one.uid]
                self._gone.add(one.name)
                self._note(f"outlet {one.name} is gone; waiting for it")
                continue
            if len(times):
                array = np.asarray(values, dtype=np.float32)
                chunks += [Chunk(name, np.asarray(times), array[:, columns])
                           for name, columns in one.columns.items()]  # fmt: skip
        return chunks

    def none_found(self, found: Sequence[Any], wait_s: float) -> DataError:
        """Say that no outlet was found."""
        asked = ", ".join(self._wanted.outlets or self._wanted.sensors)
        there = ", ".join(sorted({info.name() for info in found}))
        return DataError(
            f"lsl: no outlet is named {asked} within {wait_s:g} s; there "
            f"{'are ' + there if there else 'is none at all'}"
        )


def columns_of(info: Any, name: str, wanted: Wanted) -> dict[str, list[int]]:
    """Tell which channels of an outlet are those of which sensor.

    Args:
        info: whole, as the outlet gives it.
        name: of the outlet.
        wanted: outlets and sensors.

    Raises:
        ContractError: they do not fit the run.
    """
    where, told = f"lsl: outlet '{name}'", wanted.outlets.get(name) or name
    if info.channel_format() == import_module("pylsl").cf_string:
        raise ContractError(f"{where}: has text, not numbers")
    labels, units = _described(info, "label"), _described(info, "unit")
    count = info.channel_count()
    found: dict[str, list[int]] = {}
    if told in wanted.sensors:
        channels = wanted.sensors[told].channels
        if count != len(channels):
            raise ContractError(
                f"{where}: has {count} channels; '{told}' of the run has {len(channels)} "
                f"({', '.join(channels)})"
            )
        named = set(labels) == set(channels) and len(set(labels)) == count
        found[told] = [labels.index(c) for c in channels] if named else list(range(count))
    else:
        for sensor in wanted.sensors.values():
            places = [labels.index(f"{sensor.name}_{c}") if f"{sensor.name}_{c}" in labels else -1
                      for c in sensor.channels]  # fmt: skip
            if min(places) >= 0:
                found[sensor.name] = places
    if not found:
        raise ContractError(
            f"{where}: nothing tells which sensor it has; say lsl:{name}=SENSOR, with one of "
            f"{', '.join(wanted.sensors)}, or label its channels SENSOR_CHANNEL"
        )
    _check_units(where, {name: [units[i] for i in places] for name, places in found.items()},
                 wanted.sensors)  # fmt: skip
    if not info.nominal_srate() > 0:
        raise ContractError(f"{where}: comes at no regular rate (0 Hz); a regular one is needed")
    return found


def _check_units(
    where: str, told: Mapping[str, Sequence[str]], sensors: Mapping[str, Modality]
) -> None:
    for name, units in told.items():
        for unit in filter(None, units):
            same_unit(f"{where}: '{name}'", UNITS.get(unit, unit), sensors[name])


def _described(info: Any, what: str) -> list[str]:
    """Return the label or unit of each channel; empty where its description says none."""
    count = info.channel_count()
    out = []
    channel = info.desc().child("channels").child("channel")
    for _ in range(count):
        out.append("" if channel.empty() else str(channel.child_value(what)))
        channel = channel.next_sibling("channel")
    return out


def needs_lsl() -> Any:
    """Import pylsl, with the library that it needs.

    Raises:
        PackageError: one of them is not installed.
    """
    try:
        return import_module("pylsl")
    except ModuleNotFoundError as error:
        if error.name != "pylsl":
            raise
        raise PackageError(
            "package 'pylsl' is not installed, which lsl: needs; install it with: pip install "
            '"crossl[stream]"'
        ) from error
    except (RuntimeError, OSError) as error:
        raise PackageError(
            "lsl: the library liblsl is not there, which pylsl brings for Windows, macOS and Linux "
            "on x86_64 (glibc 2.35 or newer) only; install liblsl (such as by conda install -c "
            "conda-forge liblsl) and let the environment variable PYLSL_LIB name its file"
        ) from error
