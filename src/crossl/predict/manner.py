"""Manner: how outputs of a classifier become what is said, by what is kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality
from crossl.decode import Decoder, Float64
from crossl.doctor.usable import Usable
from crossl.errors import ConfigError, FormatError, counted, nearest
from crossl.evaluate.confidence import Temperatures
from crossl.evaluate.probe import Probe
from crossl.evaluate.sets import LEVELS, Mode, Sets

ContextName: TypeAlias = Literal["off", "causal", "whole", "path"]
CONTEXTS: tuple[str, ...] = get_args(ContextName)
"""No context; what came before; the whole recording; its most probable sequence of classes."""

FEW_PEOPLE = 4
"""With fewer validation subjects sets of labels promise less than usual."""

UNCALIBRATED = (
    "the classifier keeps no temperatures, so its probabilities are not calibrated; run "
    "`crossl probe` again to have them"
)

BETWEEN = " | "
"""Stands between the labels of a set."""


@dataclass(frozen=True)
class Asked:
    """What a user asks for.

    Attributes:
        abstain: a window whose label has a smaller probability gets none; None for always one.
        context: `off`, `causal`, `whole` or `path`; None for `whole` where validation subjects
            say that it helps, else `off`.
        sets: share of windows whose set of labels holds the true one; None for no sets.
        keep_unusable: windows of sensors that stand still, are at their limit or are not worn are
            classified, too.
    """

    abstain: float | None = None
    context: str | None = None
    sets: float | None = None
    keep_unusable: bool = False


@dataclass(frozen=True)
class Manner:
    """How what a classifier says is read.

    Attributes:
        temperatures: that calibrate probabilities.
        abstain: the least probability of a label; None for any.
        context: which windows around one are read with it.
        decoder: that knows; None where `context` is off.
        level: share of windows whose set of labels holds the true one; None for no sets.
        sets: their thresholds.
        usable: which sensors of a window are read; None for all that recorded.
    """

    temperatures: Temperatures | None = None
    abstain: float | None = None
    context: str = "off"
    decoder: Decoder | None = None
    level: float | None = None
    sets: Sets | None = None
    usable: Usable | None = None

    @property
    def mode(self) -> Mode:
        """What probabilities are read in."""
        if self.context in ("off", "causal"):
            return "causal" if self.context == "causal" else "off"
        return "whole"

    def as_dict(self) -> dict[str, Any]:
        """Return what timelines depend on beside the classifier, as JSON values."""
        parts = {"temperatures": self.temperatures, "decoder": self.decoder, "sets": self.sets,
                 "usable": self.usable}  # fmt: skip
        return {"abstain": self.abstain, "context": self.context, "level": self.level,
                **{name: one and one.as_dict() for name, one in parts.items()}}  # fmt: skip

    def calibrated(self, outputs: Float32, present: NDArray[np.bool_]) -> Float32:
        """Divide outputs (n, R) by the temperatures of what is present (n, M)."""
        if self.temperatures is None:
            return outputs
        divisor = self.temperatures.of(present)[:, None]
        return np.divide(outputs, divisor, dtype=np.float32)

    def in_context(
        self, probability: Float32, start_s: Float64
    ) -> tuple[Float32, NDArray[np.int64] | None]:
        """Return probabilities in the light of other windows, and the path if it is asked for.

        Args:
            probability: (n, R), calibrated; NaN where nothing is said.
            start_s: (n,) of windows of one recording, in order.
        """
        if self.decoder is None or self.mode == "off" or not len(start_s):
            return probability, None
        found = self.decoder.probabilities(probability, start_s, self.mode)
        path = self.decoder.path(probability, start_s) if self.context == "path" else None
        return found.astype(np.float32), path

    def set_of(
        self, names: Sequence[str], probability: Float32, present: NDArray[np.bool_]
    ) -> NDArray[np.str_] | None:
        """Name the labels of each window's set, (n,); None where none is asked for."""
        if self.sets is None or self.level is None:
            return None
        found = np.asarray(probability, dtype=np.float64)
        inside = self.sets.member(found, present, self.level, self.mode)
        order = np.argsort(-np.nan_to_num(found), axis=1, kind="stable")
        texts = [BETWEEN.join(names[i] for i in places if row[i])
                 for places, row in zip(order.tolist(), inside, strict=True)]  # fmt: skip
        return np.array(texts, dtype=np.str_)


