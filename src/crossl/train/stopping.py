"""Signals that ask training to stop: it finishes its step, keeps it, and ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 - no error
    """Training was asked to stop and has kept what it did."""


class StopSignals:
    """Remembers that SIGINT or SIGTERM came; a second SIGINT interrupts at once.

    Attributes:
        came: the first signal that came, if one did.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals over from whoever has them; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            before = signal.getsignal(number)
            # a shell's background jobs ignore Ctrl-C, and so do we then
            if before is not signal.SIG_IGN:
                self._before.setdefault(number, before)
                signal.signal(number, self._note)

    def leave(self) -> None:
        """Give the signals back."""
        for number, before in self._before.items():
            if before is not None and signal.getsignal(number) == self._note:
                signal.signal(number, before)
        self._before.clear()

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.came is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.came = self.came or number

    def end(self) -> NoReturn:
        """End as the signal asks.

        Raises:
            KeyboardInterrupt: SIGINT came, here or to another process of the training.
            SystemExit: SIGTERM came; the code is 143.
        """
        if self.came == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
