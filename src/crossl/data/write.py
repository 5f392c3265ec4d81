"""Recordings to a store in one process; and what no store is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossl.data.manifest import SEGMENT, describe_files, write_manifest
from crossl.data.recording import Modality, Recording
from crossl.data.segment import DType, SegmentSpec, SegmentWriter
from crossl.data.store import Store
from crossl.data.target_rules import TargetRule, cut_with_targets
from crossl.data.windows import WindowSpec
from crossl.errors import DataError
from crossl.files import lock_beside, locked, whole_folder
from crossl.names import check_name


def write_store(
    recordings: Iterable[Recording],
    out: Path | str,
    *,
    modalities: Sequence[Modality],
    classes: Sequence[str],
    spec: WindowSpec,
    about: Mapping[str, Any],
    dtype: DType = "float32",
    targets: Sequence[TargetRule] = (),
) -> Store:
    """Cut recordings into windows and write them, whole or not at all.

    `crossl.data.prepare` does the same from files, in parallel, and resumes after a kill.

    Args:
        recordings: read one at a time.
        out: the folder to make; must not exist.
        modalities: the streams of the store, in order.
        classes: label names, in order.
        spec: how windows are cut.
        about: JSON values for the manifest: `dataset` (default: the folder's name), `reader`,
            `description`.
        dtype: how samples are kept.
        targets: how targets of windows beside their label follow from a recording.

    Returns:
        The store, opened.

    Raises:
        DataError: `out` exists, a name is duplicate, or no recording yields a window.

    Examples:
        >>> import crossl, tempfile
        >>> import numpy as np
        >>> acc = Modality("acc", ("x",), "m/s^2", 20.0)
        >>> signal = crossl.Signal(np.zeros((200, 1), dtype=np.float32), rate_hz=20.0)
        >>> person = Recording("ann", "monday", {"acc": acc}, {"acc": signal}, [])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = write_store([person], f"{folder}/store", modalities=[acc], classes=[],
        ...                         spec=WindowSpec(window_s=2.0, stride_s=1.0), about={})
        >>> len(store), store.modalities[0].name
        (9, 'acc')
    """
    out = Path(out)
    refuse_existing(out)
    check_names(modalities, classes)
    out.parent.mkdir(parents=True, exist_ok=True)
    locking = locked(lock_beside(out), out, "is preparing this store")
    with locking, whole_folder(out) as folder:
        told = tuple(rule.target for rule in targets)
        writer = SegmentWriter(
            folder / SEGMENT.format(0), SegmentSpec(tuple(modalities), dtype, told)
        )
        try:
            for recording in recordings:
                cut = cut_with_targets(recording, recording, modalities, classes, spec, targets)
                writer.add(recording, *cut)
        finally:
            writer.close(final=True)
        refuse_empty(writer, spec)
        settings = {"dataset": out.name, **about, "window": spec.as_dict(), "dtype": dtype,
                    "modalities": [m.as_dict() for m in modalities],
                    "classes": list(classes),
                    "targets": [target.as_dict() for target in told]}  # fmt: skip
        settings = settings if told else {k: v for k, v in settings.items() if k != "targets"}
        name = SEGMENT.format(0)
        files = describe_files(folder, name)
        write_manifest(folder, settings, {name: writer.recordings}, files)
    return Store.open(out, verify=False)


def refuse_existing(out: Path) -> None:
    """Refuse to write where something is.

    Raises:
        DataError: it exists.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; name a new folder or delete it first")


def check_names(modalities: Sequence[Modality], classes: Sequence[str]) -> None:
    """Refuse a modality or class that is named twice.

    Raises:
        DataError: a name is duplicate.
    """
    for name in classes:
        check_name("class", name)
    for what, names in (("modalities", [m.name for m in modalities]), ("classes", list(classes))):
        if len(set(names)) < len(names):
            raise DataError(f"{what}: a name occurs twice, got {names}; each may occur once")


def refuse_empty(writer: SegmentWriter, spec: WindowSpec) -> None:
    """Refuse a segment without windows, and say why there are none.

    Raises:
        DataError: no recording, or none with a window.
    """
    if not writer.recordings:
        raise DataError("recordings: none was found; at least one is needed")
    if writer.lengths["rows.npy"]:
        return
    longest_s = max(recording["seconds"] for recording in writer.recordings)
    if longest_s < spec.window_s:
        raise DataError(
            f"windows: window_s is {spec.window_s:g} but the longest recording lasts "
            f"{longest_s:.4g} s; make the window shorter"
        )
    raise DataError(
        f"windows: no modality is present in any window at min_coverage {spec.min_coverage:g} and "
        f"max_gap_s {spec.max_gap_s:g}; look at the gaps or loosen these"
    )
