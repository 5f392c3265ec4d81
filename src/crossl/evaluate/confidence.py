"""Confidence: temperatures that make probabilities mean what they say, for each set of sensors.

Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
https://arxiv.org/abs/1706.04599): outputs are divided by one number before the softmax, so that no
label changes. Deviation: the number depends on which sensors a window has, as a network that lost
one is no less sure of itself than it was. How it depends on them (not at all, on their number, on
the very set) is chosen by validation subjects, each judged by the temperatures of the others.

A true label counts for a little less than certain, as in Platt scaling (Platt, 1999), so that
people without an error do not make it infinitely sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.errors import FormatError
from crossl.evaluate.latents import LatentTable, Subset, subsets
from crossl.evaluate.probe import Probe, read_subsets

GRID = np.exp(np.linspace(np.log(0.02), np.log(10.0), 127))
"""Temperatures that are tried, 5% apart."""
BINS = 10
MAX_EVERY_SUBSET = 6
"""Up to so many sensors every set of them counts; of more all, all but one, and each alone."""

Kind: TypeAlias = Literal["none", "one", "number", "subset"]
KINDS: tuple[Kind, ...] = ("none", "one", "number", "subset")
Float64: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Temperatures:
    """What the outputs of a probe are divided by.

    Attributes:
        kind: what it depends on: `none` (always 1), `one` (nothing), `number` of sensors, `subset`.
        modalities: names of the M streams, in order.
        one: for any window.
        number: by number of sensors, as text.
        subset: by names of sensors, joined by a comma.
    """

    kind: Kind
    modalities: tuple[str, ...]
    one: float
    number: Mapping[str, float]
    subset: Mapping[str, float]

    def of(self, present: NDArray[np.bool_]) -> Float64:
        """Return the temperature of each window.

        Args:
            present: (n, M) bool.

        Returns:
            (n,); a set of sensors that nobody had in validation gets that of their number.
        """
        patterns, place = np.unique(present, axis=0, return_inverse=True)
        return np.array([self._of_pattern(row) for row in patterns])[place.ravel()]

    def _of_pattern(self, present: NDArray[np.bool_]) -> float:
        if self.kind == "none":
            return 1.0
        names = ",".join(n for n, p in zip(self.modalities, present, strict=True) if p)
        number = self.number.get(str(int(present.sum())), self.one)
        found = {"one": self.one, "number": number, "subset": self.subset.get(names, number)}
        return float(found[self.kind])

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"kind": self.kind, "modalities": list(self.modalities), "one": self.one,
                "number": dict(self.number), "subset": dict(self.subset)}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Temperatures:
        """Build from what `as_dict` returned.

        Raises:
            FormatError: it is something else.
        """
        try:
            every = [values["one"], *values["number"].values(), *values["subset"].values()]
            good = values["kind"] in KINDS and all(0 < float(one) < np.inf for one in every)
            if good:
                return cls(values["kind"], tuple(values["modalities"]), float(values["one"]),
                           dict(values["number"]), dict(values["subset"]))  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        raise FormatError("probe.json: its temperatures cannot be used; run `crossl probe` again")


def sets_of(modalities: int) -> list[Subset]:
    """List the sets of sensors that probabilities are calibrated for, all sensors first."""
    if modalities <= MAX_EVERY_SUBSET:
        return subsets(modalities)
    every = tuple(range(modalities))
    return [every, *(tuple(i for i in every if i != one) for one in every), *((i,) for i in every)]


def fit_temperatures(
    probe: Probe, table: LatentTable, modalities: Sequence[str]
) -> Temperatures | None:
    """Fit temperatures on validation subjects; no label changes.

    Args:
        probe: fitted on training subjects.
        table: windows of validation subjects.
        modalities: names, in the order of the table.

    Returns:
        None for a task that has no classes, or where no window has a label that the probe knows.
    """
    if probe.task.target.kind != "classes":
        return None
    choices = sets_of(len(modalities))
    loss, count = _losses(probe, table, choices)
    if not count.any():
        return None
    scores = {kind: _held_out(kind, loss, count, choices) for kind in KINDS}
    kind = min(KINDS, key=lambda one: scores[one]) if len(loss) > 1 else "one"
    of = {one: _fitted(one, loss.sum(axis=0), count.sum(axis=0), choices) for one in KINDS}
    sizes = sorted({len(chosen) for chosen in choices})
    held = count.sum(axis=0) > 0
    number = {str(size): float(of["number"][[len(c) for c in choices].index(size)])
              for size in sizes if held[[len(c) == size for c in choices]].any()}  # fmt: skip
    names = [",".join(modalities[i] for i in chosen) for chosen in choices]
    subset = {name: float(t) for name, t, some in zip(names, of["subset"], held, strict=True)
              if some}  # fmt: skip
    return Temperatures(kind, tuple(modalities), float(of["one"][0]), number, subset)


def _losses(
    probe: Probe, table: LatentTable, choices: Sequence[Subset]
) -> tuple[Float64, NDArray[np.int64]]:
    """Sum the negative log-likelihood by subject, set of sensors and temperature.

    A window counts for the sets of which it has every sensor.

    Returns:
        (P, S, T) sums, and (P, S) windows.
    """
    people, whose = np.unique(table.subject, return_inverse=True)
    doubt = 1 / (len(table) + 2)
    loss = np.zeros((len(people), len(choices), len(GRID)))
    count = np.zeros((len(people), len(choices)), dtype=np.int64)
    for rows, outputs, place, counts in _readings(probe, table, choices):
        for number in range(len(choices)):
            some = np.flatnonzero(counts[:, number] & (place >= 0))
            scaled = outputs[some, number, None] / GRID[:, None]  # (b, T, R)
            top = scaled.max(axis=2, keepdims=True)
            total = np.log(np.exp(scaled - top).sum(axis=2)) + top[:, :, 0]
            own = np.take_along_axis(scaled, place[some, None, None], axis=2)[:, :, 0]
            own = (1 - doubt) * own + doubt * scaled.mean(axis=2)
            np.add.at(loss[:, number], whose[rows][some], total - own)
            np.add.at(count[:, number], whose[rows][some], 1)
    return loss, count


def _readings(probe: Probe, table: LatentTable, choices: Sequence[Subset]) -> Any:
    """Yield rows, outputs (b, S, R), place of the true class, and which count for which set.

    The place of a class that the probe never saw is -1: whatever it says of it is wrong.
    """
    present = np.asarray(table.present)
    whole = np.stack([present[:, list(chosen)].all(axis=1) for chosen in choices], axis=1)
    place = np.searchsorted(probe.classes, table.label).clip(max=len(probe.classes) - 1)
    place = np.where(probe.classes[place] == table.label, place, -1)
    labelled = probe.task.known(table.label)
    begin = 0
    for (outputs,) in read_subsets([probe], table, choices):
        rows = slice(begin, begin + len(outputs))
        yield rows, outputs.astype(np.float64), place[rows], whole[rows] & labelled[rows, None]
        begin = rows.stop


def _fitted(
    kind: Kind, loss: Float64, count: NDArray[np.int64], choices: Sequence[Subset]
) -> Float64:
    """Return the best temperature of each set; sets weigh alike where they share one.

    Args:
        kind: which share one.
        loss: (S, T) sums.
        count: (S,) windows.
        choices: the sets.
    """
    mean = np.where(count[:, None] > 0, loss / np.maximum(count, 1)[:, None], 0.0)
    groups = {
        "none": [-1] * len(choices), "one": [0] * len(choices),
        "number": [len(chosen) for chosen in choices], "subset": list(range(len(choices))),
    }[kind]  # fmt: skip
    if kind == "none":
        return np.ones(len(choices))
    every = GRID[mean.sum(axis=0).argmin()]
    out = np.full(len(choices), every)
    for group in set(groups):
        members = np.array([one == group for one in groups])
        if count[members].any():
            out[members] = GRID[mean[members].sum(axis=0).argmin()]
    return out


def _held_out(
    kind: Kind, loss: Float64, count: NDArray[np.int64], choices: Sequence[Subset]
) -> float:
    """Average the loss of each subject under the temperatures of the others."""
    nearest_one = int(np.abs(np.log(GRID)).argmin())
    scores = []
    for one in range(len(loss)):
        others = np.arange(len(loss)) != one
        chosen = _fitted(kind, loss[others].sum(axis=0), count[others].sum(axis=0), choices)
        at = np.abs(np.log(GRID)[None] - np.log(chosen)[:, None]).argmin(axis=1)
        at = np.full(len(choices), nearest_one) if kind == "none" else at
        some = count[one] > 0
        mean = loss[one, np.arange(len(choices)), at][some] / count[one][some]
        scores.append(float(mean.mean()) if some.any() else np.nan)
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else np.inf


def reliability(sure: Float64, right: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare how sure a classifier is with how often it is right.

    Args:
        sure: (n,) probability of what is said.
        right: (n,) whether that is true.

    Returns:
        JSON values: `windows`, `ece` (expected calibration error over 10 bins of equal width, Guo
        et al. 2017), and by bin `count`, `confidence` and `accuracy` (null where it is empty).

    Examples:
        >>> reliability(np.array([0.9, 0.9]), np.array([True, False]))["ece"]
        0.4
    """
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    of = [np.bincount(place, weights, minlength=BINS) for weights in (sure, right.astype(float))]
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (sums / count for sums in of)
    gap = np.abs(of[0] - of[1]).sum() / max(1, len(sure))
    told = [[None if np.isnan(x) else round(float(x), 6) for x in values]
            for values in (confidence, accuracy)]  # fmt: skip
    return {"windows": len(sure), "ece": round(float(gap), 6), "count": count.tolist(),
            "confidence": told[0], "accuracy": told[1]}  # fmt: skip


