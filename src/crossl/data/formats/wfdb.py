"""WFDB (PhysioNet): `.hea` and its `.dat`, one stream per rate, read by wfdb.

Signals with equally many samples per frame form a stream named after its rate, such as `480 Hz`.
Samples that the format marks as invalid are NaN. The checksum that the header has of each signal
(the sum of its samples, 16 bits) is compared when its samples are read.

Where an annotation file `.atr` lies beside the header, annotations with text become labels, each
until the next; the last ends with the record. Where one lies behind the end of the record, its
sample numbers count at some other rate: then there are no labels, and `about` says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, damaged, needs
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

UNREADABLE = (
    ValueError, ArithmeticError, LookupError, TypeError, NameError, AttributeError, OSError,
)  # fmt: skip
"""What wfdb raises at files that are damaged."""


def open_file(path: Path) -> FileContent:
    """Read header and annotations of a record.

    Args:
        path: the `.hea` file.

    Raises:
        DataError: damaged, of several segments, or without its sample files.
    """
    with _as_data_error(path):
        header = needs("wfdb").rdheader(str(path.with_suffix("")))
    _check_header(path, header)
    labels, told = _labels(path, header)
    about = {
        "record": header.record_name,
        "start": _start(header),
        "comments": list(header.comments),
    }
    return FileContent(path, streams=_streams(path, header), labels=labels, about=about | told)


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    """Say in one sentence what wfdb found wrong; its own use of pandas warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(path, error) from error


def _check_header(path: Path, header: Any) -> None:
    if getattr(header, "n_seg", 1) != 1 or not hasattr(header, "samps_per_frame"):
        raise DataError(
            f"{path}: is made of several segments; open the header of each segment instead"
        )
    if not header.n_sig:
        raise DataError(f"{path}: has no signals; a record with signals is needed")
    if not header.sig_len or not header.fs > 0:
        raise DataError(
            f"{path}: tells {header.sig_len} samples at {header.fs} Hz; both must be positive"
        )
    if None in header.sig_name or len(set(header.sig_name)) != header.n_sig:
        raise DataError(
            f"{path}: names its signals {header.sig_name}; each needs a name of its own"
        )
    for name in dict.fromkeys(header.file_name):
        if not (path.parent / name).is_file():
            raise DataError(f"{path}: its samples are in {name}, which is not beside it")


def _streams(path: Path, header: Any) -> tuple[Stream, ...]:
    groups: dict[int, list[int]] = {}
    for number, per_frame in enumerate(header.samps_per_frame):
        groups.setdefault(per_frame, []).append(number)
    streams = []
    for per_frame, members in groups.items():
        columns = {header.sig_name[number]: number for number in members}
        rate_hz = float(header.fs) * per_frame
        streams.append(
            Stream(
                name=f"{rate_hz:.10g} Hz",
                columns=tuple(columns),
                units=tuple(header.units[number] or "" for number in members),
                length=header.sig_len * per_frame,
                load=partial(_load, path, columns),
                rate_hz=rate_hz,
            )
        )
    return tuple(streams)


def _load(path: Path, columns: dict[str, int], names: Sequence[str]) -> NDArray[np.float64]:
    channels = sorted({columns[name] for name in names})
    with _as_data_error(path):
        record = needs("wfdb").rdrecord(
            str(path.with_suffix("")), channels=channels, physical=False, smooth_frames=False
        )
        values = record.dac(expanded=True)
    _check_samples(path, record)
    by_channel = dict(zip(channels, values, strict=True))
    return np.stack([by_channel[columns[name]] for name in names], axis=1)


def _check_samples(path: Path, record: Any) -> None:
    sums = record.calc_checksum(expanded=True)
    for number, name in enumerate(record.sig_name):
        expected = record.sig_len * record.samps_per_frame[number]
        if len(record.e_d_signal[number]) != expected:
            raise DataError(
                f"{path.with_name(record.file_name[number])}: holds "
                f"{len(record.e_d_signal[number])} samples of '{name}'; the header tells {expected}"
            )
        told = record.checksum[number]
        # with a skew some samples lie outside of what is read
        if told is None or record.skew[number]:
            continue
        if (sums[number] - told) % 65536:
            raise DataError(
                f"{path.with_name(record.file_name[number])}: the checksum of '{name}' is "
                f"{sums[number]}; the header tells {told % 65536}, the file is damaged"
            )


def _labels(path: Path, header: Any) -> tuple[tuple[LabelInterval, ...], dict[str, Any]]:
    if not path.with_suffix(".atr").is_file():
        return (), {}
    with _as_data_error(path.with_suffix(".atr")):
        found = needs("wfdb").rdann(str(path.with_suffix("")), "atr")
    rate_hz, end_s = float(found.fs or header.fs), header.sig_len / header.fs
    marks = sorted(
        (int(sample) / rate_hz, note.strip("\0 "))
        for sample, note in zip(found.sample, found.aux_note, strict=True)
        if note.strip("\0 ")
    )
    about: dict[str, Any] = {"annotations": len(found.sample)}
    if marks and marks[-1][0] >= end_s:
        why = f"{marks[-1][0]:g} s lies behind the end of the record at {end_s:g} s"
        return (), about | {"labels": f"left out: an annotation at {why}"}
    labels = tuple(
        LabelInterval(begin, end, text)
        for (begin, text), (end, _) in pairwise([*marks, (end_s, "")])
        if end > begin
    )
    return labels, about


def _start(header: Any) -> str | None:
    if header.base_time is None:
        return None
    if header.base_date is None:
        return str(header.base_time)
    return f"{header.base_date.isoformat()}T{header.base_time.isoformat()}"
