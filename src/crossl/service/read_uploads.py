"""A process that reads uploaded files and nothing else, within bounds of memory and time.

What a file unpacks to is known only once it is unpacked, by libraries written for friends. So they
run apart from the service: `crossl.service.uploads` starts this module, tells it on its standard
input what to read, and gets recordings on its standard output: a line of JSON, then their samples.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from crossl.data.own.mapping.schema import validate
from crossl.data.own.new_files import Wanted, files_dataset, for_any_file
from crossl.data.readers import OWN, get_reader, open_dataset
from crossl.data.recording import Recording
from crossl.errors import CrosslError, DataError
from crossl.workers import follow

BY_HEADER = tuple(name for name in OWN if name != "folder")
FILES_OPEN = 128


def recordings_of(folder: Path, told: Mapping[str, Any]) -> Iterator[Recording]:
    """Read the recordings of a folder.

    Args:
        folder: of files that were sent.
        told: `mapping`, or None; `classes` and `resample`.

    Raises:
        DataError: they cannot be read, or nothing says what they hold.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if told["mapping"] is not None:
        mapping = for_any_file(
            validate(told["mapping"], where="mapping"), resample=told["resample"]
        )
        classes = mapping.classes or tuple(told["classes"])
        wanted = Wanted(mapping, Path("model.json"), "the run's mapping", classes)
        yield from files_dataset(wanted, files).guarded().read()
        return
    for path in files:
        name = next((one for one in BY_HEADER if get_reader(one).recognises(path)), None)
        if name is None:
            if path.suffix.lower() in (".dat", ".atr"):
                continue  # belongs to a header
            raise DataError(
                f"{path}: nothing says what it holds, as the run keeps no mapping; send JSON, or "
                "use `crossl predict` with a mapping (--mapping FILE)"
            )
        with open_dataset(name, path, {}) as dataset:
            yield from dataset.guarded().read()


def bound(memory_bytes: int, seconds: int) -> None:
    """Bound this process: memory beyond what it has, seconds of computing, nothing written."""
    try:
        import resource
    except ImportError:  # Windows has no such bounds
        return
    held = int(Path("/proc/self/statm").read_text().split()[0]) if _has_proc() else 2**32
    most = held * (os.sysconf("SC_PAGE_SIZE") if _has_proc() else 1) + memory_bytes
    for kind, value in (
        (resource.RLIMIT_AS, most), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, FILES_OPEN), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(kind)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (wanted, wanted))


def _has_proc() -> bool:
    return Path("/proc/self/statm").is_file()


def _facts(one: Recording) -> dict[str, Any]:
    return {
        "subject": one.subject,
        "session": one.session,
        "origin_unix_s": one.origin_unix_s,
        "zone": one.zone,
        "notes": list(one.notes),
        "labels": [[label.start_s, label.end_s, label.label] for label in one.labels],
        "signals": [
            {"modality": one.modalities[name].as_dict(), "start_s": signal.start_s,
             "rate_hz": signal.rate_hz, "shape": list(signal.values.shape)}
            for name, signal in one.signals.items()
        ],
    }  # fmt: skip


def _answer(out: BinaryIO, facts: Mapping[str, Any]) -> None:
    out.write(json.dumps(facts).encode() + b"\n")


def main() -> None:
    """Read what standard input says; one answer, whatever happens."""
    follow(int(sys.argv[1]))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    told = json.loads(sys.stdin.readline())
    folder = Path(told["folder"])
    with suppress(ImportError):
        import polars  # noqa: F401 - before memory is bounded
    bound(told["memory_bytes"], told["seconds"])
    try:
        found: list[Recording] = []
        total = 0
        for one in recordings_of(folder, told):
            total += sum(signal.values.size for signal in one.signals.values())
            if total > told["samples"]:
                raise DataError(f"files: hold more than {told['samples']} numbers; send fewer")
            found.append(one)
    except CrosslError as error:
        _answer(out, {"error": str(error)})
    except MemoryError:
        memory = told["memory_bytes"] // 2**20
        _answer(out, {"error": f"files: reading them takes more than {memory} MiB of memory"})
    else:
        _answer(out, {"recordings": [_facts(one) for one in found]})
        for one in found:
            for signal in one.signals.values():
                out.write(np.ascontiguousarray(signal.values, dtype="<f4").tobytes())
    out.flush()


if __name__ == "__main__":
    main()
