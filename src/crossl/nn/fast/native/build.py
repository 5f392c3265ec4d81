"""Compile the kernels on first use, where a C++ compiler exists, and keep them for later.

Nothing is ever required: without a compiler, or with `CROSSL_NATIVE=0` in the environment, plain
torch does the same. The library lies in the user's cache folder under the hash of its source,
compiler, flags and processor, so that another machine sharing the home folder builds its own; its
own hash stands behind it.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossl.files import writing

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno",
    "-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros", "-freciprocal-math",
    "-fopenmp-simd",
)  # fmt: skip
"""Sums may be reordered, as vector units need; what is not finite stays so."""

COMPILE_S = 120


SYMBOLS = ("crossl_blocks_forward", "crossl_blocks_backward", "crossl_max_channels")

SEAL = b"\ncrossl-sha256:"
"""Stands in the cached file behind the library, before the SHA-256 of what it is."""


class KernelError(Exception):
    """Why there are no compiled kernels."""


def load_library() -> ctypes.CDLL | None:
    """Return the compiled library, built now or earlier; None, with one log line, if it cannot be.

    What lies in the cache is loaded only if it is whole, and nobody else could have written it;
    else it is built anew.

    Examples:
        >>> library = load_library()
        >>> library is None or library.crossl_max_channels() > 0
        True
    """
    if os.environ.get("CROSSL_NATIVE", "1") == "0":
        return None
    try:
        compiler = _compiler()
        if compiler is None:
            logger.info("no C++ compiler found: encoders run without compiled kernels, more slowly")
            return None
        return _load(compiler)
    except Exception as error:  # noqa: BLE001 - plain torch does the same, whatever it was
        logger.warning("compiled kernels are not used, plain torch is: %s", _told(error))
        return None


def _load(compiler: list[str]) -> ctypes.CDLL:
    """Load the library from the cache, or build it into the cache first."""
    path = _cache_folder() / f"kernels-{_key(compiler)}.so"
    try:
        return _opened(_read_sealed(path))
    except FileNotFoundError:
        pass
    except (OSError, KernelError) as error:
        logger.info("%s: is built anew, %s", path, _told(error))
    content = _build(compiler)
    library = _opened(content)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with writing(path) as file:  # whole or absent, however many processes build at once
        Path(file.name).chmod(0o600)  # whatever the umask: nobody else may write it
        file.write(content + SEAL + hashlib.sha256(content).hexdigest().encode())
    logger.info("compiled kernels for encoders into %s", path)
    return library


def _read_sealed(path: Path) -> bytes:
    """Read the library that the cache holds.

    Raises:
        OSError: there is none, or it cannot be read.
        KernelError: it is not whole, or others could have written it.
    """
    without_waiting = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, without_waiting), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise KernelError("it is not a file")
        if hasattr(os, "geteuid") and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
            raise KernelError("others than you can write it")
        content, seal, told = file.read().rpartition(SEAL)
    if not seal or hashlib.sha256(content).hexdigest().encode() != told:
        raise KernelError("it is cut off or was changed")
    return content


def _opened(content: bytes) -> ctypes.CDLL:
    """Load exactly these bytes: the file they came from may change meanwhile.

    Raises:
        OSError: they are no library for this machine.
        KernelError: they lack a function.
    """
    with _private_copy(content) as name:
        library = ctypes.CDLL(name)
    for symbol in SYMBOLS:
        if not hasattr(library, symbol):
            raise KernelError(f"it lacks the function {symbol}")
    return library


_COPIES = itertools.count()


@contextmanager
def _private_copy(content: bytes) -> Iterator[str]:
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("crossl-kernels"), "wb") as memory:
            memory.write(content)
            memory.flush()
            # the linker takes equal names for the same library: spell each differently
            yield f"/proc/self/fd/{'./' * next(_COPIES)}{memory.fileno()}"
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "kernels.so"
        copy.write_bytes(content)
        yield str(copy)


def _compiler() -> list[str] | None:
    """Return the command of the C++ compiler; `CXX` names another."""
    try:
        named = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise KernelError(f"CXX is '{os.environ['CXX']}', {error}") from error
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    return None


def _build(compiler: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "kernels.so"
        command = [*compiler, *FLAGS, str(SOURCE), "-o", str(made)]
        try:
            _run([*command, "-fopenmp"])
        except subprocess.CalledProcessError:
            _run(command)  # a compiler without OpenMP: one thread
        return made.read_bytes()


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 - the user's compiler
        command, check=True, capture_output=True, text=True, errors="replace", timeout=COMPILE_S
    )
    return done.stdout


def _key(compiler: list[str]) -> str:
    version = _run([*compiler, "--version"])
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
    """Name the user's cache; as its specification says, a relative one is not an answer.

    Raises:
        KernelError: this user has no home.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "crossl"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise KernelError("this user has no home folder to keep them in") from error
    if not home.is_absolute():
        raise KernelError(f"HOME is '{home}'; an absolute path is needed to keep them in")
    return home / ".cache" / "crossl"


def _told(error: Exception) -> str:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else repr(error))
