"""Work divided among threads, one for each that torch has, each doing its part from start to end.

Small operations gain little from being split among threads, each waiting for the others at its
end; whole stretches of them, side by side, gain almost all there is.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_threads(work: Callable[[list[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Divide items among as many threads as torch has, without gradient, and keep their order.

    Args:
        work: takes some of the items, side by side; may run at the same time as itself.
        items: at least one.

    Returns:
        What each thread gave, in order.

    Examples:
        >>> sum(on_threads(sum, [1, 2, 3, 4, 5]))
        15
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        return [work(list(items))]
    bounds = [len(items) * i // threads for i in range(threads + 1)]

    def without_gradient(begin: int, end: int) -> Result:
        with torch.no_grad():  # of this thread; that of the caller does not count here
            return work(list(items[begin:end]))

    pool = _pool(threads, os.getpid())
    futures = [pool.submit(without_gradient, *pair) for pair in itertools.pairwise(bounds)]
    return [future.result() for future in futures]


@lru_cache(maxsize=4)
def _pool(size: int, _process: int) -> ThreadPoolExecutor:
    """Make threads that use no other threads; a forked process makes its own."""
    threads, ready = torch.get_num_threads(), threading.Barrier(size + 1)
    pool = ThreadPoolExecutor(size, thread_name_prefix="crossl-nn")

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
