"""EDF, EDF+ and BDF: one stream per rate, read by edfio.

Signals of one rate form a stream named after it, such as `100 Hz`; its columns are the signals'
labels, made unique by a number where two are equal. Time 0 is the start of the first data record.
Annotations become labels; one without a duration ends where the next one starts, the last such at
the end of the file. In a recording with interruptions (EDF+D) every data record lies at its onset,
to the nearest sample, with NaN between.

The format has no checksum: a file that was cut off is refused, changed samples go unnoticed. Of
BDF edfio reads all samples to open a file; they are let go and read again by `load`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, damaged, needs
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

EDF_MAGIC, BDF_MAGIC = b"0       ", b"\xffBIOSEMI"

TIME_STAMP = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14")
"""Begins the annotations of a data record."""

MAX_EMPTY = 100
"""Interruptions may last so many times as long as what was recorded."""

Onsets = NDArray[np.float64] | None
"""When each data record starts; None where they follow one another."""

UNREADABLE = (ValueError, ArithmeticError, LookupError, TypeError, NameError, OSError, Warning)
"""What edfio raises, or warns of, at files that are damaged."""


def open_file(path: Path) -> FileContent:
    """Read header and annotations.

    Args:
        path: an `.edf` or `.bdf` file.

    Raises:
        DataError: cut off, or not in the format.
    """
    with _as_data_error(path):
        edf = _read(path)
        onsets = None if edf.is_continuous or not edf.signals else _onsets(path, edf)
        end_s = edf.duration if onsets is None else float(onsets[-1]) + edf.data_record_duration
        return FileContent(
            path,
            streams=_streams(path, edf, onsets),
            labels=_labels(edf, end_s),
            about=_about(edf) | {"duration_s": end_s},
        )


def _read(path: Path) -> Any:
    edfio = needs("edfio")
    with path.open("rb") as file:
        magic = file.read(8)
    if magic == BDF_MAGIC:
        return edfio.read_bdf(path, header_encoding="latin1")
    if magic == EDF_MAGIC:
        return edfio.read_edf(path, lazy_load_data=True, header_encoding="latin1")
    raise DataError(f"{path}: begins with {magic!a}; an EDF file begins with {EDF_MAGIC!a}")


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    """Say in one sentence what edfio found wrong, be it an error or a warning."""
    needs("edfio")  # imported before warnings count as damage
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="Different values in startdate fields")
            yield
    except DataError:
        raise
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, error) from error


def _streams(path: Path, edf: Any, onsets: Onsets) -> tuple[Stream, ...]:
    names = _unique([signal.label.strip() for signal in edf.signals])
    groups: dict[int, list[int]] = {}
    for number, signal in enumerate(edf.signals):
        _check_signal(path, names[number], signal)
        groups.setdefault(signal.samples_per_data_record, []).append(number)
    return tuple(_stream(path, edf, names, members, onsets) for members in groups.values())


def _unique(labels: Sequence[str]) -> list[str]:
    """Number labels that are there before.

    Examples:
        >>> _unique(["EEG", "EEG", ""])
        ['EEG', 'EEG (2)', 'signal 3']
    """
    names: list[str] = []
    for number, label in enumerate(labels, start=1):
        name, count = label or f"signal {number}", 2
        while name in names:
            name, count = f"{label or f'signal {number}'} ({count})", count + 1
        names.append(name)
    return names


def _check_signal(path: Path, name: str, signal: Any) -> None:
    for what in ("physical", "digital"):
        low, high = getattr(signal, f"{what}_range")
        if not (np.isfinite([low, high]).all() and low != high):
            raise DataError(
                f"{path}: signal '{name}' has {what} minimum {low:g} and maximum {high:g}; two "
                "different numbers are needed to tell its values"
            )
    if signal.samples_per_data_record < 1 or not signal.sampling_frequency > 0:
        raise DataError(
            f"{path}: signal '{name}' has {signal.samples_per_data_record} samples a data record "
            f"and {signal.sampling_frequency:g} Hz; positive numbers are needed"
        )


def _stream(
    path: Path, edf: Any, names: Sequence[str], members: Sequence[int], onsets: Onsets
) -> Stream:
    first = edf.signals[members[0]]
    columns = {names[number]: number for number in members}
    length = edf.num_data_records * first.samples_per_data_record
    if onsets is not None:
        length = int(_places(onsets, first)[-1]) + 1
    return Stream(
        name=f"{first.sampling_frequency:.10g} Hz",
        columns=tuple(columns),
        units=tuple(edf.signals[number].physical_dimension.strip() for number in members),
        length=length,
        load=partial(_load, path, columns, onsets),
        rate_hz=float(first.sampling_frequency),
    )


def _load(
    path: Path, columns: dict[str, int], onsets: Onsets, names: Sequence[str]
) -> NDArray[np.float64]:
    with _as_data_error(path):
        signals = _read(path).signals
        values = np.stack([signals[columns[name]].data for name in names], axis=1)
        if onsets is None:
            return values
        places = _places(onsets, signals[columns[names[0]]])
    out = np.full((int(places[-1]) + 1, len(names)), np.nan)
    out[places] = values
    return out


# --- interruptions


def _places(onsets: NDArray[np.float64], signal: Any) -> NDArray[np.int64]:
    """Number each recorded sample by its place on the grid that begins with the first one."""
    first: NDArray[np.int64] = np.round(onsets * signal.sampling_frequency).astype(np.int64)
    inside = np.arange(signal.samples_per_data_record, dtype=np.int64)
    return (first[:, np.newaxis] + inside).ravel()


def _onsets(path: Path, edf: Any) -> Onsets:
    """Return when each data record starts, seconds after the first.

    None where every record starts within a sample of where it would without interruptions: times
    are written with few digits.
    """
    onsets = np.array([float(found[1]) for found in _time_stamps(path, edf)])
    onsets -= onsets[0]
    fastest = max(signal.sampling_frequency for signal in edf.signals)
    if (np.abs(onsets - np.arange(len(onsets)) * edf.data_record_duration) < 1 / fastest).all():
        return None
    early = np.diff(onsets) <= 0
    for signal in edf.signals:
        steps = np.diff(np.round(onsets * signal.sampling_frequency))
        early |= steps < signal.samples_per_data_record
    if early.any():
        at = int(np.argmax(early)) + 2
        raise DataError(
            f"{path}: data record {at} starts {onsets[at - 1]:g} s after the first, before the "
            "one before it ended; records follow one another"
        )
    if onsets[-1] > MAX_EMPTY * edf.duration:
        raise DataError(
            f"{path}: holds {edf.duration:g} s within {onsets[-1]:g} s; at most {MAX_EMPTY} times "
            "what was recorded is laid out, cut the file into its pieces"
        )
    return onsets


def _time_stamps(path: Path, edf: Any) -> Iterator[re.Match[bytes]]:
    """Yield what begins the annotations of each data record: its time."""
    data = np.memmap(path, np.uint8, "r")
    count = int(bytes(data[252:256]))
    width = 3 if bytes(data[:8]) == BDF_MAGIC else 2
    labels = [bytes(data[256 + 16 * i : 272 + 16 * i]).strip() for i in range(count)]
    begin = 256 + 216 * count
    sizes = [int(bytes(data[begin + 8 * i : begin + 8 * i + 8])) * width for i in range(count)]
    which = next(i for i, label in enumerate(labels) if label.endswith(b"DF Annotations"))
    for record in range(edf.num_data_records):
        at = 256 * (count + 1) + record * sum(sizes) + sum(sizes[:which])
        found = TIME_STAMP.match(bytes(data[at : at + sizes[which]]))
        if found is None:
            raise DataError(
                f"{path}: data record {record + 1} has no time; EDF+D needs one in each"
            )
        yield found


# --- annotations and header


def _labels(edf: Any, end_s: float) -> tuple[LabelInterval, ...]:
    """Return annotations by onset; those without text say nothing and are left out."""
    found = [(a.onset, a.duration, a.text.strip()) for a in edf.annotations if a.text.strip()]
    onsets = np.array([onset for onset, _, _ in found])
    labels = []
    for onset, duration, text in found:
        later = onsets[onsets > onset]
        end = onset + duration if duration else float(later[0]) if len(later) else end_s
        if end > onset:
            labels.append(LabelInterval(float(onset), float(end), text))
    return tuple(labels)


def _about(edf: Any) -> dict[str, Any]:
    about = {
        "patient": edf.local_patient_identification,
        "recording": edf.local_recording_identification,
        "format": edf.reserved or type(edf).__name__.upper(),
    }
    try:
        about["start"] = edf.startdatetime.isoformat()
    except ValueError:  # made anonymous
        about["start"] = None
    return about