def manner_of(
    about: Mapping[str, Any], probe: Probe, modalities: Sequence[Modality], asked: Asked,
    *, dashes: str = "",
) -> Manner:  # fmt: skip
    """Join what is kept of a classifier with what a user asks for.

    Args:
        about: what `probe.json` says: `temperatures`, `context`, `sets`, `usable`, where kept.
        probe: the classifier.
        modalities: of the run.
        asked: by the user.
        dashes: before the names of options in messages.

    Raises:
        ConfigError: a value that is not allowed, or the classifier has no classes.
        FormatError: the classifier keeps nothing of what is asked for, or what it keeps is damaged.
    """
    check_abstain(f"{dashes}abstain", asked.abstain, probe)
    kept = about.get("temperatures")
    temperatures = None if kept is None else Temperatures.from_dict(kept)
    context, decoder = _context(about, probe, asked.context, f"{dashes}context")
    level, sets = _sets(about, probe, asked.sets, f"{dashes}sets")
    if sets is not None and decoder is not None and context not in ("off", "path"):
        _refuse_without(context in sets.thresholds, f"{dashes}sets", "thresholds in context")
    usable = None if asked.keep_unusable else usable_of(about, modalities)
    return Manner(temperatures, asked.abstain, context, decoder, level, sets, usable)


def notes_of(manner: Manner, probe: Probe, asked: Asked) -> list[str]:
    """Say what was chosen for a user who did not choose, and what probabilities do not promise.

    Args:
        manner: what came of it.
        probe: the classifier.
        asked: by the user.
    """
    notes = []
    if manner.context != "off" and asked.context is None:
        notes.append(f"context: {manner.context}, as it helped validation subjects; --context off "
                     "leaves each window to itself")  # fmt: skip
    if manner.sets is not None and manner.level is not None and manner.sets.people < FEW_PEOPLE:
        notes.append(f"sets: thresholds are of {counted(manner.sets.people, 'validation subject')}"
                     f", which promises {manner.level:g} of the windows of {manner.sets.sure:.0%} "
                     "of new people at best")  # fmt: skip
    if manner.temperatures is None and probe.task.target.kind == "classes":
        notes.append(UNCALIBRATED)
    return notes


def usable_of(about: Mapping[str, Any], modalities: Sequence[Modality]) -> Usable:
    """Return the rules of usable windows; of an older classifier those that know no units."""
    kept = about.get("usable")
    if kept is None:
        return Usable(modalities, {m.name: ("range", "contact", "unworn") for m in modalities})
    return Usable.from_dict(modalities, kept)


def _context(
    about: Mapping[str, Any], probe: Probe, asked: str | None, where: str
) -> tuple[str, Decoder | None]:
    if asked is not None and asked not in CONTEXTS:
        raise ConfigError(f"{where}: got '{asked}'; {nearest(str(asked), CONTEXTS)}")
    kept = about.get("context")
    if asked == "off" or (asked is None and kept is None):
        return "off", None
    _refuse_other_tasks(probe, where)
    _refuse_without(kept is not None, where, "transitions between classes")
    decoder = Decoder.from_dict(dict(kept or {}))
    if len(decoder.prior) != len(probe.classes):
        raise FormatError(
            f"probe.json: its transitions are of {len(decoder.prior)} classes and its classifier "
            f"knows {len(probe.classes)}; run `crossl probe` again"
        )
    if asked is None:
        return ("whole", decoder) if decoder.helps["whole"] else ("off", None)
    return asked, decoder


def _sets(
    about: Mapping[str, Any], probe: Probe, level: float | None, where: str
) -> tuple[float | None, Sets | None]:
    if level is None:
        return None, None
    if not LEVELS[0] <= level <= LEVELS[-1]:
        raise ConfigError(
            f"{where}: got {level:g}; a share of windows from {LEVELS[0]:g} to {LEVELS[-1]:g} is "
            "needed, such as 0.9"
        )
    _refuse_other_tasks(probe, where)
    kept = about.get("sets")
    _refuse_without(kept is not None, where, "thresholds for sets of labels")
    return level, Sets.from_dict(dict(kept or {}))


def _refuse_other_tasks(probe: Probe, where: str) -> None:
    if probe.task.target.kind != "classes":
        raise ConfigError(
            f"{where}: the classifier predicts {probe.task.target.kind}; it is for one of several "
            "classes"
        )


def _refuse_without(there: bool, where: str, what: str) -> None:  # noqa: FBT001 - a fact
    if not there:
        raise FormatError(
            f"{where}: the classifier keeps no {what} (it is of an older crossl, was fitted on "
            "windows in memory, or had too little to learn them from); run `crossl probe` again, "
            "or leave this out"
        )


def check_abstain(where: str, abstain: float | None, probe: Probe) -> None:
    """Refuse a least probability that cannot be.

    Args:
        where: names it in the message.
        abstain: the least probability of a label; None for any.
        probe: the classifier.

    Raises:
        ConfigError: it is not a probability, or the classifier is not for one of several classes.
    """
    if abstain is None:
        return
    if not 0 < abstain <= 1:
        raise ConfigError(f"{where}: got {abstain:g}; a probability above 0 and up to 1 is needed")
    _refuse_other_tasks(probe, where)
