"""Sets: labels of which one is true with a stated probability, by split conformal prediction.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); the score of a label is
what its probability lacks to 1 (Sadinle, Lei and Wasserman, JASA 2019). Deviation: windows of one
person are alike and those of another are not, so people are what is exchangeable. Of each
validation subject the threshold is found that covers the asked share of that subject's windows, and
the one is taken that suffices for a new person with a probability of at least 4 in 5: the k-th
smallest of P, k = ceil(0.8 (P + 1)). With fewer than 4 people it is the largest, and that
probability is P / (P + 1) only. This holds whatever the classifier; it does not hold for people who
are unlike those of the study, and is optimistic where the same people chose anything else.

The most probable label is always in the set, so no set is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.decode import FORMS, Decoder, Float64
from crossl.errors import FormatError
from crossl.evaluate.confidence import Temperatures, sets_of
from crossl.evaluate.context import Timed, calibrated, in_context, place_of
from crossl.evaluate.latents import LatentTable, Subset
from crossl.evaluate.probe import Probe

Mode: TypeAlias = Literal["off", "causal", "whole"]
MODES: tuple[Mode, ...] = ("off", *FORMS)
"""What probabilities are read in: no context, or one of its forms."""

PEOPLE = 0.8
"""Share of new people whose windows are covered as asked."""
LEVELS = tuple(round(0.5 + 0.01 * step, 2) for step in range(50))
"""Shares of windows that thresholds are kept for: 0.50 to 0.99."""
MOST_NUMBERS = 2e7
"""Probabilities in memory at once."""


@dataclass(frozen=True)
class Sets:
    """Thresholds of probabilities, by set of sensors and context.

    Attributes:
        modalities: names of the M streams, in order.
        people: validation subjects that they are of.
        thresholds: by mode, then names of sensors joined by a comma: the largest score of a label
            in the set, for each of `LEVELS`.
    """

    modalities: tuple[str, ...]
    people: int
    thresholds: Mapping[str, Mapping[str, Sequence[float]]]

    @property
    def sure(self) -> float:
        """Probability that a new person's windows are covered as asked."""
        return rank_of(self.people) / (self.people + 1)

    def member(
        self, probability: Float64, present: NDArray[np.bool_], level: float, mode: Mode
    ) -> NDArray[np.bool_]:
        """Tell which labels are in the set of each window.

        Args:
            probability: (n, R), calibrated, in the context of `mode`; NaN where nothing is said.
            present: (n, M), which sets of sensors have thresholds of their own; others get the
                largest.
            level: share of windows whose set holds the true label.
            mode: what the probabilities are read in.

        Returns:
            (n, R); none where nothing is said.
        """
        of_mode = self.thresholds[mode]
        at = int(np.searchsorted(LEVELS, level - 1e-9).clip(max=len(LEVELS) - 1))
        largest = max(values[at] for values in of_mode.values())
        patterns, place = np.unique(present, axis=0, return_inverse=True)
        names = [",".join(n for n, p in zip(self.modalities, row, strict=True) if p)
                 for row in patterns]  # fmt: skip
        limits = np.array([of_mode[name][at] if name in of_mode else largest for name in names])
        said = np.nan_to_num(probability, nan=-np.inf)
        limit = limits[place.ravel()][:, None] if len(said) else np.zeros((0, 1))
        top = said == said.max(axis=1, keepdims=True)
        inside = (1 - said <= limit + 1e-12) | top
        return np.asarray(inside & np.isfinite(probability))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        kept = {mode: {name: list(values) for name, values in of.items()}
                for mode, of in self.thresholds.items()}  # fmt: skip
        return {"modalities": list(self.modalities), "people": self.people, "thresholds": kept}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sets:
        """Build from what `as_dict` returned.

        Raises:
            FormatError: it is something else.
        """
        try:
            kept = {str(mode): {str(name): tuple(map(float, found)) for name, found in of.items()}
                    for mode, of in values["thresholds"].items()}  # fmt: skip
            every = [found for of in kept.values() for found in of.values()]
            good = (
                "off" in kept and set(kept) <= set(MODES) and all(kept.values())
                and all(len(found) == len(LEVELS) for found in every)
                and all(0 <= one <= 1 for found in every for one in found)
                and int(values["people"]) > 0
            )  # fmt: skip
            if good:
                return cls(tuple(values["modalities"]), int(values["people"]), kept)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        raise FormatError("probe.json: its sets cannot be used; run `crossl probe` again")


