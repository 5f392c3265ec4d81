"""WebSocket as a source: connects to a server, and again whenever it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import import_module
from typing import Any

from crossl.data.recording import Modality
from crossl.errors import DataError, PackageError
from crossl.stream.messages import read_message
from crossl.stream.source import Chunk, Facts

MOST_BYTES = 16 * 2**20
"""Of a message."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0


async def websocket(
    url: str,
    wanted: Mapping[str, Modality],
    *,
    note: Callable[[str], None] = lambda _sentence: None,
    first_wait_s: float = FIRST_WAIT_S,
) -> AsyncIterator[Facts | Chunk]:
    """Yield what the messages of a server say, JSON each; see `read_message`.

    A server that cannot be reached at first is an error; one that was there is waited for, until it
    closes the connection in the regular way (code 1000), which ends the stream.

    Args:
        url: such as `ws://127.0.0.1:8765/stream`.
        wanted: the run's sensors.
        note: called when a server goes away and when it is back, with a sentence.
        first_wait_s: until the first attempt to connect again; each wait is twice as long.

    Raises:
        DataError: it cannot be reached at first, or says what cannot be understood.
        PackageError: the package that this needs is not installed.
    """
    client = _needs()
    reached, wait_s = False, first_wait_s
    while True:
        try:
            async with client.connect(url, max_size=MOST_BYTES, open_timeout=10) as socket:
                if reached:
                    note(f"{url}: is back")
                reached, wait_s = True, first_wait_s
                number = 0
                async for message in socket:
                    number += 1
                    for item in read_message(f"{url}: message {number}", message, wanted):
                        yield item
                return
        except client.InvalidURI:
            raise DataError(
                f"{url}: is not an address of a WebSocket, such as ws://HOST:PORT"
            ) from None
        except (OSError, client.WebSocketException) as error:
            if not reached:
                raise DataError(f"{url}: cannot be reached ({_told(error)})") from None
            if wait_s == first_wait_s:
                note(f"{url}: went away ({_told(error)}); waiting for it")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _told(error: BaseException) -> str:
    return str(error)[:100] or type(error).__name__


class _Client:
    """What of the package `websockets` is used."""

    def __init__(self) -> None:
        self.connect: Any = import_module("websockets.asyncio.client").connect
        errors = import_module("websockets.exceptions")
        self.InvalidURI: type[Exception] = errors.InvalidURI
        self.WebSocketException: type[Exception] = errors.WebSocketException


def _needs() -> _Client:
    try:
        return _Client()
    except ModuleNotFoundError as error:
        raise PackageError(
            "package 'websockets' is not installed, which ws:// needs; install it with: pip "
            'install "crossl[stream]"'
        ) from error
