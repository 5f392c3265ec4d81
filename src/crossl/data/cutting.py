"""Cut whole recordings: the windower is given everything at once, and labels follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality, Recording
from crossl.data.windower import Windower
from crossl.data.windows import WindowSpec, label_windows, window_numbers
from crossl.errors import DataError


@dataclass(frozen=True)
class CutRecording:
    """A recording ready for the store: gaps filled or marked, windows placed.

    Attributes:
        signals: (time, channel) float32 without NaN, by modality; long gaps hold zeros.
        start_s: (W,) start of each window, seconds on the recording's clock.
        offsets: (W, M) first sample of each window in its signal; -1 where not present.
        present: (W, M) bool.
        label: (W,) index into the class names; -1 unlabelled.
        interpolated: samples filled across short gaps, by modality.
    """

    signals: dict[str, Float32]
    start_s: NDArray[np.float64]
    offsets: NDArray[np.int64]
    present: NDArray[np.bool_]
    label: NDArray[np.int16]
    interpolated: dict[str, int]


def cut_recording(
    recording: Recording,
    modalities: Sequence[Modality],
    classes: Sequence[str],
    spec: WindowSpec,
) -> CutRecording:
    """Cut one recording; windows in which no modality is present are dropped.

    Args:
        recording: what was recorded.
        modalities: the columns of `present` and `offsets`, in order.
        classes: label names; a label that is not among them leaves its time unlabelled.
        spec: how to cut.

    Returns:
        The recording's signals and windows; no window when it is shorter than one.

    Raises:
        DataError: the recording declares a modality with other channels, unit or rate, or windows
            start far more often than samples are recorded.
    """
    window_numbers(recording, spec)  # refuses what the signals that are not kept forbid, too
    found = [m for m in modalities if m.name in recording.signals]
    for modality in found:
        _check_declared(recording, modality)
    windower = Windower(modalities, spec, max_delay_s=np.inf, start_s=recording.start_s)
    cut = windower.cut_whole(
        {m.name: recording.signals[m.name] for m in found}, end_s=recording.end_s
    )
    label = label_windows(recording.labels, cut.start_s, spec, classes)
    return CutRecording(
        cut.signals, cut.start_s, cut.offsets, cut.offsets >= 0, label, cut.interpolated
    )


def _check_declared(recording: Recording, modality: Modality) -> None:
    declared = recording.modalities[modality.name]
    for what in ("channels", "unit", "rate_hz"):
        if getattr(declared, what) != getattr(modality, what):
            raise DataError(
                f"{recording.where(modality.name)} declares {what} {getattr(declared, what)}; the "
                f"store has {getattr(modality, what)}, and all recordings must agree"
            )
