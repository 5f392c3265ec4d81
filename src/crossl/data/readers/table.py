"""Official text tables: read strictly, compared with what was published, put on their clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, LabelInterval, Signal
from crossl.errors import DataError

Table = np.ndarray[tuple[int, int], np.dtype[np.float64]]

LARGEST = float(np.finfo(np.float32).max)
"""Signals are float32: a larger number, or infinity, is damage."""

OFF_GRID = 0.25
"""Share of a step that a timestamp may lie beside its place on the grid."""

MAX_EMPTY = 10
"""A grid has at most so many places per row; more means that a timestamp is damaged."""


# --- reading


def read_table(
    path: Path,
    columns: int | None = None,
    *,
    delimiter: str | None = None,
    header_lines: int = 0,
    must_end_with_newline: bool = False,
) -> Table:
    """Read a table of numbers; NaN is one, infinity is none.

    Args:
        path: the file.
        columns: how many each line must have; None takes the first line's number.
        delimiter: between columns; None is any white space.
        header_lines: lines before the numbers.
        must_end_with_newline: refuse a file whose last line has no end, as its last number may
            have lost digits.

    Returns:
        (line, column) float64.

    Raises:
        DataError: missing, empty, ragged, cut off, or something that is not a number.
    """
    if not path.is_file():
        raise DataError(f"{path}: does not exist; the official archive has it")
    if not path.stat().st_size:
        raise DataError(f"{path}: is empty; the official archive has it whole")
    if must_end_with_newline and not ends_with_newline(path):
        raise DataError(f"{path}: ends inside a line; it is cut off, fetch it again")
    try:
        with path.open(encoding="ascii") as file:
            lines = _lines_behind_header(file, header_lines)
            values = _load(lines, delimiter)
    except ValueError as error:
        raise _not_official(path, columns, delimiter, header_lines) from error
    if not values.size:
        raise DataError(f"{path}: holds no line of numbers; the official archive has it whole")
    if (columns or values.shape[1]) != values.shape[1] or (np.abs(values) > LARGEST).any():
        raise _not_official(path, columns, delimiter, header_lines)
    return values


def _lines_behind_header(file: Iterator[str], header_lines: int) -> Iterator[str]:
    for _ in range(header_lines):
        next(file, "")
    return file


def _load(lines: Iterator[str], delimiter: str | None) -> Table:
    """Parse with numpy's own reader, which warns where there is nothing to read."""
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return np.zeros((0, 0))

    def again() -> Iterator[str]:
        yield first
        yield from lines

    return np.loadtxt(again(), dtype=np.float64, delimiter=delimiter, ndmin=2, comments=None)


