"""Fetch: official files from the network, whole, checked, and unpacked.

A file that is not complete yet lies under a hidden name with a note of what the server called it
(its ETag or date), so that a later call resumes after the last byte, unless the server has
something else by then. A file under its own name is complete.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from crossl.data.fetched import (
    is_complete,
    is_unpacked,
    read_json,
    record,
    record_found,
    record_unpacked,
    recorded,
)
from crossl.data.formats import needs
from crossl.data.readers.archive import NoRoomError, is_archive, remove_stale, unpack_beside
from crossl.data.readers.card import Card, RemoteFile
from crossl.errors import ConfigError, DataError
from crossl.files import file_sha256, naming, working_in, write_whole

LOG = logging.getLogger(__name__)
TRIES = 5
"""Attempts in a row that may bring nothing new."""
BACKOFF_S = 1.0
LONGEST_WAIT_S = 60.0
TIMEOUT_S = (10.0, 60.0)
CHUNK = 1 << 16
UNPACKED_RATIO = 5
"""What an archive of text unpacks to, for a first look at the disk."""
MAX_BARS = 4
"""More files share one bar."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses after which asking again makes sense."""
PAGES = (".html", ".htm")

Tell = Callable[[str, float], None]


def fetch_dataset(
    card: Card, to: Path, *, mirror: str | None = None, tell: Tell = lambda _what, _share: None
) -> list[Path]:
    """Fetch every official file of a data set and unpack the archives.

    Complete files stay, incomplete ones are resumed.

    Args:
        card: of the data set.
        to: folder; made if needed.
        mirror: replaces scheme and host of every address.
        tell: called with `file: activity` and the share that is done.

    Returns:
        The files, in the order of the card.

    Raises:
        ConfigError: the mirror is not an address.
        DataError: nothing can be fetched, another process is fetching, the server or the file is
            not as it should be, or the disk lacks room.
    """
    if not card.files:
        raise DataError(f"{card.name}: has no official download to fetch; get it at {card.url}")
    needs("pooch")
    with working_in(to, "is fetching into this folder"):
        return _fetch_files(card, to, mirror, tell)


def _fetch_files(card: Card, to: Path, mirror: str | None, tell: Tell) -> list[Path]:
    places = [to / place for place in relative_places(card.files)]
    for folder in {path.parent for path in places}:
        remove_stale(folder)
    missing = [file for file, path in zip(card.files, places, strict=True) if not path.exists()]
    _check_room(to, {file.name: file.size or 0 for file in missing})
    for number, (file, path) in enumerate(zip(card.files, places, strict=True)):
        told = tell if len(places) <= MAX_BARS else _share_of(tell, card.name, number, len(places))
        download = _Download(file, path, told, page=card.url)
        fresh = _fetch_file(file, path, mirrored(file.url, mirror), download)
        if is_archive(path):
            told(f"{path.name}: unpacking", 1.0)
            _unpack(path, fresh=fresh)
    return places


def _share_of(tell: Tell, name: str, number: int, count: int) -> Tell:
    """Make one bar of many small files."""
    return lambda what, share: tell(
        f"{name}: {number + 1}/{count} {what}", (number + share) / count
    )


def relative_places(files: tuple[RemoteFile, ...]) -> list[PurePosixPath]:
    """Say where files belong, keeping folders below what all addresses share.

    Examples:
        >>> base = "https://example.org/set/1.0/"
        >>> files = [RemoteFile(base + name) for name in ("RECORDS", "night/a.edf")]
        >>> [str(place) for place in relative_places(tuple(files))]
        ['RECORDS', 'night/a.edf']
    """
    folders = [PurePosixPath(unquote(urlsplit(file.url).path)).parent for file in files]
    shared = PurePosixPath(os.path.commonpath(folders))
    places = [folder.relative_to(shared) / unquote(file.name)
              for folder, file in zip(folders, files, strict=True)]  # fmt: skip
    unsafe = [p for p in places if ".." in p.parts or p.is_absolute() or "\\" in str(p)]
    if unsafe or len(set(places)) < len(places):
        raise DataError(f"{files[0].url}: addresses do not make names of files, got {places}")
    return places


