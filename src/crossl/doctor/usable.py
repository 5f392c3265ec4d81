"""Usable: which sensors of a window hold nothing to classify, and why; a window tells it alone.

A sensor that stands still, is at its limit, measures what cannot be, lost the skin, or lies on a
table is not read: for that window it counts as absent. Thresholds are such that a sensor that is
worn and works keeps all its windows; what is missed is classified, as it was before there were
rules. A rule that would find more than one in a thousand windows of those that a classifier learned
from is not used: there such windows are ordinary.

Not worn: still and cold, after Zhou et al., Classification of accelerometer wear and non-wear
events in seconds, BMJ Open 2015;5:e007447, who take 26 degrees. Deviation: 25, as skin of 26 is
found in sets that are worn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality
from crossl.doctor.arrays import Bools, longest_run
from crossl.doctor.values import (
    AXES,
    CLIP_EXCESS,
    CLIP_LEVELS,
    CONTACT_S,
    GRAVITY,
    RANGES,
    is_fast,
    kind_of,
)
from crossl.errors import FormatError

REASONS = {
    "flat": "stands still",
    "saturated": "at its limit",
    "range": "values that cannot be",
    "contact": "no skin contact",
    "unworn": "not worn, still and cold",
}
"""Faults by name (the first that is found is reported), and what is said of such a window."""

FLAT_SAMPLES = 96
"""So many equal samples of all channels of a sensor that changes all the time."""
CLIP_SHARE, CLIP_SHARE_ELSEWHERE = 0.2, 0.5
"""Share of a window's samples at the largest or smallest value of a channel: of motion, else."""
BEYOND_REST = {"m/s^2": 1.5 * GRAVITY, "rad/s": 1.0}
"""Motion is at its limit only beyond what an arm that rests on something can measure."""
RANGE_SHARE = 0.5
"""Share of a window's values that no living body has."""
COLD_K = 298.15
"""25 degrees Celsius: skin is warmer, most rooms are colder; in a hot room nothing is reported."""
STILL = 0.013 * GRAVITY
"""Standard deviation of an axis that nobody moves, m/s^2."""
ORDINARY = 1e-3
"""Share of the windows learned from that a rule may find; of more it is not used."""
SKIN_WORDS = ("temp", "temperature", "skin")
ROWS = 256
MOST_ROWS = 4096

Signals = Mapping[str, Float32]


class Windows(Protocol):
    """Windows that can be read: of a store, a recording or arrays."""

    @property
    def present(self) -> Bools:
        """(W, M): this modality was recorded in this window."""

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, in the units of the modalities."""


@dataclass(frozen=True)
class Usable:
    """Rules for windows of some modalities.

    Attributes:
        modalities: the M streams, in order.
        off: names of rules that are not used, by modality.

    Examples:
        >>> acc = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)
        >>> still, moving = np.ones((1, 250, 3)), np.random.default_rng(0).normal(size=(1, 250, 3))
        >>> signals = {"acc": np.concatenate([still, moving]).astype(np.float32)}
        >>> Usable((acc,)).reasons(signals, np.ones((2, 1), dtype=bool)).tolist()
        [['stands still'], ['']]
    """

    modalities: tuple[Modality, ...]
    off: Mapping[str, Sequence[str]]

    def __init__(
        self, modalities: Sequence[Modality], off: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        object.__setattr__(self, "modalities", tuple(modalities))
        object.__setattr__(self, "off", {k: tuple(v) for k, v in (off or {}).items()})

    def reasons(self, signals: Signals, present: Bools) -> NDArray[np.str_]:
        """Say what is wrong with each modality of each window.

        Args:
            signals: {modality: (B, T, C)} in the units of the modalities, as they were recorded.
            present: (B, M); what is absent is not looked at.

        Returns:
            (B, M) text, empty where nothing is wrong or nothing was recorded.
        """
        out = np.full(present.shape, "", dtype=f"<U{max(map(len, REASONS.values()))}")
        with np.errstate(over="ignore", invalid="ignore"):  # numbers as large as 1e30
            for column, rule, broken in self._broken(signals, present):
                rows = broken & (out[:, column] == "")
                out[rows, column] = REASONS[rule]
        return out

    def _broken(self, signals: Signals, present: Bools) -> Any:
        """Yield column, rule and (B,) bool, rules in their order."""
        for rule in REASONS:
            for column, modality in enumerate(self.modalities):
                there = np.flatnonzero(present[:, column])
                if not len(there) or rule in self.off.get(modality.name, ()):
                    continue
                if rule == "unworn":
                    found = self._unworn(modality, signals, present)
                else:
                    found = np.zeros(len(present), dtype=np.bool_)
                    found[there] = CHECKS_OF_ONE[rule](modality, signals[modality.name][there])
                yield column, rule, found & present[:, column]

    def _unworn(self, modality: Modality, signals: Signals, present: Bools) -> Bools:
        """Tell where the device of a modality is still and colder than skin."""
        device = [
            (column, one) for column, one in enumerate(self.modalities)
            if one.device and one.device == modality.device
        ]  # fmt: skip
        cold = np.zeros(len(present), dtype=np.bool_)
        still = cold.copy()
        for column, one in device:
            there = present[:, column]
            if one.unit == "K" and _is_of_skin(one):
                cold |= there & (signals[one.name] < COLD_K).all(axis=(1, 2))
            if one.unit == "m/s^2" and len(one.channels) == AXES:
                still |= there & (signals[one.name].std(axis=1) < STILL).all(axis=1)
        return cold & still

    def check(self, windows: Windows) -> NDArray[np.str_]:
        """Say what is wrong with each modality of all windows, (W, M); see `reasons`."""
        parts = [np.full((0, len(self.modalities)), "", dtype="<U1")]
        for begin in range(0, len(windows.present), ROWS):
            rows = np.arange(begin, min(begin + ROWS, len(windows.present)))
            parts.append(self.reasons(windows.gather_zeroed(rows), windows.present[rows]))
        return np.concatenate(parts)

    @classmethod
    def learned(
        cls, modalities: Sequence[Modality], windows: Windows, rows: NDArray[np.int64]
    ) -> Usable:
        """Leave out the rules that would find ordinary windows.

        Args:
            modalities: the M streams, in order.
            windows: with these modalities, as they were recorded.
            rows: of people who are learned from; of more than 4096 some at equal distances.
        """
        every = cls(modalities)
        if len(rows) > MOST_ROWS:
            rows = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64)]
        found = {(m.name, rule): 0 for m in every.modalities for rule in REASONS}
        for begin in range(0, len(rows), ROWS):
            some = rows[begin : begin + ROWS]
            for column, rule, broken in every._broken(
                windows.gather_zeroed(some), windows.present[some]
            ):
                found[every.modalities[column].name, rule] += int(broken.sum())
        count = dict(zip([m.name for m in every.modalities],
                         windows.present[rows].sum(axis=0).tolist(), strict=True))  # fmt: skip
        off = {
            m.name: [rule for rule in REASONS if found[m.name, rule] > ORDINARY * count[m.name]]
            for m in every.modalities
        }
        return cls(modalities, {name: rules for name, rules in off.items() if rules})

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values: `off`, the rules that are not used, by modality."""
        return {"off": {name: list(rules) for name, rules in self.off.items()}}

    @classmethod
    def from_dict(cls, modalities: Sequence[Modality], values: Mapping[str, Any]) -> Usable:
        """Build from what `as_dict` returned.

        Raises:
            FormatError: it is something else.
        """
        try:
            off = {str(name): [str(rule) for rule in rules]
                   for name, rules in values["off"].items()}  # fmt: skip
        except (KeyError, TypeError, AttributeError):
            raise FormatError(
                "probe.json: its rules of usable windows cannot be used; run `crossl probe` again"
            ) from None
        return cls(modalities, off)


