"""What a name says is measured, against the unit: acceleration in tesla is an error.

A name tells a quantity by its words, `wrist_acc` or `Beschl X (m/s²)`; a name of two quantities, or
of none, tells nothing. A voltage fits everything, as do numbers without a unit: a converter's raw
output.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crossl.data.own.mapping.guess import axes_letter, clean, split_unit
from crossl.data.units import Unit, parse_unit
from crossl.errors import DataError


@dataclass(frozen=True)
class Quantity:
    """Something that is measured.

    Attributes:
        name: in a sentence.
        words: in names; each a regular expression for a whole word.
        units: SI units that it may have, besides V and 1.
        spellings: of units that mean another thing for other quantities.
    """

    name: str
    words: str
    units: tuple[str, ...]
    spellings: tuple[tuple[str, str], ...] = ()


QUANTITIES = (
    Quantity(
        "an acceleration",
        r"acc|accel|accelerometers?|accelero?|acceleration|beschl\w*|acelera\w*|accelera\w*|"
        r"versnelling\w*|przyspieszenie|gforce|g_force",
        ("m/s^2",),
        (("G", "g"), ("mG", "mg"), ("MG", "mg"), ("gs", "g")),
    ),
    Quantity(
        "a rate of turn",
        r"gyro?|gyros?|gyroscopes?|angular|drehrate|drehgeschw\w*|winkelgeschw\w*|"
        r"angulaire|angolare|gyroskop|giroscopio|giroscopo|giro|rotationrate|rotation_rate",
        ("rad/s",),
        (("rad", "rad/s"), ("deg", "deg/s")),
    ),
    Quantity(
        "a magnetic field",
        r"mag|magn|magneto|magnetometers?|magnetic|magnetfeld\w*|"
        r"magnetique|magnetico|kompass|compass",
        ("T",),
        (("g", "G"), ("mg", "mG"), ("ut", "uT"), ("UT", "uT")),
    ),
    Quantity("a voltage of the body", r"ecg|ekg|eeg|emg|eog|exg|egm", ()),
    Quantity(
        "a conductance of the skin",
        r"eda|gsr|scl|scr|electrodermal|hautleit\w*|skin_?conductance|conductance|leitwert",
        ("S", "Ohm"),
        (("us", "uS"), ("US", "uS"), ("ms", "mS"), ("s", "S")),
    ),
    Quantity(
        "a temperature", r"temp|temps|temperatur\w*|tsk|thermometer", ("K",),
        (("C", "degC"), ("F", "degF"), ("deg", "degC")),
    ),
    Quantity(
        "a heart rate", r"hr|heartrate|heart_rate|herzfrequenz|bpm|pulsrate|pulse_rate|"
        r"frequence_cardiaque|frecuencia_cardiaca|frequenza_cardiaca|hartslag",
        ("Hz",), (("1/s", "Hz"),),
    ),
    Quantity("an oxygen saturation", r"spo2|sao2|so2", ()),
    Quantity("an illuminance", r"lux|light|illuminance|licht|helligkeit", ("lx",)),
    Quantity("a pressure of the air", r"baro|barometer|luftdruck|pressure", ("Pa",)),
)  # fmt: skip
"""What names tell; the first that fits. What is not here is compared with nothing."""

ANY = ("1", "V")
"""Units that fit everything."""

AMBIGUOUS = {"mag": ("m/s^2", "rad/s"), "temp": ("s",), "pressure": ("m",)}
"""Words that may mean another thing with these units: the magnitude of an acceleration."""


def quantity_of(*names: str) -> Quantity | None:
    """Return what names tell is measured, the first one that tells something.

    Examples:
        >>> quantity_of("wrist_acc").name, quantity_of("Beschl X (m/s²)").name
        ('an acceleration', 'an acceleration')
        >>> quantity_of("acc_mag"), quantity_of("x", "sensor")
        (None, None)
    """
    for name in names:
        found = _told(name)
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _told(name: str) -> list[Quantity]:
    plain = clean(split_unit(name)[0])
    words = [*plain.split("_"), *re.findall(r"(?=([a-z]+_[a-z]+))", plain), plain]
    words += [word.rstrip("0123456789") for word in words] + axes_letter(plain)
    return [q for q in QUANTITIES if any(re.fullmatch(q.words, word) for word in words)]


def read_unit(text: str, *names: str, where: str = "unit") -> Unit:
    """Return how a unit becomes SI, spelt as it is of what the names tell.

    Args:
        text: the unit, as a file or mapping spells it.
        names: of the channel and of what it belongs to.
        where: names it in messages.

    Raises:
        DataError: crossl does not know this unit.

    Examples:
        >>> read_unit("G", "ACC X").si, read_unit("us", "eda").si, read_unit("us", "delay").si
        ('m/s^2', 'S', 's')
    """
    return parse_unit(spelt(text, *names), where=where)


def spelt(text: str, *names: str) -> str:
    """Return the spelling of a unit that means for itself what it means of these names.

    Examples:
        >>> spelt("G", "acc"), spelt("us", "eda"), spelt("mV", "ecg")
        ('g', 'uS', 'mV')
    """
    found = quantity_of(*names)
    return dict(found.spellings).get(text.strip(), text) if found else text


def misfit(si: str, *names: str) -> Quantity | None:
    """Return the quantity that names tell if it is not measured in this SI unit.

    Examples:
        >>> misfit("T", "wrist_acc").name
        'an acceleration'
        >>> misfit("m/s^2", "wrist_acc"), misfit("V", "foot_gsr"), misfit("T", "what")
        (None, None, None)
    """
    found = quantity_of(*names)
    if found is None or si in (*found.units, *ANY):
        return None
    words = {word for name in names for word in clean(name).split("_")}
    may = [unit for word, units in AMBIGUOUS.items() if word in words for unit in units]
    return None if si in may else found


def check_quantity(where: str, unit: str, names: Sequence[str]) -> None:
    """Refuse a unit in which what the names tell is not measured.

    Args:
        where: names the signal in messages.
        unit: as the file or mapping spells it.
        names: of the channel, the modality.

    Raises:
        DataError: it is not, or the unit is unknown.
    """
    known = parse_unit(unit, where=where)
    found = misfit(known.si, *names)
    if found is None:
        return
    other = dict(found.spellings).get(unit.strip())
    allowed = " or ".join((*found.units, "V", "1"))
    mean = f"; did you mean '{other}'?" if other else ""
    raise DataError(
        f"{where}: '{names[0]}' is {found.name} by its name, got the unit '{unit}' "
        f"({known.si}){mean or ';'} such a signal has {allowed}, or rename what is something else"
    )
