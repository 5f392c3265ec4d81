"""EDF, EDF+ and BDF: one stream per rate, read by code of our own.

Signals of one rate form a stream named after it, such as `100 Hz`; its columns are the signals'
labels, made unique by a number where two are equal. A signal whose header does not tell its values
is left out and named. Time 0 is the start of the first data record. Annotations become labels; one
without a duration ends where the next one starts, the last such at the end of the file. In a
recording with interruptions (EDF+D) every data record lies at its onset, to the nearest sample,
with NaN between.

The format has no checksum: a file that was cut off is refused, changed samples go unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, unique_names
from crossl.data.formats.edf.annotations import (
    Annotations,
    as_labels,
    read_annotations,
    record_table,
)
from crossl.data.formats.edf.header import Header, SignalHeader, read_header
from crossl.errors import DataError

MAX_EMPTY = 100
"""Interruptions may last so many times as long as what was recorded."""

Onsets = NDArray[np.float64] | None
"""When each data record starts; None where they follow one another."""


def open_file(path: Path) -> FileContent:
    """Read header and annotations.

    Args:
        path: an `.edf` or `.bdf` file.

    Raises:
        DataError: cut off, or not in the format.
    """
    header = read_header(path)
    annotations = _from_first(read_annotations(path, header))
    left_out, columns = _columns(header)
    signals = [header.signals[number] for number in columns.values()]
    onsets = _onsets(path, header, annotations, signals)
    duration_s = header.records * header.record_s
    if onsets is not None:
        duration_s = float(onsets[-1]) + header.record_s
    notes = [*header.notes]
    if signals and not header.record_s:
        notes.append(
            f"{path.name} gives no length of its data records, hence no rates; those of the "
            "mapping count"
        )
    has_signals = any(not signal.is_annotations for signal in header.signals)
    # a file of annotations alone does not know when the recording ended
    labels, open_ended, more = as_labels(
        path.name, annotations, duration_s if has_signals and header.record_s else np.inf
    )
    return FileContent(
        path,
        streams=_streams(path, header, columns, onsets),
        labels=labels,
        about={
            "patient": header.patient,
            "recording": header.recording,
            "format": header.reserved or header.kind,
            "start": header.start,
            "duration_s": duration_s,
            "notes": notes,
            "label_notes": more,
        },
        left_out=left_out,
        open_ended=open_ended,
    )


def _from_first(annotations: Annotations) -> Annotations:
    """Count times from the start of the first data record, which may lie within a second."""
    told = annotations.onsets_s
    first = float(told[0]) if len(told) and np.isfinite(told[0]) else 0.0
    if not first:
        return annotations
    found = tuple(replace(one, onset_s=round(one.onset_s - first, 12)) for one in annotations.found)
    return replace(annotations, found=found, onsets_s=told - first)


def _columns(header: Header) -> tuple[dict[str, str], dict[str, int]]:
    """Name the signals: those that cannot be read, with the reason, and the numbers of others."""
    numbers = [n for n, signal in enumerate(header.signals) if not signal.is_annotations]
    names = unique_names([header.signals[number].label for number in numbers])
    faults = {n: header.signals[number].fault() for n, number in zip(names, numbers, strict=True)}
    return (
        {name: fault for name, fault in faults.items() if fault},
        {n: number for n, number in zip(names, numbers, strict=True) if not faults[n]},
    )


def _streams(
    path: Path, header: Header, columns: dict[str, int], onsets: Onsets
) -> tuple[Stream, ...]:
    groups: dict[int, dict[str, int]] = {}
    for name, number in columns.items():
        groups.setdefault(header.signals[number].samples, {})[name] = number
    return tuple(_stream(path, header, members, onsets) for members in groups.values())


def _stream(path: Path, header: Header, columns: dict[str, int], onsets: Onsets) -> Stream:
    first = header.signals[next(iter(columns.values()))]
    rate_hz = first.samples / header.record_s if header.record_s else None
    length = header.records * first.samples
    if onsets is not None:
        length = int(_places(onsets, header, first)[-1]) + 1
    return Stream(
        name=f"{first.samples} a record" if rate_hz is None else f"{rate_hz:.10g} Hz",
        columns=tuple(columns),
        units=tuple(header.signals[number].unit for number in columns.values()),
        length=length,
        load=partial(_load, path, header, columns, onsets),
        rate_hz=rate_hz,
    )


def _load(
    path: Path, header: Header, columns: dict[str, int], onsets: Onsets, names: Sequence[str]
) -> NDArray[np.float64]:
    table, places = record_table(path, header), header.places
    values = np.stack([_physical(header, columns[name], table, places) for name in names], axis=1)
    if onsets is None:
        return values
    at = _places(onsets, header, header.signals[columns[names[0]]])
    out = np.full((int(at[-1]) + 1, len(names)), np.nan)
    out[at] = values
    return out


def _physical(
    header: Header, number: int, table: NDArray[np.uint8], places: Sequence[int]
) -> NDArray[np.float64]:
    signal = header.signals[number]
    data = np.ascontiguousarray(table[:, places[number] : places[number + 1]])
    raw: NDArray[Any]
    if header.sample_bytes == 2:
        raw = data.view("<i2").ravel()
    else:
        three = data.reshape(-1, 3)
        raw = three[:, 2].view(np.int8).astype(np.int32) << 16
        raw |= three[:, 1].astype(np.int32) << 8 | three[:, 0]
    (low, high), (digital_low, digital_high) = signal.physical, signal.digital
    step = (high - low) / (digital_high - digital_low)
    return np.asarray(low + (raw - digital_low) * step, dtype=np.float64)


# --- interruptions


def _places(onsets: NDArray[np.float64], header: Header, signal: SignalHeader) -> NDArray[np.int64]:
    """Number each recorded sample by its place on the grid that begins with the first one."""
    rate_hz = signal.samples / header.record_s
    first: NDArray[np.int64] = np.round(onsets * rate_hz).astype(np.int64)
    inside = np.arange(signal.samples, dtype=np.int64)
    return (first[:, np.newaxis] + inside).ravel()


def _onsets(
    path: Path, header: Header, annotations: Annotations, signals: Sequence[SignalHeader]
) -> Onsets:
    """Return when each data record starts, seconds after the first.

    None where every record starts within a sample of where it would without interruptions: times
    are written with few digits.
    """
    onsets = annotations.onsets_s
    if not (signals and header.record_s and len(onsets)) or np.isnan(onsets).any():
        return None
    fastest = max(signal.samples for signal in signals) / header.record_s
    if (np.abs(onsets - np.arange(len(onsets)) * header.record_s) < 1 / fastest).all():
        return None
    early = np.diff(onsets) <= 0
    for samples in {signal.samples for signal in signals}:
        early |= np.diff(np.round(onsets * samples / header.record_s)) < samples
    if early.any():
        at = int(np.argmax(early)) + 2
        raise DataError(
            f"{path}: data record {at} starts {onsets[at - 1]:g} s after the first, before the "
            "one before it ended; records follow one another"
        )
    recorded_s = header.records * header.record_s
    if onsets[-1] > MAX_EMPTY * recorded_s:
        raise DataError(
            f"{path}: holds {recorded_s:g} s within {onsets[-1]:g} s; at most {MAX_EMPTY} times "
            "what was recorded is filled in, cut the file into its pieces"
        )
    return onsets
