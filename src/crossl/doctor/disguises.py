"""Checks for channels that are not sensors, by values and names: counters, clocks, codes."""

from __future__ import annotations

from collections.abc import Iterator

from crossl.data.own.mapping.nosensor import PLAIN, disguise, no_sensor
from crossl.data.own.mapping.quantity import misfit
from crossl.data.recording import Float32, Modality
from crossl.doctor.finding import Finding
from crossl.doctor.values import MOTION, SLOW_UNITS, SLOW_WORDS, is_called

SHORT_NAME = 3
"""Names up to so many letters say too little."""

ADVICE = "A model would learn to count: leave it out of the modality's columns."


def check_disguises(modality: Modality, values: Float32) -> Iterator[Finding]:
    """Check each channel of a signal: (time, channel), NaN where missing."""
    found = []
    for name, channel in zip(modality.channels, values.T, strict=True):
        seen = disguise(channel)
        if seen == "codes" and not _may_be_codes(modality):
            seen = ""
        if seen:
            found.append(name)
            yield _by_values(modality, name, seen)
    yield from check_names(modality, tuple(found))


def _may_be_codes(modality: Modality) -> bool:
    """Tell whether few levels that hold for long speak against a sensor.

    What changes slowly holds its values rightly, and so does the motion of a sleeper.
    """
    slow = modality.unit in SLOW_UNITS or is_called(modality, SLOW_WORDS)
    return not slow and modality.unit not in MOTION


def _by_values(modality: Modality, channel: str, seen: str) -> Finding:
    if seen == "ramp":
        what = f"channel '{channel}' rises in equal steps, as a counter, row number or clock does"
        return Finding("sensors", "warning", modality.name, what, ADVICE)
    return Finding(
        "sensors",
        "warning",
        modality.name,
        f"channel '{channel}' takes a few whole numbers and holds them, as labels and triggers do",
        "If it is a label, name it as `label` and not among `signals`; else leave it out.",
    )


def check_names(modality: Modality, told: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Check the names of a modality and its channels.

    Args:
        modality: with its unit in SI.
        told: channels of which something was said.
    """
    for name in modality.channels:
        names = (name,) if len(modality.channels) > 1 else (name, modality.name)
        kinds = [no_sensor(one) for one in names if len(one) > SHORT_NAME]
        kind = next((kind for kind in kinds if kind in PLAIN), "")
        if kind and name not in told:
            yield Finding(
                "sensors",
                "warning",
                modality.name,
                f"channel '{name}' is a {kind} by its name, no sensor",
                "Leave it out; or name it for what it measures.",
            )
    quantity = misfit(modality.unit, modality.name)
    if quantity is not None:
        yield Finding(
            "unit",
            "error",
            modality.name,
            f"it is {quantity.name} by its name, and its unit is {modality.unit}",
            "Declare the unit that the file has, or name it for what it measures.",
        )
