"""Compile the kernels on first use, where a C++ compiler exists, and keep them for later.

Nothing is ever required: without a compiler, or with `CROSSL_NATIVE=0` in the environment, plain
torch does the same. The library lies in the user's cache folder under the hash of its source,
compiler, flags and processor, so that another machine sharing the home folder builds its own.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("epilogue.cpp")
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno",
    "-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros", "-freciprocal-math",
    "-fopenmp-simd",
)  # fmt: skip
"""Sums may be reordered, as vector units need; what is not finite stays so."""

COMPILE_S = 120


def load_library() -> ctypes.CDLL | None:
    """Return the compiled library, built now or earlier; None, with one log line, if it cannot be.

    Examples:
        >>> library = load_library()
        >>> library is None or library.crossl_max_channels() > 0
        True
    """
    if os.environ.get("CROSSL_NATIVE", "1") == "0":
        return None
    compiler = _compiler()
    if compiler is None:
        logger.info("no C++ compiler found: encoders run without compiled kernels, more slowly")
        return None
    try:
        return ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("compiled kernels are not used, plain torch is: %s", _told(error))
        return None


def _compiler() -> list[str] | None:
    """Return the command of the C++ compiler; `CXX` names another."""
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    return None


def _built(compiler: list[str]) -> Path:
    path = _cache_folder() / f"epilogue-{_key(compiler)}.so"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        command = [*compiler, *FLAGS, str(SOURCE), "-o", str(made)]
        try:
            _compile([*command, "-fopenmp"])
        except subprocess.CalledProcessError:
            _compile(command)  # a compiler without OpenMP: one thread
        made.replace(path)  # whole or absent, however many processes build at once
    logger.info("compiled kernels for encoders into %s", path)
    return path


def _compile(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_S)  # noqa: S603


def _key(compiler: list[str]) -> str:
    version = subprocess.run(  # noqa: S603
        [*compiler, "--version"], check=True, capture_output=True, text=True, timeout=COMPILE_S
    ).stdout
    parts = [SOURCE.read_text(encoding="utf-8"), version, *FLAGS, platform.machine(), _processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Name what -march=native depends on."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "crossl"


def _told(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))
