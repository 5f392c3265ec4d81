"""Card: what a data set is, whose, and on which terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossl.data.recording import Modality
from crossl.data.windows import WindowSpec


@dataclass(frozen=True)
class RemoteFile:
    """One official download.

    Attributes:
        url: where it is.
        sha256: published checksum; None where none was published.
        size: bytes, as published or observed; None where unknown.
    """

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """Name of the file on disk."""
        return self.url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Card:
    """What a user should know before using a data set.

    Attributes:
        name: of the reader.
        title: of the data set.
        description: what was recorded, the unit and factor of its values, what the reader does.
        licence: terms of the recordings.
        citation: what to cite.
        url: official address.
        modalities: streams, in order; empty for a format, whose files declare them.
        classes: label names, in order; empty for a format.
        spec: windows unless asked for otherwise.
        traps: what goes wrong for those who do not know, a sentence each.
        size: of the official download, in words.
        subjects: how many people; 0 for a format.
        commercial_use: False where the terms forbid it.
        files: official downloads; empty where there is nothing to fetch automatically.
        person: numbers that recordings hold about their subject, and the unit of each.
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
    traps: tuple[str, ...] = ()
    size: str = ""
    subjects: int = 0
    commercial_use: bool = True
    files: tuple[RemoteFile, ...] = ()
    person: Mapping[str, str] = field(default_factory=dict)


STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g."""


def motion_modality(device: str, sensor: str, rate_hz: float, name: str | None = None) -> Modality:
    """Describe a 3-axis accelerometer (`acc`), gyroscope (`gyro`) or magnetometer (`mag`)."""
    unit = {"acc": "m/s^2", "gyro": "rad/s", "mag": "T"}[sensor]
    return Modality(name or f"{device}_{sensor}", ("x", "y", "z"), unit, rate_hz, device)
