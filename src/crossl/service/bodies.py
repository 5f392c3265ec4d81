"""Bodies: what a program sends as JSON, made into a recording or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Modality, Recording, Signal
from crossl.errors import DataError, kind_of_value, nearest
from crossl.names import check_name, known_zone
from crossl.predict.manner import CONTEXTS, Asked
from crossl.service.limits import Limits

KEYS = ("modalities", "subject", "session", "origin_unix_s", "zone", "resample", "abstain",
        "context", "sets", "keep_unusable")  # fmt: skip
SIGNAL_KEYS = ("values", "rate_hz", "start_s", "timestamps_s", "unit", "channels")
MOST_OTHERS = 64
"""Sensors of one recording, those included that the run never saw."""


@dataclass(frozen=True)
class Sent:
    """One recording to be classified.

    Attributes:
        recording: what was sent.
        resample: sensors whose rate may be changed.
        asked: how what the classifier says is read.
    """

    recording: Recording
    resample: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)


def read_json_body(body: bytes, modalities: Sequence[Modality], limits: Limits) -> Sent:
    """Make a recording of a JSON body.

    Args:
        body: UTF-8.
        modalities: of the run: whoever says no unit and no channels means its.
        limits: how long it may be.

    Raises:
        DataError: it is not JSON, or nothing that a recording can be made of.

    Examples:
        >>> acc = Modality("acc", ("x",), "m/s^2", 2.0)
        >>> body = b'{"modalities": {"acc": {"values": [1, null, 3], "rate_hz": 2}}}'
        >>> read_json_body(body, [acc], Limits()).recording.signals["acc"].values.tolist()
        [[1.0], [nan], [3.0]]
    """
    lists = body.count(b"[") + body.count(b"{")
    if lists > limits.lists:
        raise DataError(
            f"body: has {lists} lists; allowed are at most {limits.lists}, send Arrow or less"
        )
    told = parsed(body)
    only("body", told, KEYS)
    signals = told.get("modalities")
    if not isinstance(signals, dict) or not signals:
        raise DataError(
            f"body: modalities is {kind_of_value(signals)}; needed is such as "
            '{"modalities": {"acc": {"values": [[0.1, 0.2, 9.8]], "rate_hz": 50}}}'
        )
    resample = told.get("resample", [])
    if not isinstance(resample, list) or not all(isinstance(one, str) for one in resample):
        raise DataError("body: resample is not a list of names; needed is such as ['acc']")
    for name in (*resample, *signals):
        check_name("modality", name)
    if len(signals) > MOST_OTHERS:
        raise DataError(f"modalities: are {len(signals)}; allowed are at most {MOST_OTHERS}")
    known = {m.name: m for m in modalities}
    declared: dict[str, Modality] = {}
    made: dict[str, Signal] = {}
    for name, one in signals.items():
        if one is None:
            continue
        where = f"modalities.{name}"
        if not isinstance(one, dict):
            raise DataError(f"{where}: is {kind_of_value(one)}; needed are keys and values")
        only(where, one, SIGNAL_KEYS)
        values = numbers(f"{where}.values", one.get("values"), limits.samples)
        declared[name], made[name] = _signal(where, name, one, values, known.get(name),
                                             resample, limits)  # fmt: skip
    recording = recorded(told, declared, made, modalities, limits)
    return Sent(recording, tuple(resample), asked_by(told))


def asked_by(told: Mapping[str, Any]) -> Asked:
    """Return how what the classifier says is to be read.

    Args:
        told: may have `abstain`, `context`, `sets` and `keep_unusable`.

    Raises:
        DataError: a value of another kind.
    """
    numbers_told = {name: number(name, told[name])
                    for name in ("abstain", "sets") if told.get(name) is not None}  # fmt: skip
    context, keep = told.get("context"), told.get("keep_unusable", False)
    if context is not None and not isinstance(context, str):
        raise DataError(f"context: is {kind_of_value(context)}; {nearest('', CONTEXTS)}")
    check_name("context", context or "", empty=True)
    if not isinstance(keep, bool):
        raise DataError(f"keep_unusable: is {kind_of_value(keep)}; allowed are true and false")
    return Asked(numbers_told.get("abstain"), context, numbers_told.get("sets"), keep)


def parsed(body: bytes | str) -> dict[str, Any]:
    """Read a JSON object; whatever the parser raises is one sentence.

    Raises:
        DataError: it is none.
    """
    try:
        found = json.loads(body, parse_constant=_no_number)
    except RecursionError:
        raise DataError("body: is nested too deeply; a recording has four levels") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"body: is not JSON ({error!s:.120})") from None
    if not isinstance(found, dict):
        raise DataError(f"body: is {kind_of_value(found)}; needed are keys and values")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number; a missing sample is null")


def only(where: str, found: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys that mean nothing.

    Raises:
        DataError: there is one.
    """
    for key in found:
        if key not in known:
            raise DataError(f"{where}: key '{key:.60}' is unknown; {nearest(key[:60], known)}")


