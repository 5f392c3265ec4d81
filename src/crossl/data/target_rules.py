"""Target rules: how the targets of windows follow from a recording that is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.classes import with_classes
from crossl.data.cutting import CutRecording, cut_recording
from crossl.data.recording import Float32, LabelInterval, Modality, Recording
from crossl.data.targets import UNKNOWN, Target
from crossl.data.windows import WindowSpec, label_windows

Statistic: TypeAlias = Literal["mean", "median", "max", "min"]

SAMPLES_AT_ONCE = 1 << 22
"""Samples of windows, which overlap, that are in memory at once."""


@dataclass(frozen=True)
class WindowsOf:
    """The windows of one recording, as a rule sees them.

    Attributes:
        recording: with the labels that it came with.
        spec: how windows were cut.
        start_s: (W,) start of each window, seconds on the recording's clock.
        modalities: the streams that were cut, those of the rules too, by name.
        signals: (time, channel) by modality, short gaps filled.
        first: (W,) first sample of each window by modality; -1 where it is not present.
    """

    recording: Recording
    spec: WindowSpec
    start_s: NDArray[np.float64]
    modalities: Mapping[str, Modality]
    signals: Mapping[str, Float32]
    first: Mapping[str, NDArray[np.int64]]

    def classes(self, labels: Sequence[LabelInterval], names: Sequence[str]) -> NDArray[np.int16]:
        """Return which of some labels fills most of each window, -1 for none; (W,)."""
        return label_windows(labels, self.start_s, self.spec, names)

    def statistic(self, name: str, channel: int, statistic: Statistic) -> NDArray[np.float32]:
        """Sum up a channel in each window.

        Args:
            name: of the modality.
            channel: its number.
            statistic: of the samples.

        Returns:
            (W,); NaN where the modality is not present.
        """
        first = self.first[name]
        found = np.flatnonzero(first >= 0)
        out = np.full(len(first), np.nan, dtype=np.float32)
        if not len(found):
            return out
        samples = self.spec.samples(self.modalities[name])
        every = np.lib.stride_tricks.sliding_window_view(self.signals[name][:, channel], samples)
        step = max(1, SAMPLES_AT_ONCE // samples)
        for begin in range(0, len(found), step):
            some = found[begin : begin + step]
            values = every[first[some]].astype(np.float64)
            out[some] = getattr(np, statistic)(values, axis=1)
        return out


class TargetRule(Protocol):
    """How the values of one target follow from a recording; pickled into other processes."""

    @property
    def target(self) -> Target:
        """What it tells."""

    @property
    def signals(self) -> tuple[Modality, ...]:
        """The streams that it reads, which need not be among those of the store."""

    def values(self, windows: WindowsOf) -> NDArray[Any]:
        """Return the target's values, a row for each window."""


def cut_with_targets(
    recording: Recording,
    named: Recording,
    modalities: Sequence[Modality],
    classes: Sequence[str],
    spec: WindowSpec,
    rules: Sequence[TargetRule],
) -> tuple[CutRecording, dict[str, NDArray[Any]]]:
    """Cut a recording, with the targets of its windows.

    Streams that only a rule reads are cut like the others and then left out: a window in which
    nothing else is present is dropped.

    Args:
        recording: as it was read.
        named: the same with the labels that are classes of the store.
        modalities: the streams of the store, in order.
        classes: of the store.
        spec: how to cut.
        rules: of the targets.

    Returns:
        The cut recording, and the values of each target by name.

    Raises:
        DataError: see `cut_recording`.
    """
    if not rules:
        return cut_recording(named, modalities, classes, spec), {}
    kept = {m.name for m in modalities}
    hidden = {m.name: m for rule in rules for m in rule.signals if m.name not in kept}
    every = (*modalities, *hidden.values())
    cut = cut_recording(named, every, classes, spec)
    seen = cut.present[:, : len(modalities)]
    cut = _rows(cut, np.asarray(seen.any(axis=1)))
    first = {m.name: cut.offsets[:, column] for column, m in enumerate(every)}
    windows = WindowsOf(
        recording, spec, cut.start_s, {m.name: m for m in every}, cut.signals, first
    )
    values = {rule.target.name: rule.values(windows) for rule in rules}
    return _without(cut, len(modalities), hidden), values


