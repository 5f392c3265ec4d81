"""Target rules: how the targets of windows follow from a recording that is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality, Recording
from crossl.data.targets import Target
from crossl.data.windows import CutRecording, WindowSpec, cut_recording


@dataclass(frozen=True)
class WindowsOf:
    """The windows of one recording, as a rule sees them.

    Attributes:
        recording: with the labels that it came with.
        spec: how windows were cut.
        start_s: (W,) start of each window, seconds on the recording's clock.
        signals: (time, channel) by modality, short gaps filled; those of the rules too.
        first: (W,) first sample of each window by modality; -1 where it is not present.
    """

    recording: Recording
    spec: WindowSpec
    start_s: NDArray[np.float64]
    signals: Mapping[str, Float32]
    first: Mapping[str, NDArray[np.int64]]


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
    """Cut a recording, and tell the targets of its windows.

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
    windows = WindowsOf(recording, spec, cut.start_s, cut.signals, first)
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
