"""Parts: the blocks of an embedding that is being computed, in a hidden folder beside its file.

`.X.npz.partial/HASH/` holds `manifest.json` (what the blocks are of, signed) and one raw file of
float32 per block. HASH is of the manifest, so that blocks of other weights, another store or
another library never mix, not even those that a forgotten worker still writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from crossl.data.recording import Float32
from crossl.errors import FormatError
from crossl.files import (
    json_sha256,
    lock_beside,
    locked,
    read_signed_json,
    telling_what_is_kept,
    write_signed_json,
    write_whole,
)

FORMAT = "crossl-embedding-parts"
VERSION = 1


class Parts:
    """The blocks of one embedding.

    Args:
        out: the file that they will make.
        facts: what the blocks depend on, see `crossl.embedding.encode.describe`.
    """

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        self.facts = {"format": FORMAT, "version": VERSION, **facts}
        self.hash = json_sha256(self.facts)
        self.out = out
        self.work = out.parent / f".{out.name}.partial"
        self.folder = self.work / self.hash[:16]
        self.width = facts["dim"] + facts.get("outputs", len(facts["classes"]))
        self.size: int = facts["block_rows"]
        self.windows: int = facts["windows"]
        self.count: int = -(-self.windows // self.size)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep other processes out, and forget blocks that are of something else.

        When what is done inside fails or is interrupted, the folder stays if it holds a block.

        Raises:
            DataError: another process writes the same file.
        """
        with locked(lock_beside(self.out), self.out, "is embedding into this file"):
            self.work.mkdir(exist_ok=True)
            for other in self.work.iterdir():
                if other.is_dir() and not (other == self.folder and self._is_whole()):
                    shutil.rmtree(other)
            if not self.folder.exists():
                self.folder.mkdir()
                write_signed_json(self.folder / "manifest.json", self.facts)
            try:
                with telling_what_is_kept(self.work, self._holds_some):
                    yield
            except BaseException:
                if not self._holds_some():
                    self.remove()
                raise

    def _is_whole(self) -> bool:
        """Tell whether the folder's manifest says what this work is."""
        path = self.folder / "manifest.json"
        try:
            found = read_signed_json(path, what="embedding", fmt=FORMAT, version=VERSION, cure="")
        except FormatError:
            return False
        return bool(found["sha256"] == self.hash)

    def _holds_some(self) -> bool:
        return len(self.missing()) < self.count

    def missing(self) -> list[int]:
        """List the blocks that are not there in full."""
        return [n for n in range(self.count) if not self.holds(n)]

    def holds(self, number: int) -> bool:
        """Tell whether a block is there in full."""
        path = self.path(number)
        return path.is_file() and path.stat().st_size == self.rows(number) * self.width * 4

    def rows(self, number: int) -> int:
        """Count the rows of a block; the last one is smaller."""
        return min(self.size, self.windows - number * self.size)

    def path(self, number: int) -> Path:
        """Name the file of a block."""
        return self.folder / f"{number:07d}.f32"

    def write(self, number: int, block: Float32) -> None:
        """Write a block so that it is either whole or absent."""
        write_whole(self.path(number), np.ascontiguousarray(block, dtype="<f4").data)

    def read(self, number: int) -> Float32:
        """Read a block: (n, D + classes)."""
        return np.fromfile(self.path(number), dtype="<f4").reshape(-1, self.width)

    def remove(self) -> None:
        """Remove the folder and every block."""
        shutil.rmtree(self.work)
