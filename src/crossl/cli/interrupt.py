"""What asks a command to stop: Ctrl-C, and SIGTERM as schedulers send it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

IMPORT = "<frozen importlib."
"""How the files are called in which Python imports modules."""
SOON_S = 0.05
"""After so long a signal that came during an import is looked at again."""


class Terminated(SystemExit):
    """SIGTERM came; the exit code is 143."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM, which schedulers send before they kill, stop a command as Ctrl-C does.

    Modules that are being imported are imported first: some of their C++ aborts the process when
    an exception comes through it.
    """
    wanted = {signal.SIGTERM: _terminate, signal.SIGINT: _interrupt}
    before = {number: signal.getsignal(number) for number in wanted}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [
        number
        for number, had in before.items()
        if had is not None and had is not signal.SIG_IGN  # a shell's background jobs ignore Ctrl-C
    ]
    for number in taken:
        signal.signal(number, _after_imports(wanted[number]))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        _answer_now(wanted)


def _after_imports(stop: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if not (_is_importing(frame) and _send_again(number)):
            _AWAITED.clear()
            stop()

    return handle


_AWAITED: list[int] = []
"""Signals that came during an import and were not answered yet."""


def _answer_now(stops: Mapping[signal.Signals, Callable[[], None]]) -> None:
    """Answer a signal that still waits for an import when the command's work is at its end."""
    if _AWAITED:
        signal.setitimer(signal.ITIMER_REAL, 0)
        number = signal.Signals(_AWAITED.pop())
        _AWAITED.clear()
        stops[number]()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORT):
            return True
        frame = frame.f_back
    return False


def _send_again(number: int) -> bool:
    """Let a signal come once more, soon; tell whether this system can."""
    if not hasattr(signal, "setitimer"):
        return False
    _AWAITED.append(number)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, SOON_S)
    return True


def _terminate() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: what is begun is put away
    raise Terminated(128 + signal.SIGTERM)


def _interrupt() -> None:
    raise KeyboardInterrupt
