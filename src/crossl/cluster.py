"""Cluster: calls of one function as tasks of Ray, retried where a worker dies.

The only importer of Ray. Plain tasks, not Ray Data or Ray Tune: what crossl spreads are blocks and
trials that write their own results whole or not at all, so that all it needs is somewhere to run
and another try after a death.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from crossl.errors import ClusterError, CrosslError

RETRIES = 8
"""How often a task is tried again whose worker died; one that was refused is not."""

IN_FLIGHT = 1000
"""How many tasks are given to Ray at once where nothing limits them."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Cluster:
    """Where tasks run.

    Attributes:
        address: `local` to start Ray on this machine for the time of the command, `auto` for the
            cluster that this machine belongs to, or `ray://HOST:PORT`.
        workers: tasks at the same time; None for as many as there are cores for.
        cpus: cores of a task; what it computes must use as many threads.
    """

    address: str
    workers: int | None = None
    cpus: int = 1

    def completed(
        self, function: Callable[..., Made], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator[Made]:
        """Call a function with each tuple of arguments; yield results as they come, in any order.

        Args:
            function: of a module that the workers have, too.
            calls: arguments that can be pickled.

        Raises:
            ClusterError: no Ray, no cluster, or a worker died again and again.
            CrosslError: what the function refused, as it said it.
        """
        ray = _needs_ray()
        with self._connected(ray):
            remote = ray.remote(num_cpus=self.cpus, max_retries=RETRIES)(function)
            waiting = iter(calls)
            limit = self.workers or IN_FLIGHT
            running = [remote.remote(*call) for call in islice(waiting, limit)]
            while running:
                done, running = ray.wait(running, num_returns=1)
                yield self._result(ray, done[0])
                running += [remote.remote(*call) for call in islice(waiting, 1)]

    @contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        options: dict[str, Any] = {}
        if self.address == "local":
            workers = self.workers or max(1, (os.cpu_count() or 1) // self.cpus)
            options = {"num_cpus": workers * self.cpus, "include_dashboard": False}
        try:
            with _same_answer_to_sigterm(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what matters comes as an error, reported below
                ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"--address {self.address}: no cluster answers there ({_short(error)}); allowed "
                "are local, auto after `ray start`, or ray://HOST:PORT"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()

    def _result(self, ray: Any, done: Any) -> Any:
        try:
            return ray.get(done)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, CrosslError | OSError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"--address {self.address}: the worker of one task died {RETRIES + 1} times "
                f"({_short(error)}); give the same command again to resume, with fewer --workers "
                "if memory is short"
            ) from error


def _needs_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ClusterError(
            "--address: needs Ray, which is not installed; install it with: "
            'pip install "crossl[ray]"'
        ) from error


@contextmanager
def _same_answer_to_sigterm() -> Iterator[None]:
    """Keep Ray from answering SIGTERM in our place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _short(error: Exception) -> str:
    """Return the first sentence of what may be pages."""
    return " ".join(str(error).split(". ")[0].split())[:200]
