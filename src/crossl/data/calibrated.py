"""A store whose windows come calibrated, each by its own recording: who reads it sees no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.calibration import Calibration, apply
from crossl.data.recording import Float32
from crossl.data.recording_statistics import RecordingStatistics
from crossl.data.source import WindowSource
from crossl.data.standardisation import StandardisationConfig
from crossl.data.store import Store


class CalibratedStore(Store):
    """A store as it is, but for its signals: each window by the statistics of its recording.

    Args:
        statistics: of the store as it was prepared.
        calibration: how.
    """

    def __init__(self, statistics: RecordingStatistics, calibration: Calibration) -> None:
        vars(self).update(vars(statistics.store))
        self._statistics = statistics
        self.calibration = calibration

    @property
    def prepared(self) -> Store:
        """The store as it was prepared."""
        return self._statistics.store

    def __reduce__(self) -> tuple[Any, ...]:
        return calibrated, (self.prepared, self.calibration)

    def _gather_modality(self, column: int, rows: NDArray[np.int64]) -> Float32:
        return self.calibrate(column, self.prepared._gather_modality(column, rows), rows)

    def calibrate(self, column: int, windows: Float32, rows: NDArray[np.int64]) -> Float32:
        """Calibrate windows of a modality in place, by what their recordings tell.

        Args:
            column: of the modality.
            windows: (n, T, C), contiguous; perhaps other samples than were recorded.
            rows: (n,) that they stand for.
        """
        assert self.calibration is not None  # noqa: S101 - for mypy
        found = self._statistics.of(column)
        place = found.index[rows]
        divisor = self.calibration.divisor(self.modalities[column], found.deviation[place])
        return apply(windows, found.mean[place], divisor)


def recorded(source: WindowSource) -> WindowSource:
    """Return windows as they were recorded, of a source that may be calibrated."""
    return source.prepared if isinstance(source, CalibratedStore) else source


def as_seen(
    source: WindowSource, column: int, windows: Float32, rows: NDArray[np.int64]
) -> Float32:
    """Return windows of a modality as a source shows them, from such as were recorded."""
    if not isinstance(source, CalibratedStore):
        return windows
    return source.calibrate(column, np.ascontiguousarray(windows), rows)


def calibrated(
    store: Store, calibration: Calibration | None, train: NDArray[np.int64] | None = None
) -> Store:
    """See a store calibrated.

    Args:
        store: as it was prepared.
        calibration: how; None leaves the store as it is.
        train: windows of training subjects, whose recordings say which deviations are usual; None
            where `calibration` says so.
    """
    if isinstance(store, CalibratedStore):
        store = store.prepared
    if calibration is None:
        return store
    statistics = RecordingStatistics(store, calibration)
    if train is not None:
        calibration = calibration.fitted(statistics.typical(train))
    return CalibratedStore(statistics, calibration)


def calibration_of(
    settings: StandardisationConfig, contract: Mapping[str, Any]
) -> Calibration | None:
    """Return how the windows of a run are calibrated; None for not at all.

    Args:
        settings: of the run.
        contract: of the run, which says what was usual in training; of an untrained one nothing.
    """
    kept = contract.get("standardisation")
    return settings.build() if kept is None else Calibration.from_dict(kept)


def calibration_facts(store: Store) -> dict[str, Any]:
    """Return what a contract must say of how a store's windows were calibrated."""
    return {} if store.calibration is None else {"standardisation": store.calibration.as_dict()}
