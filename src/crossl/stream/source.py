"""What a source is: an async iterator of chunks, with what it says about itself in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from numpy.typing import ArrayLike

from crossl.data.recording import Modality


@dataclass(frozen=True)
class Facts:
    """What a source says about itself: first of all, and again where something changes.

    All is optional; a source may as well begin with a chunk.

    Attributes:
        sensors: what it has, by name: channels, unit and rate, which are held against the run.
        complete: others than `sensors` will not come, so nobody waits for them.
        origin_unix_s: where its clock's 0 lies on the calendar; None where nothing tells.
        zone: IANA name of the time zone; empty where it is not known.
        start_s: when it began, where that is before the first sample; start of the first window.
        end_s: when it will end, where that is behind the last sample.
        in_order: chunks of one sensor never change places.
        jitter_s: by how much times may be off, seconds; samples are spaced evenly then.
    """

    sensors: Mapping[str, Modality] = field(default_factory=dict)
    complete: bool = False
    origin_unix_s: float | None = None
    zone: str = ""
    start_s: float | None = None
    end_s: float | None = None
    in_order: bool = False
    jitter_s: float = 0.0


@dataclass(frozen=True)
class Chunk:
    """Some samples of one sensor.

    Attributes:
        sensor: name.
        times: seconds on one clock for all sensors: of the first sample, or (n,) of each.
        values: (n, channels), in the units of the run; (n,) of one channel; NaN where missing.
        rate_hz: of these samples, where it is not quite that of the sensor.
        last: no more of this sensor comes.
    """

    sensor: str
    times: ArrayLike = 0.0
    values: Any = ()
    rate_hz: float | None = None
    last: bool = False


Source: TypeAlias = AsyncIterator[Facts | Chunk]
"""Yields chunks as they come, until there are no more; an async generator is one.

It raises what `crossl.errors` has where it cannot go on, waits by itself for a device that went
away, and says nothing of silence: time goes on with the samples of any sensor.
"""
