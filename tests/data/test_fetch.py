"""Fetching from servers that break off, lie, forget, move and mean harm; all on 127.0.0.1."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crossl.data import fetch
from crossl.data.fetch import fetch_dataset, relative_places
from crossl.data.readers import get_reader
from crossl.data.readers.archive import RECORD
from crossl.data.readers.card import RemoteFile
from crossl.errors import ConfigError, DataError

SIZE = 300_000


class Server(ThreadingHTTPServer):
    """Serves `content`; what goes wrong is said by the attributes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.breaks: list[int] = []
        """Bytes after which the next answers break off."""
        self.statuses: list[int] = []
        """What is answered first."""
        self.etag = '"one"'
        self.kind = ""
        """Content-Type of what is sent."""
        self.ranges = True
        self.claim: int | None = None
        self.moved: dict[str, str] = {}
        self.pause_s = 0.0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients that are killed are no error."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *words):
        """Stay quiet."""

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append((self.path, asked))
        if self.path in server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = server.statuses.pop(0) if server.statuses else 200
        if status != 200 or self.path not in server.content:
            self.send_error(status if status != 200 else 404)
            return
        self.answer(server.content[self.path], asked)

    def answer(self, body, asked):
        server, start = self.server, 0
        fresh = self.headers.get("If-Range") in (None, server.etag)
        if asked and server.ranges and fresh:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            self.send_response(206 if start < len(body) else 416)
            span = f"{start}-{len(body) - 1}" if start < len(body) else "*"
            self.send_header("Content-Range", f"bytes {span}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        self.send_header("Content-Length", str(server.claim or len(rest)))
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.kind:
            self.send_header("Content-Type", server.kind)
        self.end_headers()
        stop = server.breaks.pop(0) if server.breaks else len(rest)
        for at in range(0, stop, 1 << 15):
            self.wfile.write(rest[at : min(at + (1 << 15), stop)])
            time.sleep(server.pause_s)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def body():
    return os.urandom(SIZE)


def card_of(*files: RemoteFile):
    return dataclasses.replace(get_reader("uci_har").CARD, files=files)


def one(body: bytes | None = None, *, checked: bool = False, name: str = "set.bin"):
    sha256 = hashlib.sha256(body).hexdigest() if body and checked else None
    return card_of(RemoteFile(f"https://example.org/{name}", sha256, len(body) if body else None))


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return out.getvalue()


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if p.name not in {RECORD, ".fetching.lock"})


def record_of(path):
    return json.loads((path.parent / RECORD).read_text())[path.name]


def test_a_file_arrives_whole_and_is_not_fetched_again(server, body, tmp_path):
    server.content["/set.bin"] = body
    told = []
    for _ in range(2):
        fetch_dataset(one(), tmp_path, mirror=server.address, tell=lambda *t: told.append(t))
    assert (tmp_path / "set.bin").read_bytes() == body
    assert server.requests == [("/set.bin", None)]
    assert visible(tmp_path) == ["set.bin"]
    assert told[-1] == ("set.bin: 0.3 MB", 1.0)
    assert record_of(tmp_path / "set.bin") == {
        "size": SIZE,
        "sha256": hashlib.sha256(body).hexdigest(),
        "ETag": '"one"',
    }


