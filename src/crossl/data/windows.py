"""The rules by which windows are cut: where each starts, what is present, what its label is.

The one place where seconds become samples and NaN becomes `present`. `windower` applies them to
chunks as they come, `cutting` to whole recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, LabelInterval, Modality, Recording
from crossl.errors import DataError

UNLABELLED = -1

MAX_WINDOWS_A_SAMPLE = 10
SPARE_WINDOWS = 1000
"""Windows may start so often a sample of the longest signal, and so many on top."""

MAX_NUMBER = 2.0**52
"""Beyond, numbers of windows are no longer exact."""


@dataclass(frozen=True)
class WindowSpec:
    """How windows are cut.

    Attributes:
        window_s: length of a window, seconds.
        stride_s: from the start of one window to the start of the next, seconds.
        min_coverage: share of a window's samples that must have been recorded for a modality
            to be present in it.
        max_gap_s: a run of missing samples up to this long is interpolated; a window that
            touches a longer one lacks the modality. What a window lacks before the first or behind
            the last sample of a modality is such a run.
        min_label_share: share of a window that its most frequent label must fill; below it the
            window is unlabelled.
        max_gap_of: `max_gap_s` of single modalities, by name.

    Examples:
        >>> WindowSpec(window_s=2.0, stride_s=1.0).min_coverage
        0.8
    """

    window_s: float
    stride_s: float
    min_coverage: float = 0.8
    max_gap_s: float = 0.2
    min_label_share: float = 0.6
    max_gap_of: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse lengths and shares that cannot be."""
        for name in ("window_s", "stride_s"):
            if not 0 < getattr(self, name) < np.inf:
                raise DataError(
                    f"windows: {name} is {getattr(self, name)}; a positive number of seconds "
                    "is needed"
                )
        for name in ("min_coverage", "min_label_share"):
            if not 0 < getattr(self, name) <= 1:
                raise DataError(f"windows: {name} is {getattr(self, name)}; allowed is 0 < x <= 1")
        if not self.max_gap_s >= 0:
            raise DataError(f"windows: max_gap_s is {self.max_gap_s}; allowed is 0 or more")
        for name, gap_s in self.max_gap_of.items():
            if not gap_s >= 0:
                raise DataError(f"windows: max_gap_s of '{name}' is {gap_s}; allowed is 0 or more")

    def gap_s(self, modality: str) -> float:
        """Return the longest run of missing samples of a modality that is interpolated."""
        return self.max_gap_of.get(modality, self.max_gap_s)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; without `max_gap_of` where it says nothing."""
        values = asdict(self)
        return values if self.max_gap_of else {k: v for k, v in values.items() if k != "max_gap_of"}

    def samples(self, modality: Modality) -> int:
        """Samples of one window of this modality.

        Raises:
            DataError: the window is shorter than one sample.
        """
        count = round(self.window_s * modality.rate_hz)
        if count < 1:
            raise DataError(
                f"windows: window_s {self.window_s:g} holds no sample of '{modality.name}' at "
                f"{modality.rate_hz:g} Hz; make the window longer"
            )
        return count


def window_numbers(recording: Recording, spec: WindowSpec) -> NDArray[np.int64]:
    """Number the windows that touch a signal; window n starts n strides behind the recording.

    Time in which nothing was recorded makes no windows, so that one wrong start among the signals
    costs nothing, however far away it is.

    Args:
        recording: what was recorded.
        spec: how to cut.

    Returns:
        (W,) increasing.

    Raises:
        DataError: windows start more often than samples are recorded.
    """
    signals = [signal for signal in recording.signals.values() if len(signal.values)]
    where = f"subject {recording.subject}, session {recording.session}"
    begin_s = recording.start_s
    ranges = numbers_touched(
        [(signal.start_s, signal.end_s) for signal in signals],
        begin_s,
        (0, last_number(where, begin_s, recording.end_s, spec)),
        spec,
    )
    check_count(where, ranges, max((len(signal.values) for signal in signals), default=0), spec)
    return listed(ranges)


Ranges: TypeAlias = list[tuple[float, float]]
"""Numbers of windows: from, and up to but without."""


def last_number(where: str, begin_s: float, end_s: float, spec: WindowSpec) -> float:
    """Return the number of the last window that ends by `end_s`; below 0 where there is none.

    Raises:
        DataError: there are more than can be counted.
    """
    last = np.floor((end_s - begin_s - spec.window_s) / spec.stride_s + 1e-6)
    if not last < MAX_NUMBER:
        raise DataError(
            f"{where}: its signals lie within {end_s - begin_s:.3g} s, too long "
            f"for windows every {spec.stride_s:g} s to be counted; is a start wrong, or "
            "`stride_s` too short?"
        )
    return float(last)


def numbers_touched(
    spans_s: Sequence[tuple[float, float]],
    begin_s: float,
    within: tuple[float, float],
    spec: WindowSpec,
) -> Ranges:
    """Return the ranges of windows that may touch a span of recorded time.

    Args:
        spans_s: start and end of what was recorded, seconds.
        begin_s: start of window 0.
        within: the first and the last number that are asked for.
        spec: how to cut.

    Returns:
        Ranges in order, none touching the next.
    """
    touched = []
    for start_s, end_s in spans_s:
        low = np.floor((start_s - begin_s - spec.window_s) / spec.stride_s) - 1
        high = np.ceil((end_s - begin_s) / spec.stride_s) + 1
        touched.append((max(within[0], float(low)), min(within[1], float(high)) + 1))
    joined: Ranges = []
    for low, high in sorted(touched):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        elif high > low:
            joined.append((low, high))
    return joined


def check_count(where: str, ranges: Ranges, most: int, spec: WindowSpec) -> None:
    """Refuse windows that start far more often than samples are recorded.

    Args:
        where: names the recording in the message.
        ranges: the windows.
        most: samples of the longest signal.
        spec: how they are cut.

    Raises:
        DataError: there are more than 10 a sample.
    """
    count = sum(high - low for low, high in ranges)
    if not count <= SPARE_WINDOWS + MAX_WINDOWS_A_SAMPLE * most:
        raise DataError(
            f"{where}: a window every {spec.stride_s:g} s would be {count:.3g} windows of {most} "
            "samples; make `stride_s` longer"
        )


def listed(ranges: Ranges) -> NDArray[np.int64]:
    """Return the numbers of ranges, one behind the other."""
    each = [np.arange(low, high, dtype=np.int64) for low, high in ranges]
    return np.concatenate(each) if each else np.zeros(0, dtype=np.int64)


def window_starts(recording: Recording, spec: WindowSpec) -> NDArray[np.float64]:
    """Return when the windows of `window_numbers` start, seconds on the recording's clock."""
    return starts_of(window_numbers(recording, spec), recording.start_s, spec)


