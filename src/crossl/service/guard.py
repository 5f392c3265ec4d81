"""Guard: who may ask, from where, how much and how slowly; before anything is read or parsed.

- **Whose page it is.** A browser tells the page that asks in `Origin`, and by which name it reached
  us in `Host`. Both must be ours, or any page of the web could use a service on this machine, also
  by a name of its own that suddenly leads here (DNS rebinding).
- **Token.** Without one only names of this very machine are answered. It is compared in constant
  time, never logged, and never part of an address.
- **Size and time.** What a request announces is looked at first, what comes is counted.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossl.errors import ConfigError
from crossl.service.limits import Limits

BUSY = "busy: the requests under way hold as much as is allowed; try again in a second"
OPEN = ("/", "/health")
"""Answered without a token: the bare page, which asks for it, and whether the service lives."""
SUBPROTOCOL, TOKEN_PREFIX = "crossl", "token."
SAFE_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
LEAST_TOKEN = 16
DRAIN_S = 2.0
"""How long the rest of a body that is too large is read and thrown away, so that the answer arrives
rather than a broken connection."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def check_token(token: str) -> None:
    """Refuse a token that is easily guessed, or that a header cannot hold.

    Raises:
        ConfigError: it is too short, or has other signs.
    """
    if len(token) < LEAST_TOKEN or not SAFE_TOKEN.fullmatch(token):
        raise ConfigError(
            f"--token: needs at least {LEAST_TOKEN} letters, digits, '.', '_', '~' or '-'; make "
            'one with: python -c "import secrets; print(secrets.token_urlsafe(24))"'
        )


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is this very machine's own.

    Examples:
        >>> [is_loopback(one) for one in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "a.b")]
        [True, True, True, False, False]
    """
    bare = host.strip("[]").lower()
    if bare == "localhost":
        return True
    try:
        return ip_address(bare).is_loopback
    except ValueError:
        return False


def host_of(netloc: str) -> str:
    """Return the name within `name:port`; empty where it is none.

    Examples:
        >>> host_of("localhost:8000"), host_of("[::1]:80"), host_of("a b"), host_of("evil@x:1")
        ('localhost', '::1', '', '')
    """
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return ""
    found = parts.hostname or ""
    odd = set(netloc) - set("[]:.-_") - {c for c in netloc if c.isascii() and c.isalnum()}
    return "" if odd else found


class Guard:
    """What stands before an application.

    Args:
        app: that is guarded.
        limits: of a body.
        token: that must be shown; empty for none, then only this machine's own names are answered.
        hosts: further names that the service may be reached by, as behind a proxy.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, token: str = "", hosts: Iterable[str] = ()
    ) -> None:
        self._app = app
        self._limits = limits
        self._token = token.encode()
        self._hosts = {one.lower() for one in hosts}
        self._room = _Room(limits.bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        counted = _Counted(receive, headers, self._limits, self._room)
        sending = _with_headers(send)
        if counted.announced > self._limits.body_bytes:
            await counted.drain()
            await _refuse(scope, receive, sending, 413, counted.too_large)
            return
        try:
            await self._app(scope, counted, sending)
        finally:
            self._room.left += counted.taken

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return code and sentence for who may not ask."""
        host = host_of(headers.get("host", ""))
        if not self._knows(host):
            return 421, (
                f"Host: '{host:.60}' is not a name of this service; use localhost, or start it "
                "with --host and a token"
            )
        origin = headers.get("origin")
        if origin is not None and not _same(origin, headers.get("host", "")):
            return 403, (
                f"Origin: '{origin:.80}' is another page; only the service's own page may ask"
            )
        harmless = scope["path"] in OPEN and scope.get("method") == "GET"
        if not harmless and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "Sec-Fetch-Site: another page asks; only the service's own page may"
        is_open = scope["type"] == "http" and scope["path"] in OPEN
        if self._token and not is_open and not self._shows_token(scope, headers):
            return 401, "token: is missing or wrong; send it as 'Authorization: Bearer TOKEN'"
        return None

    def _knows(self, host: str) -> bool:
        return bool(host) and (bool(self._token) or is_loopback(host) or host in self._hosts)

    def _shows_token(self, scope: Scope, headers: Headers) -> bool:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        given = [shown.strip()] if kind.lower() == "bearer" else []
        given += [one.removeprefix(TOKEN_PREFIX) for one in scope.get("subprotocols", ())
                  if one.startswith(TOKEN_PREFIX)]  # fmt: skip
        found = [hmac.compare_digest(one.encode("utf-8", "replace"), self._token) for one in given]
        return any(found)


def _same(origin: str, host: str) -> bool:
    """Tell whether a page was loaded from where it asks."""
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


class _Room:
    """How many bytes of bodies may still be held, of all requests together."""

    def __init__(self, count: int) -> None:
        self.left = count


class _Counted:
    """The body of a request, counted as it comes."""

    def __init__(
        self, receive: Receive, headers: Mapping[str, str], limits: Limits, room: _Room
    ) -> None:
        self._receive = receive
        self._room = room
        self.taken = 0
        self._limits = limits
        self._left = limits.body_bytes
        self._whole = False
        self._until = asyncio.get_running_loop().time() + limits.body_s
        self._waits = headers.get("expect", "").lower() == "100-continue"
        told = headers.get("content-length", "0")
        self.announced = (
            int(told) if told.isascii() and told.isdigit() and len(told) < 19 else 2**63
        )
        self.too_large = (
            f"body: is larger than {limits.body_bytes // 2**20} MiB; send the recording in parts, "
            "or files to `crossl predict`"
        )

    async def __call__(self) -> Message:
        """Return the next piece.

        Raises:
            HTTPException: it is too large, or comes too slowly.
        """
        if self._whole:
            return await self._receive()
        message = await self._next()
        count = len(message.get("body", b""))
        self._left -= count
        self._room.left -= count
        self.taken += count
        if self._left < 0:
            await self.drain()
            raise HTTPException(413, self.too_large)
        if self._room.left < 0:
            await self.drain()
            raise HTTPException(503, BUSY, {"retry-after": "1"})
        self._whole = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError:
            raise HTTPException(
                408, f"body: was not complete after {self._limits.body_s:g} s; nothing was done"
            ) from None

    async def drain(self) -> None:
        """Throw the rest away for a while; who waits to be asked for it sends nothing."""
        if self._waits:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                while (await self._receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass


def _with_headers(send: Send) -> Send:
    """Add the headers for browsers to every answer that does not set them itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, code: int, sentence: str) -> None:
    """Answer with a sentence; of a WebSocket the handshake is refused."""
    if scope["type"] == "websocket":
        await receive()
        kind, extra = "websocket.http.response", dict[str, str]()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
            return
    else:
        kind, extra = "http.response", HEADERS
    body = error_json(sentence)
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in extra.items()),
    ]  # fmt: skip
    if code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if scope["type"] == "http" and code == 413:
        headers.append((b"connection", b"close"))
    start: dict[str, Any] = {"type": f"{kind}.start", "status": code, "headers": headers}
    await send(start)
    await send({"type": f"{kind}.body", "body": body, "more_body": False})


def error_json(sentence: str) -> bytes:
    """Write what was refused, and why."""
    return json.dumps({"error": sentence}).encode()