def ends_with_newline(path: Path) -> bool:
    """Tell whether a file's last line is whole; an empty file has none."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _not_official(
    path: Path, columns: int | None, delimiter: str | None, header_lines: int
) -> DataError:
    """Find the first line that is wrong, and say what is wrong with it."""
    why = "it cannot be read as numbers"
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            split = raw.strip().split(delimiter.encode() if delimiter else None)
            cells = [cell.decode("latin1") for cell in split]
            if number <= header_lines or cells in ([], [""]):
                continue
            columns = columns or len(cells)
            if len(cells) != columns:
                why = f"line {number} has {len(cells)} columns, expected {columns}"
                break
            bad = next((i for i, cell in enumerate(cells) if not _is_number(cell)), None)
            if bad is not None:
                cell = cells[bad][:20]
                why = f"line {number}, column {bad + 1} is {cell!a}, not a number a signal can hold"
                break
    return DataError(f"{path}: is not in the official format; {why}")


def _is_number(cell: str) -> bool:
    try:
        return not abs(float(cell)) > LARGEST
    except ValueError:
        return False


# --- what was published


@dataclass(frozen=True)
class Published:
    """Size and SHA-256 of an official file."""

    sha256: str
    size: int


def published_note(path: Path, published: Published | None) -> tuple[str, ...]:
    """Return a note if a file is not the published one; none if it is.

    A file is hashed only where its size is right.
    """
    if published is None:
        return (f"{path.name} is not a published file: the official data set has none there",)
    size = path.stat().st_size
    if size != published.size:
        return (f"{path.name} is not the published file: {size} bytes, not {published.size}",)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != published.sha256:
        return (f"{path.name} is not the published file: its SHA-256 is {digest}",)
    return ()


def git_blob_note(path: Path, sha1: str | None) -> tuple[str, ...]:
    """Return a note if a file is not the published one, known by the SHA-1 of its git blob."""
    if sha1 is None:
        return (f"{path.name} is not a published file: the official data set has none there",)
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != sha1:
        return (f"{path.name} is not the published file: its git blob is {digest.hexdigest()}",)
    return ()


# --- on the clock


def grid_places(where: str, timestamps_s: NDArray[np.float64], rate_hz: float) -> NDArray[np.int64]:
    """Number each row by its place on the regular grid that its timestamps follow.

    Nothing is interpolated: rows that were lost leave places empty.

    Args:
        where: names the file in messages.
        timestamps_s: time of each row, seconds.
        rate_hz: of the grid, whose first place is the first row.

    Raises:
        DataError: a timestamp is missing, does not increase, or lies between two places.

    Examples:
        >>> grid_places("S1-ADL1.dat", np.array([5.0, 5.033, 5.1]), 30.0).tolist()
        [0, 1, 3]
    """
    steps = (timestamps_s - timestamps_s[0]) * rate_hz
    wrong = ~np.isfinite(steps)
    if not wrong.any():
        wrong = np.abs(steps - np.round(steps)) > OFF_GRID
        wrong[1:] |= np.diff(np.round(steps)) < 1
        wrong |= steps >= MAX_EMPTY * len(steps)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{where}: row {row + 1} has timestamp {timestamps_s[row]:.10g} s; rows lie "
            f"{1 / rate_hz:.4g} s apart, or a whole number of these where some were lost"
        )
    return np.asarray(np.round(steps), dtype=np.int64)


def on_grid(place: NDArray[np.int64], values: NDArray[np.float64]) -> Float32:
    """Return the values at their places; NaN where a place is empty."""
    out = np.full((int(place[-1]) + 1, values.shape[1]), np.nan, dtype=np.float32)
    out[place] = values
    return out


def label_runs(
    place: NDArray[np.int64],
    codes: NDArray[np.float64],
    names: Mapping[int, str],
    *,
    rate_hz: float,
    start_s: float = 0.0,
) -> tuple[LabelInterval, ...]:
    """Turn a label per row into intervals; rows whose code has no name are unlabelled.

    Examples:
        >>> label_runs(np.arange(4), np.array([0.0, 2, 2, 0]), {2: "walking"}, rate_hz=2)
        (LabelInterval(start_s=0.5, end_s=1.5, label='walking'),)
    """
    breaks = np.flatnonzero((np.diff(codes) != 0) | (np.diff(place) != 1)) + 1
    edges = [0, *breaks.tolist(), len(codes)]
    return tuple(
        LabelInterval(
            float(start_s + place[begin] / rate_hz),
            float(start_s + (place[end - 1] + 1) / rate_hz),
            names[int(codes[begin])],
        )
        for begin, end in pairwise(edges)
        if int(codes[begin]) in names
    )


def check_codes(path: Path, codes: NDArray[np.float64], allowed: Mapping[int, str]) -> None:
    """Refuse a label column with a code that the documentation does not list.

    Raises:
        DataError: a code is none of the allowed ones.
    """
    unknown = ~np.isin(codes, list(allowed))
    if unknown.any():
        row = int(np.argmax(unknown))
        known = ", ".join(str(code) for code in sorted(allowed))
        raise DataError(f"{path}: row {row + 1} has label {codes[row]:g}; allowed are {known}")


def recorded_only(signals: Mapping[str, Signal]) -> tuple[dict[str, Signal], tuple[str, ...]]:
    """Leave out signals without one whole sample; a note names each."""
    kept = {
        name: signal
        for name, signal in signals.items()
        if not np.isnan(signal.values).any(axis=1).all()
    }
    return kept, tuple(f"{name} holds no sample" for name in signals if name not in kept)
