"""What happens to sensors that stay on: gaps within a window, noise, another way of being worn.

Each damage is a pure function of a window's samples and of random numbers that follow from a seed,
the window and the sensor. So all that is scored on a window sees the same damage, and a small and
a large severity of a kind hit the same place, in the same direction.

A gap looks to a model as gaps do everywhere: a run of missing samples is filled by a line between
its neighbours, and at an end of the window by the nearest sample (`crossl.data.windows`). That is
what a window looks like whose gap is no longer than `max_gap_s`. In a window with a longer one the
modality is absent, which is what every subset of modalities is scored for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crossl.data.chance import Keys, keys_of, normal, uniform
from crossl.data.recording import Float32, Modality

Kind = Literal["gap", "noise", "rotation"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LARGEST = {"gap": 1.0, "noise": float("inf"), "rotation": 180.0}
"""Up to which severity; a gap is shorter than the window."""

Severity = NDArray[np.float64]
"""(n,) of each window: share of the window (gap), standard deviations (noise), degrees."""
Deviation = Callable[[str], NDArray[np.floating[Any]]]
"""Returns of a modality the standard deviation of each channel in training, (C,)."""


def gap(x: Float32, keys: Keys, share: Severity) -> Float32:
    """Lose a stretch of each window, at a random place, and fill it as gaps are filled.

    Args:
        x: (n, T, C).
        keys: of the windows' random numbers.
        share: of the window that is lost; at least one sample stays.

    Returns:
        (n, T, C): on a line between the samples beside the gap; at an end the nearest sample.
    """
    n, time, _ = x.shape
    length = np.minimum(np.rint(share * time), time - 1).astype(np.int64)
    first = np.floor(uniform(keys, 1)[:, 0] * (time - length + 1)).astype(np.int64)
    after = first + length
    index = np.arange(time)
    lost = (index >= first[:, None]) & (index < after[:, None])  # (n, T)
    beside = (np.clip(one, 0, time - 1) for one in (first - 1, after))
    left, right = (x[np.arange(n), one].astype(np.float64) for one in beside)
    left = np.where((first == 0)[:, None], right, left)
    right = np.where((after == time)[:, None], left, right)
    place = ((index - first[:, None] + 1) / (length + 1)[:, None])[:, :, None]
    line = left[:, None] + (right - left)[:, None] * place
    return np.where(lost[:, :, None], line.astype(np.float32), x)


def noise(x: Float32, keys: Keys, size: Severity, deviation: NDArray[np.floating[Any]]) -> Float32:
    """Add white noise to each window.

    Args:
        x: (n, T, C).
        keys: of the windows' random numbers.
        size: standard deviation of the noise, as a multiple of `deviation`.
        deviation: (C,) of the channels in training.
    """
    drawn = normal(keys, x.shape[1] * x.shape[2]).reshape(x.shape)
    noisy = (x + drawn * size[:, None, None] * deviation).astype(np.float32)
    return np.where((size > 0)[:, None, None], noisy, x)


def rotation(x: Float32, keys: Keys, degrees: Severity) -> Float32:
    """Turn each window's vectors, as if the sensor were worn in another way.

    Args:
        x: (n, T, 3).
        keys: of the windows' random numbers, which give the axis: any direction alike.
        degrees: by how much.
    """
    axis = normal(keys, 3)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    cross = np.zeros((len(x), 3, 3))
    for one, (row, column, sign) in enumerate(((2, 1, 1), (0, 2, 1), (1, 0, 1))):
        cross[:, row, column], cross[:, column, row] = sign * axis[:, one], -sign * axis[:, one]
    angle = np.deg2rad(degrees)[:, None, None]
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    parts = [x[:, :, c, None] * turn[:, None, :, c] for c in range(3)]
    turned = (parts[0] + parts[1] + parts[2]).astype(np.float32)
    return np.where((degrees > 0)[:, None, None], turned, x)


def suits(kind: Kind, modality: Modality) -> bool:
    """Tell whether a modality can be damaged in this way: only x, y and z can be turned."""
    axes = [channel.lower()[-1:] for channel in modality.channels]
    return kind != "rotation" or axes == ["x", "y", "z"]


@dataclass(frozen=True)
class Damage:
    """One damage to some modalities of every window that has them.

    Attributes:
        kind: what happens.
        severity: how much of it.
        modalities: names.
        per: a turn is drawn for each window, or once for each person.
        together: why these: `each` by itself, those of one of the `devices`, or `all`.
    """

    kind: Kind
    severity: float
    modalities: tuple[str, ...]
    per: Literal["window", "person"] = "window"
    together: Literal["each", "devices", "all"] = "each"

    @property
    def told(self) -> str:
        """What results call it, but for severity and modalities.

        Examples:
            >>> Damage("rotation", 30.0, ("acc", "gyro"), "person", "devices").told
            'rotation per person, devices'
        """
        whose = "" if self.per == "window" else f" per {self.per}"
        return f"{self.kind}{whose}" + ("" if self.together == "each" else f", {self.together}")


class Spoiler:
    """Damages windows, the same however they are read.

    Args:
        modalities: the streams.
        deviation: of the channels of a modality in training; it is asked for when there is noise.
        seed: of all that is drawn.
    """

    def __init__(self, modalities: Sequence[Modality], deviation: Deviation, *, seed: int) -> None:
        self.modalities = {m.name: m for m in modalities}
        self.deviation, self.seed = deviation, seed

    def reseeded(self, seed: int) -> Spoiler:
        """Return one that draws other numbers."""
        return Spoiler(list(self.modalities.values()), self.deviation, seed=seed)

    def spoil(
        self,
        name: str,
        x: Float32,
        who: NDArray[np.integer[Any]] | NDArray[np.str_],
        kind: Kind,
        severity: float | Severity,
        *seed: int,
    ) -> Float32:
        """Damage windows of a modality.

        Args:
            name: of the modality.
            x: (n, T, C), all of them present.
            who: (n,) what each window's numbers follow from: its row, or its person.
            kind: of damage; it must suit the modality.
            severity: of all, or (n,) of each.
            seed: more of it, such as the number of a step.

        Returns:
            (n, T, C) float32; to the byte as before where the severity is 0.
        """
        modality = self.modalities[name]
        # what one device carries is turned together
        place = modality.device or name if kind == "rotation" else name
        keys = keys_of(who, self.seed, kind, place, *seed)
        each = np.broadcast_to(np.asarray(severity, dtype=np.float64), len(x))
        if kind == "gap":
            return gap(x, keys, each)
        if kind == "rotation":
            return rotation(x, keys, each)
        return noise(x, keys, each, self.deviation(name))
