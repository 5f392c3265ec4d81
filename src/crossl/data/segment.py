"""Segment: the files that one `prepare` writes into a store, append-only.

`signals/NAME.npy` holds every recording's samples behind each other, `rows.npy` and `offsets.npy`
say where each window begins, `targets/NAME.npy` what is to be predicted for it beside its label.
What was written can be cut back to an earlier state, so that work that was killed resumes from the
last part that was whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.cutting import CutRecording
from crossl.data.recording import Float32, Modality, Recording
from crossl.data.targets import STORED_AS, Target, check_values
from crossl.files import naming, sync

DType: TypeAlias = Literal["float32", "float16", "int16"]
DTYPES: tuple[DType, ...] = ("float32", "float16", "int16")

ROW_DTYPE = np.dtype([("recording", "<i4"), ("label", "<i2"), ("start_s", "<f8")])
INT16_STEPS = 32767


class _Column:
    """One `.npy` file that grows at its end."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._path = path
        self._file: BufferedRandom = path.open("r+b")
        self._dtype, self._shape = dtype, shape
        self._row_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self.length = 0
        size = path.stat().st_size
        self._header_bytes = self._write_header()
        self.found = max(0, size - self._header_bytes) // self._row_bytes

    def _write_header(self) -> int:
        """Write the shape; numpy leaves room for the rows to grow, so the size stays the same."""
        self._file.seek(0)
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.length, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows behind the ones before them."""
        with naming(self._path):
            self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
        self.length += len(rows)

    def append_file(self, path: Path) -> None:
        """Write the rows of another such file behind the ones before them."""
        with naming(self._path), path.open("rb") as other:
            other.seek(self._header_bytes)
            shutil.copyfileobj(other, self._file, 1 << 20)
        self.length += (path.stat().st_size - self._header_bytes) // self._row_bytes

    def cut(self, length: int) -> None:
        """Forget the rows behind `length`."""
        self.length = length
        self._file.truncate(self._header_bytes + length * self._row_bytes)
        self._file.seek(0, os.SEEK_END)

    def sync(self) -> None:
        """Hand everything to the disk."""
        with naming(self._path):
            sync(self._file)

    def close(self, *, final: bool) -> None:
        """Write the final shape into the header, if the file is to stay."""
        with naming(self._path):
            try:
                if final:
                    self._write_header()
            finally:
                self._file.close()


def signal_file(modality: Modality) -> str:
    """Name the file of a modality's samples within a segment."""
    return f"signals/{modality.name}.npy"


def scale_file(modality: Modality) -> str:
    """Name the file of a modality's scales within a segment: (recording, 2, channel)."""
    return f"scales/{modality.name}.npy"


def target_file(target: Target) -> str:
    """Name the file of a target's values within a segment, a row for each window."""
    return f"targets/{target.name}.npy"


@dataclass(frozen=True)
class SegmentSpec:
    """What a segment holds.

    Attributes:
        modalities: the M streams, in order.
        dtype: how samples are kept. `int16` and `float16` halve the disk: each channel of a
            recording is scaled to its own range. The error of `int16` is at most 1/65534 of that
            range; that of `float16` 1/2048 of a value's distance from the channel's median, and at
            least 3e-8 of the largest distance.
        targets: targets of windows beside their label.
    """

    modalities: tuple[Modality, ...]
    dtype: DType = "float32"
    targets: tuple[Target, ...] = ()


