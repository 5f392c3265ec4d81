"""Runs at Hugging Face: `hf://USER/REPO[@REVISION]` to a folder here, that is read like any other.

Only the files that a run has are asked for, by names that stand here, and no more of each than
was announced, in bounds. They become plain files in a folder of their own, by commit. Nothing of
them is run, and no pickle is read: `crossl.run_folder.load_run` checks them as it does others.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from crossl.errors import DataError, FormatError, PackageError
from crossl.files import lock_beside, locked, whole_folder, write_whole, writing

SCHEME = "hf://"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
ADDRESS = re.compile(rf"hf://({NAME})/({NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
NEEDED = {"model.json": 64 << 20, "config.yaml": 4 << 20, "weights.safetensors": 4 << 30}
"""Files that every run has, and the most bytes that each may have."""
BESIDE = {"probe.json": 4 << 20, "probe.safetensors": 1 << 30, "reliability.json": 64 << 20}
"""Files that a run may have."""
CHUNK = 1 << 18
SHA1 = 40
"""Letters of git's usual hash; git knows another one, SHA-256."""
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Place:
    """Where a run lies.

    Attributes:
        repo: `USER/REPO`.
        revision: branch, tag or commit; None for the newest.
    """

    repo: str
    revision: str | None = None


@dataclass(frozen=True)
class Listed:
    """What is announced of a file.

    Attributes:
        size: bytes.
        sha256: where it is stated, as of large files.
        blob: its name in git, by which smaller files are known: the hash of it as git keeps it.
    """

    size: int
    sha256: str | None = None
    blob: str | None = None

    def hashes(self) -> dict[str, Any]:
        """Return what hashes such a file, by the hash that it must have."""
        found: dict[str, Any] = {}
        if self.sha256 is not None:
            found[self.sha256] = hashlib.sha256()
        if self.blob is not None:
            begin = hashlib.sha1 if len(self.blob) == SHA1 else hashlib.sha256
            found[self.blob] = begin(b"blob %d\0" % self.size, usedforsecurity=False)
        return found


def is_address(path: object) -> bool:
    """Tell whether something names a run at Hugging Face."""
    return isinstance(path, str) and path.startswith(SCHEME)


def read_address(address: str) -> Place:
    """Read an address.

    Raises:
        DataError: it is none.

    Examples:
        >>> read_address("hf://ann/watch@v1.0")
        Place(repo='ann/watch', revision='v1.0')
    """
    found = ADDRESS.fullmatch(address)
    if found is None or ".." in address or "--" in f"{found[1]}/{found[2]}":
        raise DataError(
            f"{address!r:.200}: is not an address of a run; allowed is hf://USER/REPO, with "
            "@REVISION for a branch, a tag or a commit"
        )
    return Place(f"{found[1]}/{found[2]}", found[3])


def fetch_run(address: str, *, home: Path | None = None, endpoint: str | None = None) -> Path:
    """Fetch a run, if it is not here yet.

    Args:
        address: `hf://USER/REPO[@REVISION]`.
        home: folder for what is fetched; None for `crossl` where Hugging Face keeps its own files
            (the variable `HF_HOME`).
        endpoint: of the server; None for Hugging Face's, or that of the variable `HF_ENDPOINT`.

    Returns:
        The run folder, of the commit that the address names now. Offline (`HF_HUB_OFFLINE`) it is
        that which it named when it was last asked.

    Raises:
        PackageError: the extra `hub` is not installed.
        DataError: no address, no such repository or revision, or it cannot be reached.
        FormatError: it holds no run, or files that are larger than those of runs, or not those that
            were announced.
    """
    place = read_address(address)
    hub = _hub(address)
    base = (home or Path(hub.constants.HF_HOME) / "crossl") / place.repo.replace("/", "--")
    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or None
    if hub.constants.is_offline_mode():
        return _fetched_before(address, place, base)
    with _told(address):
        commit, listed = _announced(hub, address, place, endpoint)
        folder = base / commit
        if not folder.is_dir():
            base.mkdir(parents=True, exist_ok=True)
            with locked(lock_beside(folder), folder, "is fetching this run"):
                _fetch(hub, address, place.repo, commit, listed, folder, endpoint)
    _remember(base, place, commit)
    return _plain_files(folder)