def reliability_by_set(
    probe: Probe, table: LatentTable, temperatures: Temperatures
) -> list[dict[str, Any]]:
    """Measure confidence under every set of sensors, with and without temperatures.

    Args:
        probe: nothing is fitted.
        table: windows that neither it nor the temperatures were fitted on.
        temperatures: of the probe.

    Returns:
        For each set that some window has whole: `present` (names), `temperature`, `as_it_was` and
        `calibrated`; see `reliability`.
    """
    names = temperatures.modalities
    choices = sets_of(len(names))
    sure: list[list[list[Float64]]] = [[[], []] for _ in choices]
    right: list[list[NDArray[np.bool_]]] = [[] for _ in choices]
    patterns = np.array([[i in chosen for i in range(len(names))] for chosen in choices])
    divisor = temperatures.of(patterns)
    for _, outputs, place, counts in _readings(probe, table, choices):
        for number in range(len(choices)):
            some = outputs[counts[:, number], number]
            for at, scale in enumerate((1.0, divisor[number])):
                found = probe.task.probabilities(some / scale)
                sure[number][at].append(np.asarray(found).max(axis=1, initial=0.0))
            right[number].append(some.argmax(axis=1) == place[counts[:, number]]
                                 if len(some) else np.zeros(0, dtype=np.bool_))  # fmt: skip
    out = []
    for number, chosen in enumerate(choices):
        hits = np.concatenate(right[number]) if right[number] else np.zeros(0, dtype=np.bool_)
        if not len(hits):
            continue
        plain, scaled = (np.concatenate(one) for one in sure[number])
        out.append({
            "present": [names[i] for i in chosen],
            "temperature": round(float(divisor[number]), 4),
            "as_it_was": reliability(plain, hits),
            "calibrated": reliability(scaled, hits),
        })  # fmt: skip
    return out
