"""Store: windows on disk, ready for training, read where they lie.

A folder of plain `.npy` files and a manifest. Each signal is stored once; windows are offsets
into it, so that overlapping windows do not multiply the disk. It consists of segments, one per
`prepare` that wrote into it. It is written to a temporary sibling and renamed, so that a
half-written store cannot be opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.arrays import Windows
from crossl.data.calibration import Calibration
from crossl.data.manifest import (
    check_files,
    read_manifest,
)
from crossl.data.neighbours import Places
from crossl.data.recording import Float32, Modality
from crossl.data.segment import DType, SegmentSpec
from crossl.data.segment_reader import TABLE_ROWS, SegmentReader
from crossl.data.splits import group_subjects
from crossl.data.targets import LABEL, Target, find_target
from crossl.data.windows import WindowSpec


class Store:
    """An opened store: windows by row number, and a table of what each row is.

    Open one with `Store.open`; `crossl prepare` and `write_store` make them.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` says.
        modalities: the M streams, in the order of `present`'s columns.
        classes: label names; `label` holds indices into them.
        targets: what can be learned of each window: `label` first, where there are classes.
        spec: how windows were cut.
        dtype: how samples are kept on disk.
        calibration: how its windows are calibrated when they are read; None as they were prepared.

    Examples:
        >>> import crossl, tempfile
        >>> acc = crossl.Modality("acc", ("x",), "m/s^2", 20.0)
        >>> signal = crossl.Signal(np.zeros((200, 1), dtype=np.float32), rate_hz=20.0)
        >>> person = crossl.Recording("ann", "monday", {"acc": acc}, {"acc": signal}, [])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = crossl.write_store([person], f"{folder}/store", modalities=[acc], classes=[],
        ...                               spec=crossl.WindowSpec(2.0, 2.0), about={})
        ...     store = crossl.Store.open(f"{folder}/store")
        ...     len(store), store.arrays()["acc"].shape
        (5, (5, 40, 1))
    """

    calibration: Calibration | None = None

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.modalities = tuple(Modality.from_dict(m) for m in manifest["modalities"])
        self.classes = tuple(manifest["classes"])
        self.spec = WindowSpec(**manifest["window"])
        self.window_s = self.spec.window_s
        self.dtype: DType = manifest["dtype"]
        beside = tuple(Target.from_dict(t) for t in manifest.get("targets", ()))
        of_label = (Target(LABEL, "classes", self.classes),) if self.classes else ()
        self.targets = (*of_label, *beside)
        spec = SegmentSpec(self.modalities, self.dtype, beside)
        self._segments = [
            SegmentReader(path / name, spec, entry["recordings"])
            for name, entry in manifest["segments"].items()
        ]
        self._first_row = np.cumsum([0, *(len(segment.rows) for segment in self._segments)])
        counts = [entry["recordings"] for entry in manifest["segments"].values()]
        self._first_recording = np.cumsum([0, *counts])
        self._names = {
            key: np.array([recording[key] for recording in manifest["recordings"]])
            for key in ("subject", "session")
        }
        # stores of before do not say when they were recorded
        told = [(r.get("origin_unix_s"), r.get("zone", "")) for r in manifest["recordings"]]
        self._names["zone"] = np.array([zone for _, zone in told], dtype=np.str_)
        self._origin_s = np.array([np.nan if s is None else s for s, _ in told], dtype=np.float64)

    @classmethod
    def open(cls, path: Path | str, *, verify: bool | None = None) -> Store:
        """Open a store after checking its manifest.

        Args:
            path: the folder.
            verify: hash every file; None does so up to 256 MiB.

        Raises:
            FormatError: not a store, another version, truncated, or altered.
        """
        path = Path(path)
        manifest = read_manifest(path)
        verified = check_files(path, manifest["files"], verify=verify)
        store = cls(path, manifest)
        for segment in store._segments:
            segment.check_listed(path, manifest["files"])
            if verified:
                segment.check_values(store.spec, len(store.classes))
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path,)

    @property
    def hash(self) -> str:
        """SHA-256 of the manifest, which holds the hashes of all files."""
        return str(self.manifest["sha256"])

    def __len__(self) -> int:
        """Count the windows."""
        return int(self._first_row[-1])

    # the columns of the table are read when they are first asked for: who embeds needs few

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Whether each modality was recorded in each window, (W, M)."""
        present = np.empty((len(self), len(self.modalities)), dtype=np.bool_)
        for begin in range(0, len(self), TABLE_ROWS):
            end = min(begin + TABLE_ROWS, len(self))
            present[begin:end] = self.stretch(begin, end)["present"]
            self.let_go()
        return present

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """(W,) label; -1 unlabelled."""
        return np.concatenate([s.rows["label"] for s in self._segments]).astype(np.int64)

    def target_values(self, name: str, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """Read the values of one target; `label` is a target like any other.

        Args:
            name: of the target.
            begin: first row.
            end: the row behind the last; None for all that follow.

        Returns:
            Of classes (W,) int64 and of labels (W, L) int8, -1 where unknown; of numbers (W, Q)
            float32, NaN where unknown.

        Raises:
            DataError: the store has no such target.
        """
        target = find_target(self.targets, name, where=str(self.path))
        if target.name == LABEL:
            return self.label[begin:end]
        end = len(self) if end is None else end
        return np.concatenate([
            segment.target_values(target, max(0, begin - int(base)), max(0, end - int(base)))
            for segment, base in zip(self._segments, self._first_row[:-1], strict=True)
        ])  # fmt: skip

    @cached_property
    def start_s(self) -> NDArray[np.float64]:
        """(W,) window start on its recording's clock, seconds."""
        return np.concatenate([s.rows["start_s"] for s in self._segments]).astype(np.float64)

    @cached_property
    def recording(self) -> NDArray[np.int64]:
        """(W,) index into `manifest["recordings"]`; within its segment each starts at 0."""
        pairs = zip(self._segments, self._first_recording[:-1], strict=True)
        return np.concatenate([s.rows["recording"] + first for s, first in pairs]).astype(np.int64)

    @cached_property
    def places(self) -> Places:
        """Where windows lie in their recordings; see `crossl.data.neighbours`."""
        return Places.of(self.recording, self.start_s, self.spec.stride_s)

    @cached_property
    def subject(self) -> NDArray[np.str_]:
        """(W,) names."""
        return self._names["subject"][self.recording]

    @cached_property
    def group(self) -> NDArray[np.str_]:
        """(W,) the name of those whom no split may part; of most, the subject alone."""
        of = group_subjects(self.manifest["recordings"])
        return np.array([of[recording["subject"]] for recording in self.manifest["recordings"]])[
            self.recording
        ]

    @cached_property
    def session(self) -> NDArray[np.str_]:
        """(W,) names."""
        return self._names["session"][self.recording]

    @cached_property
    def start_unix_s(self) -> NDArray[np.float64]:
        """(W,) window start on the calendar, seconds since 1970; NaN where nothing tells it."""
        return self._origin_s[self.recording] + self.start_s

    @cached_property
    def zone(self) -> NDArray[np.str_]:
        """(W,) time zone; empty where none is known, and dates count as if they were UTC."""
        return self._names["zone"][self.recording]

    def stretch(self, begin: int, end: int) -> dict[str, NDArray[Any]]:
        """Read a stretch of the table, of any store in the same memory.

        Args:
            begin: first row.
            end: the row behind the last.

        Returns:
            `present` (n, M) bool; `subject`, `session`, `zone`, `start_s`, `start_unix_s` and
            `label` (n,).
        """
        parts: list[dict[str, NDArray[Any]]] = []
        for number, segment in enumerate(self._segments):
            base, length = int(self._first_row[number]), len(segment.rows)
            here = slice(*(min(max(0, edge - base), length) for edge in (begin, end)))
            rows = segment.rows[here]
            recording = rows["recording"] + self._first_recording[number]
            parts.append({
                "present": segment.offsets[here] >= 0,
                **{key: names[recording] for key, names in self._names.items()},
                "start_s": rows["start_s"].astype(np.float64),
                "start_unix_s": self._origin_s[recording] + rows["start_s"],
                "label": rows["label"].astype(np.int64),
            })  # fmt: skip
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    @property
    def segments(self) -> list[tuple[int, SegmentReader]]:
        """The first row of each segment, and its files."""
        return list(zip(self._first_row[:-1].tolist(), self._segments, strict=True))

    def let_go(self) -> None:
        """Give back the memory of table pages that were read; they are read again when needed."""
        for segment in self._segments:
            segment.let_go()

    def arrays(self, rows: NDArray[np.int64] | NDArray[np.bool_] | None = None) -> Windows:
        """Read windows into memory, NaN where a modality was not recorded.

        `CroSSL` and a loaded run take them as they are.

        Args:
            rows: numbers or a mask, as in numpy; None for all.

        Returns:
            {modality: (n, time, channel) float32}, with each window's subject and, where the store
            has classes, label.

        Raises:
            IndexError: no such row.
        """
        rows = np.arange(len(self))[slice(None) if rows is None else rows]
        known = np.array([*self.classes, ""])  # the last one is what -1 finds
        signals = self.gather_zeroed(rows)
        for column, windows in enumerate(signals.values()):
            windows[~self.present[rows, column]] = np.nan
        label = known[self.label[rows]] if self.classes else None
        return Windows(
            signals,
            label=label,
            subject=self.subject[rows],
            calibrated=self.calibration is not None,
        )

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows as training does: {modality: (B, T, C)} float32, zeros where not present.

        They mean nothing without `present`; `arrays` has NaN there.


        Rows may be negative or a mask, as in numpy.

        Raises:
            IndexError: no such row.
        """
        rows = np.arange(len(self))[rows]
        return {m.name: self._gather_modality(i, rows) for i, m in enumerate(self.modalities)}

    def _gather_modality(self, column: int, rows: NDArray[np.int64]) -> Float32:
        modality = self.modalities[column]
        samples = self.spec.samples(modality)
        if len(self._segments) == 1 and len(rows):
            first = self._segments[0].offsets[rows, column]
            if (first >= 0).all():
                return self._segments[0].windows(modality.name, samples, first, rows)
        windows = np.zeros((len(rows), samples, len(modality.channels)), dtype=np.float32)
        home = np.searchsorted(self._first_row, rows, side="right") - 1
        for number, segment in enumerate(self._segments):
            here = np.flatnonzero(home == number)
            local = rows[here] - self._first_row[number]
            first = segment.offsets[local, column]
            found = first >= 0
            if found.any():
                read = segment.windows(modality.name, samples, first[found], local[found])
                windows[here[found]] = read
        return windows


def _reopen(path: Path) -> Store:
    """Open a store in another process, whose files have other descriptors."""
    return Store.open(path, verify=False)
