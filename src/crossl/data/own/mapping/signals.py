"""From the columns of one file to its modalities: in SI, on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream
from crossl.data.own.mapping.columns import (
    Place,
    check_unit,
    lacking,
    locate_signal,
    was_off,
)
from crossl.data.own.mapping.entries import ModalityEntry
from crossl.data.own.mapping.labels import Names
from crossl.data.own.mapping.plan import Source
from crossl.data.own.mapping.times import clock_seconds
from crossl.data.own.mapping.zones import Zones
from crossl.data.recording import Modality, Signal
from crossl.data.timing import RATE_TOLERANCE, put_in_order
from crossl.data.units import parse_unit
from crossl.errors import DataError


@dataclass(frozen=True)
class Rules:
    """What reading a recording needs to know of its mapping.

    Attributes:
        modalities: how the files hold them, by name.
        declared: what recordings declare, in SI; may be more than the files of one have.
        classes: labels to keep; none keeps no label.
        label_names: what a label in the files is called instead.
        max_gap_s: longer steps between samples are gaps.
        may_lack_labels: files may lack their column of labels.
    """

    modalities: Mapping[str, ModalityEntry]
    declared: tuple[Modality, ...]
    classes: tuple[str, ...] = ()
    label_names: Mapping[str, str] = field(default_factory=dict)
    max_gap_s: float = 0.2
    may_lack_labels: bool = False

    def gap_of(self, modality: str) -> float:
        """Seconds of the longest step between samples that is not a gap."""
        own = self.modalities[modality].max_gap_s
        return self.max_gap_s if own is None else own

    @property
    def names(self) -> Names:
        """What is said of labels by name."""
        return Names(self.classes, self.label_names, self.may_lack_labels)


def read_signals(
    source: Source, content: FileContent, rules: Rules, zones: Zones
) -> dict[str, Signal]:
    """Read the modalities that one file holds, on the clock of the file with its offset.

    Args:
        source: the file.
        content: opened.
        rules: what it holds.
        zones: collects what the times are, and notes.

    Raises:
        DataError: columns that do not exist, or rates that contradict each other.
    """
    places = _places(source, content, rules, zones.notes)
    tables = _load(places)
    signals = {}
    for name, place in places.items():
        modality = rules.modalities[name]
        where = f"{source.path}: signal '{name}'"
        raw = np.stack([tables[stream.name, column] for stream, column in place], axis=1)
        if modality.valid_range is not None:
            raw = _within(name, raw, modality, zones.notes)
        values = parse_unit(modality.unit, where=where).to_si(raw)
        told = content.about.get("missing", {}).get(place[0][0].name)
        if told and np.isnan(values).any():
            zones.notes.append(f"{name}: {int(np.isnan(values).any(axis=1).sum())} {told}")
        if not np.isfinite(values).all(axis=1).any():
            zones.notes.append(
                f"{source.path.name}: '{name}' holds no sample that every channel recorded; it "
                "counts as not recorded"
            )
            continue
        times = _times(where, source, content, place, zones)
        moved = source.offset_of(name)
        if times is not None:
            irregular = modality.resample and bool(content.about.get("irregular"))
            how = (modality, rules.gap_of(name), moved, source.entry.sparse, irregular)
            signals[name] = _by_clock(where, times, values, how)
            zones.notes += _batches(name, signals[name], len(times))
        else:
            signals[name] = _by_rate(where, place[0][0], values, modality, moved)
    return signals


def _batches(name: str, signal: Signal, count: int) -> list[str]:
    """Report samples that came in batches of one time each."""
    spread = signal.timing.spread if signal.timing is not None else 0
    if not spread:
        return []
    return [
        f"{name}: {spread} of {count} samples have the time of the one before, as in batches that "
        "a device hands over; each batch was spread evenly until the next, so times are known to "
        "within a batch"
    ]


def _places(
    source: Source, content: FileContent, rules: Rules, notes: list[str]
) -> dict[str, Place]:
    """Find the columns of each modality; one that lacks an optional channel was not recorded."""
    places = {}
    for name, entry in source.entry.signals.items():
        where = f"{source.path}: signal '{name}'"
        modality = rules.modalities[name]
        if was_off(content, entry):
            notes.append(f"'{name}' was off and counts as not recorded")
            continue
        lacks = lacking(content, entry, modality.channels)
        if lacks and all(modality.may_lack(channel) for channel in lacks):
            notes.append(
                f"'{name}' counts as not recorded where a file lacks its optional channel: "
                f"{', '.join(lacks)}"
            )
            continue
        places[name] = locate_signal(where, content, entry, modality.channels)
        for stream, column in places[name]:
            check_unit(where, stream, column, modality.unit, name)
    return places


def _times(
    where: str, source: Source, content: FileContent, place: Place, zones: Zones
) -> NDArray[np.float64] | None:
    """Return the times of a modality's samples, the same for all of its channels."""
    streams = list({stream.name: stream for stream, _ in place}.values())
    times = clock_seconds(source, content, streams[0], zones)
    for other in streams[1:]:
        theirs = clock_seconds(source, content, other, zones)
        if times is None or theirs is None:
            continue
        if not np.array_equal(times, theirs, equal_nan=True):
            raise DataError(
                f"{where} lies in streams of different times, {streams[0].name} and {other.name}; "
                "those of one modality must agree"
            )
    return times


