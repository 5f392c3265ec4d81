"""Random numbers that follow from a seed and a window, whatever else is drawn beside it.

A window's numbers are the same in every batch, process and order. They come from a counter and
SplitMix64 (Steele, Lea, Flood 2014), which is one pass over arrays for any number of windows.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
"""(n,) where each window's numbers begin."""

_STEP, _FIRST, _SECOND = (
    np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB),
)  # fmt: skip


def keys_of(what: NDArray[np.integer[Any]] | NDArray[np.str_], *seed: int | str) -> Keys:
    """Return where the numbers of each of several things begin.

    Args:
        what: (n,) numbers, such as of rows, or names, such as of people.
        seed: what the numbers are for; other seeds give unrelated numbers.

    Examples:
        >>> bool(keys_of(np.array([7, 3]), 0)[1] == keys_of(np.array([3]), 0)[0])
        True
    """
    told = hashlib.sha256("\n".join(repr(part) for part in seed).encode()).digest()
    begin = np.uint64(int.from_bytes(told[:8], "little"))
    if what.dtype.kind == "U":
        names, place = np.unique(what, return_inverse=True)
        of_name = [hashlib.sha256(str(name).encode()).digest()[:8] for name in names]
        what = np.array([int.from_bytes(one, "little") for one in of_name], np.uint64)[place]
    with np.errstate(over="ignore"):
        return _mixed(what.astype(np.uint64) * _STEP ^ begin)


def uniform(keys: Keys, count: int) -> NDArray[np.float64]:
    """Draw `count` numbers of each window, evenly from 0 (inside) to 1 (outside): (n, count)."""
    with np.errstate(over="ignore"):
        counter = keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _STEP
        return (_mixed(counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(keys: Keys, count: int) -> NDArray[np.float64]:
    """Draw `count` numbers of each window, normal with mean 0 and deviation 1: (n, count)."""
    half = -(-count // 2)
    drawn = uniform(keys, 2 * half)
    radius = np.sqrt(-2 * np.log1p(-drawn[:, :half]))  # Box and Muller 1958
    angle = 2 * np.pi * drawn[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]


def _mixed(x: Keys) -> Keys:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * _FIRST
        x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))