def starts_of(numbers: NDArray[np.int64], begin_s: float, spec: WindowSpec) -> NDArray[np.float64]:
    """Return when windows start, seconds; window 0 starts at `begin_s`."""
    return np.asarray(numbers.astype(np.float64) * spec.stride_s + begin_s, dtype=np.float64)


def first_samples(
    start_s: NDArray[np.float64], signal_start_s: float, rate_hz: float
) -> NDArray[np.int64]:
    """Return the sample of a signal that each window begins with; the nearest one.

    Args:
        start_s: (W,) window starts.
        signal_start_s: time of the signal's first sample.
        rate_hz: the signal's own rate: a clock off by 1% would drift from the labels by 36 s an
            hour.
    """
    return np.round((start_s - signal_start_s) * rate_hz).astype(np.int64)


@dataclass(frozen=True)
class Placed:
    """Windows of one modality, placed in its samples.

    Attributes:
        values: (time, channel) float32 without NaN; long gaps hold zeros.
        first: (W,) first sample of each window; -1 where the modality is not present.
        interpolated: samples filled across short gaps.
    """

    values: Float32
    first: NDArray[np.int64]
    interpolated: int


def place_windows(
    values: Float32,
    first: NDArray[np.int64],
    samples: int,
    gap_samples: float,
    min_coverage: float,
    *,
    ended: bool = True,
) -> Placed:
    """Fill short gaps, and say in which windows the modality is present.

    Args:
        values: (time, channel), NaN where missing; a signal, or a stretch of one.
        first: (W,) first sample of each window, may lie outside.
        samples: of a window.
        gap_samples: longest run of missing samples that is filled.
        min_coverage: share of a window's samples that must have been recorded.
        ended: the last sample is the signal's last: a window may lack a short gap behind it.
    """
    filled, recorded, usable = fill_short_gaps(values, gap_samples)
    before, after = _beyond_edges(recorded, first, samples, gap_samples)
    after = after if ended else 0
    if before or after:
        edges = ((before, after),)
        filled = np.pad(filled, (*edges, (0, 0)), mode="edge")
        recorded = np.pad(recorded, edges, constant_values=False)
        usable = np.pad(usable, edges, constant_values=True)
        first = first + before
    ok = _present_windows(recorded, usable, first, samples, min_coverage)
    return Placed(filled, np.where(ok, first, -1), int((usable & ~recorded).sum()))


