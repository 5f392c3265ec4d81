"""Contract: what windows must be to be those of a model, and a store seen with a model's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.calibrated import calibrated
from crossl.data.calibration import Calibration
from crossl.data.recording import Float32, Modality
from crossl.data.store import Store
from crossl.data.targets import find_target
from crossl.data.windows import UNLABELLED
from crossl.errors import ContractError


def check_modality(found: Modality, wanted: Modality) -> None:
    """Refuse a modality that has the name of another and is something else.

    Raises:
        ContractError: other channels, another unit or rate; both are named.
    """
    where = f"modality '{wanted.name}'"
    if found.channels != wanted.channels:
        raise ContractError(
            f"{where}: has channels {found.channels}; the model was made for {wanted.channels}"
        )
    if found.unit != wanted.unit:
        raise ContractError(
            f"{where}: is in '{found.unit}'; the model was made for '{wanted.unit}', convert it"
        )
    if found.rate_hz != wanted.rate_hz:
        raise ContractError(
            f"{where}: has {found.rate_hz:g} Hz; the model was made for {wanted.rate_hz:g} Hz, "
            "resample it"
        )


def check_window(found_s: float, wanted_s: float) -> None:
    """Refuse windows of another length.

    Raises:
        ContractError: they are longer or shorter.
    """
    if abs(found_s - wanted_s) > 1e-9:
        raise ContractError(f"windows: last {found_s:g} s; the model was made for {wanted_s:g} s")


def window_rules(store: Store) -> dict[str, Any]:
    """Return all that a window of a store is made of, apart from its modalities.

    `Windower.from_contract` cuts such windows from other recordings.

    Returns:
        JSON values: `window` (see `WindowSpec`), `resampled` (whose rate was changed, from which
        and how; `from_hz` is None where each file states its own) and `dtype` (samples kept in 16
        bits were rounded).
    """
    return {
        "window": store.spec.as_dict(),
        "resampled": store.manifest.get("resampled", {}),
        "dtype": store.dtype,
    }


def how_read(store: Store) -> dict[str, Any]:
    """Return how the recordings of a store were read, so that more can be read the same way.

    Returns:
        JSON values: `reader` and its `options`, `mapping` where one said what files hold, and
        `chosen`, the class of each label, where some were chosen. Empty for a store that was
        written from recordings in memory.
    """
    told = store.manifest
    if told.get("reader") is None:
        return {}
    options = {key: value for key, value in told.get("options", {}).items() if key != "mapping"}
    kept = {key: told[key] for key in ("mapping", "chosen") if key in told}
    return {"reading": {"reader": told["reader"], "options": options, **kept}}


class StoreView(Store):
    """A store as one with other modalities: those it lacks are absent, those not named are hidden.

    Rows are the same. A window in which nothing named was recorded has `present` False throughout
    and counts as unlabelled.

    Args:
        base: the store.
        modalities: what is to be seen, in order.
    """

    def __init__(self, base: Store, modalities: Sequence[Modality]) -> None:
        kept = {k: v for k, v in vars(base).items() if k not in ("present", "label")}
        vars(self).update(kept)
        self._base = base
        self.modalities = tuple(modalities)
        held = {m.name: column for column, m in enumerate(base.modalities)}
        self._columns = [held.get(m.name) for m in self.modalities]

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreView, (self._base, self.modalities)

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """(W,) label; -1 unlabelled, and where nothing that is seen was recorded."""
        return np.where(self.present.any(axis=1), self._base.label, UNLABELLED)

    def target_values(self, name: str, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """Read the values of one target; unknown where nothing that is seen was recorded."""
        values = self._base.target_values(name, begin, end)
        target = find_target(self.targets, name, where=str(self.path))
        whole = begin == 0 and end is None
        present = self.present if whole else self.stretch(begin, begin + len(values))["present"]
        empty = ~present.any(axis=1)
        if empty.any():
            values = values.copy()
            values[empty] = target.unknown(1)[0]
        return values

    def stretch(self, begin: int, end: int) -> dict[str, NDArray[Any]]:
        """Read a stretch of the table; see `Store.stretch`."""
        table = self._base.stretch(begin, end)
        absent = np.zeros(len(table["present"]), dtype=np.bool_)
        columns = [absent if c is None else table["present"][:, c] for c in self._columns]
        present = np.stack(columns, axis=1)
        label = np.where(present.any(axis=1), table["label"], UNLABELLED)
        return {**table, "present": present, "label": label}

    def _gather_modality(self, column: int, rows: NDArray[np.int64]) -> Float32:
        held, modality = self._columns[column], self.modalities[column]
        if held is not None:
            return self._base._gather_modality(held, rows)
        shape = (len(rows), self.spec.samples(modality), len(modality.channels))
        return np.zeros(shape, dtype=np.float32)


@dataclass(frozen=True)
class Fitted:
    """A store as a model sees it.

    Attributes:
        store: with exactly the model's modalities, in its order.
        absent: modalities of the model that the store lacks.
        unseen: modalities of the store that the model never saw.
        empty: windows in which nothing that the model knows was recorded.
    """

    store: Store
    absent: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    empty: int = 0

    @property
    def notes(self) -> list[str]:
        """Say what is absent, left out and empty, once each."""
        out = []
        if self.absent:
            out.append(f"{self.store.path} has no {_list(self.absent)}: absent in every window")
        if self.unseen:
            was = "was" if len(self.unseen) == 1 else "were"
            out.append(f"{_list(self.unseen)} {was} not in training and {was} left out")
        if self.empty:
            out.append(
                f"{self.empty} of {len(self.store)} windows have nothing that the run knows: no "
                "embedding, no score"
            )
        return out


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def fit_store(
    store: Store,
    modalities: Sequence[Modality],
    *,
    window_s: float,
    calibration: Calibration | None,
    train: NDArray[np.int64] | None = None,
) -> Fitted:
    """See a store with the eyes of a model.

    Modalities that the store lacks are absent in every window; those that the model never saw are
    left out.

    Args:
        store: what was prepared.
        modalities: of the model, in order.
        window_s: its length of a window, seconds.
        calibration: how its windows were calibrated; None for not at all.
        train: windows of training subjects, who say what is usual, where `calibration` does not.

    Raises:
        ContractError: other windows, a modality of the same name with other channels, unit or
            rate, or not one modality in common.
    """
    wanted = {m.name: m for m in modalities}
    for found in store.modalities:
        if found.name in wanted:
            check_modality(found, wanted[found.name])
    check_window(store.window_s, window_s)
    store = calibrated(store, calibration, train)
    names = [m.name for m in store.modalities]
    if names == list(wanted):
        return Fitted(store)
    absent = tuple(name for name in wanted if name not in names)
    unseen = tuple(name for name in names if name not in wanted)
    if len(absent) == len(wanted):
        raise ContractError(
            f"{store.path}: has no modality that the model knows, got {_list(names)}; at least one "
            f"of {_list(list(wanted))} is needed"
        )
    view = StoreView(store, modalities)
    empty = int((~view.present.any(axis=1)).sum()) if unseen else 0
    return Fitted(view, absent, unseen, empty)
