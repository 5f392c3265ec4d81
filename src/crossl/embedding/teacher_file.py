"""Somebody's embeddings as a teacher: a table by recording and time, joined to windows."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.bounds import HARMLESS_ARRAY_BYTES, check_unpacked, read_member
from crossl.data.formats import needs
from crossl.data.recording import Float32
from crossl.data.store import Store
from crossl.errors import DataError, nearest
from crossl.files import not_a_file

TIMES = ("start_s", "start_time", "start_unix_s")
"""Columns that may say when a row begins: on the recording's own clock, or on the calendar."""

Columns = dict[str, NDArray[Any]]


def read_teacher(path: Path, store: Store) -> Float32:
    """Read embeddings, and find those of each window of a store.

    A window gets the row of the same subject (and session) whose start is nearest, no farther
    than half a stride.

    Args:
        path: `.npz` with the arrays `subject`, `session` (may be left out where each subject has
            one), a time and `embedding` (n, D); or `.parquet` with the same columns, `embedding`
            being lists, or columns `embedding_0`, `embedding_1` and so on. The time is `start_s`,
            seconds on the recording's own clock, or `start_time` (`start_unix_s` in seconds) on the
            calendar.
        store: whose windows are looked for.

    Returns:
        (W, D), NaN for a window that the file does not tell.

    Raises:
        DataError: another kind of file, a column is missing or of another type, or no row fits a
            window.
        PackageError: a Parquet file, and polars is not installed.
    """
    check_file(path)
    columns = _from_npz(path) if path.suffix == ".npz" else _from_parquet(path)
    embedding = _checked_embedding(path, columns)
    when, of_windows = _times(path, columns, store)
    keys, of_store = _recordings(path, columns, store)
    targets = np.full((len(store), embedding.shape[1]), np.nan, dtype=np.float32)
    reach = store.spec.stride_s / 2 + 1e-6
    for key in np.unique(keys):
        rows = np.flatnonzero(of_store == key)
        given = np.flatnonzero((keys == key) & np.isfinite(when))
        if not len(rows) or not len(given):
            continue
        given = given[np.argsort(when[given], kind="stable")]
        place = _nearest(when[given], of_windows[rows])
        near = np.abs(when[given][place] - of_windows[rows]) <= reach
        targets[rows[near]] = embedding[given[place[near]]]
    if not np.isfinite(targets).all(axis=1).any():
        raise DataError(
            f"{path}: no row is of a window of {store.path}: subjects are "
            f"{', '.join(np.unique(columns['subject']).astype(str)[:3])} here and "
            f"{', '.join(np.unique(store.subject)[:3])} there; they must be the same, and so must "
            "times, to half a stride"
        )
    return targets


