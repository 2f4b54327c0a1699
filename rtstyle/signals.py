"""Handle Ctrl-C, SIGTERM and a closed terminal in the same way, so that everything is cleaned up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that ask a program to stop; Windows has no SIGHUP."""


class Stopper:
    """Turns signals that ask to stop into KeyboardInterrupt, or into a call of the function given to ``gently``.

    Attributes:
        received: number of the last signal that asked to stop; ``None`` if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._gentle: Callable[[], object] | None = None

    @contextmanager
    def installed(self) -> Iterator[Stopper]:
        """Handle the signals inside the context; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        # An ignored signal stays ignored: nohup relies on it.
        before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def gently(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call ``stop`` at the first signal inside the context; a second one raises KeyboardInterrupt."""
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
        # In its own thread: a handler that needs a lock held by the interrupted code would wait forever.
        threading.Thread(target=stop, name="stop", daemon=True).start()


STOPPER = Stopper()
"""The instance of the command line: a process has only one set of signal handlers."""
