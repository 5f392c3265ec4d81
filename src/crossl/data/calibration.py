"""Calibration: a recording's signals by that recording's own mean and deviation, without labels.

The one place where these statistics are made, of stores as of streams: sums run over samples in
order, each counted once, so that chunks, overlap of windows and blocks change no bit of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality
from crossl.errors import ContractError

Float64: TypeAlias = NDArray[np.float64]
Whose: TypeAlias = Literal["recording", "subject"]

ROW_NUMBERS = 128
ROUNDING = 1e-6
"""A deviation below this share of the mean is rounding of float32, not signal."""


@dataclass(frozen=True)
class Calibration:
    """Which samples the mean and deviation of a window come from, and how small that may be.

    They are of each modality and channel. A sample counts that lies in a window in which the
    modality is present, once; so gaps that are too long to be filled do not count.

    Attributes:
        kind: its name in a run file.
        causal: a window sees samples up to its own end only, as a device does. Without, all of its
            recording, which must be there as a whole (transductive).
        minutes: length of the stretch that counts: so much of what the modality recorded, from its
            first sample. A window that ends within it sees what there is.
        by: whose samples count together; a subject's recordings only where it is not causal.
        floor: share of the typical deviation below which no deviation is taken, so that a channel
            that is constant is not blown up.
        typical: deviation of each channel that is usual among the recordings of training subjects,
            by modality; none before `fitted`.
    """

    kind: str
    causal: bool
    minutes: float = inf
    by: Whose = "recording"
    floor: float = 0.1
    typical: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def fitted(self, typical: Mapping[str, Sequence[float]]) -> Calibration:
        """Return the same with the typical deviations of training subjects."""
        return replace(self, typical=dict(typical))

    def most_samples(self, modality: Modality) -> int:
        """Return how many samples of a modality count at most."""
        if self.minutes == inf:
            return np.iinfo(np.int64).max
        return max(1, round(60 * self.minutes * modality.rate_hz))

    def divisor(self, modality: Modality, deviation: Float32) -> Float32:
        """Return what samples are divided by, once their mean is subtracted.

        Args:
            modality: whose samples they are.
            deviation: (..., C); 0 where a channel is constant.
        """
        usual = np.asarray(self.typical.get(modality.name, 0.0), dtype=np.float64)
        least = np.maximum(deviation, (self.floor * usual).astype(np.float32))
        return np.asarray(np.where(least > 0, least, 1), dtype=np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as a run's contract keeps them."""
        return {
            "kind": self.kind,
            "causal": self.causal,
            "minutes": None if self.minutes == inf else self.minutes,
            "by": self.by,
            "floor": self.floor,
            "typical_deviation": {name: list(values) for name, values in self.typical.items()},
            "mean_and_deviation_of": self.told,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `as_dict` returned."""
        minutes = values["minutes"]
        return cls(values["kind"], values["causal"], inf if minutes is None else minutes,
                   values["by"], values["floor"], values["typical_deviation"])  # fmt: skip

    @property
    def told(self) -> str:
        """Say of a window whose mean and deviation these are."""
        if not self.causal and self.by == "subject":
            return "all recordings of its subject (transductive: they must be over)"
        if not self.causal:
            return "the whole of its recording (transductive: it must be over)"
        if self.minutes == inf:
            return "what its recording holds up to the window's end (causal)"
        return f"the first {self.minutes:g} minutes of its recording (causal)"


class Moments:
    """Sums of samples in order, from which mean and deviation at any moment follow.

    Counted from the first sample, which keeps precision where a signal lies far from 0.

    Args:
        channels: of the signal.

    Attributes:
        count: samples so far.
        sums: (2C,) of samples and of their squares.

    Examples:
        >>> moments = Moments(1)
        >>> _ = moments.add(np.array([[1.0], [3.0]], dtype=np.float32))
        >>> [part.tolist() for part in moments.read(moments.sums, moments.count)]
        [[2.0], [1.0]]
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = np.zeros(2 * channels)
        self._origin: Float64 | None = None

    def add(self, values: Float32) -> Float64:
        """Add (n, C) samples behind those of before.

        Returns:
            (n, 2C) sums behind each of them. To the bit the same, however samples are cut.
        """
        if not len(values):
            return np.zeros((0, len(self.sums)))
        if self._origin is None:
            self._origin = values[0].astype(np.float64)
        moved = values.astype(np.float64) - self._origin
        terms = np.concatenate([moved, moved * moved], axis=1)
        terms[0] += self.sums
        sums = np.cumsum(terms, axis=0)  # one sample after the other
        self.count, self.sums = self.count + len(values), sums[-1]
        return sums

    def read(self, sums: Float64, count: NDArray[np.int64] | int) -> tuple[Float64, Float64]:
        """Return mean and deviation, each (..., C), of so many samples (...).

        A deviation that is no more than rounding is 0.

        Args:
            sums: (..., 2C) behind them.
            count: how many they are.
        """
        n = np.asarray(count, dtype=np.float64)[..., None]
        first, second = np.split(sums / n, 2, axis=-1)
        mean = first if self._origin is None else first + self._origin
        return mean, without_rounding(mean, np.sqrt(np.maximum(second - first * first, 0.0)))


def without_rounding(mean: Float64, deviation: Float64) -> Float64:
    """Return deviations with 0 where they are no more than rounding of float32."""
    return np.where(deviation <= ROUNDING * np.abs(mean), 0.0, deviation)


def apply(windows: Float32, mean: Float32, divisor: Float32) -> Float32:
    """Calibrate windows in place.

    Args:
        windows: (B, T, C), contiguous.
        mean: (B, C).
        divisor: (B, C).
    """
    batch, time, channels = windows.shape
    # long rows: numpy is slow where the last axis holds few numbers
    most = max(1, ROW_NUMBERS // channels)
    repeat = max(k for k in range(1, min(time, most) + 1) if time % k == 0)
    rows = windows.reshape(batch, time // repeat, repeat * channels)
    rows -= np.tile(mean, (1, repeat))[:, None]
    rows *= np.tile(1 / divisor, (1, repeat))[:, None]
    return windows


class Stream:
    """Calibrates the windows of one modality as they come, as a store's windows are.

    Args:
        calibration: a causal one.
        modality: whose windows they are.
    """

    def __init__(self, calibration: Calibration, modality: Modality) -> None:
        self._calibration, self._modality = calibration, modality
        self._moments = Moments(len(modality.channels))
        self._most = calibration.most_samples(modality)
        self._seen: int | None = None

    def next(self, first: int, values: Float32) -> Float32:
        """Calibrate the next window.

        Args:
            first: number of its first sample in the signal; later than that of the window before.
            values: (T, C).
        """
        known = 0 if self._seen is None else max(0, self._seen - first)
        self._seen = first + len(values)
        room = self._most - self._moments.count
        self._moments.add(values[known:][: max(0, room)])
        mean, deviation = self._moments.read(self._moments.sums, self._moments.count)
        divisor = self._calibration.divisor(self._modality, deviation.astype(np.float32))
        calibrated = apply(values[None].copy(), mean[None].astype(np.float32), divisor[None])
        return np.asarray(calibrated[0])


def streams(
    where: str, modalities: Sequence[Modality], calibration: Calibration | None
) -> dict[str, Stream] | None:
    """Make what calibrates the windows of each modality of a stream, by name; None for none.

    Raises:
        ContractError: the calibration needs the whole recording.
    """
    if calibration is None:
        return None
    if not calibration.causal:
        raise ContractError(
            f"{where}: the model calibrates each window by {calibration.told}, which a stream does "
            "not know; allowed in streams are standardisation.kind 'training', 'calibration' and "
            "'running', and a recording that is over goes into a store"
        )
    return {m.name: Stream(calibration, m) for m in modalities}
