"""Sight: a recording as a run sees it, cut into the windows that the run learned from."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.calibration import Calibration
from crossl.data.classes import with_classes
from crossl.data.contract import check_modality, fit_store
from crossl.data.cutting import CutRecording, cut_recording
from crossl.data.rate_change import RATE_FILTER
from crossl.data.recording import Modality, Recording
from crossl.data.recording_windows import CutWindows, StoredWindows
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import ConfigError, ContractError, nearest

RecordingWindows: TypeAlias = CutWindows | StoredWindows


@dataclass(frozen=True)
class Seen:
    """One recording, ready to be classified.

    Attributes:
        subject: who.
        session: which recording of the subject.
        windows: with the modalities of the run, in its order.
        begin_s: when the recording begins, seconds on its clock.
        end_s: when it ends.
        origin_unix_s: where the clock's 0 lies on the calendar; None where nothing tells.
        zone: IANA name; empty where it is not known, and the origin is local time.
        truth: (W,) the label that the recording itself gives a window; empty where it gives none.
        unseen: modalities that the run never saw; they were left out.
        notes: what reading had to say.
    """

    subject: str
    session: str
    windows: RecordingWindows
    begin_s: float
    end_s: float
    origin_unix_s: float | None
    zone: str
    truth: NDArray[np.str_]
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sight:
    """How a run sees recordings.

    Attributes:
        modalities: of the run, in order.
        spec: how its windows are cut.
        resampled: whose rate was changed before training, as its contract says.
        resample: whose rate may be changed now, from whatever it is.
        chosen: the class of each label, where some were chosen for training.
        calibration: how windows are calibrated by their recording; None for not at all.
    """

    modalities: tuple[Modality, ...]
    spec: WindowSpec
    resampled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resample: tuple[str, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None

    def see(self, recording: Recording, *, file: str = "") -> Seen:
        """Cut a recording as the windows of the run were cut.

        Modalities that it lacks are absent; those that the run never saw are left out.

        Args:
            recording: any.
            file: names what it was read from in messages.

        Raises:
            ContractError: a modality has other channels, another unit or rate, or none is known.
            DataError: it cannot be cut.
        """
        names = [m.name for m in self.modalities]
        where = f"subject {recording.subject}, session {recording.session}"
        where += f" ({file})" if file else ""
        refuse_strangers(where, list(recording.signals), names)
        rates = self._rates(where, recording)
        seen = recording.resampled(rates) if rates else recording
        named = with_classes(seen, self.chosen) if self.chosen else seen
        classes = sorted({one.label for one in named.labels})
        cut = cut_recording(named, self.modalities, classes, self.spec)
        return Seen(
            recording.subject,
            recording.session,
            self._windows(named, cut),
            recording.start_s,
            recording.end_s,
            recording.origin_unix_s,
            recording.zone,
            np.array([*classes, ""])[cut.label],
            tuple(name for name in recording.signals if name not in names),
            tuple(recording.notes),
        )

    def _windows(self, recording: Recording, cut: CutRecording) -> RecordingWindows:
        """Return the windows of a recording; calibrated ones are read from a store for a while."""
        if self.calibration is None or not len(cut.start_s):
            return CutWindows(cut, self.modalities, self.spec)
        held = [m for m in self.modalities if m.name in recording.signals]
        folder = Path(mkdtemp(prefix="crossl-"))
        try:
            store = write_store([recording], folder / "store", modalities=held, classes=[],
                                spec=self.spec, about={})  # fmt: skip
            fitted = fit_store(store, self.modalities, window_s=self.spec.window_s,
                               calibration=self.calibration)  # fmt: skip
            windows = StoredWindows(fitted.store, np.arange(len(fitted.store)))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(windows, shutil.rmtree, folder, ignore_errors=True)
        return windows

    def _rates(self, where: str, recording: Recording) -> dict[str, float]:
        """Return the new rates of modalities that have another one and may be changed."""
        rates = {}
        for wanted in self.modalities:
            if wanted.name not in recording.signals:
                continue  # declared for others: what it would be is no matter
            found = recording.modalities[wanted.name]
            if found.rate_hz != wanted.rate_hz:
                self._refuse_rate(where, found, wanted)
                rates[wanted.name] = wanted.rate_hz
            try:
                check_modality(replace(found, rate_hz=wanted.rate_hz), wanted)
            except ContractError as error:
                raise ContractError(f"{where}: {error}") from None
        return rates

    def _refuse_rate(self, where: str, found: Modality, wanted: Modality) -> None:
        told = self.resampled.get(found.name)
        if told is not None and told["filter"] != RATE_FILTER:
            raise ContractError(
                f"{where}: the rate of '{found.name}' was changed by '{told['filter']}' before "
                f"training; this version of crossl has '{RATE_FILTER}'"
            )
        as_trained = told is not None and told["from_hz"] in (None, found.rate_hz)
        if as_trained or found.name in self.resample:
            return
        raise ContractError(
            f"{where}: modality '{found.name}' has {found.rate_hz:g} Hz; the run was made for "
            f"{wanted.rate_hz:g} Hz, to change the rate say --resample {found.name}"
        )


def sight_of(
    contract: Mapping[str, Any],
    modalities: Sequence[Modality],
    *,
    where: str,
    resample: Sequence[str] = (),
    spec: WindowSpec | None = None,
    calibration: Calibration | None = None,
) -> Sight:
    """Return how a run sees recordings.

    Args:
        contract: what `model.json` says.
        modalities: of the run.
        where: names the run in messages.
        resample: modalities whose rate may be changed.
        spec: how windows are cut, where the run does not say so itself.
        calibration: how windows are calibrated by their recording.

    Raises:
        ConfigError: the run has no such modality.
        ContractError: nothing says how windows are cut.
    """
    names = [m.name for m in modalities]
    for name in resample:
        if name not in names:
            raise ConfigError(f"--resample: modality '{name}'; {nearest(name, names)}")
    told = contract.get("window")
    cut = spec if told is None else WindowSpec(**told)
    if cut is None:
        raise ContractError(
            f"{where}: does not say how its windows were cut (it is of an older crossl, or was "
            "trained on arrays); give a mapping with `windows` (--mapping), or a store"
        )
    if abs(cut.window_s - contract["window_s"]) > 1e-9:
        raise ContractError(
            f"{where}: was made for windows of {contract['window_s']:g} s; the mapping cuts "
            f"{cut.window_s:g} s"
        )
    if calibration is not None and calibration.by == "subject":
        raise ContractError(
            f"{where}: calibrates windows by all recordings of a subject, which files do not tell; "
            "put them into a store (`crossl prepare`) and give that"
        )
    chosen = (contract.get("reading") or {}).get("chosen", {})
    return Sight(
        tuple(modalities), cut, contract.get("resampled", {}), tuple(resample), chosen, calibration
    )


def refuse_strangers(where: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse what has no modality that a run knows.

    Args:
        where: names it.
        found: names of its modalities.
        wanted: of those that the run knows.

    Raises:
        ContractError: they have none in common.
    """
    if not set(found) & set(wanted):
        raise ContractError(
            f"{where}: has no sensor that the run knows, got {', '.join(found) or 'none'}; at "
            f"least one of {', '.join(wanted)} is needed"
        )
