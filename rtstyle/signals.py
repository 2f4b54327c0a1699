"""Ctrl-C, SIGTERM and a terminal that closes: one way to stop, with everything cleaned up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that ask a program to stop; Windows has no SIGHUP."""


class Stopper:
    """Turns the signals that ask to stop into KeyboardInterrupt, or into a gentle end where one is set.

    Attributes:
        received: number of the last signal that asked to stop; ``None`` when none came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._gentle: Callable[[], None] | None = None

    @contextmanager
    def installed(self) -> Iterator[Stopper]:
        """Handle the signals for a while; in a thread other than the main one nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        # A signal that is ignored stays ignored: that is how nohup keeps a program alive.
        before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def gently(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` at the first signal instead of raising; a second one raises."""
        self._gentle = stop
        try:
            yield
        finally:
            self._gentle = None

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        stop, self._gentle = self._gentle, None
        if stop is None:
            raise KeyboardInterrupt
        # In a thread of its own: a handler that takes a lock which the interrupted code holds would wait for ever.
        threading.Thread(target=stop, name="stop", daemon=True).start()


STOPPER = Stopper()
"""The one of the command line; a process has only one set of signal handlers."""