def fill_short_gaps(
    values: Float32, max_gap_samples: float
) -> tuple[Float32, NDArray[np.bool_], NDArray[np.bool_]]:
    """Interpolate runs of missing samples up to a length; mark the longer ones.

    A sample with NaN in any channel counts as missing. A short run at either end repeats the
    nearest recorded sample.

    Args:
        values: (time, channel), NaN where missing.
        max_gap_samples: longest run that is filled.

    Returns:
        The signal without NaN (zeros in long gaps), `recorded` (time,) bool and `usable`
        (time,) bool: recorded or filled.

    Examples:
        >>> gap = np.array([[0.0], [np.nan], [2.0]], dtype=np.float32)
        >>> fill_short_gaps(gap, 1)[0].ravel().tolist()
        [0.0, 1.0, 2.0]
    """
    recorded: NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=1))
    if recorded.all():
        return values, recorded, recorded.copy()
    usable = recorded.copy()
    edges = np.flatnonzero(np.diff(np.r_[True, recorded, True]))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        # 1e-6: 0.29 s at 100 Hz is 29 samples, not 28.999...
        usable[begin:end] = end - begin <= max_gap_samples + 1e-6
    known = np.flatnonzero(recorded)
    index = np.arange(len(values))
    if not len(known):
        return np.zeros_like(values), recorded, recorded.copy()
    filled = np.stack([np.interp(index, known, column[known]) for column in values.T], axis=1)
    filled[~usable] = 0.0
    return filled.astype(np.float32), recorded, usable


def longest_reach(gap_samples: float) -> float:
    """Return how many samples a window may reach beyond a signal's end, at most."""
    return max(gap_samples, 1.0) + 1e-6 if gap_samples > 0 else 0.0


def _beyond_edges(
    recorded: NDArray[np.bool_], first: NDArray[np.int64], samples: int, gap_samples: float
) -> tuple[int, int]:
    """Tell how many samples windows reach beyond a signal's first and last one.

    What lies beyond counts as a gap of what the window lacks there: up to the longest gap (or one
    sample, where gaps are filled and samples are further apart) it is filled like any other, so
    that a sensor that starts a little late is present where enough of the window was recorded.
    """
    if not recorded.any() or gap_samples <= 0:
        return 0, 0
    longest = longest_reach(gap_samples)
    reach = []
    for beyond, side in ((-first, recorded), (first + samples - len(recorded), recorded[::-1])):
        room = longest - int(np.argmax(side))  # a signal may begin with a gap of its own
        near = beyond[(beyond > 0) & (beyond <= room)]
        reach.append(int(near.max()) if len(near) else 0)
    return reach[0], reach[1]


def _present_windows(
    recorded: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    first: NDArray[np.int64],
    samples: int,
    min_coverage: float,
) -> NDArray[np.bool_]:
    inside = (first >= 0) & (first + samples <= len(recorded))
    if recorded.all():
        return np.asarray(inside)
    begin = np.where(inside, first, 0)
    end = np.where(inside, first + samples, 0)
    n_recorded = np.concatenate([[0], np.cumsum(recorded)])
    n_unusable = np.concatenate([[0], np.cumsum(~usable)])
    covered = n_recorded[end] - n_recorded[begin] >= min_coverage * samples - 1e-6
    return np.asarray(inside & covered & (n_unusable[end] == n_unusable[begin]))


def label_windows(
    labels: Sequence[LabelInterval],
    start_s: NDArray[np.float64],
    spec: WindowSpec,
    classes: Sequence[str],
) -> NDArray[np.int16]:
    """Give each window the label that fills most of it, if it fills enough.

    Args:
        labels: intervals of one recording, sorted, without overlap.
        start_s: (W,) window starts.
        spec: `window_s` and `min_label_share` are used.
        classes: the index of a label's name here is its number.

    Returns:
        (W,) int16; -1 where no label fills `min_label_share` of the window.
    """
    share = np.zeros((len(start_s), len(classes)))
    index: Mapping[str, int] = {name: i for i, name in enumerate(classes)}
    for interval in labels:
        if interval.label in index:
            upto = np.minimum(interval.end_s, start_s + spec.window_s)
            overlap = upto - np.maximum(interval.start_s, start_s)
            share[:, index[interval.label]] += np.clip(overlap, 0, None) / spec.window_s
    if not classes:
        return np.full(len(start_s), UNLABELLED, dtype=np.int16)
    best = share.argmax(axis=1)
    # 1e-9: a share of exactly the minimum must not be lost to rounding
    enough = share.max(axis=1) >= spec.min_label_share - 1e-9
    return np.where(enough, best, UNLABELLED).astype(np.int16)
