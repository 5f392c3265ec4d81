"""Uploads: files that were sent, read as the run's own were, by a process of their own.

Names of files are checked letter by letter and used below a new folder only; what is in them is
read by `crossl.service.read_uploads`, which has bounds of memory and time and then ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from crossl.data.formats import FORMATS
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.errors import DataError
from crossl.service.limits import Limits

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. ()+,=-]{0,99}")
"""A folder or file; begins with no dot, and is not a word of the system's."""
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
MOST_PARTS = 6
ENDINGS = (*(e for group in FORMATS.values() for e in group), ".atr")
LONGEST_LINE = 64 * 2**20


def checked_name(name: str | None) -> PurePosixPath:
    """Take the name of an uploaded file, which may have folders, as mappings tell people by them.

    Raises:
        DataError: it leads elsewhere, holds other letters, or is of no known format.

    Examples:
        >>> str(checked_name("ann/monday/acc.csv"))
        'ann/monday/acc.csv'
    """
    parts = (name or "").split("/")
    for part in parts:
        if not NAME.fullmatch(part) or part.endswith((".", " ")) or RESERVED.fullmatch(part):
            raise DataError(
                f"files: the name {name!r:.80} is refused; allowed are letters, digits, '_', '-', "
                "'.' and folders by '/', none beginning with a dot"
            )
    if len(parts) > MOST_PARTS:
        raise DataError(f"files: '{name:.80}' has more than {MOST_PARTS - 1} folders")
    last = parts[-1].lower()
    if last in ("recordings.csv", "recordings.yaml", "recordings.yml", "manifest.json"):
        raise DataError(
            f"files: '{last}' is refused; files are read by the mapping of the run alone"
        )
    if not last.endswith(ENDINGS):
        raise DataError(
            f"files: '{name:.80}' is of no known format; known are {', '.join(ENDINGS)}"
        )
    return PurePosixPath(*parts)


async def read_uploaded(
    folder: Path, contract: Mapping[str, Any], limits: Limits, *, resample: Sequence[str] = ()
) -> list[Recording]:
    """Read the files of a folder as a run's own were.

    Args:
        folder: in which nothing else is.
        contract: what `model.json` says.
        limits: of memory, time and samples.
        resample: sensors whose rate may be changed.

    Raises:
        DataError: they cannot be read, or not within the limits.
    """
    reading = contract.get("reading") or {}
    told = {
        "folder": str(folder),
        "mapping": reading.get("mapping"),
        "classes": list(reading.get("chosen") or contract.get("classes", ())),
        "resample": list(resample),
        "memory_bytes": limits.upload_bytes,
        "seconds": int(limits.upload_s) + 1,
        "samples": limits.samples,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crossl.service.read_uploads", str(os.getpid()),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env=_environment(), limit=LONGEST_LINE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(limits.upload_s):
            return await _talk(process, told, folder)
    except TimeoutError:
        raise DataError(
            f"files: were not read after {limits.upload_s:g} s; send fewer, or use `crossl predict`"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    """Return the environment of the reader, which knows no secret of ours."""
    kept = {name: value for name, value in os.environ.items() if "TOKEN" not in name.upper()}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


async def _talk(
    process: asyncio.subprocess.Process, told: Mapping[str, Any], folder: Path
) -> list[Recording]:
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(json.dumps(told).encode() + b"\n")
    process.stdin.close()
    try:
        line = await process.stdout.readline()
        if not line:
            raise DataError(
                "files: cannot be read within the bounds of memory and time; send fewer"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise DataError(answer["error"].replace(f"{folder}/", "").replace(str(folder), "files"))
        return [await _recording(one, process.stdout) for one in answer["recordings"]]
    except (asyncio.IncompleteReadError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("files: cannot be read, the process that did so ended early") from None


async def _recording(told: Mapping[str, Any], source: asyncio.StreamReader) -> Recording:
    modalities: dict[str, Modality] = {}
    signals: dict[str, Signal] = {}
    for one in told["signals"]:
        modality = Modality.from_dict(one["modality"])
        shape = tuple(one["shape"])
        data = await source.readexactly(4 * int(np.prod(shape)))
        values = np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)
        modalities[modality.name] = modality
        signals[modality.name] = Signal(values, one["rate_hz"], one["start_s"])
    labels = [LabelInterval(*one) for one in told["labels"]]
    return Recording(
        told["subject"], told["session"], modalities, signals, labels, notes=told["notes"],
        origin_unix_s=told["origin_unix_s"], zone=told["zone"],
    )  # fmt: skip
