"""What people hand over as windows: a store, its path, or arrays, seen as a model sees them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.commands.embed import dates
from crossl.data.arrays import Signals, Windows, check_named
from crossl.data.calibration import Calibration
from crossl.data.contract import Fitted, fit_store
from crossl.data.neighbours import InPlaces
from crossl.data.recording import Modality, Recording
from crossl.data.source import ArraySource, as_windows
from crossl.data.store import Store
from crossl.data.targets import LABEL, UNKNOWN, Target
from crossl.errors import ContractError, DataError, SplitError

logger = logging.getLogger(__name__)

Data: TypeAlias = Store | Path | str | Windows | Signals
"""A store, the path of one, or arrays by modality."""

Recorded: TypeAlias = Data | Recording
"""The same, or a recording that is cut as a run says."""

KEPT_OF_STORES = ("subject", "session", "start_s", "zone")

MOST_CHANNELS = 3
"""Channels per sample of a window; with more the axes are likely the other way round."""


@dataclass(frozen=True)
class Given:
    """Windows as a model sees them, and what is known of each.

    Attributes:
        source: has the modalities of the model, in its order, and what can be learned.
        subject: (n,) names; None where nobody said.
        store: where they are from one.
        in_places: the windows, where it is known which are neighbours.
    """

    source: Store | ArraySource
    subject: NDArray[np.str_] | None
    store: Store | None = None
    in_places: InPlaces | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def whose(self) -> NDArray[np.str_]:
        """(n,) subjects.

        Raises:
            DataError: they are not known.
        """
        if self.subject is None:
            raise DataError(
                "windows: have no subjects, and people must be kept apart; give "
                "crossl.Windows(arrays, subject=...) with one name for each window"
            )
        return self.subject

    def rows_of(self, what: str, subjects: Iterable[str]) -> NDArray[np.int64]:
        """Return the rows of some people.

        Raises:
            SplitError: one of them has no window.
        """
        if isinstance(subjects, str) or not isinstance(subjects, Iterable):
            raise SplitError(f"{what}: is {subjects!r:.60}; a list of subjects is needed")
        names = [str(one) for one in subjects]
        unknown = sorted(set(names) - set(self.whose.tolist()))
        if unknown or not names:
            told = f"names subject '{unknown[0]}', who has no window" if names else "names nobody"
            raise SplitError(f"{what}: {told}; known are {', '.join(np.unique(self.whose))}")
        return np.flatnonzero(np.isin(self.whose, names))


def take_given(
    data: Data,
    modalities: Sequence[Modality] | None = None,
    *,
    window_s: float | None = None,
    calibration: Calibration | None = None,
    train: NDArray[np.int64] | None = None,
) -> Given:
    """See windows with the eyes of a model.

    Args:
        data: a store, its path, or arrays by modality.
        modalities: of the model; None for those of the data.
        window_s: length of a window, seconds; of a store, None for its own.
        calibration: how windows are calibrated, each by its recording; None for not at all.
        train: windows of training subjects, who say what is usual, where `calibration` does not.

    Raises:
        ContractError: windows that the model was not made for.
        DataError: arrays that cannot be used.
        FormatError: no such store, or it is damaged.
    """
    if isinstance(data, str | Path):
        data = Store.open(data)
    if isinstance(data, Store):
        window_s = data.window_s if window_s is None else window_s
        return _of_store(fit_store(
            data, modalities or data.modalities, window_s=window_s, calibration=calibration,
            train=train,
        ))  # fmt: skip
    check_named("windows", data)
    _check_calibrated(data, calibration)
    if modalities is None:
        modalities = declare(data, window_s)
    unseen = sorted(set(data) - {m.name for m in modalities})
    if unseen:
        raise ContractError(
            f"modality '{unseen[0]}': the model never saw it; it was made for "
            f"{[m.name for m in modalities]}"
        )
    label, subject = (data.label, data.subject) if isinstance(data, Windows) else (None, None)
    source = ArraySource(
        data, modalities=modalities, window_s=float(window_s or 0), targets=_target_of(label)
    )
    return Given(source, subject)


def _target_of(label: NDArray[np.str_] | None) -> dict[Target, NDArray[np.int64]]:
    """Number the classes of windows in memory, as a store does."""
    if label is None or not (label != "").any():
        return {}
    classes = np.unique(label[label != ""])
    numbers = np.where(label != "", np.searchsorted(classes, label), UNKNOWN)
    return {Target(LABEL, "classes", tuple(classes.tolist())): numbers.astype(np.int64)}


def _check_calibrated(windows: Signals, calibration: Calibration | None) -> None:
    """Refuse windows in memory that would be calibrated, or not, other than the model's."""
    are = isinstance(windows, Windows) and windows.calibrated
    if calibration is not None and not are:
        raise ContractError(
            f"windows: the model calibrates each by {calibration.told}, which arrays in memory do "
            "not tell; give a store, or windows that run.windower() cut of a stream"
        )
    if calibration is None and are:
        raise ContractError(
            "windows: are calibrated by their recording and the model was made for signals as they "
            "were recorded; cut them by the windower of this run"
        )


