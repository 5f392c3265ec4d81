"""`crossl embed`: the whole job, from a run and a store to one file; killed, it resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.cluster import Cluster
from crossl.data.store import Store
from crossl.data.targets import LABEL, STORED_AS, Target
from crossl.embedding.archive import Streamed, write_npz
from crossl.embedding.encode import BLOCK_ROWS, RowEncoder, describe
from crossl.embedding.kept_blocks import Parts
from crossl.embedding.on_cluster import spread_blocks
from crossl.embedding.said import said_arrays
from crossl.errors import DataError
from crossl.files import naming, sync

DATE = np.dtype("<M8[ms]")

Progress: TypeAlias = Callable[[str, float], None]


def embed_store(
    run_path: Path,
    store_path: Path,
    out: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    block_rows: int = BLOCK_ROWS,
    progress: Progress = lambda _what, _share: None,
    note: Callable[[str], None] = lambda _sentence: None,
) -> int:
    """Embed and, where the run has a probe, classify every window of a store.

    Memory does not grow with the store. Blocks lie in a hidden folder beside `out` until the
    file is whole, so that the same call resumes where an earlier one was killed, to the same
    bytes; meanwhile the disk holds up to twice the file.

    Args:
        run_path: the run folder.
        store_path: windows that fit the run's model.
        out: the `.npz` to write; one that is there is replaced at the end.
        workers: threads, or with `address` tasks at the same time; default: one per core.
        address: of Ray, whose workers compute the blocks; None for threads of this process.
        block_rows: windows of a block.
        progress: called with the share of windows that is done.
        note: called with which modalities of the run the store lacks, and which of its own are
            left out.

    Returns:
        How many windows.

    Raises:
        ContractError: the store does not fit the model.
        DataError: `out` is no `.npz`, the disk has too little room, or another process writes it.
        ClusterError: no Ray at that address.
    """
    if out.suffix != ".npz":
        raise DataError(f"{out}: the embedding file must end in .npz")
    on_gpu = torch.cuda.is_available() and address is None
    encoder = RowEncoder(run_path, store_path, device="cuda" if on_gpu else "cpu")
    for sentence in encoder.fitted.notes:
        note(sentence)
    parts = Parts(out, describe(encoder, block_rows=block_rows))
    arrays = list(file_arrays(parts, encoder.store))
    with parts.opened():
        _check_room(out, parts, arrays)
        missing = parts.missing()
        done = parts.count - len(missing)
        progress("windows: embedding", done / parts.count)
        if address is None:
            written = _write_blocks(encoder, parts, missing, workers or torch.get_num_threads())
        else:
            written = spread_blocks(encoder, parts, missing, Cluster(address, workers))
        with closing(written):  # also when progress is interrupted
            for _ in written:
                done += 1
                progress("windows: embedding", done / parts.count)
        progress("windows: writing the file", 1.0)
        _assemble(out, parts, arrays)
    return len(encoder.store)


def _write_blocks(
    encoder: RowEncoder, parts: Parts, missing: Sequence[int], threads: int
) -> Generator[int, None, None]:
    for number, block in encoder.blocks(missing, size=parts.size, threads=threads):
        parts.write(number, block)
        yield number


def _check_room(out: Path, parts: Parts, arrays: Sequence[Streamed]) -> None:
    """Refuse to begin what the disk cannot hold: what is left of the blocks, and the file.

    Raises:
        DataError: too little is free.
    """
    file_bytes = sum(array.bytes for array in arrays)
    blocks = sum(parts.rows(n) for n in parts.missing()) * parts.width * 4
    free = shutil.disk_usage(out.parent).free
    if file_bytes + blocks > free:
        raise DataError(
            f"{out}: needs {(file_bytes + blocks) / 1e9:.3g} GB while it is written (the file and, "
            f"until it is whole, its blocks), got {free / 1e9:.3g} GB free; make room or name a "
            "file on another disk"
        )


def file_arrays(parts: Parts, store: Store) -> Iterator[Streamed]:
    """Describe what the file holds, in order."""
    dim, n, float32 = parts.facts["dim"], parts.windows, np.dtype("<f4")
    yield Streamed("embedding", float32, (n, dim), lambda: (b[:, :dim] for b in _blocks(parts)))
    head = store.stretch(0, 1)
    for name in ("present", "subject", "session", "start_s", "start_unix_s", "zone"):
        shape = (n, *head[name].shape[1:])
        yield Streamed(name, head[name].dtype, shape, _column(parts, store, name))
    yield Streamed("start_time", DATE, (n,), _column(parts, store, "start_unix_s", dates))
    names = np.array([m.name for m in store.modalities], dtype=np.str_)
    yield Streamed("modalities", names.dtype, names.shape, lambda: [names])
    if store.classes:
        known = np.array([*store.classes, ""], dtype=np.str_)  # the last one is what -1 finds
        yield Streamed("label", known.dtype, (n,),
                       _column(parts, store, "label", lambda label: known[label]))  # fmt: skip
    for target in store.targets:
        if target.name != LABEL:
            yield from _target_arrays(parts, store, target)
    yield from said_arrays(parts, store)


def _target_arrays(parts: Parts, store: Store, target: Target) -> Iterator[Streamed]:
    """Describe a target: names of classes, empty where unknown; else a column a name."""
    names, name = np.array([*target.names, ""], dtype=np.str_), f"target_{target.name}"

    def pieces() -> Iterator[NDArray[Any]]:
        for number in range(parts.count):
            begin = number * parts.size
            values = store.target_values(target.name, begin, begin + parts.rows(number))
            yield names[values] if target.kind == "classes" else values
            store.let_go()

    dtype = names.dtype if target.kind == "classes" else STORED_AS[target.kind]
    yield Streamed(name, dtype, target.shape(parts.windows), pieces)
    if target.kind != "classes":
        yield Streamed(
            f"names_of_{target.name}", names.dtype, (len(names) - 1,), lambda: [names[:-1]]
        )


def dates(unix_s: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Write seconds since 1970 as dates in UTC; not a time where they are not known."""
    known = np.isfinite(unix_s)
    milliseconds = np.round(np.where(known, unix_s, 0) * 1000).astype(np.int64).astype(DATE)
    return np.where(known, milliseconds, np.datetime64("NaT"))


def _blocks(parts: Parts) -> Iterator[NDArray[Any]]:
    return (parts.read(number) for number in range(parts.count))


def _column(
    parts: Parts,
    store: Store,
    name: str,
    made: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
) -> Callable[[], Iterator[NDArray[Any]]]:
    def pieces() -> Iterator[NDArray[Any]]:
        for number in range(parts.count):
            begin = number * parts.size
            yield made(store.stretch(begin, begin + parts.rows(number))[name])
            store.let_go()

    return pieces


def _assemble(out: Path, parts: Parts, arrays: Sequence[Streamed]) -> None:
    """Put the blocks behind each other, then let the file have its name."""
    whole = parts.work / "whole.npz"
    with naming(out), whole.open("wb") as file:
        write_npz(file, arrays)
        sync(file)
    whole.replace(out)
    parts.remove()
