"""Checks of values: units, impossible values, sensors that stand still or are at their limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crossl.data.recording import Float32, Modality
from crossl.doctor.arrays import Bools, longest_run, norms, share_outside
from crossl.doctor.finding import Finding, number, one

MOTION = ("m/s^2", "rad/s", "T")
SLOW_UNITS = ("K", "Hz", "S", "lx", "Pa", "s", "W")
"""What changes slowly, whatever rate it is written at, and repeats its values rightly."""

FAST_HZ, FAST_MOTION_HZ = 16.0, 5.0
SLOW_WORDS = ("spo2", "heart", "hr", "temp", "light", "sao2")
HEART_WORDS = ("heart", "hr", "pulse", "bpm")
BODY_WORDS = ("ecg", "eeg", "emg", "eog")
"""Voltages of the body itself; others (a belt, a photocell) may well be volts."""

FLAT_S, FLAT_COARSE_S = 5.0, 120.0
"""Seconds without any change. A sensor with noise changes at every sample; where one step is
larger than the noise (1/64 g), a hand on a table shows none for a minute."""

COARSE_SHARE = 0.05
"""Share of samples that equal the one before from which steps are larger than the noise."""

CLIP_COUNT, CLIP_SHARE, CLIP_EXCESS, CLIP_LEVELS = 10, 1e-4, 3.0, 20


@dataclass(frozen=True)
class Range:
    """What a living body and its sensors can give, in SI; beyond it a value is a fault."""

    low: float
    high: float
    why: str


RANGES = {
    # sensors of wearables measure up to 16 g; half as much again for those that go beyond
    "m/s^2": Range(-24 * 9.80665, 24 * 9.80665, "sensors reach 16 g, 157 m/s^2"),
    # 4000 degrees a second, twice what common gyroscopes reach
    "rad/s": Range(-70.0, 70.0, "sensors reach 2000 degrees a second, 35 rad/s"),
    # phones measure up to 4.9 mT; the earth has 25 to 65 microtesla
    "T": Range(-5e-3, 5e-3, "sensors reach 4.9 mT"),
    "K": Range(250.0, 330.0, "-23 to 57 degrees Celsius"),
    "Hz": Range(0.3, 4.0, "18 to 240 beats a minute"),
    "S": Range(0.0, 1e-3, "skin conducts 0 to 100 microsiemens"),
    "spo2": Range(0.5, 1.0, "50 to 100% oxygen"),
}


@dataclass(frozen=True)
class Suspect:
    """A median size that another unit explains: within `low` and `high`, try `units`."""

    low: float
    high: float
    units: str


SUSPECTS = {
    "m/s^2": (
        Suspect(0.8, 1.3, "g"),
        Suspect(50.0, 80.0, "1/64 g"),
        Suspect(85.0, 110.0, "m/s^2, where g is declared"),
        Suspect(800.0, 1300.0, "mg or cm/s^2"),
        Suspect(3000.0, 40000.0, "raw numbers of the sensor"),
    ),
    "rad/s": (Suspect(10.0, np.inf, "deg/s"),),
    "T": (Suspect(10.0, 200.0, "uT"), Suspect(0.1, 2.0, "G"), Suspect(200.0, np.inf, "mG or nT")),
    "K": (Suspect(10.0, 50.0, "degC"), Suspect(60.0, 120.0, "degF")),
    "Hz": (Suspect(25.0, 250.0, "bpm"),),
    "S": (Suspect(0.02, 100.0, "uS"), Suspect(2e-3, 0.02, "mS")),
    "V": (Suspect(10.0, np.inf, "uV"), Suspect(0.2, 10.0, "mV")),
    "spo2": (Suspect(40.0, 101.0, "%"),),
}
"""By unit, where the median size of a sample lies if the values have another unit than declared."""

CONTACT_S, CONTACT_SHARE = 1e-8, 0.01
"""Skin conducts more than 0.01 microsiemens; an electrode in the air does not. An E4 begins with a
sample of zero."""

GRAVITY, GRAVITY_OFF = 9.80665, 0.1
AXES = 3


def kind_of(modality: Modality) -> str:
    """Name what is measured: its unit, but `spo2` for a share and `1` for a rate by its name."""
    if modality.unit == "1" and "spo2" in modality.name.lower():
        return "spo2"
    if modality.unit == "Hz" and not is_called(modality, HEART_WORDS):
        return "1"
    return modality.unit


def is_called(modality: Modality, words: Sequence[str]) -> bool:
    """Tell whether one of the words is part of the name."""
    parts = modality.name.lower().replace("-", "_").split("_")
    return any(word in parts for word in words)


def is_fast(modality: Modality) -> bool:
    """Tell whether a sensor should change all the time."""
    if modality.unit in MOTION:
        return modality.rate_hz >= FAST_MOTION_HZ
    slow = modality.unit in SLOW_UNITS or is_called(modality, SLOW_WORDS)
    return modality.rate_hz >= FAST_HZ and not slow


def check_values(modality: Modality, values: Float32) -> Iterator[Finding]:
    """Check the values of one signal; (time, channel), NaN where missing."""
    suspicion = list(_check_unit(modality, values))
    yield from suspicion
    if not suspicion:
        yield from _check_range(modality, values)
        yield from _check_contact(modality, values)
    if is_fast(modality):
        yield from _check_flat(modality, values)
        yield from _check_limits(modality, values)


def suspected_unit(modality: Modality, values: Float32) -> str:
    """Say which unit values look like, where that is not the declared one beyond doubt.

    Args:
        modality: whose values they are.
        values: (time, channel) in the unit of the modality, NaN where missing; some are enough.

    Returns:
        The unit; empty where nothing speaks against the declared one.
    """
    if np.isnan(values).any(axis=1).all():
        return ""
    errors = [one for one in _check_unit(modality, values) if one.severity == "error"]
    return errors[0].what.partition("values look like ")[2] if errors else ""


def _check_unit(modality: Modality, values: Float32) -> Iterator[Finding]:
    kind = kind_of(modality)
    # a voltage may ride on a constant one: its size is how far it swings
    size = _swing(values) if kind == "V" else norms(values)
    median = float(np.median(size))
    for suspect in SUSPECTS.get(kind, ()):
        if not suspect.low <= median <= suspect.high:
            continue
        if kind == "m/s^2" and not _is_gravity(modality, size, median):
            continue
        yield Finding(
            "unit",
            "warning" if kind == "V" and not is_called(modality, BODY_WORDS) else "error",
            modality.name,
            f"its median size is {{}}: values look like {suspect.units}",
            f"Declare the unit that the file has (perhaps {suspect.units}); it is converted to "
            f"{modality.unit}.",
            one(median),
            modality.unit,
        )
        return
    if kind == "m/s^2" and len(modality.channels) == AXES:
        yield from _check_gravity(modality, size)


def _swing(values: Float32) -> Float32:
    """Half the distance between the 1st and 99th percentile of each channel."""
    low, high = np.nanpercentile(values, [1, 99], axis=0)
    return np.asarray((high - low) / 2, dtype=np.float32)


def _is_gravity(modality: Modality, size: Float32, median: float) -> bool:
    """Tell whether sizes gather about their median, as they do where gravity is measured.

    Acceleration without gravity may have any median, but spreads from nearly zero.
    """
    if len(modality.channels) != AXES:
        return False
    return float(np.percentile(size, 10)) > 0.5 * median


def _check_gravity(modality: Modality, size: Float32) -> Iterator[Finding]:
    """Look at the quiet samples: at rest an accelerometer measures gravity and nothing else."""
    low, middle, high = np.percentile(size, [25, 50, 75])
    at_rest = high - low < 0.05 * middle
    if at_rest and middle > GRAVITY / 2 and abs(middle / GRAVITY - 1) > GRAVITY_OFF:
        yield Finding(
            "unit",
            "note",
            modality.name,
            "at rest it measures {} where gravity is 9.81 m/s^2",
            "Check factor and calibration of the accelerometer.",
            one(float(middle)),
            "m/s^2",
        )


def _check_range(modality: Modality, values: Float32) -> Iterator[Finding]:
    allowed = RANGES.get(kind_of(modality))
    if allowed is None:
        return
    known = values[~np.isnan(values)]
    # a little slack for what float32 and filters add
    slack = 1e-4 * (allowed.high - allowed.low)
    below, above = known < allowed.low - slack, known > allowed.high + slack
    share = float((below | above).mean())
    if share:
        side = "below" if below.sum() > above.sum() else "above"
        limit = allowed.low if side == "below" else allowed.high
        yield Finding(
            "range",
            "warning",
            modality.name,
            f"{{}} of the values cannot be, mostly {side} {number(limit)} {modality.unit} "
            f"({allowed.why})",
            "Look for a sensor that had lost contact, or marks such as 0 or -1 for missing: make "
            "them NaN.",
            one(share),
            "%",
        )


def _check_contact(modality: Modality, values: Float32) -> Iterator[Finding]:
    if modality.unit != "S":
        return
    known = values[~np.isnan(values)]
    share = float(((known >= 0) & (known < CONTACT_S)).mean())
    if share > CONTACT_SHARE:
        yield Finding(
            "range",
            "warning",
            modality.name,
            "{} of the time it measures less than 0.01 microsiemens, as without skin",
            "Look for an electrode that had lost contact; make such stretches NaN.",
            one(share),
            "%",
        )


def _check_flat(modality: Modality, values: Float32) -> Iterator[Finding]:
    still = values[1:] == values[:-1]
    stuck = {"": _stuck_s(modality, still.all(axis=1))}
    if not stuck[""]:
        # one axis of a coarse sensor may rest for minutes while the others move
        stuck = {
            name: 0.0 if _is_coarse(modality, channel) else _stuck_s(modality, channel)
            for name, channel in zip(modality.channels, still.T, strict=True)
        }
    stuck = {name: seconds for name, seconds in stuck.items() if seconds}
    if stuck:
        who = "" if "" in stuck else f"channel {', '.join(stuck)} "
        yield Finding(
            "flat",
            "warning",
            modality.name,
            f"{who}stands still for up to {{}}, without a bit of noise",
            "Look for a device that lost its connection and repeats its last value; make such "
            "stretches NaN.",
            one(max(stuck.values())),
            "s",
        )


def _stuck_s(modality: Modality, still: Bools) -> float:
    """Return how long it stands still, if that is too long and not all the time."""
    run_s = (longest_run(still) + 1) / modality.rate_hz
    limit_s = FLAT_COARSE_S if _is_coarse(modality, still) else FLAT_S
    # a signal that never changes is reported as constant
    return run_s if run_s > limit_s and not still.all() else 0.0


def _is_coarse(modality: Modality, still: Bools) -> bool:
    """Tell whether samples often repeat also where nothing is stuck."""
    share = share_outside(still, FLAT_S * modality.rate_hz)
    return share is None or share > COARSE_SHARE


def _check_limits(modality: Modality, values: Float32) -> Iterator[Finding]:
    worst, limits = 0.0, set()
    for channel in values.T:
        known = channel[~np.isnan(channel)]
        for extreme, share in _piled_up(known):
            worst = max(worst, share)
            limits.add(extreme)
    if limits:
        shown = " and ".join(f"{limit:.4g}" for limit in _few(sorted(limits)))
        yield Finding(
            "saturation",
            "warning",
            modality.name,
            "{} of the samples of a channel lie exactly at its largest or smallest value",
            "The sensor is at its limit: what was beyond is lost. Choose a wider range when "
            "recording.",
            one(worst),
            "%",
            detail=f"{shown} {modality.unit}",
        )


def _few(limits: Sequence[float]) -> Sequence[float]:
    return limits if len(limits) <= 2 else (limits[0], limits[-1])


def _piled_up(channel: Float32) -> Iterator[tuple[float, float]]:
    """Yield extremes that hold many more samples than the levels beside them, and their share.

    A distribution thins out towards its ends; at a limit it piles up. The extreme of a quantity
    that cannot be negative is not a limit when it is 0.
    """
    levels, counts = np.unique(channel, return_counts=True)
    if len(levels) < CLIP_LEVELS:
        return
    for extreme, count, beside in (
        (levels[0], counts[0], counts[1:6]),
        (levels[-1], counts[-1], counts[-6:-1]),
    ):
        enough = count >= max(CLIP_COUNT, CLIP_SHARE * len(channel))
        piled = enough and extreme != 0 and count >= CLIP_EXCESS * beside.max()
        if piled and longest_run(channel == extreme) >= 2:
            yield float(extreme), float(count / len(channel))
