"""Segment reader: windows read where they lie in a segment's files, once these fit together."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32
from crossl.data.segment import ROW_DTYPE, SegmentSpec, scale_file, signal_file, target_file
from crossl.data.targets import GIVEN_AS, STORED_AS, Target
from crossl.data.windows import WindowSpec
from crossl.errors import FormatError

TABLE_ROWS = 65536
"""Rows of a table that are read at once where all of them are needed."""

VALUE_ROWS = 1 << 20
"""Samples that are looked at at once."""


class SegmentReader:
    """The files of one segment.

    Args:
        path: the segment's folder.
        spec: what it holds.
        recordings: how many.

    Raises:
        FormatError: a file is not an array, or of another type or shape than it must be.
    """

    def __init__(self, path: Path, spec: SegmentSpec, recordings: int) -> None:
        self.path, self._spec, self._recordings = path, spec, recordings
        # maps: a table of many millions of windows need not be in memory
        self.rows = load_array(path / "rows.npy", ROW_DTYPE, (None,))
        width = len(spec.modalities)
        self.offsets = load_array(path / "offsets.npy", np.dtype("<i8"), (len(self.rows), width))
        self._signals: dict[str, _SignalFile] = {}
        self._scales: dict[str, Float32] = {}
        for m in spec.modalities:
            channels = len(m.channels)
            self._signals[m.name] = _SignalFile(
                path / signal_file(m), np.dtype(spec.dtype), channels
            )
            if spec.dtype != "float32":
                shape = (recordings, 2, channels)
                scale = load_array(path / scale_file(m), np.dtype("<f4"), shape)
                self._scales[m.name] = np.array(scale)
        self._targets = {
            target.name: load_array(
                path / target_file(target), STORED_AS[target.kind], target.shape(len(self.rows))
            )
            for target in spec.targets
        }

    def check_listed(self, store: Path, files: Mapping[str, Any]) -> None:
        """Refuse a file that is read but not vouched for.

        Args:
            store: the folder of the store.
            files: those that its manifest vouches for, by name.

        Raises:
            FormatError: one is not among them.
        """
        names = ["rows.npy", "offsets.npy", *(signal_file(m) for m in self._spec.modalities)]
        if self._spec.dtype != "float32":
            names += [scale_file(m) for m in self._spec.modalities]
        names += [target_file(target) for target in self._spec.targets]
        for name in names:
            file = self.path / name
            if file.relative_to(store).as_posix() not in files:
                raise FormatError(
                    f"{file}: is not among the files of manifest.json; prepare the store again"
                )

    def check_values(self, spec: WindowSpec, classes: int) -> None:
        """Refuse numbers that point outside, or that are not finite.

        Args:
            spec: how windows were cut.
            classes: how many there are.

        Raises:
            FormatError: a row has no such recording or label, a window begins or ends outside its
                signal, or a number is not finite.
        """
        lengths = np.array([len(signal.values) for signal in self._signals.values()])
        last = lengths - [spec.samples(m) for m in self._spec.modalities]
        for begin in range(0, len(self.rows), TABLE_ROWS):
            rows = self.rows[begin : begin + TABLE_ROWS]
            recording, label = rows["recording"], rows["label"]
            self._refuse("rows.npy", "names a recording that there is not",
                         (recording < 0) | (recording >= self._recordings))  # fmt: skip
            self._refuse("rows.npy", "names a class that there is not",
                         (label < -1) | (label >= classes))  # fmt: skip
            self._refuse("rows.npy", "holds a time that is not finite",
                         ~np.isfinite(rows["start_s"]))  # fmt: skip
            offsets = self.offsets[begin : begin + TABLE_ROWS]
            self._refuse("offsets.npy", "places a window outside its signal",
                         (offsets < -1) | ((offsets >= 0) & (offsets > last)))  # fmt: skip
        for m in self._spec.modalities:
            values = self._signals[m.name].values
            for begin in range(0, len(values), VALUE_ROWS):
                self._refuse(signal_file(m), "holds a number that is not finite",
                             ~np.isfinite(values[begin : begin + VALUE_ROWS]))  # fmt: skip
            if m.name in self._scales:
                self._refuse(scale_file(m), "holds a number that is not finite",
                             ~np.isfinite(self._scales[m.name]))  # fmt: skip
        for target in self._spec.targets:
            told = self._targets[target.name]
            for begin in range(0, len(told), TABLE_ROWS):
                flaw = target.flaw(told[begin : begin + TABLE_ROWS])
                self._refuse(target_file(target), flaw, np.array(bool(flaw)))
        self.let_go()

    def target_values(self, target: Target, begin: int, end: int) -> NDArray[Any]:
        """Read the values of a target of a stretch of rows, which may reach beyond the last."""
        return np.asarray(self._targets[target.name][begin:end]).astype(GIVEN_AS[target.kind])

    def _refuse(self, name: str, what: str, bad: NDArray[np.bool_]) -> None:
        if bad.any():
            raise FormatError(f"{self.path / name}: {what}; prepare the store again")

    def let_go(self) -> None:
        """Give back the memory of table pages that were read; they are read again when needed."""
        signals = (signal.values for signal in self._signals.values())
        for table in (self.rows, self.offsets, *self._targets.values(), *signals):
            mapped = getattr(table, "_mmap", None)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def windows(
        self, name: str, samples: int, first: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> Float32:
        """Read windows of one modality: (B, samples, C) float32.

        Args:
            name: of the modality.
            samples: of a window.
            first: (B,) first sample of each window, none absent.
            rows: (B,) row of each window in this segment.
        """
        packed = self._signals[name].windows(first, samples)
        if name not in self._scales:
            return packed
        scale = self._scales[name][self.rows["recording"][rows]][:, :, None, :]
        return np.asarray(packed * scale[:, 0] + scale[:, 1], dtype=np.float32)


class _SignalFile:
    """The samples of one modality, read window by window at their place in the file.

    By `pread` where the system has it: pages of a memory map that were touched count as memory of
    this process, and with random windows that comes to many times what was asked for. The
    system's cache serves both alike.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], channels: int) -> None:
        self.values = load_array(path, dtype, (None, channels))
        self._path = path
        self._descriptor: int | None = None
        if hasattr(os, "preadv"):
            self._descriptor = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._descriptor)

    def windows(self, first: NDArray[np.int64], samples: int) -> NDArray[Any]:
        """Read (B, samples, C) from the first sample of each."""
        if self._descriptor is None:
            return _every_window(self.values, samples)[first]
        out = np.empty((len(first), samples, self.values.shape[1]), dtype=self.values.dtype)
        buffer, size = out.reshape(-1).view(np.uint8).data, out[:1].nbytes
        begins = first * self.values.strides[0] + self.values.offset
        for place, begin in enumerate(begins.tolist()):
            target = buffer[place * size : (place + 1) * size]
            if os.preadv(self._descriptor, [target], begin) != size:
                raise FormatError(f"{self._path}: was cut short while it was read")
        return out


def load_array(
    path: Path, dtype: np.dtype[Any], shape: tuple[int | None, ...]
) -> np.memmap[Any, Any]:
    """Map an array of a store.

    Args:
        path: the file.
        dtype: that its numbers must have.
        shape: that it must have; None for any length.

    Raises:
        FormatError: it is not an array, or another one.
    """
    try:
        array = np.load(path, mmap_mode="r")
    except Exception as error:  # the parser of headers raises what it likes
        why = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise FormatError(f"{path}: is not an array ({why}); prepare the store again") from error
    fits = array.ndim == len(shape) and all(
        n is None or n == got for n, got in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits or not array.flags.c_contiguous:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise FormatError(
            f"{path}: holds {array.dtype} of shape {array.shape}; {dtype} of shape ({wanted}) is "
            "needed, prepare the store again"
        )
    return array  # type: ignore[no-any-return]


def _every_window(signal: Float32, samples: int) -> Float32:
    """View (N, C) as (N - samples + 1, samples, C), without a copy."""
    shape = (len(signal) - samples + 1, samples, signal.shape[1])
    strides = (signal.strides[0], *signal.strides)
    return np.lib.stride_tricks.as_strided(signal, shape, strides, writeable=False)
