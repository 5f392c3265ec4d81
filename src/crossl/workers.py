"""Workers: processes that compute for a command and end with it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

CONTEXT = multiprocessing.get_context("spawn")

GRACE_S = 20.0
"""How long workers may take to keep what they did, when the command was asked to stop."""

PR_SET_PDEATHSIG = 1


@contextmanager
def worker_processes(
    count: int, set_up: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Start processes that are there for the time of a block, however it ends.

    When the block ends by an error or a signal, work that was not begun is dropped, and who is
    at work gets SIGTERM. When this process is killed, the workers are, too.

    Args:
        count: how many.
        set_up: called in each first.
        arguments: of `set_up`; may be queues of `CONTEXT`.
    """
    first = (os.getpid(), set_up, arguments)
    pool = ProcessPoolExecutor(count, mp_context=CONTEXT, initializer=_begin, initargs=first)
    try:
        yield pool
    except BaseException:
        _end(pool)
        raise
    pool.shutdown()


def _begin(parent: int, set_up: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    follow(parent)
    # Ctrl-C reaches every process of a terminal: the command decides, and sends SIGTERM
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if set_up is not None:
        set_up(*arguments)


def follow(parent: int) -> None:
    """End this process when the one that started it does, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())  # no public way before Python 3.14
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE_S
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
    pool.shutdown()