def _of_store(fitted: Fitted) -> Given:
    for note in fitted.notes:
        logger.info(note)
    seen = fitted.store
    return Given(seen, seen.subject, seen, seen)


def declare(arrays: Signals, window_s: Any) -> list[Modality]:
    """Describe modalities from their arrays.

    Args:
        arrays: {modality: (n, time, channel)}.
        window_s: length of a window, seconds; a rate is samples over this.

    Raises:
        DataError: no positive length, no modality, or an array of another shape.
    """
    if not isinstance(window_s, Real) or not 0 < float(window_s) < math.inf:
        raise DataError(
            f"windows: window_s is {window_s!r:.40}; a positive number of seconds is needed"
        )
    check_named("X", arrays)
    if not list(arrays):
        raise DataError("X: is empty; at least one modality is needed")
    out = []
    for name, array in arrays.items():
        if array is None:
            raise DataError(
                f"modality '{name}': is None in fit; leave it out, a model cannot learn what was "
                "never recorded"
            )
        shape = as_windows(f"modality '{name}'", array).shape
        if len(shape) != 3:
            raise DataError(
                f"modality '{name}': array has shape {shape}; allowed is (n, time, channel)"
            )
        if shape[2] > MOST_CHANNELS * shape[1] > 0:
            raise DataError(
                f"modality '{name}': array of shape {shape} would be {shape[2]} channels of "
                f"{shape[1]} samples, and (n, time, channel) is needed; if channels come first, "
                "give array.transpose(0, 2, 1)"
            )
        channels = tuple(str(i) for i in range(shape[2]))
        out.append(Modality(name, channels, "", shape[1] / float(window_s)))
    return out


def known_of(given: Given) -> dict[str, NDArray[Any]]:
    """Return what is known of windows beside what was recorded."""
    out: dict[str, NDArray[Any]] = {}
    if given.store is not None:
        table = given.store.stretch(0, len(given))
        out = {name: table[name] for name in KEPT_OF_STORES}
        out["start_time"] = dates(table["start_unix_s"])
    elif given.subject is not None:
        out["subject"] = given.subject
    for target in given.source.targets:
        name = LABEL if target.name == LABEL else f"target_{target.name}"
        values = given.source.target_values(target.name)
        if target.kind == "classes":
            out[name] = np.array([*target.names, ""])[values]  # -1 finds the last
        else:
            out |= {f"{name}_{one}": values[:, i] for i, one in enumerate(target.names)}
    return out


def refuse_empty(given: Given) -> None:
    """Refuse windows in memory of which some hold nothing; a store has none of its own.

    Raises:
        DataError: names the first rows.
    """
    empty = np.flatnonzero(~given.source.present.any(axis=1))
    if len(empty) and given.store is None:
        told = ", ".join(str(row) for row in empty[:5])
        raise DataError(f"windows: {len(empty)} have no modality present (row {told}); drop them")