def _rows(cut: CutRecording, some: NDArray[np.bool_]) -> CutRecording:
    return replace(cut, start_s=cut.start_s[some], offsets=cut.offsets[some],
                   present=cut.present[some], label=cut.label[some])  # fmt: skip


def _without(cut: CutRecording, columns: int, hidden: Mapping[str, Modality]) -> CutRecording:
    return replace(
        cut,
        signals={name: v for name, v in cut.signals.items() if name not in hidden},
        interpolated={name: n for name, n in cut.interpolated.items() if name not in hidden},
        offsets=cut.offsets[:, :columns],
        present=cut.present[:, :columns],
    )


@dataclass(frozen=True)
class LabelsOfClasses:
    """Several labels at once: those of the class that fills most of a window.

    Attributes:
        target: of kind `labels`.
        classes: labels of the recordings, in order.
        of: the classes that have each label, in the target's order.
    """

    target: Target
    classes: tuple[str, ...]
    of: tuple[tuple[str, ...], ...]
    signals: tuple[Modality, ...] = ()

    def values(self, windows: WindowsOf) -> NDArray[Any]:
        """Return (W, L) int8: 1 and 0; -1 throughout where a window has no class."""
        found = windows.classes(windows.recording.labels, self.classes)
        has = np.array([[name in names for names in self.of] for name in self.classes])
        return np.where((found == UNKNOWN)[:, None], UNKNOWN, has[found]).astype(np.int8)


@dataclass(frozen=True)
class MergedClasses:
    """Other classes: each is what some labels of the recordings are together.

    Attributes:
        target: of kind `classes`.
        of: class by label of the recordings.
    """

    target: Target
    of: Mapping[str, str]
    signals: tuple[Modality, ...] = ()

    def values(self, windows: WindowsOf) -> NDArray[Any]:
        """Return (W,) int16; -1 where no class fills enough of a window."""
        return windows.classes(with_classes(windows.recording, self.of).labels, self.target.names)


@dataclass(frozen=True)
class NumberOfSignal:
    """A number of each window from a signal.

    Attributes:
        modality: the stream.
        channel: number of its channel.
        statistic: of the samples in a window.
    """

    modality: Modality
    channel: int
    statistic: Statistic

    def values(self, windows: WindowsOf) -> NDArray[np.float32]:
        """Return (W,); NaN where the modality is not present in the window."""
        return windows.statistic(self.modality.name, self.channel, self.statistic)


@dataclass(frozen=True)
class NumberOfPerson:
    """A number that is the same in all windows of a person.

    Attributes:
        values_of: by subject.
        complete: who is named must have been recorded.
        where: it was given, to be named in messages.
    """

    values_of: Mapping[str, float]
    complete: bool
    where: str

    def values(self, windows: WindowsOf) -> NDArray[np.float32]:
        """Return (W,); NaN where it is not known of this person."""
        told = self.values_of.get(windows.recording.subject, np.nan)
        return np.full(len(windows.start_s), told, dtype=np.float32)


@dataclass(frozen=True)
class NumberKnown:
    """A number of a person from the data set itself.

    Attributes:
        fact: what it is called in `Recording.person`.
    """

    fact: str

    def values(self, windows: WindowsOf) -> NDArray[np.float32]:
        """Return (W,); NaN where the data set does not have it of this person."""
        told = windows.recording.person.get(self.fact, np.nan)
        return np.full(len(windows.start_s), told, dtype=np.float32)


Number: TypeAlias = NumberOfSignal | NumberOfPerson | NumberKnown


@dataclass(frozen=True)
class Numbers:
    """One number or several of each window.

    Attributes:
        target: of kind `numbers`.
        numbers: where each comes from, in the target's order.
    """

    target: Target
    numbers: tuple[Number, ...]

    @property
    def signals(self) -> tuple[Modality, ...]:
        """The streams that numbers are read from."""
        return tuple(one.modality for one in self.numbers if isinstance(one, NumberOfSignal))

    def values(self, windows: WindowsOf) -> NDArray[Any]:
        """Return (W, Q) float32; NaN where unknown."""
        return np.stack([one.values(windows) for one in self.numbers], axis=1)