def check_file(path: Path) -> None:
    """Refuse what is not a table of embeddings.

    Raises:
        DataError: there is no such file, or it ends in something else.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: {not_a_file(path)}; a teacher is an .npz or .parquet of embeddings"
        )
    if path.suffix not in (".npz", ".parquet"):
        raise DataError(f"{path}: ends in '{path.suffix}'; allowed are .npz and .parquet")


def _from_npz(path: Path) -> Columns:
    try:
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy"): name for name in archive.namelist()}
            wanted = ("subject", "session", "embedding", *TIMES)
            return {
                name: np.lib.format.read_array(
                    io.BytesIO(read_member(path, archive, held[name], HARMLESS_ARRAY_BYTES)),
                    allow_pickle=False,
                )
                for name in wanted
                if name in held
            }
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error!s:.100}); save arrays of numbers and text "
                        "by numpy.savez") from error  # fmt: skip


def _from_parquet(path: Path) -> Columns:
    polars = needs("polars")
    try:
        scan = polars.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        wide = sorted((name for name in schema if name.startswith("embedding_")
                       and name.removeprefix("embedding_").isdigit()),
                      key=lambda name: int(name.removeprefix("embedding_")))  # fmt: skip
        wanted = [n for n in ("subject", "session", "embedding", *TIMES) if n in schema] + wide
        length = int(scan.select(polars.len()).collect().item())
        check_unpacked(path, 4 * length * max(1, len(wide)), HARMLESS_ARRAY_BYTES)
        frame = scan.select(wanted).collect()
    except polars.exceptions.PolarsError as error:
        raise DataError(f"{path}: cannot be read ({error!s:.100})") from error
    out: Columns = {name: _column(path, frame[name]) for name in wanted if name not in wide}
    if wide and "embedding" not in out:
        out["embedding"] = frame.select(wide).to_numpy()
    return out


def _column(path: Path, column: Any) -> NDArray[Any]:
    polars = needs("polars")
    if column.name == "embedding":
        try:
            return np.array(column.to_list(), dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path}: 'embedding' holds {column.dtype} of different lengths; lists of equal "
                "length are needed"
            ) from error
    if column.name in ("subject", "session"):
        return np.array(column.cast(polars.String).fill_null("").to_list(), dtype=np.str_)
    if column.dtype == polars.Datetime:
        if column.dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return np.asarray(column.cast(polars.Datetime("us")).to_numpy())
    return np.asarray(column.to_numpy())


def _checked_embedding(path: Path, columns: Columns) -> Float32:
    for name in ("subject", "embedding"):
        if name not in columns:
            raise DataError(f"{path}: has no '{name}'; {nearest(name, columns)}; needed are "
                            "subject, session, start_s or start_time, and embedding")  # fmt: skip
    embedding, length = columns["embedding"], len(columns["subject"])
    if embedding.ndim != 2 or embedding.dtype.kind not in "fiu" or not embedding.shape[1]:
        raise DataError(f"{path}: 'embedding' is {embedding.dtype} of shape {embedding.shape}; "
                        "(rows, width) numbers are needed")  # fmt: skip
    for name, column in columns.items():
        if len(column) != length:
            raise DataError(f"{path}: '{name}' has {len(column)} rows and 'subject' {length}; "
                            "each row is one window of the teacher")  # fmt: skip
    out = embedding.astype(np.float32)
    return np.where(np.isfinite(out).all(axis=1, keepdims=True), out, np.float32(np.nan))


def _times(
    path: Path, columns: Columns, store: Store
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when rows begin, and when windows do, on the same clock."""
    name = next((one for one in TIMES if one in columns), None)
    if name is None:
        raise DataError(f"{path}: has no column of times; one of {', '.join(TIMES)} is needed")
    when = columns[name]
    if name == "start_time":
        if when.dtype.kind != "M":
            raise DataError(f"{path}: 'start_time' holds {when.dtype}; dates are needed (UTC)")
        known = ~np.isnat(when)
        seconds = when.astype("datetime64[us]").astype(np.int64) / 1e6
        when = np.where(known, seconds, np.nan)
    if when.dtype.kind not in "fiu":
        raise DataError(f"{path}: '{name}' holds {when.dtype}; numbers of seconds are needed")
    if name == "start_s":
        return when.astype(np.float64), store.start_s
    if not np.isfinite(store.start_unix_s).any():
        raise DataError(f"{path}: has calendar times, which {store.path} does not know; "
                        "give start_s, seconds on each recording's own clock")  # fmt: skip
    return when.astype(np.float64), store.start_unix_s


def _recordings(
    path: Path, columns: Columns, store: Store
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return what names the recording of each row, and that of each window."""
    subject = columns["subject"].astype(np.str_)
    if "session" in columns:
        session = columns["session"].astype(np.str_)
        return _joined(subject, session), _joined(store.subject, store.session)
    several: dict[str, set[str]] = {}
    for recording in store.manifest["recordings"]:
        several.setdefault(recording["subject"], set()).add(recording["session"])
    twice = sorted(name for name, sessions in several.items() if len(sessions) > 1)
    if twice and "start_s" in columns:
        raise DataError(f"{path}: has no 'session', and subject '{twice[0]}' has "
                        f"{len(several[twice[0]])}; say of which each row is")  # fmt: skip
    return subject, store.subject


def _joined(subject: NDArray[np.str_], session: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.char.add(np.char.add(subject, "\n"), session)


def _nearest(given: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place, in sorted times, of the one that is nearest to each wanted."""
    after = np.clip(np.searchsorted(given, wanted), 0, len(given) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(given[before] - wanted) <= np.abs(given[after] - wanted)
    return np.where(nearer, before, after).astype(np.int64)
