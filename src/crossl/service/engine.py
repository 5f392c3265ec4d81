"""Engine: a run that classifies for many, off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from crossl.api.run import Run
from crossl.api.timelines import see
from crossl.data.recording import Recording
from crossl.errors import ContractError, CrosslError, DataError
from crossl.predict.manner import manner_of
from crossl.predict.sight import Seen
from crossl.predict.timeline import Timeline, timeline_of
from crossl.service.bodies import Sent
from crossl.service.limits import Limits

T = TypeVar("T")


class BusyError(CrosslError, RuntimeError):
    """So many wait already that one more is sent away."""


class Engine:
    """A run with a classifier, and the thread in which it computes.

    One thread computes, as torch itself uses several cores; another reads what was sent meanwhile.
    Windows of different requests are not put together: what is answered would then depend, by
    rounding, on who else asks.

    Args:
        run: with a classifier.
        limits: how many may wait.

    Attributes:
        waiting: predictions that are asked for and not answered.
        answered: how many were.
        uploads: bounds how many are read at once.

    Raises:
        FormatError: the run has no classifier.
    """

    def __init__(self, run: Run, limits: Limits) -> None:
        fitted = run._fitted()
        self.run = run
        self.limits = limits
        self.probe = fitted.probe
        self._about = fitted.about
        self.calibrated = fitted.about.get("temperatures") is not None
        self.waiting = 0
        self.answered = 0
        self.uploads = asyncio.Semaphore(limits.uploads)
        self._compute = ThreadPoolExecutor(1, "crossl-compute")
        self._read = ThreadPoolExecutor(1, "crossl-read")

    def close(self) -> None:
        """End the threads once what they do is done; what waits is dropped."""
        for pool in (self._read, self._compute):
            pool.shutdown(wait=True, cancel_futures=True)

    async def read(self, work: Callable[[], T]) -> T:
        """Do what parses or writes, beside the event loop.

        Raises:
            BusyError: too many wait.
        """
        return await self._bounded(self._read, work)

    async def compute(self, work: Callable[[], T]) -> T:
        """Do what uses the network, beside the event loop, one after another.

        Raises:
            BusyError: too many wait.
        """
        return await self._bounded(self._compute, work)

    async def stream(self, work: Callable[[], T]) -> T:
        """Do the work of a stream, which waits for each answer and so never has two waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._compute, work)

    async def _bounded(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self.waiting >= self.limits.waiting:
            raise BusyError(f"busy: {self.waiting} predictions wait already; try again in a second")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        finally:
            self.waiting -= 1

    def say(self, sent: Sent) -> tuple[Seen, Timeline]:
        """Cut a recording as the windows of the run were cut, and classify each.

        Raises:
            ConfigError: an unknown sensor, or a value that is not allowed.
            ContractError: the recording does not fit the run.
            DataError: it cannot be cut, or has too many windows.
            FormatError: the classifier keeps nothing of what is asked for.
        """
        manner = manner_of(self._about, self.probe, self.run.modalities, sent.asked)
        seen = self._see(sent)
        self.answered += 1
        return seen, timeline_of(self.run.model, self.probe, seen, manner)

    def _see(self, sent: Sent) -> Seen:
        self._check_length(sent.recording)
        try:
            return see(self.run, sent.recording, sent.resample)
        except ContractError as error:
            told = str(error)
            if "say --resample" not in told:
                raise
            raise ContractError(told.replace("say --resample", "name it in resample:")) from None

    def _check_length(self, recording: Recording) -> None:
        stride_s = float(self.run.contract["window"]["stride_s"])
        count = (recording.end_s - recording.start_s) / stride_s
        if not count <= self.limits.windows:
            raise DataError(
                f"recording: lasts {recording.end_s - recording.start_s:.6g} s, {count:.3g} "
                f"windows; allowed are at most {self.limits.windows}, send it in parts"
            )