def _hub(address: str) -> Any:
    try:
        hub = import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise PackageError(
            f"{address}: needs the package 'huggingface_hub', which is not installed; install it "
            'with: pip install "crossl[hub]"'
        ) from error
    for part in ("constants", "errors", "utils"):
        import_module(f"huggingface_hub.{part}")
    return hub


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Say in one sentence what a server, or the way to it, refused."""
    errors = import_module("huggingface_hub.errors")
    try:
        yield
    except errors.GatedRepoError as error:
        raise DataError(f"{address}: needs the approval of its owner; ask for it there, then "
                        "log in by `hf auth login`") from error  # fmt: skip
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{address}: there is no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(f"{address}: there is no such repository, or it is private and you are not "
                        "logged in (`hf auth login`)") from error  # fmt: skip
    except errors.HfHubHTTPError.__mro__[1:3] as error:  # of the library that it speaks HTTP with
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of a file here
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{address}: cannot be fetched ({told:.150})") from error


def _announced(
    hub: Any, address: str, place: Place, endpoint: str | None
) -> tuple[str, dict[str, Listed]]:
    """Ask which commit an address names, and which files of a run it has."""
    info = hub.HfApi(endpoint=endpoint).model_info(
        place.repo, revision=place.revision, files_metadata=True, timeout=TIMEOUT_S
    )
    if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
        raise FormatError(f"{address}: the server names no commit, got {info.sha!r:.60}")
    most = {**NEEDED, **BESIDE}
    listed = {one.rfilename: _listed(one) for one in info.siblings or () if one.rfilename in most}
    for name in NEEDED:
        if name not in listed:
            raise FormatError(f"{address}: holds no crossl run, it has no {name}")
    for name, one in listed.items():
        if not 0 < one.size <= most[name]:
            raise FormatError(f"{address}: {name} has {one.size} bytes; one of a run has 1 to "
                              f"{most[name]}")  # fmt: skip
    return info.sha, listed


def _listed(sibling: Any) -> Listed:
    lfs = sibling.lfs
    sha256 = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    size, blob = sibling.size, getattr(sibling, "blob_id", None)
    return Listed(
        size if isinstance(size, int) else 0,
        sha256 if isinstance(sha256, str) else None,
        # that of a large file is of a note in its place
        blob if lfs is None and isinstance(blob, str) and COMMIT.fullmatch(blob) else None,
    )


def _fetch(
    hub: Any,
    address: str,
    repo: str,
    commit: str,
    listed: Mapping[str, Listed],
    folder: Path,
    endpoint: str | None,
) -> None:
    """Fetch all files of one commit; they are there together or not at all."""
    if folder.is_dir():  # another process was faster
        return
    with whole_folder(folder) as partial:
        for name, one in listed.items():
            url = hub.hf_hub_url(repo, name, revision=commit, endpoint=endpoint)
            _download(hub, url, one, partial / name, f"{address}: {name}")


def _download(hub: Any, url: str, listed: Listed, path: Path, where: str) -> None:
    """Fetch a file, and stop where there is more of it than was announced."""
    headers, hashes, count = hub.utils.build_hf_headers(), listed.hashes(), 0
    session = hub.utils.get_session()
    with (
        session.stream("GET", url, headers=headers, follow_redirects=True,
                       timeout=TIMEOUT_S) as answer,
        writing(path) as file,
    ):  # fmt: skip
        hub.utils.hf_raise_for_status(answer)
        for piece in answer.iter_bytes(CHUNK):
            count += len(piece)
            if count > listed.size:
                break
            for one in hashes.values():
                one.update(piece)
            file.write(piece)
    if count != listed.size:
        more = "more than" if count > listed.size else f"{count} of"
        raise FormatError(f"{where} has {more} the {listed.size} bytes that were announced")
    if any(one.hexdigest() != announced for announced, one in hashes.items()):
        raise FormatError(f"{where} is not what was announced, its hash differs")


def _plain_files(folder: Path) -> Path:
    """Refuse a folder with links in it: what is read is what was fetched."""
    for path in folder.iterdir():
        if path.name in {**NEEDED, **BESIDE} and not stat.S_ISREG(path.lstat().st_mode):
            raise FormatError(
                f"{path}: is not a plain file; delete {folder}, and it is fetched anew"
            )
    return folder


def _ref(base: Path, place: Place) -> Path:
    """Name the file that remembers which commit a revision was."""
    revision = place.revision or "newest"
    return base / f"revision-{hashlib.sha256(revision.encode()).hexdigest()[:16]}"


def _remember(base: Path, place: Place, commit: str) -> None:
    write_whole(_ref(base, place), commit.encode())


def _fetched_before(address: str, place: Place, base: Path) -> Path:
    """Find what an address named when it was last asked."""
    commit = place.revision or ""
    if not COMMIT.fullmatch(commit):
        ref = _ref(base, place)
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
    if not COMMIT.fullmatch(commit) or not (base / commit).is_dir():
        raise DataError(f"{address}: was not fetched before, and HF_HUB_OFFLINE is set")
    return _plain_files(base / commit)
