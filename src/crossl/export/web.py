"""ONNX Runtime for browsers: the files of the npm package that a page holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crossl.errors import ConfigError, PackageError

PACKAGE, VERSION = "onnxruntime-web", "1.22.0"
"""What `npm pack` fetches, about 20 MB; of these the page keeps 4."""
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MINUTES = 5


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
        ConfigError: the folder is something else.
        PackageError: npm is not installed, or cannot fetch it.
    """
    if folder is None:
        folder = _cache() / f"{PACKAGE}-{VERSION}"
        if not (folder / "package.json").is_file():
            _fetch(folder)
    script, loader, wasm = (folder / "dist" / name for name in FILES)
    told = folder / "package.json"
    for path in (told, script, loader, wasm):
        if not path.is_file():
            raise ConfigError(
                f"--web: {folder} has no {path.relative_to(folder)}; give the folder of the npm "
                f"package, such as node_modules/{PACKAGE}"
            )
    version = str(json.loads(told.read_text(encoding="utf-8")).get("version"))
    return Web(script.read_text(encoding="utf-8"), loader.read_bytes(), wasm.read_bytes(), version)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "crossl"


def _fetch(folder: Path) -> None:
    """Fetch the package into a folder, whole or not at all; npm checks its hash."""
    npm = shutil.which("npm")
    cure = f"npm install {PACKAGE}@{VERSION} somewhere, and give --web node_modules/{PACKAGE}"
    if npm is None:
        raise PackageError(
            f"--page: needs the npm package '{PACKAGE}', and npm is not installed; {cure}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", scratch]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60 * MINUTES)  # noqa: S603
        except (subprocess.SubprocessError, OSError) as error:
            told = getattr(error, "stderr", b"") or b""
            lines = told.decode(errors="replace").strip().splitlines() or [type(error).__name__]
            raise PackageError(
                f"--page: npm cannot fetch '{PACKAGE}' ({lines[0][:120]}); {cure}"
            ) from error
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as held:
            held.extractall(scratch, filter="data")
        (Path(scratch) / "package").rename(folder)