def number(where: str, value: object) -> float:
    """Take a finite number.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise DataError(f"{where}: is {value!r:.60}; a number is needed")
    return float(value)


def _finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False


def numbers(where: str, given: object, most: int) -> NDArray[np.float64]:
    """Take a list of numbers, or of lists of them; null is NaN.

    Raises:
        DataError: it is none, or longer than allowed.
    """
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: is {kind_of_value(given)}; a list of samples is needed")
    if len(given) > most:
        raise DataError(f"{where}: has {len(given)} samples; allowed are at most {most}")
    try:
        found = np.asarray(given)
    except (ValueError, OverflowError):
        raise DataError(f"{where}: its samples differ in their number of channels") from None
    if found.dtype.kind == "O":
        flat = found.ravel().tolist()
        if any(isinstance(one, bool) or not isinstance(one, int | float | None) for one in flat):
            raise DataError(f"{where}: holds more than numbers; a sample is a number or null")
        try:
            found = found.astype(np.float64)  # None becomes NaN
        except OverflowError:
            raise DataError(f"{where}: holds a number that is too large") from None
    if found.dtype.kind not in "iuf":
        raise DataError(f"{where}: holds more than numbers; a sample is a number or null")
    return found.astype(np.float64)


def _signal(
    where: str,
    name: str,
    told: Mapping[str, Any],
    values: NDArray[np.float64],
    known: Modality | None,
    resample: Sequence[str],
    limits: Limits,
) -> tuple[Modality, Signal]:
    """Make a signal of samples, and say what it is."""
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(f"{where}.values: has {values.ndim} dimensions; (time, channel) is needed")
    modality = _declared(where, name, told, values.shape[1], known)
    if "timestamps_s" not in told:
        if "rate_hz" not in told:
            raise DataError(f"{where}: has no times; give rate_hz (and start_s), or timestamps_s")
        start_s = number(f"{where}.start_s", told.get("start_s", 0.0))
        return modality, Signal(as_float32(values), modality.rate_hz, start_s)
    if "start_s" in told:
        raise DataError(f"{where}: has timestamps_s and start_s; give one of them")
    times = numbers(f"{where}.timestamps_s", told["timestamps_s"], limits.samples)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise DataError(f"{where}.timestamps_s: is not a list of seconds, one a sample")
    check_span(where, float(np.ptp(times)), modality.rate_hz, limits)
    wanted_hz = known.rate_hz if known is not None else modality.rate_hz
    signal = Signal.from_timestamps(
        times, values, rate_hz=wanted_hz, resample=name in resample, where=where
    )
    signal = Signal(signal.values, wanted_hz, signal.start_s)
    return Modality(name, modality.channels, modality.unit, wanted_hz, modality.device), signal


def _declared(
    where: str, name: str, told: Mapping[str, Any], channels: int, known: Modality | None
) -> Modality:
    """Say what a signal is: as the run knows it, where nothing else is said."""
    names = told.get("channels")
    if names is None:
        usual = known.channels if known is not None else ()
        names = usual if len(usual) == channels else [str(i) for i in range(channels)]
        if usual and len(usual) != channels:
            raise DataError(
                f"{where}.values: has {channels} channels; the run was made for {len(usual)} "
                f"({', '.join(usual)})"
            )
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        raise DataError(f"{where}.channels: is not a list of names")
    unit = told.get("unit", known.unit if known is not None else "")
    usual_hz = known.rate_hz if known is not None else 1.0
    rate_hz = number(f"{where}.rate_hz", told.get("rate_hz", usual_hz))
    if rate_hz <= 0:
        raise DataError(f"{where}.rate_hz: is {rate_hz:g}; a positive number is needed")
    return Modality(name, tuple(names), unit, rate_hz, known.device if known is not None else "")


def as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32; what is out of its reach becomes infinite, which recordings refuse."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def check_span(where: str, seconds: float, rate_hz: float, limits: Limits) -> None:
    """Refuse times so far apart that the samples between them would be too many.

    Raises:
        DataError: they are.
    """
    if not seconds * rate_hz <= limits.samples:
        raise DataError(
            f"{where}: spans {seconds:.6g} s, {seconds * rate_hz:.3g} samples at {rate_hz:g} Hz; "
            f"allowed are at most {limits.samples}"
        )


def recorded(
    told: Mapping[str, Any],
    declared: Mapping[str, Modality],
    signals: Mapping[str, Signal],
    modalities: Sequence[Modality],
    limits: Limits,
) -> Recording:
    """Put a recording together.

    Args:
        told: may have `subject`, `session`, `origin_unix_s` and `zone`.
        declared: what the signals are.
        signals: of the recording.
        modalities: of the run.
        limits: how long it may be.

    Raises:
        DataError: they contradict each other, the time zone is unknown, or it is too long.
    """
    for name in sorted(signals):
        if not len(signals[name].values):
            raise DataError(f"modalities.{name}.values: has no sample; leave the sensor out")
    origin = told.get("origin_unix_s")
    zone = told.get("zone") or ""
    if not isinstance(zone, str):
        raise DataError(f"zone: is {kind_of_value(zone)}; a name such as Europe/Madrid is needed")
    if zone:
        known_zone(zone)
    recording = Recording(
        told.get("subject") or "sent", told.get("session") or "1", declared, signals,
        origin_unix_s=None if origin is None else origin_of(origin), zone=zone,
    )  # fmt: skip
    total = sum(signal.values.size for signal in signals.values())
    if total > limits.samples:
        raise DataError(
            f"modalities: hold {total} numbers; allowed are at most {limits.samples} of a recording"
        )
    span_s = recording.end_s - recording.start_s
    for modality in modalities:
        if modality.name in signals:
            check_span("modalities", span_s, modality.rate_hz, limits)
    return recording


LATEST_UNIX_S = 4e9
"""Nothing was recorded so late (in the year 2096), nor as long before 1970."""


def origin_of(value: object) -> float:
    """Take a moment on the calendar.

    Raises:
        DataError: it is none.
    """
    origin = number("origin_unix_s", value)
    if abs(origin) > LATEST_UNIX_S:
        raise DataError(f"origin_unix_s: is {origin:g}; seconds since 1970 are needed")
    return origin
