"""Replay as a source: a recording as if it was made now, at any speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from math import inf, isfinite

import numpy as np

from crossl.data.recording import Recording
from crossl.errors import ConfigError
from crossl.stream.source import Chunk, Facts

CHUNK_S = 0.1
"""Length of the chunks that a recording is cut into."""


def read_speed(text: str) -> float:
    """Read how many times faster than it was recorded something is replayed.

    Raises:
        ConfigError: it is neither a positive number nor `max`.

    Examples:
        >>> read_speed("10"), read_speed("max")
        (10.0, inf)
    """
    try:
        speed = inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0 or (text != "max" and not isfinite(speed)):
        raise ConfigError(f"--speed: got '{text}'; a positive number such as 10, or max, is needed")
    return speed


async def replay(
    recording: Recording, *, speed: float = 1.0, chunk_s: float = CHUNK_S
) -> AsyncIterator[Facts | Chunk]:
    """Yield the samples of a recording in chunks, when they would have come.

    Args:
        recording: any.
        speed: how many times faster than it was recorded; infinite for as fast as possible.
        chunk_s: length of a chunk, seconds.
    """
    held = {name: recording.modalities[name] for name in recording.signals}
    yield Facts(
        held, complete=True,
        origin_unix_s=recording.origin_unix_s, zone=recording.zone,
        start_s=recording.start_s, end_s=recording.end_s, in_order=True,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    began_s, begin_s = loop.time(), recording.start_s
    given = dict.fromkeys(recording.signals, 0)
    for number in count(1):
        upto_s = begin_s + number * chunk_s
        if isfinite(speed):
            await asyncio.sleep(max(0.0, began_s + number * chunk_s / speed - loop.time()))
        else:
            await asyncio.sleep(0)
        for name, signal in recording.signals.items():
            begin, length = given[name], len(signal.values)
            if begin == length:
                continue
            end = int(np.clip(np.ceil((upto_s - signal.start_s) * signal.rate_hz), begin, length))
            given[name] = end
            if end > begin:
                start_s = signal.start_s + begin / signal.rate_hz
                yield Chunk(name, start_s, signal.values[begin:end], signal.rate_hz,
                            last=end == length)  # fmt: skip
        if all(given[name] == len(s.values) for name, s in recording.signals.items()):
            return
