"""WebSocket: a real server on the loopback, which goes away and returns."""

from __future__ import annotations

import asyncio
import builtins
import json

import pytest

from crossl.errors import DataError, PackageError
from crossl.stream import websocket as module
from crossl.stream.session import label_stream
from crossl.stream.source import Chunk
from crossl.stream.websocket import websocket

from .conftest import SENSORS, assert_said, chunks_of, recorded

server = pytest.importorskip("websockets.asyncio.server")


def as_message(item: Chunk) -> str:
    return json.dumps({"sensor": item.sensor, "time": item.times, "values": item.values.tolist()})


def test_a_server_that_goes_away_and_returns_is_waited_for(run, session, notes):
    whole = recorded()
    messages = [as_message(item) for item in chunks_of(whole)]
    connections = 0

    async def serve(socket) -> None:
        nonlocal connections
        connections += 1
        for message in messages[:30] if connections == 1 else messages[30:]:
            await socket.send(message)
        if connections == 1:
            await asyncio.sleep(0.05)
            socket.transport.abort()  # as if it crashed
        # else: it returns, which closes in the regular way

    async def work() -> list[dict]:
        async with server.serve(serve, "127.0.0.1", 0) as there:
            port = there.sockets[0].getsockname()[1]
            source = websocket(f"ws://127.0.0.1:{port}", SENSORS, note=notes.append,
                               first_wait_s=0.05)  # fmt: skip
            return [one async for one in label_stream(source, session())]

    assert_said(asyncio.run(work()), run.timeline(whole))
    assert connections == 2
    gone, back = notes
    assert "went away" in gone
    assert "is back" in back


def test_what_cannot_be_reached_or_understood_is_told_in_a_sentence():
    async def serve(socket) -> None:
        await socket.send("[]")
        await socket.send("hello")

    async def work(url: str) -> None:
        async with server.serve(serve, "127.0.0.1", 0) as there:
            port = there.sockets[0].getsockname()[1]
            async for _ in websocket(url.format(port=port), SENSORS):
                pass

    with pytest.raises(DataError, match=r"^ws://127\.0\.0\.1:\d+: message 2: is not JSON"):
        asyncio.run(work("ws://127.0.0.1:{port}"))
    with pytest.raises(DataError, match=r"^ws://127\.0\.0\.1:1/: cannot be reached \("):
        asyncio.run(work("ws://127.0.0.1:1/"))
    with pytest.raises(
        DataError, match=r"^ws://: is not an address of a WebSocket, such as ws://H"
    ):
        asyncio.run(work("ws://"))


def test_the_package_that_is_not_there_is_named(monkeypatch):
    def lacking(name: str):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(module, "import_module", lacking)
    with pytest.raises(PackageError, match=r'pip install "crossl\[stream\]"'):
        asyncio.run(builtins.anext(websocket("ws://127.0.0.1:1", SENSORS)))