@pytest.mark.parametrize("checked", [True, False])
def test_a_broken_download_goes_on_behind_the_last_byte(server, body, tmp_path, checked):
    server.content["/set.bin"], server.breaks = body, [200_000, 50_000]
    fetch_dataset(one(body, checked=checked), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body
    starts = [int(asked[6:-1]) for _, asked in server.requests[1:]]
    assert len(starts) == 2
    assert 100_000 < starts[0] <= 200_000
    assert visible(tmp_path) == ["set.bin"]


def test_a_server_that_ignores_ranges_is_asked_for_everything(server, body, tmp_path):
    server.content["/set.bin"], server.breaks, server.ranges = body, [200_000], False
    fetch_dataset(one(body), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, body, tmp_path):
    server.content["/set.bin"], server.breaks = os.urandom(SIZE), [200_000] + [0] * fetch.TRIES
    with pytest.raises(DataError, match="give the same command again later to resume"):
        fetch_dataset(one(), tmp_path, mirror=server.address)
    server.content["/set.bin"], server.etag, server.breaks = body, '"two"', []
    fetch_dataset(one(), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_name_for_its_content_nothing_is_gone_on_with(server, body, tmp_path, etag):
    server.content["/set.bin"], server.breaks, server.etag = body, [200_000], etag
    fetch_dataset(one(), tmp_path, mirror=server.address)
    assert server.requests == [("/set.bin", None)] * 2
    assert (tmp_path / "set.bin").read_bytes() == body


def test_a_server_that_promises_more_than_it_sends_is_found_out(server, body, tmp_path):
    server.content["/set.bin"], server.claim = body, SIZE + 1000
    with pytest.raises(DataError, match=r"set.bin: .*5 times in a row; give the same command"):
        fetch_dataset(one(), tmp_path, mirror=server.address)
    assert not (tmp_path / "set.bin").exists()


def test_a_server_that_promises_another_size_than_the_card_is_refused(server, body, tmp_path):
    server.content["/set.bin"], server.claim = body, SIZE - 1000
    message = f"server offers {SIZE - 1000} bytes, but the official file has {SIZE}"
    with pytest.raises(DataError, match=message):
        fetch_dataset(one(body), tmp_path, mirror=server.address)
    assert not (tmp_path / "set.bin").exists()


def test_a_shortened_archive_is_found_out_and_fetched_anew(server, tmp_path):
    whole = zipped(a=os.urandom(50_000))
    server.content["/set.zip"], server.claim = whole, 30_000
    card = one(name="set.zip")
    with pytest.raises(DataError, match=r"set\.zip: cannot be unpacked"):
        fetch_dataset(card, tmp_path, mirror=server.address)
    assert visible(tmp_path) == []
    server.claim = None
    fetch_dataset(card, tmp_path, mirror=server.address)
    assert (tmp_path / "set/a").stat().st_size == 50_000


def test_an_archive_is_unpacked_once(server, tmp_path):
    server.content["/set.zip"] = zipped(a=b"1", b=b"2")
    card = one(name="set.zip")
    fetch_dataset(card, tmp_path, mirror=server.address)
    (tmp_path / "set/a").unlink()
    fetch_dataset(card, tmp_path, mirror=server.address)
    assert visible(tmp_path / "set") == ["b"]
    record = record_of(tmp_path / "set.zip")
    assert record["unpacked"] == record["sha256"]


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("checked", [True, False])
def test_a_kill_between_fetching_again_and_unpacking_leaves_nothing_old(
    server, tmp_path, monkeypatch, recorded, checked
):
    old, new = zipped(a=b"old"), zipped(a=b"new")
    server.content["/set.zip"] = old
    fetch_dataset(one(name="set.zip"), tmp_path, mirror=server.address)
    server.content["/set.zip"] = new
    card = one(new, checked=checked, name="set.zip")
    (tmp_path / "set.zip").write_bytes(b"damaged")
    record = (tmp_path / RECORD).read_text()
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "unpack_beside", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch_dataset(card, tmp_path, mirror=server.address)
    if not recorded:  # the kill came a moment earlier
        (tmp_path / RECORD).write_text(record)
    assert (tmp_path / "set/a").read_bytes() == b"old"
    fetch_dataset(card, tmp_path, mirror=server.address)
    assert (tmp_path / "set/a").read_bytes() == b"new"


def killed(*_, **__):
    raise KeyboardInterrupt


def test_a_folder_the_user_unpacked_by_hand_stays(server, tmp_path, caplog):
    whole = zipped(a=b"1")
    (tmp_path / "set.zip").write_bytes(whole)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine").touch()
    for _ in range(2):
        fetch_dataset(one(whole, checked=True, name="set.zip"), tmp_path, mirror=server.address)
    assert visible(tmp_path / "set") == ["mine"]
    assert caplog.text.count("set: was there already and is used unchecked") == 1


def test_what_a_kill_left_half_unpacked_is_removed(server, tmp_path):
    server.content["/set.zip"] = zipped(a=b"1")
    for _ in range(2):
        (tmp_path / ".unpacking-killed/inside").mkdir(parents=True)
        (tmp_path / ".unpacking-killed/inside/half").touch()
        fetch_dataset(one(name="set.zip"), tmp_path, mirror=server.address)
        assert visible(tmp_path) == ["set", "set.zip"]


def test_a_second_fetch_into_the_same_folder_is_refused(server, body, tmp_path):
    server.content["/set.bin"], server.pause_s = body, 0.05
    first = threading.Thread(
        target=fetch_dataset, args=(one(), tmp_path), kwargs={"mirror": server.address}
    )
    first.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (tmp_path / ".set.bin.part").exists():
        time.sleep(0.005)
    with pytest.raises(DataError, match="another process is fetching into this folder; wait for"):
        fetch_dataset(one(), tmp_path, mirror=server.address)
    first.join()
    assert (tmp_path / "set.bin").read_bytes() == body
    fetch_dataset(one(), tmp_path, mirror=server.address)
    assert len(server.requests) == 1


def test_a_web_page_instead_of_the_file_is_refused(server, tmp_path):
    server.content = {f"/set.{end}": b"<html>log in" for end in ("csv", "html", "HTM")}
    server.kind = "Text/HTML; charset=utf-8"
    url = get_reader("uci_har").CARD.url
    message = rf"set\.csv: the server sent a web page instead of the file; .* at {re.escape(url)}$"
    with pytest.raises(DataError, match=message):
        fetch_dataset(one(name="set.csv"), tmp_path, mirror=server.address)
    assert visible(tmp_path) == []
    for name in ("set.html", "set.HTM"):
        fetch_dataset(one(name=name), tmp_path, mirror=server.address)
        assert (tmp_path / name).read_bytes() == b"<html>log in"


def test_a_wrong_checksum_removes_the_file(server, body, tmp_path):
    server.content["/set.bin"] = os.urandom(SIZE)
    with pytest.raises(DataError, match="another SHA-256 than was published") as caught:
        fetch_dataset(one(body, checked=True), tmp_path, mirror=server.address)
    assert "\n" not in str(caught.value)
    assert visible(tmp_path) == []


def test_a_damaged_file_on_disk_is_fetched_again(server, body, tmp_path):
    server.content["/set.bin"] = body
    fetch_dataset(one(body, checked=True), tmp_path, mirror=server.address)
    (tmp_path / "set.bin").write_bytes(body[:-1] + b"?")
    fetch_dataset(one(body, checked=True), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body


@pytest.mark.parametrize("sized", [True, False])
def test_a_flipped_byte_is_found_without_a_published_checksum(server, body, tmp_path, sized):
    server.content["/set.bin"] = body
    card = one(body if sized else None)
    fetch_dataset(card, tmp_path, mirror=server.address)
    (tmp_path / "set.bin").write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    fetch_dataset(card, tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body


def test_a_file_of_the_users_that_is_another_is_left_alone(server, body, tmp_path):
    server.content["/set.bin"] = body
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="is not the published file and was not fetched by this"):
        fetch_dataset(one(body, checked=True), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"


def test_a_file_put_there_by_hand_is_kept_with_a_warning(server, tmp_path, caplog):
    (tmp_path / "set.bin").write_bytes(b"mine")
    fetch_dataset(one(), tmp_path, mirror=server.address)
    assert server.requests == []
    assert "is used unchecked; no checksum was published" in caplog.text
    assert json.loads((tmp_path / RECORD).read_text())["set.bin"]["size"] == 4


def test_a_busy_server_is_asked_again(server, body, tmp_path):
    server.content["/set.bin"], server.statuses = body, [503, 500, 429]
    fetch_dataset(one(body), tmp_path, mirror=server.address)
    assert len(server.requests) == 4


def test_a_server_that_stays_busy_ends_in_one_sentence(server, tmp_path):
    server.statuses = [503] * 9
    with pytest.raises(DataError, match="the server answers 503, 5 times in a row"):
        fetch_dataset(one(), tmp_path, mirror=server.address)


def test_a_missing_file_is_told_at_once(server, tmp_path):
    with pytest.raises(DataError, match=r"/set.bin: the server answers 404 .*may have moved"):
        fetch_dataset(one(), tmp_path, mirror=server.address)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_ends_in_one_sentence(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="connection failed or broke off, 0 bytes have arrived"):
        fetch_dataset(one(), tmp_path, mirror=server.address)


def test_redirects_are_followed_ranges_included(server, body, tmp_path):
    server.content["/real"], server.breaks = body, [200_000]
    server.moved["/set.bin"] = f"{server.address}/real"
    fetch_dataset(one(body, checked=True), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body
    assert server.requests[3][1] is not None


def test_redirects_in_a_circle_end_in_one_sentence(server, tmp_path):
    server.moved["/set.bin"] = "/set.bin"
    with pytest.raises(DataError, match=r"set\.bin: cannot be fetched"):
        fetch_dataset(one(), tmp_path, mirror=server.address)


@pytest.mark.parametrize(("members", "message"), [
    ({"../escaped": b"bad"}, "leads outside"),
    ({"/escaped": b"bad"}, "leads outside"),
    ({"zeros": bytes(40 << 20)}, "which no recordings do"),
])  # fmt: skip
def test_a_hostile_archive_writes_nothing(server, tmp_path, members, message):
    server.content["/set.zip"] = zipped(**members)
    to = tmp_path / "to"
    with pytest.raises(DataError, match=message):
        fetch_dataset(one(name="set.zip"), to, mirror=server.address)
    assert visible(to) == []
    assert [p.name for p in tmp_path.iterdir()] == ["to"]


@pytest.mark.parametrize("known", [True, False])
def test_a_full_disk_is_told_with_both_numbers(server, body, tmp_path, monkeypatch, known):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 1_000_000))
    server.content["/set.zip"] = body
    with pytest.raises(DataError, match=r"needs about 1.8 MB, .*but the disk has 1.0 MB free"):
        fetch_dataset(one(body if known else None, name="set.zip"), tmp_path, mirror=server.address)
    assert len(server.requests) == (0 if known else 1)


def test_many_files_keep_their_folders(server, tmp_path):
    base = "https://example.org/files/sleep/1.0.0"
    files = [RemoteFile(f"{base}/{name}") for name in ("RECORDS", "night%20one/a.edf")]
    for file in files:
        server.content["/copy" + file.url.removeprefix("https://example.org")] = file.name.encode()
    fetch_dataset(card_of(*files), tmp_path, mirror=f"{server.address}/copy/")
    assert (tmp_path / "night one/a.edf").read_bytes() == b"a.edf"
    assert (tmp_path / "RECORDS").is_file()


def test_many_small_files_share_one_bar(server, tmp_path):
    files = [RemoteFile(f"https://example.org/set/{n}.hea") for n in range(8)]
    server.content = {f"/set/{n}.hea": b"1234" for n in range(8)}
    told = []
    fetch_dataset(
        card_of(*files), tmp_path, mirror=server.address, tell=lambda *what: told.append(what)
    )
    assert {what.partition(":")[0] for what, _ in told} == {"uci_har"}
    assert [share for _, share in told] == [(n + 1) / 8 for n in range(8)]


@pytest.mark.parametrize("names", [("a", "a"), ("a/x", "%2e%2e/y"), ("b", "..%5c..%5cx")])
def test_addresses_that_make_no_names_are_refused(names):
    files = tuple(RemoteFile(f"https://example.org/set/{name}") for name in names)
    with pytest.raises(DataError, match="addresses do not make names of files"):
        relative_places(files)


def test_a_data_set_without_downloads_names_its_address(tmp_path):
    with pytest.raises(
        DataError, match="uci_har: has no official download to fetch; get it at http"
    ):
        fetch_dataset(card_of(), tmp_path)


def test_a_mirror_that_is_no_address_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="mirror: got 'file:///etc'; allowed is an address"):
        fetch_dataset(one(), tmp_path, mirror="file:///etc")


def test_a_killed_download_goes_on(server, body, tmp_path):
    server.content["/set.bin"], server.pause_s = body * 10, 0.02
    program = (
        "import sys; from pathlib import Path; from crossl.data.fetch import fetch_dataset\n"
        "from crossl.data.readers.card import RemoteFile; from types import SimpleNamespace\n"
        "card = SimpleNamespace(url='', files=(RemoteFile('https://example.org/set.bin'),))\n"
        "fetch_dataset(card, Path(sys.argv[1]), mirror=sys.argv[2])"
    )
    words = [sys.executable, "-c", program, str(tmp_path), server.address]
    process = subprocess.Popen(words)
    part = tmp_path / ".set.bin.part"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > SIZE):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    arrived, server.pause_s = part.stat().st_size, 0.0
    assert SIZE < arrived < 10 * SIZE
    fetch_dataset(one(), tmp_path, mirror=server.address)
    assert (tmp_path / "set.bin").read_bytes() == body * 10
    assert server.requests[-1] == ("/set.bin", f"bytes={arrived}-")


def test_a_kill_after_the_last_byte_costs_no_second_download(server, body, tmp_path):
    server.content["/set.bin"] = body
    (tmp_path / ".set.bin.part").write_bytes(body)
    note = {"url": f"{server.address}/set.bin", "validator": '"one"', "total": SIZE}
    (tmp_path / ".set.bin.part.json").write_text(json.dumps(note))
    fetch_dataset(one(body, checked=True), tmp_path, mirror=server.address)
    assert server.requests == [("/set.bin", f"bytes={SIZE}-")]
    assert (tmp_path / "set.bin").read_bytes() == body
