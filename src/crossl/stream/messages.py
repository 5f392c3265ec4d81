"""Messages: what a source says in JSON, a line or a WebSocket message each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np

from crossl.data.own.mapping.quantity import read_unit
from crossl.data.recording import Modality
from crossl.errors import ContractError, DataError, kind_of_value, nearest
from crossl.names import known_zone
from crossl.stream.source import Chunk, Facts

OF_FACTS = ("sensors", "origin_unix_s", "zone", "start_s", "jitter_s")
OF_A_SENSOR = ("channels", "unit", "rate_hz")
OF_A_CHUNK = ("sensor", "time", "times", "values", "last")
UNSEEN = Modality("unseen", ("?",), "", 1.0)
"""Stands for a sensor that the run never saw."""
SHOWN = "one with 'sensor', 'time' or 'times', and 'values', or one with 'sensors', is allowed"


def read_message(
    where: str, text: str | bytes, wanted: Mapping[str, Modality]
) -> Iterator[Facts | Chunk]:
    """Read one message, which may be a list of them.

    Args:
        where: names it in messages.
        text: JSON.
        wanted: the run's sensors, whose channels, unit and rate hold where nothing is said.

    Raises:
        ContractError: a sensor has another unit than in training.
        DataError: it is something else.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON ({error!s:.80}); {SHOWN}") from None
    for one in values if isinstance(values, list) else [values]:
        if not isinstance(one, dict):
            raise DataError(f"{where}: holds {kind_of_value(one)}; {SHOWN}")
        yield _facts(where, one, wanted) if "sensors" in one else _chunk(where, one)


def _chunk(where: str, one: Mapping[str, Any]) -> Chunk:
    _check_keys(where, one, OF_A_CHUNK)
    name, last = one.get("sensor"), one.get("last", False)
    if not isinstance(name, str):
        raise DataError(f"{where}: names no sensor; {SHOWN}")
    if not isinstance(last, bool):
        raise DataError(f"{where}: 'last' is {kind_of_value(last)}; true or false is needed")
    values = one.get("values", [])
    if "values" in one and ("time" in one) == ("times" in one):
        raise DataError(
            f"{where}: 'time' (of the first sample) or 'times' (of each) is needed, got "
            f"{'both' if 'time' in one else 'neither'}"
        )
    times = _numbers(f"{where}: 'times'", one["times"]) if "times" in one else one.get("time", 0.0)
    if isinstance(times, bool) or not isinstance(times, int | float | np.ndarray):
        raise DataError(f"{where}: 'time' is {kind_of_value(times)}; a number is needed")
    if isinstance(times, np.ndarray) and times.ndim != 1:
        raise DataError(f"{where}: 'times' is not a list of numbers; one for each sample is needed")
    return Chunk(name, times, _numbers(f"{where}: 'values'", values), last=last)


def _numbers(where: str, values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Read a list, or a list of lists, of numbers; null is what is missing."""
    if not isinstance(values, list):
        raise DataError(f"{where} is {kind_of_value(values)}; a list is needed")
    try:
        array = np.array(values, dtype=object)
        if array.dtype != object or array.ndim > 2:
            raise ValueError
        flat = [np.nan if x is None else x for x in array.ravel().tolist()]
        if any(isinstance(x, bool) or not isinstance(x, int | float) for x in flat):
            raise ValueError
        return np.array(flat, dtype=np.float64).reshape(array.shape)
    except (ValueError, OverflowError):
        raise DataError(
            f"{where} holds something that is not a number, or rows of different lengths; "
            "a number for each channel is needed, null where one is missing"
        ) from None


def _facts(where: str, one: Mapping[str, Any], wanted: Mapping[str, Modality]) -> Facts:
    _check_keys(where, one, OF_FACTS)
    told = one["sensors"]
    if not isinstance(told, dict) or not told:
        raise DataError(f"{where}: 'sensors' is {kind_of_value(told)}; names with what is known of "
                        "each are needed, such as {\"acc\": {\"rate_hz\": 50}}")  # fmt: skip
    sensors = {name: _sensor(f"{where}: '{name}'", about, wanted.get(name))
               for name, about in told.items()}  # fmt: skip
    for key in ("origin_unix_s", "start_s", "jitter_s"):
        value = one.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise DataError(f"{where}: '{key}' is {kind_of_value(value)}; a number is needed")
    zone = one.get("zone", "")
    if not isinstance(zone, str):
        raise DataError(f"{where}: 'zone' is {kind_of_value(zone)}; text is needed")
    return Facts(
        sensors, complete=True, origin_unix_s=one.get("origin_unix_s"), start_s=one.get("start_s"),
        zone=known_zone(zone) if zone else "", jitter_s=one.get("jitter_s", 0.0),
    )  # fmt: skip


def _sensor(where: str, about: Any, wanted: Modality | None) -> Modality:
    """Read what is said of a sensor; of one that the run never saw nothing matters."""
    if not isinstance(about, dict):
        raise DataError(f"{where} is {kind_of_value(about)}; keys and values are needed, such as "
                        "{\"rate_hz\": 50}")  # fmt: skip
    _check_keys(where, about, OF_A_SENSOR)
    if wanted is None:
        return UNSEEN
    rate, unit = about.get("rate_hz", wanted.rate_hz), about.get("unit", wanted.unit)
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise DataError(f"{where}: 'rate_hz' is {kind_of_value(rate)}; a number is needed")
    channels = about.get("channels", list(wanted.channels))
    if not isinstance(unit, str) or not isinstance(channels, list):
        raise DataError(f"{where}: 'unit' is not text, or 'channels' is not a list of names")
    unit = same_unit(where, unit, wanted)
    return Modality(wanted.name, tuple(str(c) for c in channels), unit, float(rate), wanted.device)


def same_unit(where: str, unit: str, wanted: Modality) -> str:
    """Return the run's unit if it is meant, however it is spelt.

    Args:
        where: names the sensor in messages.
        unit: as the source spells it.
        wanted: the run's sensor.

    Raises:
        ContractError: another unit; both are named.
    """
    if unit == wanted.unit:
        return unit
    try:
        known = read_unit(unit, wanted.name)
        same = known.si == wanted.unit and (known.factor, known.offset) == (1, 0)
    except DataError:
        same = False
    if not same:
        raise ContractError(
            f"{where} is in '{unit}'; the run was made for '{wanted.unit}', convert it before"
        )
    return wanted.unit


def _check_keys(where: str, one: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in one:
        if key not in allowed:
            raise DataError(f"{where}: key '{key}'; {nearest(str(key), allowed)}")
