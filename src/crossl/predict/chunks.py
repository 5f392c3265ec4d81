"""Timed samples as they come from a sensor, as the chunks that a windower takes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossl.data.recording import Float32, Modality, Signal
from crossl.data.source import as_windows
from crossl.errors import ContractError, DataError

NEAR = 0.75
"""Samples that a time may lie beside its place before a hole, or a sample that came twice, is
assumed."""
ENOUGH_STEPS = 16
"""Steps between samples from which a rate is measured."""
FAR_RATE = 0.1
"""Relative difference between the measured and the needed rate from which chunks are refused."""


class RateCheck:
    """Refuses timestamps that tell another rate than a sensor should have.

    The median of the first steps counts, so that holes and jitter do not.

    Args:
        where: names the sensor in messages.
        rate_hz: that is needed.
    """

    def __init__(self, where: str, rate_hz: float) -> None:
        self._where, self._rate_hz = where, rate_hz
        self._times: list[float] = []
        self._done = False

    def see(self, times: NDArray[np.float64]) -> None:
        """Look at the times of samples that came one behind the other.

        Raises:
            ContractError: they tell another rate.
        """
        if self._done:
            return
        self._times += times[: ENOUGH_STEPS + 1].tolist()
        if len(self._times) <= ENOUGH_STEPS:
            return
        self._done = True
        steps = np.diff(self._times)
        step_s = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
        self._times = []
        if not abs(step_s * self._rate_hz - 1) <= FAR_RATE:
            told = f"{1 / step_s:.4g} Hz" if step_s else "no rate, as times do not increase"
            raise ContractError(
                f"{self._where}: its times give {told}; the run was made for {self._rate_hz:g} Hz"
            )


def signals_of(
    where: str,
    modality: Modality,
    times: ArrayLike,
    values: Any,
    rate: RateCheck,
    *,
    jitter_s: float = 0.0,
) -> list[Signal]:
    """Return samples as stretches without a hole.

    Args:
        where: names the sensor in messages.
        modality: what is expected.
        times: seconds: of the first sample, or (n,) of each.
        values: (n, channels), or (n,) of one channel; NaN where one is missing.
        rate: looks at times of each.
        jitter_s: by how much more than three quarters of a sample times may lie beside their place.

    Returns:
        Each at the rate of the modality.

    Raises:
        ContractError: another number of channels, or times tell another rate.
        DataError: arrays that cannot be used.
    """
    array = _samples(where, modality, values)
    when = np.asarray(times, dtype=np.float64)
    if when.ndim > 1 or (when.ndim == 1 and len(when) != len(array)):
        raise DataError(
            f"{where}: has {len(array)} samples and times of shape {when.shape}; one time for each "
            "is needed, or that of the first"
        )
    if not np.isfinite(when).all():
        raise DataError(f"{where}: holds a time that is not a number; seconds are needed")
    if when.ndim == 0:
        return [Signal(array, modality.rate_hz, float(when))]
    if not len(when):
        return []
    rate.see(when)
    edges = _edges(when * modality.rate_hz, NEAR + jitter_s * modality.rate_hz)
    return [_stretch(modality, when[a:b], array[a:b])
            for a, b in pairwise(edges)]  # fmt: skip


def _samples(where: str, modality: Modality, values: Any) -> Float32:
    array = as_windows(where, values)
    channels = len(modality.channels)
    if array.ndim == 1 and channels == 1:
        array = array[:, None]
    if array.ndim == 1 and not len(array):
        array = array.reshape(0, channels)
    if array.ndim != 2 or array.shape[1] != channels:
        raise ContractError(
            f"{where}: has shape {array.shape}; the run was made for {channels} channels "
            f"({', '.join(modality.channels)}), and (samples, channels) is needed"
        )
    with np.errstate(over="ignore"):  # reported below, in words
        array = np.array(array, dtype=np.float32)
    if np.isinf(array).any():
        raise DataError(
            f"{where}: holds infinite values, or too large for float32; use NaN for what is missing"
        )
    return array


def _edges(place: NDArray[np.float64], near: float) -> list[int]:
    """Return where stretches of samples one apart begin, and where the last one ends."""
    edges, begin = [0], 0
    while True:
        off = np.abs(place[begin:] - place[begin] - np.arange(len(place) - begin)) > near
        if not off.any():
            return [*edges, len(place)]
        begin += int(off.argmax())
        edges.append(begin)


def _stretch(modality: Modality, when: NDArray[np.float64], values: Float32) -> Signal:
    """Return one stretch; its start is the mean that its times tell, where they jitter."""
    starts = when - np.arange(len(when)) / modality.rate_hz
    exact = np.ptp(starts) * modality.rate_hz <= 1e-3
    return Signal(values, modality.rate_hz, float(starts[0] if exact else starts.mean()))
