"""Open the files of a folder, put alike ones together, and name those that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from crossl.data.formats import FileContent, Stream, format_of, open_file
from crossl.data.formats.sniff import open_sniffed
from crossl.data.own.init.draft import Draft
from crossl.data.own.init.layouts import layout_of
from crossl.data.own.mapping.endings import unread
from crossl.data.own.mapping.plan import find_sources
from crossl.errors import DataError, PackageError

MAX_OPENED = 300
MAX_STREAMS = 30
NO_RECORDING = ("readme", "licen", "sha256", "changelog", "requirements")
BESIDE = re.compile(r"(.*/)?meta/(device|time)\.csv")
"""What phyphox writes beside its samples."""


def alike(folder: Path, draft: Draft) -> list[list[FileContent]]:
    """Open the files, and put those with the same columns together.

    Args:
        folder: of the recordings.
        draft: notes files that cannot be read.
    """
    groups: dict[tuple[object, ...], list[FileContent]] = {}
    for why in unread(folder):
        draft.skip(folder, why)
    for opened, name in enumerate(candidates(folder)):
        if opened == MAX_OPENED:
            draft.skip(folder, f"only the first {MAX_OPENED} files were looked at")
            break
        try:
            content = _open(folder / name)
        except PackageError:
            raise
        except DataError as error:
            draft.skip(folder, error)
            continue
        if len(content.streams) > MAX_STREAMS:
            draft.skip(folder, f"{name}: holds {len(content.streams)} arrays, too many to guess")
            continue
        kind = format_of(folder / name)
        named = [(stream_name(s), s.columns) for s in content.streams]
        key = (kind, *named) if kind != "avro" else (kind,)  # sensors are on and off
        groups.setdefault(key, []).append(content)
    return list(groups.values())


def candidates(folder: Path) -> Iterator[str]:
    """Yield what may be a recording: paths below a folder, of a known format, no text beside it."""
    names = find_sources(folder)
    sessions = {name for name in names if (folder / name).is_dir()}
    headers = {name[:-4] for name in names if name.endswith(".hea")}
    for name in names:
        pure = PurePosixPath(name)
        inside = str(pure.parent) in sessions or str(pure.with_suffix("")) in headers
        text = any(word in pure.stem.lower() for word in NO_RECORDING) or BESIDE.fullmatch(name)
        if format_of(folder / name) and not text and not (inside and pure.suffix != ".hea"):
            yield name


def _open(path: Path) -> FileContent:
    layout = layout_of(path)
    if layout is not None and layout.table is not None:
        content = open_file(path, "csv", layout.told)
        content = replace(content, about={**content.about, "table": layout.table})
    elif path.suffix.lower() == ".zip" and format_of(path) == "e4":
        content = _open_zip(path)
    else:
        content = open_sniffed(path)
    taken = tuple(stream for stream in content.streams if not stream.aside)
    about = {**content.about, "layout": layout} if layout else content.about
    return replace(content, streams=taken, about=about)


def _open_zip(path: Path) -> FileContent:
    """Open an Empatica session, or else an export of Apple Health."""
    try:
        return open_file(path)
    except DataError:
        try:
            content = open_file(path, "apple")
        except DataError:
            content = None
        if content is None:
            raise
    return replace(content, about={**content.about, "opened_as": "apple"})


def stream_name(stream: Stream) -> str:
    """Return the name of a stream; empty where it is a mere rate, such as `480 Hz`."""
    return "" if re.fullmatch(r"[\d.e+]+ Hz", stream.name) else stream.name
