"""Sources: where the samples come from that a page shows, a replayed recording or a live stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from math import floor
from typing import TypeAlias

import numpy as np

from crossl.data.recording import LabelInterval, Recording, Signal
from crossl.service.hub import Channel, Chunks

EVERY_S = 0.1
"""A replay gives so much at once."""


@dataclass(frozen=True)
class Came:
    """What came at once.

    Attributes:
        chunks: samples by sensor.
        truth: what they are, where it is known.
    """

    chunks: Chunks
    truth: LabelInterval | None = None


Source: TypeAlias = Callable[[], AsyncIterator[Came]]


async def channel_source(channel: Channel) -> AsyncIterator[Came]:
    """Yield what comes on an open stream, from now on until it closes."""
    queue = channel.watch()
    try:
        while (chunks := await queue.get()) is not None:
            yield Came(chunks)
    finally:
        channel.watchers.discard(queue)


async def replay(
    recordings: Sequence[Recording], *, stretch_s: float = 20.0, speed: float = 1.0
) -> AsyncIterator[Came]:
    """Yield recordings one after another as if they were recorded now, again and again.

    Args:
        recordings: at least one.
        stretch_s: at most so much of each, so that there is something to see; from its middle.
        speed: how many times as fast as they were recorded.
    """
    loop = asyncio.get_running_loop()
    began, clock_s = loop.time(), 0.0
    while True:
        for recording in recordings:
            taken_s = min(stretch_s, recording.end_s - recording.start_s)
            steps = max(1, int(taken_s / EVERY_S))
            begin_s = recording.start_s + (recording.end_s - recording.start_s - taken_s) / 2
            for step in range(steps):
                now_s = clock_s + (step + 1) * EVERY_S
                await asyncio.sleep(max(0.0, began + now_s / speed - loop.time()))
                label = _label(recording, begin_s + step * EVERY_S, now_s - EVERY_S)
                yield Came(_cut(recording, begin_s, step, clock_s), label)
            clock_s += steps * EVERY_S


def _cut(recording: Recording, begin_s: float, step: int, clock_s: float) -> dict[str, Signal]:
    """Return a step of a stretch, as if the stretch began at `clock_s`; steps join on the grid."""
    chunks = {}
    for name, signal in recording.signals.items():
        first, last = (_place((step + one) * EVERY_S, signal.rate_hz) for one in (0, 1))
        begin = _place(begin_s - signal.start_s, signal.rate_hz)
        values = signal.values[max(begin + first, 0) : max(begin + last, 0)]
        if len(values):
            place = _place(clock_s, signal.rate_hz) + max(first, -begin)
            chunks[name] = Signal(np.ascontiguousarray(values), signal.rate_hz,
                                  place / signal.rate_hz)  # fmt: skip
    return chunks


def _place(time_s: float, rate_hz: float) -> int:
    return floor(time_s * rate_hz + 0.5 + 1e-6)


def _label(recording: Recording, at_s: float, clock_s: float) -> LabelInterval | None:
    middle_s = at_s + EVERY_S / 2
    for one in recording.labels:
        if one.start_s <= middle_s < one.end_s:
            return LabelInterval(clock_s, clock_s + EVERY_S, one.label)
    return None
