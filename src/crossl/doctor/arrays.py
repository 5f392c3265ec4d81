"""Runs, steps and quiet samples of plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32

Bools = NDArray[np.bool_]

ENOUGH = 0.1
"""Share of samples outside long runs from which they tell what is usual."""


def longest_run(marked: Bools) -> int:
    """Return the length of the longest stretch of True.

    Examples:
        >>> longest_run(np.array([True, False, True, True]))
        2
    """
    found = runs(marked)
    return int((found[:, 1] - found[:, 0]).max()) if len(found) else 0


def recorded(values: Float32) -> Bools:
    """Tell where every channel was recorded: (time,) bool."""
    return np.asarray(~np.isnan(values).any(axis=1))


def norms(values: Float32) -> Float32:
    """Return the length of each recorded sample over its channels."""
    known = values[recorded(values)]
    squares = np.einsum("tc,tc->t", known, known, dtype=np.float64, casting="safe")
    return np.asarray(np.sqrt(squares), dtype=np.float32)


def runs(marked: Bools) -> NDArray[np.int64]:
    """Return beginning and end of every stretch of True: (run, 2)."""
    edges = np.flatnonzero(np.diff(np.r_[False, marked, False]))
    return edges.reshape(-1, 2)


def share_outside(marked: Bools, longest: float) -> float | None:
    """Return the share of True outside stretches of True that are longer than so many samples.

    None where less than a tenth of the samples lie outside.

    Examples:
        >>> share_outside(np.array([True, True, True, True, False, True, False]), 3)
        0.3333333333333333
    """
    keep = np.ones(len(marked), dtype=np.bool_)
    for begin, end in runs(marked):
        if end - begin > longest:
            keep[begin:end] = False
    return float(marked[keep].mean()) if keep.sum() > ENOUGH * len(keep) else None