def rank_of(people: int) -> int:
    """Return which of the people's thresholds is taken, counted from the smallest.

    Examples:
        >>> [rank_of(people) for people in (1, 3, 4, 9, 19)]
        [1, 3, 4, 8, 16]
    """
    return min(people, int(np.ceil(PEOPLE * (people + 1) - 1e-9)))


def fit_sets(
    probe: Probe, temperatures: Temperatures | None, validation: LatentTable,
    decoder: Decoder | None = None, windows: Timed | None = None,
) -> Sets | None:  # fmt: skip
    """Find thresholds on validation subjects.

    Args:
        probe: fitted on training subjects.
        temperatures: that calibrate it.
        validation: windows of validation subjects.
        decoder: for thresholds in context, too.
        windows: of which `validation` are rows, in context.

    Returns:
        None for a task that has no classes, or where no window has a label.
    """
    known = validation.task.known(validation.label)
    if probe.task.target.kind != "classes" or not known.any():
        return None
    names = tuple(m.name for m in validation.model.modalities)
    choices = sets_of(len(names))
    size = max(1, int(MOST_NUMBERS / max(1, len(validation) * len(probe.classes))))
    thresholds: dict[str, dict[str, list[float]]] = {mode: {} for mode in MODES}
    for begin in range(0, len(choices), size):
        some = choices[begin : begin + size]
        alone = calibrated(probe, temperatures, validation, some)
        for mode in MODES:
            if mode == "off":
                found = alone
            elif decoder is None or windows is None:
                continue
            else:
                found = in_context(decoder, alone, validation, windows, mode)
            thresholds[mode] |= _thresholds(probe, validation, found, some, names)
    kept = {mode: of for mode, of in thresholds.items() if of}
    return Sets(names, len(np.unique(validation.subject[known])), kept) if kept else None


def _thresholds(
    probe: Probe, table: LatentTable, found: Float64, choices: Sequence[Subset],
    names: Sequence[str],
) -> dict[str, list[float]]:  # fmt: skip
    """Return thresholds of sets of sensors that windows have whole, by names."""
    place = place_of(probe, table.label)
    own = np.take_along_axis(found, place[:, None, None].clip(min=0), axis=2)[:, :, 0]
    own = np.where(place[:, None] >= 0, own, 0.0)  # a class that it never saw is never covered
    known, present = table.task.known(table.label), np.asarray(table.present)
    out = {}
    for column, chosen in enumerate(choices):
        rows = known & present[:, list(chosen)].all(axis=1)
        if rows.any():
            limits = threshold_by_people(1 - own[rows, column], table.subject[rows])
            rounded = np.ceil(limits * 1e6).clip(max=1e6) / 1e6  # never down
            out[",".join(names[i] for i in chosen)] = rounded.tolist()
    return out


def threshold_by_people(score: Float64, subject: NDArray[Any]) -> Float64:
    """Return the threshold of scores for each of `LEVELS`; see the module.

    Args:
        score: (n,) what the probability of the true label lacks to 1.
        subject: (n,) whose.
    """
    people = np.unique(subject)
    limits = np.empty((len(people), len(LEVELS)))
    for row, name in enumerate(people):
        ordered = np.sort(score[subject == name])
        rank = np.ceil(np.array(LEVELS) * len(ordered) - 1e-9).astype(np.int64) - 1
        limits[row] = ordered[rank.clip(min=0)]
    return np.asarray(np.sort(limits, axis=0)[rank_of(len(people)) - 1])
