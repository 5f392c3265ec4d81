"""Who may ask, how much and how slowly: with the eyes of somebody who means harm."""

from __future__ import annotations

import json
import socket
import time
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import crossl
from crossl.errors import ConfigError
from crossl.service.guard import check_token
from crossl.service.limits import Limits
from crossl.service.server import check_address, listen
from tests.service.conftest import as_json, recording, served

TOKEN = "a-token-of-28-letters-or-so."  # noqa: S105 - for tests
MIB = 2**20
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.fixture(scope="module")
def guarded(run: crossl.Run) -> Iterator[str]:
    """A service with a token, and little patience."""
    with served(run, Limits(body_bytes=MIB, body_s=0.4, header_s=0.4), token=TOKEN) as found:
        yield found


def raw(address: str, sent: bytes, *, wait_s: float = 10.0) -> bytes:
    """Send bytes, and return all that is answered until the other side hangs up."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=wait_s) as link:
        link.sendall(sent)
        found = b""
        while part := link.recv(65536):
            found += part
    return found


def handshake(address: str, path: str = "/ws", **options: object) -> tuple[int, str]:
    """Try to open a WebSocket; return the code and what is said."""
    try:
        with connect(f"ws://{address}{path}", **options):  # type: ignore[arg-type]
            return 101, ""
    except InvalidStatus as error:
        return error.response.status_code, json.loads(error.response.body or b"{}")["error"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "a@127.0.0.1"])
def test_another_name_that_leads_here_is_refused(address: str, host: str) -> None:
    for path in ("/", "/health", "/contract"):
        answer = httpx.get(f"http://{address}{path}", headers={"host": host})
        assert answer.status_code == 421
        assert "is not a name of this service" in answer.json()["error"]
    head = f"GET /ws HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}\r\n"
    assert raw(address, head.encode()).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize("host", ["localhost:{}", "127.0.0.1:{}", "[::1]:{}"])
def test_names_of_this_machine_are_answered(address: str, host: str) -> None:
    port = address.split(":")[1]
    answer = httpx.get(f"http://{address}/health", headers={"host": host.format(port)})
    assert answer.status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "x"])
def test_other_pages_may_not_ask(address: str, origin: str) -> None:
    answer = httpx.post(f"http://{address}/predict", headers={"origin": origin}, json={})
    assert answer.status_code == 403
    assert "only the service's own page may ask" in answer.json()["error"]
    for path in ("/ws", "/watch"):
        assert handshake(address, path, origin=origin)[0] == 403


def test_the_own_page_may_ask(address: str) -> None:
    assert handshake(address, origin=f"http://{address}")[0] == 101
    headers = {"sec-fetch-site": "cross-site"}
    assert httpx.post(f"http://{address}/predict", headers=headers, json={}).status_code == 403
    assert httpx.get(f"http://{address}/", headers=headers).status_code == 200  # a link to the page


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}"])
def test_without_the_token_nothing_is_answered(guarded: str, shown: str) -> None:
    headers = {"authorization": shown} if shown else {}
    for method, path in (("GET", "/contract"), ("POST", "/predict"), ("GET", "/openapi.json"),
                         ("GET", "/nothing")):  # fmt: skip
        answer = httpx.request(method, f"http://{guarded}{path}", headers=headers)
        assert answer.status_code == 401
        assert "token: is missing or wrong" in answer.json()["error"]
        assert answer.headers["www-authenticate"] == "Bearer"
    assert handshake(guarded, additional_headers=headers)[0] == 401
    assert handshake(guarded, f"/ws?token={TOKEN}")[0] == 401  # addresses are logged by others
    assert handshake(guarded, subprotocols=["crossl", "token.wrong"])[0] == 401


def test_with_the_token_all_is_answered_by_any_name(guarded: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "host": "classifier.example"}
    assert httpx.get(f"http://{guarded}/contract", headers=headers).status_code == 200
    assert handshake(guarded, additional_headers={"authorization": f"Bearer {TOKEN}"})[0] == 101
    with connect(f"ws://{guarded}/ws", subprotocols=["crossl", f"token.{TOKEN}"]) as link:  # type: ignore[list-item]
        assert link.subprotocol == "crossl"  # the token is not sent back
    assert httpx.get(f"http://{guarded}/health").status_code == 200
    assert httpx.get(f"http://{guarded}/").status_code == 200


def test_a_service_for_others_needs_a_good_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "myhost"):  # noqa: S104
        with pytest.raises(ConfigError, match="is open to others, so a token is needed"):
            check_address(host, "")
        check_address(host, TOKEN)
    check_address("127.0.0.1", "")
    for token in ("short", "with spaces in it, long enough", "ümlaut-ümlaut-ümlaut"):
        with pytest.raises(ConfigError, match="--token: needs at least 16 letters"):
            check_token(token)
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="cannot be used"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_a_gigabyte_that_is_announced_is_not_read(address: str) -> None:
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {2**30}\r\nExpect: 100-continue\r\n\r\n"
    )
    answer = raw(address, head.encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body: is larger than 32 MiB; send the recording in parts" in answer
    assert b"100 Continue" not in answer


@pytest.mark.parametrize("length", ["-1", "x", "1" * 30])
def test_lengths_that_are_none_are_refused(address: str, length: str) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n"
    assert raw(address, head.encode())[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413")


def test_a_gigabyte_in_pieces_is_counted_and_never_held(address: str) -> None:
    piece = b"[0.1, 0.2, 0.3], " * (MIB // 17)
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield b'{"modalities": {"acc": {"values": ['
        for _ in range(1024):
            sent += len(piece)
            yield piece

    tracemalloc.start()
    try:
        answer = httpx.post(f"http://{address}/predict", content=pieces(), timeout=60,
                            headers={"content-type": "application/json"})  # fmt: skip
        told = answer.json()["error"] if answer.status_code == 413 else answer.text
        assert "body: is larger than 32 MiB" in told
    except httpx.TransportError:  # a sender that does not look is cut off
        assert sent > 32 * MIB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120 * MIB
    assert httpx.get(f"http://{address}/health").status_code == 200


def test_a_small_limit_counts_every_kind_of_body(guarded: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    big = b"x" * (MIB + 1)
    for what in ({"content": big}, {"files": [("files", ("a.csv", big))]}):
        answer = httpx.post(f"http://{guarded}/predict", headers=headers, **what)  # type: ignore[arg-type]
        assert answer.status_code == 413, answer.text
        assert "body: is larger than 1 MiB" in answer.json()["error"]


def test_all_bodies_together_are_bounded_and_room_is_given_back(run: crossl.Run) -> None:
    limits = Limits(bodies_bytes=40_000, body_bytes=39_000, body_s=20)
    with served(run, limits) as address:
        host, port = address.split(":")
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
            "Content-Length: 39000\r\n\r\n"
        )
        sent = as_json(recording(4, sensors="ecg"))
        assert len(json.dumps(sent)) > 10_000
        with socket.create_connection((host, int(port))) as link:
            link.sendall(head.encode() + b"x" * 38_000)
            time.sleep(0.3)
            answer = httpx.post(f"http://{address}/predict", json=sent)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "hold as much as is allowed" in answer.json()["error"]
            link.sendall(b"x" * 1000)
            assert link.recv(100).startswith(b"HTTP/1.1 422")
        assert httpx.post(f"http://{address}/predict", json=sent, timeout=30).status_code == 200


def test_a_body_that_comes_too_slowly_is_given_up(guarded: str) -> None:
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {guarded}\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    answer = raw(guarded, head.encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body: was not complete after 0.4 s" in answer


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_head_that_comes_too_slowly_is_given_up(guarded: str, begun: bytes) -> None:
    begin = time.monotonic()
    assert raw(guarded, begun) == b""
    assert 0.2 < time.monotonic() - begin < 8


def test_a_second_head_on_the_same_connection_must_come_in_time_too(guarded: str) -> None:
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    host, port = guarded.split(":")
    with socket.create_connection((host, int(port)), timeout=8) as link:
        link.sendall(whole)
        assert link.recv(65536).startswith(b"HTTP/1.1 200")
        link.sendall(whole[:20])
        while link.recv(65536):
            pass


def test_a_huge_head_is_refused(address: str) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: {address}\r\nX-Big: {'x' * 200_000}\r\n\r\n"
    try:
        answer = raw(address, head.encode())
    except ConnectionResetError:
        answer = b""
    assert b"200 OK" not in answer
    assert httpx.get(f"http://{address}/health").status_code == 200


def test_browsers_are_told_to_keep_to_themselves(address: str) -> None:
    page = httpx.get(f"http://{address}/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    for answer in (page, httpx.get(f"http://{address}/contract"), httpx.get(f"http://{address}/x")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_more_connections_than_allowed_are_sent_away(run: crossl.Run) -> None:
    with served(run, Limits(connections=3)) as address:
        links = []
        host, port = address.split(":")
        for _ in range(5):
            links.append(socket.create_connection((host, int(port))))
        time.sleep(0.3)
        assert httpx.get(f"http://{address}/health").status_code == 503
        for link in links:
            link.close()
        time.sleep(0.3)
        answer = httpx.post(f"http://{address}/predict", json=as_json(recording(4)), timeout=30)
        assert answer.status_code == 200


def test_an_answer_is_sent_at_once_though_its_head_is_not_acknowledged() -> None:
    with (
        listen("127.0.0.1", 0) as port,
        socket.create_connection(port.getsockname()),
        port.accept()[0] as taken,
    ):
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