def mirrored(url: str, mirror: str | None) -> str:
    """Replace scheme and host of an address.

    Raises:
        ConfigError: the mirror is not an address.

    Examples:
        >>> mirrored("https://example.org/a/b.zip?download=1", "http://localhost:80/copy/")
        'http://localhost:80/copy/a/b.zip?download=1'
    """
    if mirror is None:
        return url
    if urlsplit(mirror).scheme not in {"http", "https"} or not urlsplit(mirror).netloc:
        raise ConfigError(
            f"mirror: got '{mirror}'; allowed is an address such as https://host/path"
        )
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return mirror.rstrip("/") + parts.path + query


def _fetch_file(file: RemoteFile, path: Path, url: str, download: _Download) -> bool:
    """Fetch one file unless it is complete; tell whether it was fetched now."""
    if path.exists():
        sha256 = file_sha256(path)
        if is_complete(file, path, sha256):
            if recorded(path).get("sha256") != sha256:
                record_found(path, sha256)
            return False
        if not recorded(path):
            raise DataError(
                f"{path}: is not the published file and was not fetched by this command; move it "
                "away, or use the folder as it is with `crossl prepare`"
            )
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    pooch = needs("pooch")
    pooch.get_logger().setLevel(logging.WARNING)  # it would log every file
    known = f"sha256:{file.sha256}" if file.sha256 else None
    try:
        pooch.retrieve(url, known, fname=path.name, path=path.parent, downloader=download)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        download.forget()
        raise DataError(
            f"{url}: arrived with another SHA-256 than was published, {file.sha256}; the file was "
            "removed, try again or another mirror"
        ) from error
    download.forget()
    record(path, file_sha256(path), download.headers)
    return True


def _unpack(path: Path, *, fresh: bool) -> None:
    """Unpack an archive unless this was done with the archive as it is."""
    again = not is_unpacked(path)
    try:
        unpack_beside(path, again=again)
    except NoRoomError:
        raise
    except DataError:
        if fresh:  # the same command fetches it again
            path.unlink()
        raise
    if again:
        record_unpacked(path)


def _check_room(folder: Path, sizes: Mapping[str, int]) -> None:
    """Refuse to begin what does not fit on the disk, unpacked archives included."""
    needed = sum(n * (1 + UNPACKED_RATIO * is_archive(Path(name))) for name, n in sizes.items())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: needs about {needed / 1e6:.1f} MB, unpacked files included, but the disk "
            f"has {free / 1e6:.1f} MB free; make room or choose another folder"
        )


class _TryAgainError(Exception):
    """What may be different the next time."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass
class _Offer:
    """What a server's answer says of the file: where the answer begins, and its whole length."""

    start: int
    total: int | None


