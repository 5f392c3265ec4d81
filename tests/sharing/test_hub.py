"""Runs at Hugging Face, by a server of our own on 127.0.0.1: what is fetched, what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest

from crossl.api.run import load_run
from crossl.api.training import build_model
from crossl.cli.options import run_here
from crossl.errors import DataError, FormatError, PackageError
from crossl.sharing import hub
from crossl.sharing.hub import fetch_run, read_address

pytest.importorskip("huggingface_hub")

COMMIT, OTHER = "a" * 40, "b" * 40
X = {"acc": np.random.default_rng(0).normal(size=(6, 50, 3))}


def git_hash(content: bytes) -> str:
    """Return what `git hash-object` says."""
    found = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    found.update(content)
    return found.hexdigest()


class Server(ThreadingHTTPServer):
    """Serves repositories {name: {commit: {file: bytes}}} as Hugging Face does.

    Attributes:
        repos: what is served.
        revisions: {revision: commit}.
        asked: paths of the requests.
        announced: sizes that are told instead of the true ones.
        lfs: hashes that are told.
        blobs: hashes of git that are told instead of the true ones.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.revisions = {"main": COMMIT}
        self.asked: list[str] = []
        self.announced: dict[str, Any] = {}
        self.lfs: dict[str, str] = {}
        self.blobs: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers `model_info` and downloads."""

    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        if path.startswith("/api/models/"):
            self._tell(path.removeprefix("/api/models/"))
            return
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        commit, _, name = rest.partition("/")
        content = self.server.repos.get(repo, {}).get(commit, {}).get(name)
        if content is None:
            self._refuse("EntryNotFound")
            return
        self._send(content, "application/octet-stream")

    def _tell(self, rest: str) -> None:
        repo, _, revision = rest.partition("/revision/")
        if repo not in self.server.repos:
            self._refuse("RepoNotFound")
            return
        revision = revision or "main"
        commit = self.server.revisions.get(revision, revision)
        files = self.server.repos[repo].get(commit)
        if files is None:
            self._refuse("RevisionNotFound")
            return
        siblings = [self._sibling(name, content) for name, content in files.items()]
        told = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": [],
                "private": False, "downloads": 0, "likes": 0}  # fmt: skip
        self._send(json.dumps(told).encode(), "application/json")

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        blob = self.server.blobs.get(name, git_hash(content))
        told: dict[str, Any] = {"rfilename": name, "blobId": blob,
                                "size": self.server.announced.get(name, len(content))}  # fmt: skip
        if name in self.server.lfs:
            told["lfs"] = {"sha256": self.server.lfs[name], "size": told["size"],
                           "pointerSize": 100}  # fmt: skip
        return told

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = {"encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16}
    build_model(X, window_s=1.0, settings=settings).save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[Server]:
    """A server with one run, beside which lies what no run has."""
    with Server() as one:
        beside = {"README.md": b"# a card", "pytorch_model.bin": b"\x80\x04."}
        one.repos["ann/watch"] = {COMMIT: {**files, **beside}}
        threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()
        yield one
        one.shutdown()


@pytest.fixture
def home(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Hugging Face keeps files; `HF_ENDPOINT` is the server."""
    constants = import_module("huggingface_hub.constants")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "crossl"


