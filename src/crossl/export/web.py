"""ONNX Runtime for browsers: the files of the npm package that a page holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crossl.errors import ConfigError, PackageError

PACKAGE, VERSION = "onnxruntime-web", "1.22.0"
"""What `npm pack` fetches, about 20 MB; of these the page keeps 4."""
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MINUTES = 5
CURE = f"give the folder of the npm package, such as node_modules/{PACKAGE}"


@dataclass(frozen=True)
class Web:
    """What a page needs to run a model.

    Attributes:
        script: the runtime.
        loader: the module that loads the compiled part.
        wasm: the compiled part.
        version: of the package.
    """

    script: str
    loader: bytes
    wasm: bytes
    version: str


def open_web(folder: Path | None) -> Web:
    """Read the runtime from a folder of the npm package, or fetch it by npm.

    What is fetched stays in the user's cache (`crossl/onnxruntime-web-VERSION`).

    Args:
        folder: the package, as `npm install onnxruntime-web` makes it; None to fetch it.

    Raises:
        ConfigError: the folder is something else, or damaged.
        PackageError: npm is not installed, or cannot fetch it.
    """
    if folder is not None:
        return _read(folder)
    folder = _cache() / f"{PACKAGE}-{VERSION}"
    with suppress(ConfigError):
        return _read(folder)
    return _fetch(folder)


def _read(folder: Path) -> Web:
    """Read the package in a folder.

    Raises:
        ConfigError: it is not there, not whole, or damaged.
    """
    script, loader, wasm = (folder / "dist" / name for name in FILES)
    told = folder / "package.json"
    for path in (told, script, loader, wasm):
        if not path.is_file():
            raise ConfigError(f"--web: {folder} has no {path.relative_to(folder)}; {CURE}")
    try:
        version = json.loads(told.read_text(encoding="utf-8"))["version"]
        text = script.read_text(encoding="utf-8")
        return Web(text, loader.read_bytes(), wasm.read_bytes(), str(version))
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(
            f"--web: {folder} is damaged, its files cannot be read ({why}); {CURE}"
        ) from error


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "crossl"


def _fetch(folder: Path) -> Web:
    """Fetch the package into a folder, whole or not at all; npm checks its hash.

    Another process may fetch it meanwhile: who is first wins, and the other takes what is there.

    Raises:
        PackageError: npm is not installed, cannot fetch it, or there is no room to keep it.
    """
    npm = shutil.which("npm")
    cure = f"npm install {PACKAGE}@{VERSION} somewhere, and give --web node_modules/{PACKAGE}"
    if npm is None:
        raise PackageError(
            f"--page: needs the npm package '{PACKAGE}', and npm is not installed; {cure}"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _pack(npm, Path(scratch))
            found = _read(Path(scratch) / "package")
            _put(Path(scratch) / "package", folder, Path(scratch) / "before")
            return found
    except (subprocess.SubprocessError, tarfile.TarError, EOFError, ConfigError) as error:
        told = (getattr(error, "stderr", b"") or b"").decode(errors="replace")
        why = "it is not whole" if isinstance(error, ConfigError) else type(error).__name__
        lines = told.strip().splitlines() or [why]
        raise PackageError(
            f"--page: npm cannot fetch '{PACKAGE}' ({lines[0][:120]}); {cure}"
        ) from error
    except OSError as error:
        raise PackageError(
            f"--page: '{PACKAGE}' cannot be kept in {folder.parent} "
            f"({error.strerror or type(error).__name__}); {cure}"
        ) from error


def _pack(npm: str, scratch: Path) -> None:
    """Let npm fetch the package into a folder, and unpack what came there.

    Raises:
        OSError: it cannot be unpacked there.
        SubprocessError: npm fails.
        TarError: of what it fetched.
    """
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"]
    command += ["--pack-destination", str(scratch)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60 * MINUTES)  # noqa: S603
    except OSError as error:
        raise subprocess.SubprocessError(*error.args) from error
    for archive in scratch.glob("*.tgz"):
        with tarfile.open(archive) as held:
            held.extractall(scratch, filter="data")


def _put(whole: Path, folder: Path, before: Path) -> None:
    """Give a whole package its place; one that another process put there meanwhile may stay.

    Args:
        whole: the package.
        folder: its place, where a package may lie that is not whole.
        before: where that is moved, to be removed.
    """
    if _is_whole(folder):
        return
    with suppress(FileNotFoundError):
        folder.rename(before)
    try:
        whole.rename(folder)
    except OSError:
        if not _is_whole(folder):
            raise


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except ConfigError:
        return False
    return True
