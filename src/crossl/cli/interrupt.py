"""What asks a command to stop, beside Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(SystemExit):
    """SIGTERM came; the exit code is 143."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which schedulers send before they kill, stop a command as Ctrl-C does."""
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: what is begun is put away
    raise Terminated(128 + signal.SIGTERM)