def _within(
    name: str, raw: NDArray[np.float64], modality: ModalityEntry, notes: list[str]
) -> NDArray[np.float64]:
    """Let values outside the valid range be missing, and count them."""
    low, high = modality.valid_range or (-np.inf, np.inf)
    outside = (raw < low) | (raw > high)
    if outside.any():
        notes.append(
            f"{name}: {int(outside.sum())} of {outside.size} values lie outside {low:g} to "
            f"{high:g} {modality.unit}; they count as missing"
        )
    return np.where(outside, np.nan, raw)


def _load(places: Mapping[str, Place]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Load each stream's columns in one go."""
    wanted: dict[str, tuple[Stream, dict[str, None]]] = {}
    for place in places.values():
        for stream, column in place:
            wanted.setdefault(stream.name, (stream, {}))[1][column] = None
    tables = {}
    for name, (stream, columns) in wanted.items():
        table = stream.load(list(columns))
        for number, column in enumerate(columns):
            tables[name, column] = table[:, number]
    return tables


def _by_clock(
    where: str,
    times: NDArray[np.float64],
    values: NDArray[np.floating[Any]],
    how: tuple[ModalityEntry, float, float, bool, bool],
) -> Signal:
    modality, max_gap_s, offset_s, sparse, irregular = how
    if len(times) != len(values):
        raise DataError(
            f"{where} has {len(values)} samples and its clock {len(times)}; one time a sample is "
            "needed"
        )
    if sparse:
        held = np.isfinite(values).any(axis=1)
        times, values = times[held], values[held]
    slowest_hz = modality.rate_hz
    if modality.resample and not irregular:
        _, _, timing = put_in_order(where, times, times[:, None])
        slowest_hz = min(slowest_hz, timing.estimated_hz)
    return Signal.from_timestamps(
        times + offset_s,
        values,
        rate_hz=modality.rate_hz,
        resample=modality.resample,
        # at low rates neighbours lie further apart than a gap is long
        max_gap_s=max(max_gap_s, 1.5 / slowest_hz),
        irregular=irregular,
        where=where,
    )


def _by_rate(
    where: str,
    stream: Stream,
    values: NDArray[np.float32],
    modality: ModalityEntry,
    offset_s: float,
) -> Signal:
    rate_hz = stream.rate_hz or modality.rate_hz
    signal = Signal(values, rate_hz, stream.start_s + offset_s)
    if abs(rate_hz - modality.rate_hz) <= RATE_TOLERANCE * modality.rate_hz:
        return signal
    if not modality.resample:
        raise DataError(
            f"{where} has {rate_hz:g} Hz by its file but its modality declares "
            f"{modality.rate_hz:g} Hz; correct `rate_hz` or say `resample: true`"
        )
    return signal.resampled(modality.rate_hz)