class _Download:
    """A downloader for pooch that resumes where an earlier one stopped.

    Args:
        file: what the card says of it.
        path: of the complete file; what has arrived lies beside it.
        tell: called with the progress.
        page: where a user can get it by hand.
    """

    def __init__(self, file: RemoteFile, path: Path, tell: Tell, *, page: str) -> None:
        self._file, self._path, self._tell, self._page = file, path, tell, page
        self._part = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")
        self.headers: dict[str, str] = {}

    def __call__(self, url: str, output_file: str, _pooch: object, **_: object) -> None:
        """Bring the whole file and put it where pooch wants to check it."""
        furthest, vain = self._have(), 0
        while True:
            try:
                self._attempt(url)
                break
            except _TryAgainError as error:
                vain = 1 if self._have() > furthest else vain + 1
                furthest = max(furthest, self._have())
                if vain >= TRIES:
                    raise DataError(
                        f"{url}: {error}, {vain} times in a row; give the same "
                        "command again later to resume, or another server by --mirror, or "
                        f"download it by hand from {self._page}"
                    ) from error
                wait = max(BACKOFF_S * 2 ** (vain - 1), error.wait_s)
                LOG.info("%s: %s; asking again in %.1f s", url, error, wait)
                time.sleep(min(wait, LONGEST_WAIT_S))
        output = Path(output_file)
        output.unlink(missing_ok=True)
        try:
            output.hardlink_to(self._part)  # what a kill during the check would lose is kept
        except OSError:  # a file system without links
            self._part.replace(output)

    def forget(self) -> None:
        """Remove what was kept for going on."""
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _attempt(self, url: str) -> None:
        requests, urllib3 = needs("requests"), needs("urllib3")
        try:
            with requests.get(
                url, headers=self._ask(url), stream=True, timeout=TIMEOUT_S
            ) as response:
                if self._at_its_end(response):
                    return
                offer = self._judge(url, response)
                self._receive(response, offer)
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _TryAgainError(self._broken()) from error
        except requests.RequestException as error:
            raise DataError(f"{url}: cannot be fetched ({error}); see {self._file.url}") from error
        if offer.total is not None and self._have() != offer.total:
            raise _TryAgainError(f"{self._broken()} of {offer.total}")

    def _broken(self) -> str:
        return f"the connection failed or broke off, {self._have()} bytes have arrived"

    def _ask(self, url: str) -> dict[str, str]:
        """Ask for what is missing, if the server still has what the first bytes came from."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "crossl"}
        note = read_json(self._note)
        if self._have() and note.get("url") == url and note.get("validator"):
            headers |= {"Range": f"bytes={self._have()}-", "If-Range": str(note["validator"])}
        return headers

    def _at_its_end(self, response: Any) -> bool:
        """Tell whether nothing is missing: everything came before a kill."""
        told = str(response.headers.get("Content-Range", "")).rpartition("/")[2]
        whole = read_json(self._note).get("total")
        return response.status_code == 416 and told == str(self._have()) == str(whole)

    def _judge(self, url: str, response: Any) -> _Offer:
        status, headers = int(response.status_code), response.headers
        if status == 416:  # beyond its end
            self.forget()
            raise _TryAgainError("the server has a shorter file than it said")
        if status in PASSING:
            wait = headers.get("Retry-After", "")
            raise _TryAgainError(
                f"the server answers {status}", float(wait) if wait.isdigit() else 0
            )
        if status not in {200, 206}:
            raise DataError(
                f"{url}: the server answers {status} {response.reason}; the file may have moved, "
                "see the data set's page"
            )
        kind = headers.get("Content-Type", "").lower()
        if kind.startswith("text/html") and not self._file.name.lower().endswith(PAGES):
            raise DataError(
                f"{url}: the server sent a web page instead of the file; get it by hand at "
                f"{self._page}"
            )
        length = headers.get("Content-Length", "")
        offer = _Offer(0, int(length) if length.isdigit() else None)
        if status == 206:
            offer = self._continuation(headers.get("Content-Range", ""))
        if self._file.size is not None and offer.total not in {None, self._file.size}:
            raise DataError(
                f"{url}: the server offers {offer.total} bytes, but the official file has "
                f"{self._file.size}; it was changed, or is something else"
            )
        self._note_down(url, headers, offer)
        return offer

    def _continuation(self, content_range: str) -> _Offer:
        span, _, total = content_range.removeprefix("bytes ").partition("/")
        if span.partition("-")[0] != str(self._have()):
            self._part.unlink()
            raise _TryAgainError(f"the server sent another range than asked, '{content_range}'")
        return _Offer(self._have(), int(total) if total.isdigit() else None)

    def _note_down(self, url: str, headers: Mapping[str, str], offer: _Offer) -> None:
        etag = headers.get("ETag", "")
        strong = etag if etag.startswith('"') else ""  # a weak one cannot be asked for
        validator = strong or headers.get("Last-Modified", "")
        note = {"url": url, "validator": validator, "total": offer.total}
        self.headers = dict(headers)
        write_whole(self._note, json.dumps(note).encode())
        missing = (offer.total or 0) - offer.start
        _check_room(self._path.parent, {self._path.name: max(missing, 0)})

    def _receive(self, response: Any, offer: _Offer) -> None:
        done = offer.start
        with self._part.open("ab" if offer.start else "wb", buffering=0) as part:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                with naming(self._part):
                    part.write(chunk)
                done += len(chunk)
                share = done / offer.total if offer.total else 0.0
                self._tell(f"{self._path.name}: {done / 1e6:.1f} MB", min(share, 1.0))
        if self._file.size is not None and done > self._file.size:
            self._part.unlink()
            raise _TryAgainError(
                f"{done} bytes arrived, but the official file has {self._file.size}"
            )
