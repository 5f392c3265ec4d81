"""Archive: an `.npz` written array by array, piece by piece, the same bytes every time."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ZIP_ENTRY_BYTES = 512
"""Upper bound of what an array costs beside its numbers: headers of numpy and of the archive."""


@dataclass(frozen=True)
class Streamed:
    """An array that is never whole in memory.

    Attributes:
        name: in the archive.
        dtype: of its numbers.
        shape: of all of it.
        pieces: yields it, cut along the first axis, in order.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[NDArray[Any]]]

    @property
    def bytes(self) -> int:
        """Bound its size in the archive."""
        return math.prod(self.shape) * self.dtype.itemsize + ZIP_ENTRY_BYTES


def write_npz(out: BinaryIO, arrays: Sequence[Streamed]) -> None:
    """Write what `numpy.savez` would write of the same arrays, byte for byte.

    Nothing in it depends on the time or the machine.

    Args:
        out: an open file.
        arrays: in the order of the archive.
    """
    archive = zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True)
    try:
        for array in arrays:
            info = zipfile.ZipInfo(f"{array.name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as file:
                descr = np.lib.format.dtype_to_descr(array.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(file, header)
                for piece in array.pieces():
                    file.write(np.ascontiguousarray(piece, dtype=array.dtype).tobytes())
        archive.close()
    except BaseException:
        # closing what was interrupted would raise an error of its own in the place of this one
        archive.fp = None
        raise
