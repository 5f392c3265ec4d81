"""Standard input as a source: JSON lines or CSV, from whatever program writes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from threading import Event, Semaphore, Thread

from crossl.data.recording import Modality
from crossl.stream.lines import LineDecoder
from crossl.stream.source import Chunk, Facts

WHERE = "standard input"
PIECE = 65536
MOST_WAITING = 16
"""Pieces that are read ahead; a program that is faster waits."""


def _read() -> bytes:
    # below Python's buffer, whose lock a thread that waits for input would hold at the end
    return os.read(0, PIECE)


async def standard_input(
    wanted: Mapping[str, Modality], *, read: Callable[[], bytes] = _read
) -> AsyncIterator[Facts | Chunk]:
    """Yield what lines of text say; see `LineDecoder`.

    Args:
        wanted: the run's sensors.
        read: waits for some bytes and returns them, none at the end; called in another thread.

    Raises:
        DataError: a line cannot be understood.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room, over = Semaphore(MOST_WAITING), Event()

    def work() -> None:
        piece: bytes | OSError = b"?"
        while piece and isinstance(piece, bytes):
            room.acquire()
            if over.is_set():
                return
            try:
                piece = read()
            except OSError as error:
                piece = error
            with suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

    # nobody can wake a thread that waits for input: it ends with the process
    Thread(target=work, daemon=True, name="crossl-stdin").start()
    decoder = LineDecoder(WHERE, wanted)
    try:
        while piece := await pieces.get():
            room.release()
            if isinstance(piece, OSError):
                raise piece
            for item in decoder.feed(piece):
                yield item
        for item in decoder.close():
            yield item
    finally:
        over.set()
        room.release()
