"""Samples of a `.dat` file as integers, in the formats that PhysioNet documents.

Source: G. B. Moody, WFDB Applications Guide, signal(5),
https://physionet.org/physiotools/wag/signal-5.htm. A file holds frames; a frame holds the samples
of each of its signals in turn. Memory is bounded by the size of the file, whatever a header tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BLOCKS = {8: (1, 1), 16: (1, 2), 24: (1, 3), 32: (1, 4), 61: (1, 2), 80: (1, 1), 160: (1, 2),
          212: (2, 3), 310: (3, 4), 311: (3, 4)}  # fmt: skip
"""Samples in how many bytes, by the code of the format."""

COMPRESSED = (508, 516, 524)
"""FLAC; not read here."""

PART_SAMPLES = 1_200_000
"""Samples that are decoded at a time."""

INVALID = {16: -(1 << 15), 24: -(1 << 23), 32: -(1 << 31), 61: -(1 << 15), 80: -(1 << 7),
           160: -(1 << 15), 212: -(1 << 11), 310: -(1 << 9), 311: -(1 << 9)}  # fmt: skip
"""What stands for a sample that was not recorded; format 8 has no such value."""


def bytes_of(code: int, samples: int) -> int:
    """Tell how many bytes hold so many samples, the last block not filled up.

    Examples:
        >>> [bytes_of(212, n) for n in (1, 2, 3)], [bytes_of(310, n) for n in (1, 2, 3)]
        ([2, 3, 5], [2, 4, 4])
    """
    per_block, size = BLOCKS[code]
    if code == 310 and samples % 3 == 2:
        return -(-samples // 3) * 4
    return -(-samples * size // per_block)


def samples_in(code: int, size: int) -> int:
    """Tell how many samples so many bytes hold, those of a last block in part included."""
    per_block, block = BLOCKS[code]
    whole = size // block * per_block
    return max(n for n in range(whole, whole + per_block) if bytes_of(code, n) <= size)


def read_frames(
    path: Path, code: int, *, offset: int, frames: int, widths: Sequence[int], wanted: Sequence[int]
) -> dict[int, NDArray[np.int64]]:
    """Read some signals of a file.

    Args:
        path: the file; it must hold all frames.
        code: of its format.
        offset: bytes before the first frame.
        frames: how many.
        widths: samples of each signal in a frame.
        wanted: numbers of the signals to read.

    Returns:
        (frames * width,) integers by number of the signal. Those of format 8 are differences.
    """
    width = sum(widths)
    data = np.memmap(path, np.uint8, "r", offset, (bytes_of(code, frames * width),))
    begin = np.cumsum([0, *widths])
    out = {n: np.empty((frames, widths[n]), dtype=np.int64) for n in wanted}
    # a part holds whole blocks: blocks hold 1, 2 or 3 samples
    step = max(1, PART_SAMPLES // (6 * width)) * 6
    for first in range(0, frames, step):
        count = min(step, frames - first)
        at = bytes_of(code, first * width)
        piece = data[at : at + bytes_of(code, count * width)]
        table = decode(code, piece, count * width).reshape(count, width)
        for n in wanted:
            out[n][first : first + count] = table[:, begin[n] : begin[n + 1]]
    return {n: values.ravel() for n, values in out.items()}


def decode(code: int, data: Bytes, samples: int) -> NDArray[Any]:
    """Turn bytes into samples, as they lie in the file.

    Args:
        code: of the format.
        data: `bytes_of(code, samples)` bytes.
        samples: how many.

    Examples:
        >>> decode(61, np.array([1, 0, 255, 254], dtype=np.uint8), 2).tolist()
        [256, -2]
    """
    plain = {8: "i1", 16: "<i2", 32: "<i4", 61: ">i2"}
    if code in plain:
        return data.view(plain[code])
    if code == 80:
        return data.astype(np.int16) - 128
    if code == 160:
        return data.view("<u2").astype(np.int32) - 32768
    per_block, size = BLOCKS[code]
    blocks = np.zeros((-(-samples // per_block), size), dtype=np.uint8)
    blocks.ravel()[: len(data)] = data
    unpacked = {24: _24, 212: _212, 310: _310, 311: _311}[code](blocks.astype(np.int32))
    bits = {24: 24, 212: 12, 310: 10, 311: 10}[code]
    out = np.stack(unpacked, axis=1).ravel()[:samples]
    # two's complement
    return np.where(out >= 1 << (bits - 1), out - (1 << bits), out)


def _24(block: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    return (block[:, 0] | block[:, 1] << 8 | block[:, 2] << 16,)


def _212(block: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    """Two samples of 12 bits in three bytes; the second byte has the high bits of both."""
    return block[:, 0] | (block[:, 1] & 15) << 8, block[:, 2] | (block[:, 1] >> 4) << 8


def _310(block: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    """Three samples of 10 bits in two words of 16; the third has the five high bits of both."""
    low, high = block[:, 0] | block[:, 1] << 8, block[:, 2] | block[:, 3] << 8
    return low >> 1 & 1023, high >> 1 & 1023, low >> 11 | (high >> 11) << 5


def _311(block: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    """Three samples of 10 bits, one behind the other, from the low end of a word of 32."""
    word = block[:, 0] | block[:, 1] << 8 | block[:, 2] << 16 | (block[:, 3] & 63) << 24
    return word & 1023, word >> 10 & 1023, word >> 20 & 1023
