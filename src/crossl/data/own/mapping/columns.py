"""Find the columns that a mapping names in an opened file."""

from __future__ import annotations

from typing import TypeAlias

from crossl.data.formats import FileContent, Stream
from crossl.data.own.mapping.entries import SignalEntry
from crossl.data.own.mapping.quantity import read_unit
from crossl.data.units import parse_unit
from crossl.errors import DataError, nearest

Place: TypeAlias = tuple[tuple[Stream, str], ...]
"""Stream and column, per channel."""


def locate(content: FileContent, name: str, stream: str | None = None) -> tuple[Stream, str]:
    """Find a column by its name; a stream of one column is found by the stream's name too.

    Args:
        content: of the file.
        name: of the column.
        stream: where to look; None for everywhere.

    Raises:
        DataError: there is none, it cannot be read, or several streams have one.
    """
    content.check_readable(name)
    if stream is not None:
        chosen = content.stream(stream)
        if name not in (*chosen.columns, *chosen.beside):
            raise DataError(
                f"{content.path}: stream '{stream}' has no column '{name}'; "
                f"{nearest(name, chosen.columns)}"
            )
        return chosen, name
    holders = [one for one in content.streams if name in one.columns]
    if len(holders) == 1:
        return holders[0], name
    for one in content.streams:
        if one.name == name and len(one.columns) == 1:
            return one, one.columns[0]
    if holders:
        raise DataError(
            f"{content.path}: column '{name}' is in the streams "
            f"{', '.join(one.name for one in holders)}; say which by `stream:`"
        )
    known = {c for one in content.streams for c in one.columns}
    known |= {one.name for one in content.streams if len(content.streams) > 1}
    raise DataError(f"{content.path}: has no column '{name}'; {_short(nearest(name, known))}")


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def locate_signal(
    where: str, content: FileContent, entry: SignalEntry, channels: tuple[str, ...]
) -> Place:
    """Find the columns of a modality.

    Args:
        where: names the signal in messages.
        content: of the file.
        entry: what the mapping says.
        channels: of the modality.

    Raises:
        DataError: a column does not exist, or there are more or fewer than channels.
    """
    streams = {one.name: one for one in content.streams}
    lone = entry.columns[0] if len(entry.columns) == 1 and entry.stream is None else None
    place: Place
    if not entry.columns:
        stream = content.stream(entry.stream)
        place = tuple((stream, column) for column in stream.columns)
    elif lone in streams and not any(lone in one.columns for one in content.streams):
        place = tuple((streams[lone], column) for column in streams[lone].columns)
    else:
        place = tuple(locate(content, column, entry.stream) for column in entry.columns)
    if len(place) != len(channels):
        got = ", ".join(column for _, column in place[:8])
        raise DataError(
            f"{where} finds {len(place)} columns ({got}); the modality has {len(channels)} "
            f"channels ({', '.join(channels)})"
        )
    if len({(s.length, s.rate_hz, s.start_s) for s, _ in place}) > 1:
        got = ", ".join({f"{s.name} ({s.length} samples)": None for s, _ in place})
        raise DataError(
            f"{where} lies in streams of several lengths, rates or starts, {got}; those of one "
            "modality must agree"
        )
    return place


def lacking(content: FileContent, entry: SignalEntry, channels: tuple[str, ...]) -> tuple[str, ...]:
    """List the channels of a modality whose columns a file does not have.

    Args:
        content: of the file.
        entry: what the mapping says.
        channels: of the modality; all of them where its stream is not there.
    """
    streams = {one.name: one for one in content.streams}
    if entry.stream is not None and entry.stream not in streams:
        return channels
    looked = content.streams if entry.stream is None else (streams[entry.stream],)
    there = {column for one in looked for column in (*one.columns, *one.beside)}
    there |= set(streams) if entry.stream is None else set()
    missing = [at for at, column in enumerate(entry.columns) if column not in there]
    if len(entry.columns) != len(channels):
        return channels if missing else ()
    return tuple(channels[at] for at in missing)


def was_off(content: FileContent, entry: SignalEntry) -> bool:
    """Tell whether a signal is that of a sensor that its device has, and that was off.

    Args:
        content: of the file.
        entry: what the mapping says.
    """
    wanted = {entry.stream} if entry.stream is not None else set(entry.columns)
    off = set(content.about.get("off", ())) - {one.name for one in content.streams}
    return bool(wanted) and wanted <= off


def check_unit(where: str, stream: Stream, column: str, unit: str, name: str) -> None:
    """Refuse a unit that the file itself contradicts.

    Args:
        where: names the signal in messages.
        stream: of the file.
        column: of the stream.
        unit: that the mapping gives the signal.
        name: of the signal; the file's spelling is read as one of what is measured.

    Raises:
        DataError: the file names another unit that crossl knows.
    """
    told = stream.units[stream.columns.index(column)] if stream.units else ""
    if not told:
        return
    try:
        known = read_unit(told, column, name)
    except DataError:
        return
    if known != parse_unit(unit):
        raise DataError(
            f"{where}: column '{column}' is in '{told}' by its file, the mapping says '{unit}'; "
            "correct the mapping"
        )


def locate_clock(content: FileContent, name: str, stream: Stream) -> tuple[Stream, str]:
    """Find the timestamps of a stream: in itself, or elsewhere in the file."""
    if name in stream.columns or name in stream.beside:
        return stream, name
    return locate(content, name)
