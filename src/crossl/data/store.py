"""Store: windows on disk, ready for training, memory-mapped.

A folder of plain `.npy` files and a manifest. Each signal is stored once; windows are offsets
into it, so that overlapping windows do not multiply the disk. It is written to a temporary
sibling and renamed, so that a half-written store cannot be opened.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality, Recording
from crossl.data.windows import CutRecording, WindowSpec, cut_recording
from crossl.errors import DataError, FormatError

FORMAT = "crossl-store"
VERSION = 1
VERIFY_AT_OPEN_BYTES = 256 * 1024 * 1024
"""A store up to this size is hashed whole when it is opened; a larger one on request."""

ROW_DTYPE = np.dtype([("recording", "<i4"), ("label", "<i2"), ("start_s", "<f8")])


class Store:
    """An opened store: windows by row number, and a table of what each row is.

    Open one with `Store.open`.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` says.
        modalities: the M streams, in the order of `present`'s columns.
        classes: label names; `label` holds indices into them.
        spec: how windows were cut.
        present: (W, M) bool.
        label: (W,) int; -1 unlabelled.
        subject: (W,) names.
        session: (W,) names.
        start_s: (W,) window start on its recording's clock, seconds.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.modalities = tuple(Modality.from_dict(m) for m in manifest["modalities"])
        self.classes = tuple(manifest["classes"])
        self.spec = WindowSpec(**manifest["window"])
        self.window_s = self.spec.window_s
        rows = np.load(path / "rows.npy")
        self._offsets: NDArray[np.int64] = np.load(path / "offsets.npy")
        self.present = self._offsets >= 0
        self.label = rows["label"].astype(np.int64)
        self.start_s = rows["start_s"].astype(np.float64)
        names = manifest["recordings"]
        self.subject = np.array([r["subject"] for r in names])[rows["recording"]]
        self.session = np.array([r["session"] for r in names])[rows["recording"]]
        self._signals = {
            m.name: np.load(path / _signal_file(m), mmap_mode="r") for m in self.modalities
        }

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
        _check_files(path, manifest["files"], verify=verify)
        return cls(path, manifest)

    @property
    def hash(self) -> str:
        """SHA-256 of the manifest, which holds the hashes of all files."""
        return str(self.manifest["sha256"])

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._offsets)

    def gather(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not present."""
        out = {}
        for column, modality in enumerate(self.modalities):
            signal, samples = self._signals[modality.name], self.spec.samples(modality)
            first = self._offsets[rows, column]
            found = first >= 0
            windows = np.zeros((len(rows), samples, signal.shape[1]), dtype=np.float32)
            if found.any():
                windows[found] = _every_window(signal, samples)[first[found]]
            out[modality.name] = windows
        return out


def _every_window(signal: Float32, samples: int) -> Float32:
    """View (N, C) as (N - samples + 1, samples, C), without a copy."""
    shape = (len(signal) - samples + 1, samples, signal.shape[1])
    strides = (signal.strides[0], *signal.strides)
    return np.lib.stride_tricks.as_strided(signal, shape, strides, writeable=False)


def _signal_file(modality: Modality) -> str:
    return f"signals/{modality.name}.npy"


def file_sha256(path: Path) -> str:
    """Hash a file without reading it whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Mapping[str, Any]) -> str:
    """Hash JSON values in their one canonical spelling, leaving out a key `sha256`."""
    rest = {key: value for key, value in values.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check `manifest.json`.

    Raises:
        FormatError: not there, not readable, of another version, or altered.
    """
    file = path / "manifest.json"
    if not file.is_file():
        raise FormatError(f"{path}: is no store, it has no manifest.json; make one by `prepare`")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{file}: is damaged, not JSON ({error}); prepare it again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FormatError(f"{file}: is not the manifest of a store; make one by `prepare`")
    if manifest.get("version") != VERSION:
        raise FormatError(
            f"{file}: is a store of version {manifest.get('version')}; this crossl reads version "
            f"{VERSION}, prepare it again"
        )
    if manifest.get("sha256") != json_sha256(manifest):
        raise FormatError(f"{file}: was altered, its hash does not match; prepare it again")
    return manifest


def _check_files(path: Path, files: Mapping[str, Any], *, verify: bool | None) -> None:
    if verify is None:
        verify = sum(entry["bytes"] for entry in files.values()) <= VERIFY_AT_OPEN_BYTES
    for name, entry in files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            got = "is missing" if size is None else f"has {size} bytes"
            raise FormatError(
                f"{file}: {got}; the manifest says {entry['bytes']} bytes, prepare the store again"
            )
        if verify and file_sha256(file) != entry["sha256"]:
            raise FormatError(f"{file}: was altered, its hash does not match; prepare it again")


@dataclass
class _Table:
    """Rows of the store as they are collected."""

    rows: list[NDArray[np.void]] = field(default_factory=list)
    offsets: list[NDArray[np.int64]] = field(default_factory=list)
    recordings: list[dict[str, Any]] = field(default_factory=list)
    interpolated: dict[str, int] = field(default_factory=dict)

    def add(self, recording: Recording, cut: CutRecording, base: NDArray[np.int64]) -> None:
        """Add one cut recording whose signals start at `base` (M,) in the store's files."""
        rows = np.empty(len(cut.label), dtype=ROW_DTYPE)
        rows["recording"] = len(self.recordings)
        rows["label"], rows["start_s"] = cut.label, cut.start_s
        self.rows.append(rows)
        self.offsets.append(np.where(cut.present, cut.offsets + base, -1))
        self.recordings.append({"subject": recording.subject, "session": recording.session})
        for name, count in cut.interpolated.items():
            self.interpolated[name] = self.interpolated.get(name, 0) + count


class _SignalWriter:
    """Appends (time, channel) blocks to one `.npy` file."""

    def __init__(self, path: Path, channels: int) -> None:
        self._file: BinaryIO = path.open("wb")
        self._channels = channels
        self.length = 0
        self._write_header()

    def _write_header(self) -> None:
        shape = (self.length, self._channels)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        # numpy leaves room in the header for the first axis to grow
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: Float32) -> None:
        """Write a block behind the ones before it."""
        self._file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
        self.length += len(values)

    def close(self) -> None:
        """Write the final shape into the header."""
        try:
            self._file.seek(0)
            self._write_header()
        finally:
            self._file.close()


def write_store(
    recordings: Iterable[Recording],
    out: Path | str,
    *,
    modalities: Sequence[Modality],
    classes: Sequence[str],
    spec: WindowSpec,
    about: Mapping[str, Any],
) -> Store:
    """Cut recordings into windows and write them, whole or not at all.

    Args:
        recordings: read one at a time.
        out: the folder to make; must not exist.
        modalities: the streams of the store, in order.
        classes: label names, in order.
        spec: how windows are cut.
        about: JSON values for the manifest: `dataset`, `reader`, `description`.

    Returns:
        The store, opened.

    Raises:
        DataError: `out` exists, a name stands twice, or no recording yields a window.
    """
    out = Path(out)
    if out.exists():
        raise DataError(f"{out}: exists already; name a new folder or delete it first")
    for what, names in (("modalities", [m.name for m in modalities]), ("classes", list(classes))):
        if len(set(names)) < len(names):
            raise DataError(f"{what}: a name stands twice, got {names}; each may stand once")
    with atomic_folder(out) as folder:
        table = _write_signals(recordings, folder, modalities, classes, spec)
        np.save(folder / "rows.npy", np.concatenate(table.rows))
        np.save(folder / "offsets.npy", np.concatenate(table.offsets))
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            **about,
            "window": asdict(spec),
            "modalities": [m.as_dict() for m in modalities],
            "classes": list(classes),
            "recordings": table.recordings,
            "interpolated": table.interpolated,
            "files": _describe_files(folder),
        }
        manifest["sha256"] = json_sha256(manifest)
        text = json.dumps(manifest, indent=1) + "\n"
        (folder / "manifest.json").write_text(text, encoding="utf-8")
    return Store.open(out, verify=False)


def _write_signals(
    recordings: Iterable[Recording],
    folder: Path,
    modalities: Sequence[Modality],
    classes: Sequence[str],
    spec: WindowSpec,
) -> _Table:
    (folder / "signals").mkdir()
    table, longest = _Table(), 0.0
    with ExitStack() as opened:
        writers = []
        for modality in modalities:
            writers.append(_SignalWriter(folder / _signal_file(modality), len(modality.channels)))
            opened.callback(writers[-1].close)
        for recording in recordings:
            longest = max(longest, recording.end_s - recording.start_s)
            cut = cut_recording(recording, modalities, classes, spec)
            base = np.array([writer.length for writer in writers], dtype=np.int64)
            table.add(recording, cut, base)
            for modality, writer in zip(modalities, writers, strict=True):
                if modality.name in cut.signals:
                    writer.append(cut.signals[modality.name])
    _refuse_empty(table, longest, spec)
    return table


def _refuse_empty(table: _Table, longest_s: float, spec: WindowSpec) -> None:
    if not table.recordings:
        raise DataError("recordings: none was found; at least one is needed")
    if sum(len(rows) for rows in table.rows):
        return
    if longest_s < spec.window_s:
        raise DataError(
            f"windows: window_s is {spec.window_s:g} but the longest recording lasts "
            f"{longest_s:.4g} s; make the window shorter"
        )
    raise DataError(
        f"windows: no modality is present in any window at min_coverage {spec.min_coverage:g} and "
        f"max_gap_s {spec.max_gap_s:g}; look at the gaps or loosen these"
    )


def _describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": file_sha256(p)}
        for p in files
    }


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Fill a temporary sibling folder, which becomes `out` only if nothing failed.

    Leftovers of an earlier attempt that was killed are removed first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    except BaseException:  # Ctrl-C too: a store is whole or absent
        shutil.rmtree(partial, ignore_errors=True)
        raise


def count_windows(store: Store) -> dict[str, Any]:
    """Count what a store holds, for `inspect`.

    Returns:
        Windows, labelled windows, windows by class and by subject, share present by modality.
    """
    labelled = store.label >= 0
    by_class = np.bincount(store.label[labelled], minlength=len(store.classes))
    names, counts = np.unique(store.subject, return_counts=True)
    share = store.present.mean(axis=0)
    return {
        "windows": len(store),
        "labelled": int(labelled.sum()),
        "classes": dict(zip(store.classes, by_class.tolist(), strict=True)),
        "subjects": dict(zip(cast("list[str]", names.tolist()), counts.tolist(), strict=True)),
        "present": {
            m.name: float(s) for m, s in zip(store.modalities, share.tolist(), strict=True)
        },
    }
