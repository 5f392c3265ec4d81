"""Recording: one subject, one session, every sensor at its own rate, in SI units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError

Float32 = NDArray[np.float32]

RATE_TOLERANCE = 0.01
"""Relative difference between a declared rate and its timestamps that is still believed."""


@dataclass(frozen=True)
class Modality:
    """One sensor stream: what it is called, what it measures, how often.

    Attributes:
        name: key of the stream, such as `wrist_acc`.
        channels: a name per channel, such as `("x", "y", "z")`.
        unit: SI unit of the values, such as `m/s^2`.
        rate_hz: samples per second.
        device: the thing that carries the sensor and fails as one, such as `wrist`.
    """

    name: str
    channels: tuple[str, ...]
    unit: str
    rate_hz: float
    device: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that no file can have, no channels, or an impossible rate."""
        if not self.name or set(self.name) & set("./\\"):
            raise DataError(
                f"modality '{self.name}': its name stands for a file and a layer; allowed is one "
                "without '.', '/' and '\\', not empty"
            )
        if not self.channels:
            raise DataError(f"modality '{self.name}': has no channels; at least one is needed")
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise DataError(
                f"modality '{self.name}': rate_hz is {self.rate_hz}; a positive number is needed"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "channels": list(self.channels),
            "unit": self.unit,
            "rate_hz": self.rate_hz,
            "device": self.device,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Modality:
        """Build from what `as_dict` returned."""
        return cls(**{**values, "channels": tuple(values["channels"])})


@dataclass(frozen=True)
class Signal:
    """The samples of one modality in one recording.

    Attributes:
        values: (time, channel) float32; NaN where a sample was not recorded.
        rate_hz: samples per second.
        start_s: time of the first sample, on the recording's clock.
    """

    values: Float32
    rate_hz: float
    start_s: float = 0.0

    @property
    def end_s(self) -> float:
        """Time just after the last sample."""
        return self.start_s + len(self.values) / self.rate_hz

    @classmethod
    def from_timestamps(
        cls,
        timestamps_s: NDArray[np.float64],
        values: NDArray[np.floating[Any]],
        *,
        rate_hz: float,
        max_gap_s: float = 0.5,
        where: str = "signal",
    ) -> Signal:
        """Put timestamped samples on a regular grid at the rate they were recorded at.

        Args:
            timestamps_s: (time,) seconds on the recording's clock, increasing.
            values: (time, channel).
            rate_hz: declared rate; timestamps must agree to 1%.
            max_gap_s: longer steps between samples become NaN.
            where: names the signal in a message.

        Raises:
            DataError: the timestamps do not increase, or tell another rate.

        Examples:
            >>> Signal.from_timestamps(np.array([0.0, 0.1, 0.2]), np.eye(3), rate_hz=10).end_s
            0.3
        """
        check_rate(where, timestamps_s, rate_hz)
        start = float(timestamps_s[0])
        stop = float(timestamps_s[-1]) + 1 / rate_hz
        grid = resample_to_rate(
            timestamps_s, values, rate_hz=rate_hz, start_s=start, stop_s=stop, max_gap_s=max_gap_s
        )
        return cls(grid, rate_hz, start)


@dataclass(frozen=True)
class LabelInterval:
    """A stretch of time with one label: `start_s` inside, `end_s` outside."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Recording:
    """One session of one subject.

    Attributes:
        subject: who was recorded; splits never cut through a subject.
        session: which recording of this subject.
        modalities: declared streams, by name; one that is not in `signals` was not recorded.
        signals: what was recorded, by modality name.
        labels: label intervals, sorted and without overlap; unlabelled time has none.

    Raises:
        DataError: shapes, rates or labels contradict the declaration.
    """

    subject: str
    session: str
    modalities: Mapping[str, Modality]
    signals: Mapping[str, Signal]
    labels: Sequence[LabelInterval] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Check every signal and label interval against the declaration."""
        if not self.subject:
            raise DataError("recording: subject is empty; every recording needs a subject")
        for name, signal in self.signals.items():
            _check_signal(self.where(name), self.modalities.get(name), signal)
        _check_labels(f"subject {self.subject}, session {self.session}", self.labels)

    def where(self, name: str) -> str:
        """Name a signal in an error message."""
        return f"subject {self.subject}, session {self.session}: signal '{name}'"

    @property
    def start_s(self) -> float:
        """Earliest sample of any modality, seconds on the recording's clock."""
        return min((s.start_s for s in self.signals.values()), default=0.0)

    @property
    def end_s(self) -> float:
        """Just after the latest sample of any modality, seconds on the recording's clock."""
        return max((s.end_s for s in self.signals.values()), default=0.0)


def _check_signal(where: str, modality: Modality | None, signal: Signal) -> None:
    if modality is None:
        raise DataError(f"{where} is not declared; declare it among the modalities")
    values = signal.values
    if values.ndim != 2 or values.shape[1] != len(modality.channels):
        raise DataError(
            f"{where} has shape {values.shape} but declares {len(modality.channels)} channels "
            f"({', '.join(modality.channels)}); signals are (time, channel)"
        )
    if values.dtype != np.float32:
        raise DataError(f"{where} has dtype {values.dtype}; signals are float32")
    if not abs(signal.rate_hz - modality.rate_hz) <= RATE_TOLERANCE * modality.rate_hz:
        raise DataError(
            f"{where} has {signal.rate_hz:g} Hz but its modality declares {modality.rate_hz:g} Hz; "
            "resample it or declare another modality"
        )
    if values.size and np.isinf(values).any():
        raise DataError(f"{where} holds infinite values; use NaN for what was not recorded")
    if not np.isfinite(values).all(axis=1).any():
        raise DataError(
            f"{where} holds no sample that every channel recorded (NaN in each); leave the signal "
            "out instead"
        )


def _check_labels(where: str, labels: Sequence[LabelInterval]) -> None:
    last_end = -np.inf
    for interval in labels:
        if not interval.start_s < interval.end_s:
            raise DataError(
                f"{where}: label '{interval.label}' runs from {interval.start_s:g} s to "
                f"{interval.end_s:g} s; an interval must end after it starts"
            )
        if interval.start_s < last_end - 1e-6:
            raise DataError(
                f"{where}: label '{interval.label}' starts at {interval.start_s:g} s, before the "
                f"one before it ended at {last_end:g} s; intervals are sorted and do not overlap"
            )
        last_end = interval.end_s


def check_rate(where: str, timestamps_s: NDArray[np.float64], rate_hz: float) -> None:
    """Refuse a declared rate that its own timestamps contradict by more than 1%.

    The rate is the inverse of the mean step, leaving out steps over three times the median:
    gaps do not count, and timestamps in whole milliseconds still tell 102.5 from 100 Hz.

    Args:
        where: names the signal in the message.
        timestamps_s: time of each sample, seconds, increasing.
        rate_hz: what was declared.

    Raises:
        DataError: the timestamps do not increase, or tell another rate.

    Examples:
        >>> check_rate("wrist_acc", np.arange(10) / 50, 50.0)
    """
    steps = np.diff(timestamps_s)
    if len(steps) == 0:
        raise DataError(f"{where}: has {len(timestamps_s)} samples; a rate needs at least 2")
    increases = steps > 0
    if not increases.all():
        at = int(np.argmin(increases)) + 1
        raise DataError(f"{where}: timestamp {at} does not increase; sort them, drop duplicates")
    estimated = 1.0 / float(steps[steps <= 3 * np.median(steps)].mean())
    if abs(estimated - rate_hz) > RATE_TOLERANCE * rate_hz:
        raise DataError(
            f"{where}: declares {rate_hz:g} Hz but its timestamps tell {estimated:.4g} Hz; "
            "correct the declared rate or ask for resampling"
        )


def resample_to_rate(
    timestamps_s: NDArray[np.float64],
    values: NDArray[np.floating[Any]],
    *,
    rate_hz: float,
    start_s: float,
    stop_s: float,
    max_gap_s: float,
) -> Float32:
    """Put irregular samples on a regular grid by linear interpolation between neighbours.

    No anti-alias filter: meant for grids at about the recorded rate (a clock of 102.5 Hz
    read at 100 Hz), not for downsampling.

    Args:
        timestamps_s: time of each sample, seconds, increasing.
        values: (time, channel).
        rate_hz: rate of the grid.
        start_s: time of the first grid point.
        stop_s: no grid point lies at or after this time.
        max_gap_s: a grid point between samples further apart than this becomes NaN.

    Returns:
        (grid time, channel) float32, NaN where nothing was recorded.

    Raises:
        DataError: `values` has not a row per timestamp.
    """
    if values.ndim != 2 or len(values) != len(timestamps_s):
        raise DataError(
            f"resample: values have shape {values.shape} for {len(timestamps_s)} timestamps; "
            "allowed is (time, channel) with a row each"
        )
    grid = start_s + np.arange(int(np.floor((stop_s - start_s) * rate_hz + 1e-6))) / rate_hz
    out = np.stack([np.interp(grid, timestamps_s, column) for column in values.T], axis=1)
    after = np.clip(np.searchsorted(timestamps_s, grid), 1, len(timestamps_s) - 1)
    left, right = timestamps_s[after - 1], timestamps_s[after]
    # a grid point on a sample was recorded, whatever lies beside it
    between = (grid > left + 1e-9) & (grid < right - 1e-9)
    outside = (grid < timestamps_s[0] - 1e-9) | (grid > timestamps_s[-1] + 1e-9)
    out[(between & (right - left > max_gap_s)) | outside] = np.nan
    return out.astype(np.float32)