class SegmentWriter:
    """Writes a segment, recording after recording or segment after segment.

    Args:
        folder: is made; files that are there are continued after `cut`.
        spec: what it holds.
    """

    def __init__(self, folder: Path, spec: SegmentSpec) -> None:
        self._spec = spec
        width = len(spec.modalities)
        columns = {
            "rows.npy": _Column(folder / "rows.npy", ROW_DTYPE, ()),
            "offsets.npy": _Column(folder / "offsets.npy", np.dtype("<i8"), (width,)),
        }
        for modality in spec.modalities:
            channels = len(modality.channels)
            name = signal_file(modality)
            columns[name] = _Column(folder / name, np.dtype(spec.dtype), (channels,))
            if spec.dtype != "float32":
                name = scale_file(modality)
                columns[name] = _Column(folder / name, np.dtype("<f4"), (2, channels))
        for target in spec.targets:
            name = target_file(target)
            columns[name] = _Column(folder / name, STORED_AS[target.kind], target.shape(0)[1:])
        self._columns = columns
        self.recordings: list[dict[str, Any]] = []

    @property
    def lengths(self) -> dict[str, int]:
        """Rows of every file."""
        return {name: column.length for name, column in self._columns.items()}

    def _base(self) -> NDArray[np.int64]:
        names = [signal_file(m) for m in self._spec.modalities]
        return np.array([self._columns[name].length for name in names], dtype=np.int64)

    def add(
        self,
        recording: Recording,
        cut: CutRecording,
        targets: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Write one cut recording.

        Args:
            recording: what was cut.
            cut: its windows.
            targets: values of each target, by name; one that is not there is unknown.
        """
        rows = np.empty(len(cut.label), dtype=ROW_DTYPE)
        rows["recording"] = len(self.recordings)
        rows["label"], rows["start_s"] = cut.label, cut.start_s
        self._columns["rows.npy"].append(rows)
        self._columns["offsets.npy"].append(np.where(cut.present, cut.offsets + self._base(), -1))
        for modality in self._spec.modalities:
            self._add_signal(modality, cut.signals.get(modality.name))
        for target in self._spec.targets:
            known = (targets or {}).get(target.name)
            values = target.unknown(len(rows)) if known is None else known
            self._columns[target_file(target)].append(check_values(target, values, len(rows)))
        self.recordings.append(describe_recording(recording, cut))

    def _add_signal(self, modality: Modality, values: Float32 | None) -> None:
        if self._spec.dtype != "float32":
            empty = np.zeros((0, len(modality.channels)), dtype=np.float32)
            packed, scale = pack(empty if values is None else values, self._spec.dtype)
            self._columns[scale_file(modality)].append(scale[None])
            self._columns[signal_file(modality)].append(packed)
        elif values is not None:
            self._columns[signal_file(modality)].append(values)

    def merge(self, folder: Path, recordings: Sequence[Mapping[str, Any]]) -> None:
        """Write a closed segment of the same kind behind what is here."""
        rows = np.load(folder / "rows.npy")
        rows["recording"] += len(self.recordings)
        offsets = np.load(folder / "offsets.npy")
        self._columns["rows.npy"].append(rows)
        self._columns["offsets.npy"].append(np.where(offsets >= 0, offsets + self._base(), -1))
        for name, column in self._columns.items():
            if "/" in name:
                column.append_file(folder / name)
        self.recordings.extend(dict(recording) for recording in recordings)

    def holds(self, lengths: Mapping[str, int]) -> bool:
        """Tell whether every file, as it was found, reaches as far as an earlier state."""
        return all(column.found >= lengths.get(n, 0) for n, column in self._columns.items())

    def cut(self, lengths: Mapping[str, int], recordings: Iterable[Mapping[str, Any]]) -> None:
        """Go back to an earlier state."""
        for name, column in self._columns.items():
            column.cut(lengths.get(name, 0))
        self.recordings = [dict(recording) for recording in recordings]

    def sync(self) -> None:
        """Hand everything to the disk."""
        for column in self._columns.values():
            column.sync()

    def close(self, *, final: bool) -> None:
        """Close the files; `final` makes them readable by `numpy.load`."""
        for column in self._columns.values():
            column.close(final=final)


def describe_recording(recording: Recording, cut: CutRecording) -> dict[str, Any]:
    """Return what the manifest says of a recording."""
    timing = {
        name: signal.timing.as_dict()
        for name, signal in recording.signals.items()
        if signal.timing is not None and name in cut.signals
    }
    told = {"origin_unix_s": recording.origin_unix_s, "zone": recording.zone}
    return {
        "subject": recording.subject,
        "session": recording.session,
        **(told if recording.origin_unix_s is not None else {}),
        "seconds": round(recording.end_s - recording.start_s, 6),
        "interpolated": cut.interpolated,
        "timing": timing,
        "notes": list(recording.notes),
        **({"group": recording.group} if recording.group else {}),
        **({"split": recording.split} if recording.split else {}),
    }


def pack(values: Float32, dtype: DType) -> tuple[NDArray[Any], Float32]:
    """Scale each channel to the range of a 16-bit type.

    Args:
        values: (time, channel).
        dtype: `float16` or `int16`.

    Returns:
        (time, channel) of that type, and (2, channel) float32: factor and offset that give the
        values back, `packed * factor + offset`.

    Examples:
        >>> packed, (factor, offset) = pack(np.array([[1.0], [3.0]], np.float32), "int16")
        >>> (packed * factor + offset).ravel().tolist()
        [1.0, 3.0]
    """
    wide = values.astype(np.float64)
    if not len(wide):
        wide = np.zeros((1, wide.shape[1]))
    if dtype == "int16":
        low, high = wide.min(axis=0), wide.max(axis=0)
        factor, offset = (high - low) / (2 * INT16_STEPS), (high + low) / 2
    else:  # floats are finest near 0: let that be where the signal dwells
        offset = np.median(wide, axis=0)
        factor = np.abs(wide - offset).max(axis=0)
    # what is stored must be undone by what is stored: float32 factors
    scale = np.stack([np.where(factor > 0, factor, 1.0), offset]).astype(np.float32)
    scaled = (values.astype(np.float64) - scale[1]) / scale[0]
    if dtype == "int16":
        scaled = np.clip(np.round(scaled), -INT16_STEPS - 1, INT16_STEPS)
    return scaled.astype(np.dtype(dtype)), scale
