"""Card: what a data set is, whose, and on which terms."""

from __future__ import annotations

from dataclasses import dataclass

from crossl.data.recording import Modality
from crossl.data.windows import WindowSpec


@dataclass(frozen=True)
class Card:
    """What a user should know before using a data set.

    Attributes:
        name: of the reader.
        title: of the data set.
        description: what was recorded, with traps.
        licence: terms of the recordings.
        citation: what to cite.
        url: official address.
        modalities: streams, in order.
        classes: label names, in order.
        spec: windows unless asked for otherwise.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    url: str
    modalities: tuple[Modality, ...]
    classes: tuple[str, ...]
    spec: WindowSpec


STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g."""


def motion_modality(device: str, sensor: str, rate_hz: float, name: str | None = None) -> Modality:
    """Describe a 3-axis accelerometer (`acc`, m/s^2) or gyroscope (`gyro`, rad/s)."""
    unit = {"acc": "m/s^2", "gyro": "rad/s"}[sensor]
    return Modality(name or f"{device}_{sensor}", ("x", "y", "z"), unit, rate_hz, device)
