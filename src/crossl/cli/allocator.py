"""Memory that a process has freed is kept for its next use."""

from __future__ import annotations

import ctypes
import os
import sys

MAP_FROM = 32 * 2**20  # the most that glibc allows
KEEP = 2**30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Ask the C library to keep up to a gigabyte of freed memory, here and in child processes.

    A training step frees and asks for the same few megabytes a hundred times. By default glibc
    gives them back to the system each time, which then clears every page of them again: on small
    networks that costs as much as the arithmetic. Does nothing where the C library is another, or
    where the user's own `MALLOC_...` variables say what is wanted.
    """
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    if not sys.platform.startswith("linux") or any(name in os.environ for name in names):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    set_option(_M_MMAP_THRESHOLD, MAP_FROM)
    set_option(_M_TRIM_THRESHOLD, KEEP)
    os.environ.update(zip(names, (str(MAP_FROM), str(KEEP)), strict=True))
