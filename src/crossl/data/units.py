"""Units: what foreign files say, to SI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError, nearest


@dataclass(frozen=True)
class Unit:
    """How values in some unit become SI: `value * factor + offset`.

    Attributes:
        si: the SI unit; `1` for what has none.
        factor: multiplies.
        offset: is added behind.
    """

    si: str
    factor: float = 1.0
    offset: float = 0.0

    def to_si(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Convert; float32."""
        return np.asarray(values * self.factor + self.offset, dtype=np.float32)


_G = 9.80665
_DEGREE = np.pi / 180

UNITS = {
    "m/s^2": Unit("m/s^2"),
    "g": Unit("m/s^2", _G),
    "mg": Unit("m/s^2", _G / 1e3),
    "ug": Unit("m/s^2", _G / 1e6),
    "g/64": Unit("m/s^2", _G / 64),
    "g/2048": Unit("m/s^2", _G / 2048),
    "rad/s": Unit("rad/s"),
    "deg/s": Unit("rad/s", _DEGREE),
    "mdeg/s": Unit("rad/s", _DEGREE / 1e3),
    "rad": Unit("rad"),
    "deg": Unit("rad", _DEGREE),
    "T": Unit("T"),
    "uT": Unit("T", 1e-6),
    "G": Unit("T", 1e-4),
    "mG": Unit("T", 1e-7),
    "V": Unit("V"),
    "mV": Unit("V", 1e-3),
    "uV": Unit("V", 1e-6),
    "nV": Unit("V", 1e-9),
    "S": Unit("S"),
    "mS": Unit("S", 1e-3),
    "uS": Unit("S", 1e-6),
    "nS": Unit("S", 1e-9),
    "kOhm": Unit("Ohm", 1e3),
    "Ohm": Unit("Ohm"),
    "K": Unit("K"),
    "degC": Unit("K", 1.0, 273.15),
    "degF": Unit("K", 5 / 9, 273.15 - 32 * 5 / 9),
    "Hz": Unit("Hz"),
    "bpm": Unit("Hz", 1 / 60),
    "s": Unit("s"),
    "ms": Unit("s", 1e-3),
    "us": Unit("s", 1e-6),
    "ns": Unit("s", 1e-9),
    "m": Unit("m"),
    "cm": Unit("m", 1e-2),
    "mm": Unit("m", 1e-3),
    "kg": Unit("kg"),
    "year": Unit("year"),
    "Pa": Unit("Pa"),
    "hPa": Unit("Pa", 100.0),
    "mmHg": Unit("Pa", 133.322387415),
    "L": Unit("m^3", 1e-3),
    "lx": Unit("lx"),
    "W": Unit("W"),
    "%": Unit("1", 0.01),
    "1": Unit("1"),
}
"""Units by the spelling that crossl writes; years are kept as such, they are of ages."""

ALIASES = {
    "m/s2": "m/s^2", "m/s/s": "m/s^2", "m s^-2": "m/s^2", "m.s^-2": "m/s^2", "m/s²": "m/s^2",
    "ms^-2": "m/s^2", "m*s^-2": "m/s^2",
    "dps": "deg/s", "°/s": "deg/s", "degree/s": "deg/s", "degrees/s": "deg/s",
    "µt": "uT", "μt": "uT", "microtesla": "uT", "gauss": "G", "µv": "uV", "μv": "uV",
    "microvolt": "uV", "microvolts": "uV", "millivolt": "mV", "millivolts": "mV", "volt": "V",
    "volts": "V", "µs": "uS", "μs": "uS", "microsiemens": "uS", "umho": "uS", "siemens": "S",
    "°c": "degC", "deg c": "degC", "celsius": "degC", "c": "degC", "degc": "degC",
    "degf": "degF", "kelvin": "K", "°f": "degF",
    "bpm": "bpm", "beats/min": "bpm", "1/min": "bpm", "/min": "bpm", "hz": "Hz", "percent": "%",
    "": "1", "nu": "1", "n/a": "1", "a.u.": "1", "au": "1", "arbitrary": "1", "none": "1",
    "ohm": "Ohm", "kohm": "kOhm", "lux": "lx", "second": "s", "seconds": "s", "sec": "s",
    "millisecond": "ms", "milliseconds": "ms", "microsecond": "us", "microseconds": "us",
    "m/(s^2)": "m/s^2", "m/(s2)": "m/s^2",
    "uv": "uV", "âµv": "uV", "âµs": "uS", "âµt": "uT", "mv": "mV",
    "nanoseconds": "ns", "years": "year", "pa": "Pa", "hpa": "hPa", "mmhg": "mmHg",
}  # fmt: skip
"""Other spellings, in lower case; looked up only where `UNITS` has not the exact spelling."""


def parse_unit(text: str, *, where: str = "unit") -> Unit:
    """Return how a unit becomes SI.

    Exact spellings count first, as `mS` (siemens) and `ms` (seconds) differ by case only.

    Raises:
        DataError: crossl does not know this unit.

    Examples:
        >>> parse_unit("uV").factor
        1e-06
        >>> parse_unit("degC").to_si(np.array([36.85])).tolist()
        [310.0]
    """
    text = text.strip()
    if text in UNITS:
        return UNITS[text]
    if text.lower() in ALIASES:
        return UNITS[ALIASES[text.lower()]]
    raise DataError(f"{where}: '{text}' is unknown; {nearest(text, UNITS)}")
