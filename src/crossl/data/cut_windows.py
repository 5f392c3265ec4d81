"""What the windower yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32


@dataclass(frozen=True)
class Window:
    """One window.

    Attributes:
        number: how many strides it starts behind the first window.
        start_s: start, seconds on the clock of the chunks.
        signals: (time, channel) float32 by modality, of those that are present; read-only.
        recorded: the same as they were recorded, where windows are calibrated; else `signals`.
    """

    number: int
    start_s: float
    signals: Mapping[str, Float32]
    recorded: Mapping[str, Float32] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class CutSignals:
    """Signals and where windows begin in them.

    Attributes:
        signals: (time, channel) float32 without NaN, by modality; long gaps hold zeros.
        number: (W,) of each window.
        start_s: (W,) start of each window, seconds.
        offsets: (W, M) first sample of each window in its signal; -1 where not present.
        interpolated: samples filled across short gaps, by modality.
    """

    signals: dict[str, Float32]
    number: NDArray[np.int64]
    start_s: NDArray[np.float64]
    offsets: NDArray[np.int64]
    interpolated: dict[str, int]