def test_a_run_is_fetched_once_and_embeds_the_same(
    server: Server, home: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    run = load_run("hf://ann/watch")
    assert run.path == home / "ann--watch" / COMMIT
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == files
    asked = [path for path in server.asked if "/resolve/" in path]
    assert {path.rpartition("/")[2] for path in asked} == set(files)
    here = tmp_path / "here"
    here.mkdir()
    for name, content in files.items():
        (here / name).write_bytes(content)
    np.testing.assert_array_equal(run.embed(X), load_run(here).embed(X))
    server.asked.clear()
    load_run("hf://ann/watch@main")
    assert [path for path in server.asked if "/resolve/" in path] == []


def test_a_folder_here_comes_first(
    server: Server, home: Path, files: dict[str, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder = Path("hf:/ann/watch")
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert load_run("hf://ann/watch").path == folder
    assert server.asked == []


def test_a_revision_is_a_branch_a_tag_or_a_commit(
    server: Server, home: Path, files: dict[str, bytes]
) -> None:
    server.repos["ann/watch"][OTHER] = files
    server.revisions["v1.0"] = OTHER
    assert fetch_run("hf://ann/watch@v1.0").name == OTHER
    assert fetch_run(f"hf://ann/watch@{COMMIT}").name == COMMIT
    server.revisions["main"] = OTHER
    assert fetch_run("hf://ann/watch").name == OTHER


def test_offline_it_is_what_was_fetched_before(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = import_module("huggingface_hub.constants")
    fetch_run("hf://ann/watch")
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    server.asked.clear()
    assert fetch_run("hf://ann/watch").name == COMMIT
    assert fetch_run(f"hf://ann/watch@{COMMIT}").name == COMMIT
    assert server.asked == []
    with pytest.raises(DataError, match="was not fetched before"):
        fetch_run("hf://ann/watch@v2")


@pytest.mark.parametrize(
    "address",
    ["hf://", "hf://ann", "hf://ann/watch/more", "hf://../watch", "hf://ann/..", "hf://ann/w@../x",
     "hf://ann/watch@", "hf://ann/watch@-x", "hf://a nn/watch", "hf://ann/watch@a b",
     "hf://.ann/watch", "hf://ann/w%2e%2e", "hf://a--b/watch", "hf://ann/watch@" + "x" * 300],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anybody_is_asked(address: str) -> None:
    with pytest.raises(DataError, match="is not an address of a run; allowed is hf://USER/REPO"):
        read_address(address)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("hf://ann/none", "there is no such repository, or it is private"),
        ("hf://ann/watch@none", "there is no such revision"),
    ],
)
def test_what_is_not_there_is_said(address: str, told: str, home: Path) -> None:
    with pytest.raises(DataError, match=told):
        load_run(address)


def test_a_server_that_is_not_there_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"hf://ann/watch: cannot be fetched \("):
        fetch_run("hf://ann/watch", endpoint="http://127.0.0.1:9")


def test_a_repository_without_a_run_is_refused(server: Server, home: Path) -> None:
    del server.repos["ann/watch"][COMMIT]["weights.safetensors"]
    with pytest.raises(FormatError, match=r"holds no crossl run, it has no weights\.safetensors"):
        load_run("hf://ann/watch")
    assert [path for path in server.asked if "/resolve/" in path] == []


@pytest.mark.parametrize("size", [0, 5 << 20, None, -1, "12"])
def test_sizes_beyond_those_of_runs_are_refused_before_anything_is_fetched(
    size: Any, server: Server, home: Path
) -> None:
    server.announced["config.yaml"] = size
    with pytest.raises(FormatError, match=r"config\.yaml has -?\d+ bytes; one of a run has 1 to"):
        load_run("hf://ann/watch")
    assert [path for path in server.asked if "/resolve/" in path] == []


@pytest.mark.parametrize("change", [-1, 1])
def test_more_or_less_than_was_announced_is_refused_and_nothing_stays(
    change: int, server: Server, home: Path, files: dict[str, bytes]
) -> None:
    size = len(files["model.json"])
    server.announced["model.json"] = size + change
    told = "more than" if change < 0 else f"{size} of"
    with pytest.raises(FormatError, match=rf"model\.json has {told} the {size + change} bytes"):
        load_run("hf://ann/watch")
    assert not (home / "ann--watch" / COMMIT).exists()
    assert list((home / "ann--watch").glob("*")) == []


def test_a_hash_that_was_announced_is_held_against_the_file(
    server: Server, home: Path, files: dict[str, bytes]
) -> None:
    name = "weights.safetensors"
    server.lfs[name] = hashlib.sha256(files[name]).hexdigest()
    fetch_run("hf://ann/watch", home=home / "right")
    server.lfs[name] = "0" * 64
    with pytest.raises(FormatError, match="is not what was announced, its hash differs"):
        fetch_run("hf://ann/watch", home=home / "wrong")


def test_small_files_are_held_against_their_hash_in_git(
    server: Server, home: Path, files: dict[str, bytes]
) -> None:
    assert git_hash(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    server.blobs["config.yaml"] = git_hash(files["config.yaml"].swapcase())
    with pytest.raises(FormatError, match=r"config\.yaml is not what was announced, its hash diff"):
        fetch_run("hf://ann/watch", home=home / "other")
    name = "weights.safetensors"
    server.blobs = {name: "0" * 40}  # of a large one git knows a note in its place
    server.lfs[name] = hashlib.sha256(files[name]).hexdigest()
    fetch_run("hf://ann/watch", home=home / "right")


def test_names_of_files_that_lead_elsewhere_are_never_asked_for(
    server: Server, home: Path, files: dict[str, bytes]
) -> None:
    held = server.repos["ann/watch"][COMMIT]
    held |= {
        "../../evil": b"x",
        "/etc/evil": b"x",
        "sub/model.json": b"x",
        "checkpoints/a.ckpt": b"",
    }
    folder = load_run("hf://ann/watch").path
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == set(files)
    assert not any("evil" in path or "ckpt" in path for path in server.asked)


def test_links_in_the_folder_are_refused(server: Server, home: Path, tmp_path: Path) -> None:
    folder = fetch_run("hf://ann/watch")
    secret = tmp_path / "secret"
    shutil.copy(folder / "config.yaml", secret)
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").symlink_to(secret)
    with pytest.raises(FormatError, match=r"config\.yaml: is not a plain file"):
        load_run("hf://ann/watch")


def test_what_is_fetched_is_checked_as_what_is_here(
    server: Server, home: Path, files: dict[str, bytes]
) -> None:
    held = server.repos["ann/watch"][COMMIT]
    held["weights.safetensors"] = files["weights.safetensors"][:-4] + b"\0\0\0\1"
    with pytest.raises(FormatError, match=r"weights\.safetensors: was altered"):
        load_run("hf://ann/watch")
    server.repos["ann/watch"][OTHER] = {**files, "weights.safetensors": b"\x80\x04\x95pickle"}
    with pytest.raises(FormatError, match=r"weights\.safetensors: was altered"):
        load_run(f"hf://ann/watch@{OTHER}")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.split(".")[0] == "huggingface_hub":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PackageError, match=r'pip install "crossl\[hub\]"'):
        load_run("hf://ann/watch")


def test_a_path_is_never_an_address(server: Server, home: Path) -> None:
    with pytest.raises(FormatError, match="is not a run"):
        load_run(Path("hf://ann/watch"))
    assert server.asked == []
    assert not hub.is_address(Path("hf://ann/watch"))


def test_the_command_line_takes_addresses_where_a_run_is_only_read(
    server: Server, home: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    assert run_here(Path("hf://ann/watch@main")) == home / "ann--watch" / COMMIT
    assert run_here(tmp_path / "run") == tmp_path / "run"
    with pytest.raises(DataError, match="is not an address of a run"):
        run_here(Path("hf://ann"))
