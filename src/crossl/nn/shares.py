"""Work in shares, one for each of torch's threads, each share on one thread from start to end.

Small operations gain little from being split among threads, each waiting for the others at its
end; whole stretches of them, side by side, gain almost all there is.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_shares(work: Callable[[list[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Divide items among as many threads as torch has, without gradient, and keep their order.

    Args:
        work: takes some of the items, side by side; may run at the same time as itself.
        items: at least one.

    Returns:
        What each share gave, in order.

    Examples:
        >>> sum(in_shares(sum, [1, 2, 3, 4, 5]))
        15
    """
    shares = min(torch.get_num_threads(), len(items))
    if shares <= 1:
        return [work(list(items))]
    bounds = [len(items) * i // shares for i in range(shares + 1)]

    def without_gradient(begin: int, end: int) -> Result:
        with torch.no_grad():  # of this thread; that of the caller does not count here
            return work(list(items[begin:end]))

    pool = _pool(shares, os.getpid())
    futures = [pool.submit(without_gradient, *pair) for pair in itertools.pairwise(bounds)]
    return [future.result() for future in futures]


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let torch use one thread: many small tensors are not worth waking others for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=4)
def _pool(size: int, _process: int) -> ThreadPoolExecutor:
    """Make threads that use no other threads; a forked process makes its own."""
    threads, ready = torch.get_num_threads(), threading.Barrier(size + 1)
    pool = ThreadPoolExecutor(size, thread_name_prefix="crossl-share")

    def settle() -> None:
        # a thread takes the default on its first use, whatever was set before: make it do so now
        torch.get_num_threads()
        torch.set_num_threads(1)  # of this thread, but also the default of later ones
        ready.wait()

    for _ in range(size):
        pool.submit(settle)
    ready.wait()
    torch.set_num_threads(threads)
    return pool
