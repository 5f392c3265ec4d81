"""Where a recording's clock lies on the calendar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from crossl.data.formats import FileContent, format_of
from crossl.data.own.mapping.sources import Source
from crossl.data.own.mapping.zones import Zones

ANONYMOUS = datetime(1985, 1, 1, tzinfo=UTC)
"""The start that EDF has where the true one is not to be known."""

TOGETHER_S = 1.0
"""Starts stated by several files that differ by more do not give one origin."""


def local_start(source: Source, content: FileContent) -> float | None:
    """Return where time 0 of a file lies, by the start in its header.

    Args:
        source: the file, and what the mapping says of it.
        content: opened.

    Returns:
        Local time as if it were UTC, seconds since 1970; None where nothing tells.
    """
    kind = source.entry.format or format_of(source.path)
    if kind not in ("edf", "wfdb"):  # whose times count from their start
        return None
    try:
        time = datetime.fromisoformat(str(content.about.get("start")))
    except ValueError:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    if source.entry.clock is not None or time == ANONYMOUS:
        return None
    return time.timestamp() - source.offset_s


def one_origin(starts: Iterable[float | None]) -> float | None:
    """Return what all files tell alike of the recording's time 0, or None.

    Examples:
        >>> one_origin([5.0, 5.2]), one_origin([5.0, None])
        (5.0, None)
    """
    told = list(starts)
    known = [start for start in told if start is not None]
    if not known or len(known) < len(told) or max(known) - min(known) > TOGETHER_S:
        return None
    return known[0]


def zone_of(sources: Iterable[Source], zones: Zones) -> str:
    """Name the zone of a recording whose times are on the calendar.

    Args:
        sources: its files with signals.
        zones: what was noted of their times.

    Returns:
        The zone that the mapping names, if it is one; else UTC where times are instants, and
        nothing where dates have no zone.
    """
    named = {source.entry.timezone for source in sources} - {None}
    if zones.local:
        return ""
    return str(named.pop()) if len(named) == 1 else "UTC"
