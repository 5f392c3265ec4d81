"""Server: the application on a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from crossl.errors import ConfigError
from crossl.service.guard import check_token, is_loopback
from crossl.service.limits import Limits

GRACE_S = 5
HEAD_BYTES = 16 * 1024


def check_address(host: str, token: str) -> None:
    """Refuse to be open to others without a token.

    Raises:
        ConfigError: there is none, or it is easily guessed.
    """
    if token:
        check_token(token)
    elif not is_loopback(host):
        raise ConfigError(
            f"--host {host}: is open to others, so a token is needed; set CROSSL_TOKEN, or --token"
        )


def listen(host: str, port: int) -> socket.socket:
    """Take a port; 0 takes any that is free.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.create_server(kind[4][:2], family=kind[0], backlog=256)
        # connections inherit it: else the body of an answer, which is sent after its head, waits
        # 40 ms for a delayed acknowledgement
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return taken
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"--host {host} --port {port}: cannot be used ({told})") from None


def serve(server: uvicorn.Server, port: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; what is being answered then is answered first.

    Args:
        server: made by `make_server`.
        port: that listens.
    """
    asyncio.run(server.serve(sockets=[port]))


def make_server(
    app: ASGIApp, limits: Limits, *, ready: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """Make what serves an application.

    Args:
        app: made by `build_app`.
        limits: of connections and messages.
        ready: called once requests are answered.
    """
    config = uvicorn.Config(
        app, http=_protocol(limits.header_s), ws="websockets-sansio", lifespan="on",
        log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        ws_max_size=limits.message_bytes, ws_per_message_deflate=False,
        limit_concurrency=limits.connections, timeout_keep_alive=10,
        timeout_graceful_shutdown=GRACE_S, h11_max_incomplete_event_size=HEAD_BYTES,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return _Server(config, ready)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn logs of each WebSocket that was refused, as if that were a fault."""
    return "without completing handshake" not in record.getMessage()


class _Server(uvicorn.Server):
    """Stops by signals itself, and does not raise them again when it has."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal, and at once at the second."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.force_exit, self.should_exit = self.should_exit, True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _protocol(header_s: float) -> type[H11Protocol]:
    """Make the protocol that hangs up on who sends the head of a request letter by letter."""
    return type("_Bound", (_Impatient,), {"header_s": header_s})


class _Impatient(H11Protocol):
    """HTTP, of which the head of a request must come in time; then others are in charge."""

    header_s = 10.0
    _late: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on, unless the head is whole."""
        super().data_received(data)
        if not self._upgraded and (self.cycle is None or self.cycle.response_complete):
            self._wait()
        else:
            self._enough()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Let the WebSocket take over."""
        self._upgraded = True
        self._enough()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._enough()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.header_s, self._hang_up)

    def _enough(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self._late = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
