"""Damage as run files ask for it: at test, and of windows that are learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from crossl.data.calibrated import as_seen, recorded
from crossl.data.chance import keys_of, uniform
from crossl.data.damage import KINDS, LARGEST, Damage, Kind, Severity, Spoiler, suits
from crossl.data.recording import Float32, Modality
from crossl.data.source import WindowSource
from crossl.settings import Settings


class TestedDamage(Settings):
    """What is done to sensors of test windows.

    Attributes:
        kind: `gap` loses a stretch of each window, `noise` adds white noise, `rotation` turns
            sensors with an x, a y and a z.
        severity: of each damage that is scored: share of the window, standard deviations of the
            channel in training, or degrees; 0 leaves windows as they are.
        modalities: `each` by itself, those of each of the `devices`, or `all` at once.
        per: a turn is drawn for each window, or once for each person.
    """

    __test__ = False  # to pytest its name looks like a test

    kind: Kind
    severity: tuple[Annotated[float, Field(ge=0)], ...]
    modalities: Literal["each", "devices", "all"] = "each"
    per: Literal["window", "person"] = "window"

    @field_validator("severity", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        return (given,) if isinstance(given, (int, float)) else given

    @model_validator(mode="after")
    def _possible(self) -> TestedDamage:
        refuse_severity(self.kind, self.severity)
        if not self.severity:
            raise ValueError("severity is empty; at least one is needed")
        if self.per == "person" and self.kind != "rotation":
            raise ValueError(f"per is 'person', which a turn can be drawn for, not a {self.kind}")
        return self

    def damages(self, modalities: Sequence[Modality]) -> Iterator[Damage]:
        """Yield each damage that is scored; modalities that it does not suit are in none."""
        suited = [m for m in modalities if suits(self.kind, m)]
        groups: dict[str, list[str]] = {}
        for m in suited:
            together = {"each": m.name, "devices": m.device or m.name, "all": ""}
            groups.setdefault(together[self.modalities], []).append(m.name)
        for severity in self.severity:
            for names in groups.values():
                yield Damage(self.kind, severity, tuple(names), self.per, self.modalities)


class TrainingDamage(Settings):
    """How windows that are learned from are damaged, anew each time that one is read.

    Attributes:
        share: probability that a present modality of a window is damaged, by one of the kinds that
            suit it.
        gap: longest share of the window that is lost; 0 loses none.
        noise: largest standard deviation of noise, as a multiple of the channel's in training.
        rotation: largest angle of a turn, degrees.
    """

    share: float = Field(0.5, gt=0, le=1)
    gap: float = Field(0.5, ge=0, lt=1)
    noise: float = Field(1.0, ge=0)
    rotation: float = Field(90.0, ge=0, le=180)

    @model_validator(mode="after")
    def _possible(self) -> TrainingDamage:
        if not any(self.largest(kind) for kind in KINDS):
            raise ValueError("gap, noise and rotation are 0, so nothing is damaged; give null")
        return self

    def largest(self, kind: Kind) -> float:
        """Return the largest severity of a kind."""
        return float(getattr(self, kind))

    def kinds(self, modality: Modality) -> list[Kind]:
        """List the kinds that may happen to a modality."""
        return [kind for kind in KINDS if self.largest(kind) and suits(kind, modality)]


def refuse_severity(kind: Kind, severity: Sequence[float]) -> None:
    """Refuse more than can be.

    Raises:
        ValueError: tells the largest.
    """
    for one in severity:
        if one > LARGEST[kind] or (kind == "gap" and one >= 1):
            most = "less than 1" if kind == "gap" else f"up to {LARGEST[kind]:g}"
            raise ValueError(f"severity of a {kind} is {one:g}; allowed is {most}")


class DamagedSource:
    """Windows of a source, damaged at random; what is absent stays absent.

    Args:
        source: of the windows.
        damage: how often, and how much.
        spoiler: that damages them as they were recorded, whatever the source makes of them.
        step: windows that are read again in another step are damaged in another way.
    """

    def __init__(
        self, source: WindowSource, damage: TrainingDamage, spoiler: Spoiler, *, step: int = 0
    ) -> None:
        self.source, self.damage, self.spoiler, self.step = source, damage, spoiler, step

    @property
    def modalities(self) -> Sequence[Modality]:
        """The M streams, in the order of `present`'s columns."""
        return self.source.modalities

    @property
    def window_s(self) -> float:
        """Length of every window, seconds."""
        return self.source.window_s

    @property
    def present(self) -> NDArray[np.bool_]:
        """(W, M): this modality was recorded in this window."""
        return self.source.present

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.source)

    def at(self, step: int) -> DamagedSource:
        """Return the same windows as they are damaged in a step."""
        return DamagedSource(self.source, self.damage, self.spoiler, step=step)

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not present."""
        signals, present = self.source.gather_zeroed(rows), self.source.present[rows]
        raw = recorded(self.source)
        original = signals if raw is self.source else raw.gather_zeroed(rows)
        out = {}
        for column, modality in enumerate(self.modalities):
            x = out[modality.name] = np.array(signals[modality.name])
            for kind, some, severity in self._hits(modality, rows, present[:, column]):
                spoilt = self.spoiler.spoil(
                    modality.name, original[modality.name][some], rows[some], kind, severity,
                    self.step,
                )  # fmt: skip
                x[some] = as_seen(self.source, column, spoilt, rows[some])
        return out

    def _hits(
        self, modality: Modality, rows: NDArray[np.int64], present: NDArray[np.bool_]
    ) -> Iterator[tuple[Kind, NDArray[np.int64], Severity]]:
        """Draw which windows are damaged in which way, and how much."""
        kinds = self.damage.kinds(modality)
        keys = keys_of(rows, self.spoiler.seed, "training", modality.name, self.step)
        drawn = uniform(keys, 3)
        hit = (drawn[:, 0] < self.damage.share) & present
        chosen = (drawn[:, 1] * len(kinds)).astype(np.int64)
        for number, kind in enumerate(kinds):
            some = np.flatnonzero(hit & (chosen == number))
            yield kind, some, drawn[some, 2] * self.damage.largest(kind)
