"""Recording: one subject, one session, every sensor at its own rate, in SI units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.rate_change import change_rate, ratio_of_rates
from crossl.data.timing import (
    RATE_TOLERANCE,
    Float32,
    Timing,
    put_in_order,
    refuse_rate,
    resample_to_rate,
)
from crossl.errors import DataError, nearest
from crossl.names import check_name, known_zone

__all__ = [
    "WARNING", "Float32", "LabelInterval", "Modality", "Recording", "Signal", "Timing",
    "warnings_in",
]  # fmt: skip

WARNING = "warning: "
"""What a note begins with that is shown wherever a recording is used, as values may be wrong."""

PARTS = ("train", "validation", "test")
"""What a published split may call its parts."""


def warnings_in(notes: Iterable[str]) -> list[str]:
    """Return the notes that are shown wherever a recording is used.

    Examples:
        >>> warnings_in(["times count from 1970", "warning: a.csv: line 3 is cut off"])
        ['warning: a.csv: line 3 is cut off']
    """
    return [one for one in notes if one.startswith(WARNING)]


@dataclass(frozen=True)
class Modality:
    """One sensor stream: what it is called, what it measures, how often.

    Attributes:
        name: key of the stream, such as `wrist_acc`.
        channels: a name per channel, such as `("x", "y", "z")`.
        unit: SI unit of the values, such as `m/s^2`.
        rate_hz: samples per second.
        device: the thing that carries the sensor and fails as one, such as `wrist`.

    Examples:
        >>> Modality("wrist_acc", ("x", "y", "z"), "m/s^2", 50.0, "wrist").channels
        ('x', 'y', 'z')
    """

    name: str
    channels: tuple[str, ...]
    unit: str
    rate_hz: float
    device: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that no file can have, no channels, or an impossible rate."""
        check_name("modality", self.name)
        if set(self.name) & set("./\\"):
            raise DataError(
                f"modality '{self.name}': its name is used for a file and a layer; allowed is one "
                "without '.', '/' and '\\', not empty"
            )
        if not self.channels:
            raise DataError(f"modality '{self.name}': has no channels; at least one is needed")
        for channel in self.channels:
            check_name(f"modality '{self.name}': channel", channel)
        for what in ("unit", "device"):
            check_name(f"modality '{self.name}': {what}", getattr(self, what), empty=True)
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
        timing: what its timestamps showed, where it had any.

    Examples:
        >>> Signal(np.zeros((100, 3), dtype=np.float32), rate_hz=50.0).end_s
        2.0
    """

    values: Float32
    rate_hz: float
    start_s: float = 0.0
    timing: Timing | None = None

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
        resample: bool = False,
        max_gap_s: float = 0.5,
        irregular: bool = False,
        where: str = "signal",
    ) -> Signal:
        """Put timestamped samples on a regular grid.

        Samples whose time does not increase are left out and counted. Then linear interpolation
        between neighbours onto a grid at the recorded rate; where that is another rate than the
        one asked for, a polyphase filter follows, so that nothing aliases.

        Args:
            timestamps_s: (time,) seconds on the recording's clock.
            values: (time, channel).
            rate_hz: rate of the signal to make.
            resample: allow timestamps that give another rate; without, they must agree to 1%.
            max_gap_s: longer steps between samples become NaN.
            irregular: samples come when they come, no rate is theirs: straight onto a grid at
                `rate_hz`, without a filter.
            where: names the signal in a message.

        Raises:
            DataError: the timestamps give another rate, are not finite, or more than a fifth of
                them do not increase.

        Examples:
            >>> Signal.from_timestamps(np.array([0.0, 0.1, 0.2]), np.eye(3), rate_hz=10).end_s
            0.3
        """
        times, kept, timing = put_in_order(where, timestamps_s, values, declared_hz=rate_hz)
        ratio = Fraction(1)
        if irregular:
            pass
        elif resample and abs(timing.estimated_hz - rate_hz) > RATE_TOLERANCE * rate_hz:
            ratio = ratio_of_rates(timing.estimated_hz, rate_hz)
        else:
            refuse_rate(where, timing.estimated_hz, rate_hz)
        # the grid lies at the recorded rate, and at exactly `rate_hz` behind the filter
        grid_hz = float(rate_hz / ratio)
        start, stop = float(times[0]), float(times[-1]) + 1 / grid_hz
        grid = resample_to_rate(
            times, kept, rate_hz=grid_hz, start_s=start, stop_s=stop, max_gap_s=max_gap_s
        )
        return cls(change_rate(grid, ratio), rate_hz, start, timing)

    def resampled(self, rate_hz: float) -> Signal:
        """Change the rate through an anti-alias filter; the first sample keeps its time.

        The result's rate may differ from what was asked by a millionth or so, where the two
        rates have no common fraction of small numbers.

        Raises:
            DataError: the rates differ more than 1000 times.
        """
        ratio = ratio_of_rates(self.rate_hz, rate_hz)
        values = change_rate(self.values, ratio)
        return replace(self, values=values, rate_hz=float(self.rate_hz * ratio))


@dataclass(frozen=True)
class LabelInterval:
    """A stretch of time with one label: `start_s` inside, `end_s` outside.

    Examples:
        >>> LabelInterval(0.0, 30.0, "rest").label
        'rest'
    """

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
        notes: what the reader saw or did that a user should know, a sentence each; see `WARNING`.
        group: who shares it is never parted by a split, as subjects who hold copies of the same
            signal; empty for a subject who may be tested alone.
        split: the part that the publishers put the subject in, `train`, `validation` or `test`;
            empty where they say nothing.
        origin_unix_s: where the clock's 0 lies on the calendar, seconds since 1970 (UTC); None
            where it is not known.
        zone: time zone of the recording (IANA name); empty where it is not known, and the origin
            is local time counted as if it were UTC.
        person: numbers that the data set holds about the subject, SI (age: years), by name.

    Raises:
        DataError: shapes, rates or labels contradict the declaration.

    Examples:
        >>> acc = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)
        >>> signal = Signal(np.zeros((100, 3), dtype=np.float32), rate_hz=50.0)
        >>> one = Recording("ann", "monday", {"acc": acc}, {"acc": signal},
        ...                 [LabelInterval(0.0, 1.0, "rest")])
        >>> one.subject, list(one.signals)
        ('ann', ['acc'])
    """

    subject: str
    session: str
    modalities: Mapping[str, Modality]
    signals: Mapping[str, Signal]
    labels: Sequence[LabelInterval] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)
    group: str = ""
    split: str = ""
    origin_unix_s: float | None = None
    zone: str = ""
    person: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every signal and label interval against the declaration."""
        if not self.subject:
            raise DataError("recording: subject is empty; every recording needs a subject")
        check_name("subject", self.subject)
        check_name(f"subject '{self.subject}': session", self.session, empty=True)
        if self.split not in ("", *PARTS):
            raise DataError(
                f"subject {self.subject}, session {self.session}: split is '{self.split}'; allowed "
                f"are {', '.join(PARTS)} and nothing"
            )
        if self.zone != "":
            try:
                known_zone(self.zone)
            except DataError as error:
                who = f"subject {self.subject}, session {self.session}"
                raise DataError(f"{who}: {error}") from None
        for name, modality in self.modalities.items():
            if name != modality.name:
                raise DataError(
                    f"{self.where(name)} is declared under another name, '{modality.name}'; a "
                    "modality stands under its own"
                )
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

    def resampled(self, rates_hz: Mapping[str, float]) -> Recording:
        """Change the rates of some modalities, through an anti-alias filter.

        Args:
            rates_hz: new rate by modality name; the others stay as they are.

        Raises:
            DataError: a modality is not declared, or a rate is out of reach.
        """
        modalities, signals = dict(self.modalities), dict(self.signals)
        for name, rate_hz in rates_hz.items():
            if name not in modalities:
                raise DataError(f"resample: modality '{name}'; {nearest(name, modalities)}")
            modalities[name] = replace(modalities[name], rate_hz=rate_hz)
            if name in signals:
                signals[name] = signals[name].resampled(rate_hz)
        return replace(self, modalities=modalities, signals=signals)


def check_samples(where: str, modality: Modality, signal: Signal) -> None:
    """Refuse samples that a modality cannot have.

    Args:
        where: names the signal in messages.
        modality: as it is declared.
        signal: all of its samples, or some.

    Raises:
        DataError: another shape, type or rate, no start, or infinite values.
    """
    values = signal.values
    if not np.isfinite(signal.start_s):
        raise DataError(f"{where} starts at {signal.start_s} s; a number is needed")
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


def _check_signal(where: str, modality: Modality | None, signal: Signal) -> None:
    if modality is None:
        raise DataError(f"{where} is not declared; declare it among the modalities")
    check_samples(where, modality, signal)
    if not np.isfinite(signal.values).all(axis=1).any():
        raise DataError(
            f"{where} holds no sample that every channel recorded (NaN in each); leave the signal "
            "out instead"
        )


def _check_labels(where: str, labels: Sequence[LabelInterval]) -> None:
    last_end = -np.inf
    for interval in labels:
        if not interval.start_s < interval.end_s:
            raise DataError(
                f"{where}: label '{interval.label}' runs from {interval.start_s:.10g} s to "
                f"{interval.end_s:.10g} s; an interval must end after it starts"
            )
        if interval.start_s < last_end - 1e-6:
            raise DataError(
                f"{where}: label '{interval.label}' starts at {interval.start_s:.10g} s, before "
                f"the one before it ended at {last_end:.10g} s; intervals are sorted and do not "
                "overlap"
            )
        last_end = interval.end_s
