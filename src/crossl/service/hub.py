"""Hub: which streams are open, and who watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from crossl.data.recording import Signal

Chunks: TypeAlias = Mapping[str, Signal]
MOST_QUEUED = 512
"""Chunks that a watcher may be behind; then it is let go, and may come again."""
MOST_BYTES = 16 * 2**20
"""Likewise, bytes of samples."""


class Waiting(asyncio.Queue[Chunks | None]):
    """Chunks that wait for a watcher, and None at the end.

    Attributes:
        bytes: of their samples.
    """

    bytes = 0

    def takes(self, chunks: Chunks | None) -> bool:
        """Tell whether there is room for more; for one there always is."""
        if self.empty():
            return True
        return self.qsize() < MOST_QUEUED and self.bytes + _bytes_of(chunks) <= MOST_BYTES

    def _put(self, item: Chunks | None) -> None:
        self.bytes += _bytes_of(item)
        super()._put(item)

    def _get(self) -> Chunks | None:
        item = super()._get()
        self.bytes -= _bytes_of(item)
        return item


def _bytes_of(chunks: Chunks | None) -> int:
    return sum(signal.values.nbytes for signal in (chunks or {}).values())


@dataclass(eq=False)
class Channel:
    """One open stream.

    Attributes:
        number: unlike that of any other.
        name: as its sender calls it.
        options: of `Run.live` that its sender named.
        watchers: queues that get each chunk, and None at the end.
        ended: nothing comes any more.
    """

    number: int
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    watchers: set[Waiting] = field(default_factory=set)
    ended: bool = False

    def put(self, chunks: Chunks | None) -> None:
        """Hand chunks on, or the end; who is too far behind is let go."""
        for queue in list(self.watchers):
            if queue.takes(chunks):
                queue.put_nowait(chunks)
                continue
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)
            self.watchers.discard(queue)

    def watch(self) -> Waiting:
        """Return a queue that gets all that comes from now on; the end at once if it was there."""
        queue = Waiting()
        if self.ended:
            queue.put_nowait(None)
        self.watchers.add(queue)
        return queue


class Hub:
    """All open streams; who waits for one is woken when it opens."""

    def __init__(self) -> None:
        self.channels: dict[int, Channel] = {}
        self._numbers = count(1)
        self._opened = asyncio.Event()

    def open(self, name: str, options: Mapping[str, Any] | None = None) -> Channel:
        """Open a stream, of these options of `Run.live`."""
        channel = Channel(next(self._numbers), name, options or {})
        self.channels[channel.number] = channel
        self._opened.set()
        self._opened = asyncio.Event()
        return channel

    def close(self, channel: Channel) -> None:
        """Close a stream, and tell who watches."""
        self.channels.pop(channel.number, None)
        channel.ended = True
        channel.put(None)

    def told(self) -> list[dict[str, Any]]:
        """List the open streams, as JSON values."""
        return [{"number": one.number, "name": one.name} for one in self.channels.values()]

    async def newest(self) -> Channel:
        """Return the stream that opened last; waits for the first."""
        while not self.channels:
            await self._opened.wait()
        return self.channels[max(self.channels)]