def usable_facts(
    modalities: Sequence[Modality], windows: Windows, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Return what a probe keeps of its usable windows: `usable`; see `Usable.learned`."""
    return {"usable": Usable.learned(modalities, windows, rows).as_dict()}


def _is_of_skin(modality: Modality) -> bool:
    return any(word in modality.name.lower() for word in SKIN_WORDS)


def _flat(modality: Modality, x: Float32) -> Bools:
    """Tell where no channel changes, of a sensor that always does."""
    if not is_fast(modality) or x.shape[1] < FLAT_SAMPLES:
        return np.zeros(len(x), dtype=np.bool_)
    return np.asarray((x == x[:, :1]).all(axis=(1, 2)))


def _saturated(modality: Modality, x: Float32) -> Bools:
    """Tell where a channel piles up at its largest or smallest value."""
    out = np.zeros(len(x), dtype=np.bool_)
    if not is_fast(modality):
        return out
    beyond = BEYOND_REST.get(modality.unit, 0.0)
    least = CLIP_SHARE if modality.unit in BEYOND_REST else CLIP_SHARE_ELSEWHERE
    for edge in (x.max(axis=1, keepdims=True), x.min(axis=1, keepdims=True)):
        share = np.where(np.abs(edge[:, 0]) > beyond, (x == edge).mean(axis=1), 0.0)
        for row, channel in np.argwhere(share >= least).tolist():
            out[row] |= _piles_up(x[row, :, channel], float(edge[row, 0, channel]))
    return out


def _piles_up(channel: Float32, extreme: float) -> bool:
    """Tell whether an extreme holds much more of a channel than the levels beside it.

    A coarse sensor at rest has a few levels only, and is not at its limit.
    """
    levels, counts = np.unique(channel, return_counts=True)
    if len(levels) < CLIP_LEVELS:
        return False
    beside = counts[1:6] if extreme == levels[0] else counts[-6:-1]
    at_it = channel == extreme
    return bool(at_it.sum() >= CLIP_EXCESS * beside.max()) and longest_run(at_it) >= 2


def _impossible(modality: Modality, x: Float32) -> Bools:
    """Tell where a channel has mostly values that no living body has."""
    allowed = RANGES.get(kind_of(modality))
    if allowed is None:
        return np.zeros(len(x), dtype=np.bool_)
    slack = 1e-4 * (allowed.high - allowed.low)
    outside = (x < allowed.low - slack) | (x > allowed.high + slack)
    return np.asarray((outside.mean(axis=1) >= RANGE_SHARE).any(axis=1))


def _without_contact(modality: Modality, x: Float32) -> Bools:
    """Tell where an electrode measures less than any skin conducts."""
    if modality.unit != "S":
        return np.zeros(len(x), dtype=np.bool_)
    return np.asarray((x < CONTACT_S).all(axis=(1, 2)))


CHECKS_OF_ONE = {"flat": _flat, "saturated": _saturated, "range": _impossible,
                 "contact": _without_contact}  # fmt: skip
"""By rule, from a modality and (B, T, C) to (B,) bool."""
