"""A live source that is lost and comes back: meanwhile its last picture stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from engines.errors import SourceError
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame
from rtstyle.sources.base import Source, SourceInfo

STALL_S = 1.5
"""After so long without a picture the last one is repeated with a notice. A camera in the dark gives five a second."""

MOST_STALL_S = 10.0
"""The same for a source that says of itself that it gives a picture now and then."""

REPEAT_S = 0.2
"""Time between two repetitions: windows go on obeying keys, and programs behind a virtual camera stay connected."""

LASTED_S = 10.0
"""A connection that held so long was a good one: after it the waits begin small again."""

_WAKE_S = 0.5
"""A wait in the main thread is renewed this often: on Windows one without a limit shuts out Ctrl-C."""

_TIME_BASE = Fraction(1, 90_000)


class Reconnecting:
    """The newest picture of a source that is opened again whenever it fails.

    A thread of its own opens the source and takes all its pictures, so that nobody who is slow holds it up, and nothing
    that hangs in a driver or on a network holds up anybody. While nothing comes, the last picture is repeated with a
    fresh capture time and a notice. Frames are counted and timed here, for those of the source begin anew each time.

    Args:
        connect: opens the source; called again after each failure. It may hang, and is called in a thread of its own.
        again: False ends with the error instead.
        backoff: waits between attempts.
        stall_s: after so long without a picture the last one is repeated; longer for sources of few pictures a second.

    Raises:
        SourceError: the first attempt failed.
    """

    def __init__(
        self,
        connect: Callable[[], Source],
        *,
        again: bool = True,
        backoff: Backoff | None = None,
        stall_s: float = STALL_S,
    ) -> None:
        self._connect, self._again = connect, again
        self._backoff = backoff or Backoff()
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._source: Source | None = None
        self._info: SourceInfo | None = None
        self._newest: Frame | None = None
        self._number = 0
        self._fresh_s = time.monotonic()
        self._trouble = ""
        self._over = False
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="live source", daemon=True)
        self._thread.start()
        self._await_first()

    @property
    def info(self) -> SourceInfo:
        """Of the source as it was first opened; it may come back with another size."""
        assert self._info is not None
        return self._info

    @property
    def notice(self) -> str:
        """What is wrong at this moment; empty as long as pictures come."""
        with self._changed:
            return self._notice()

    def frames(self) -> Iterator[Frame]:
        """Yield the newest picture each time, or the last one again when there is none.

        Raises:
            SourceError: the source failed and is not opened again.
        """
        number, index, pts = 0, 0, -1
        start_s: float | None = None
        while (found := self._next(number)) is not None:
            frame, number = found
            start_s = frame.captured_s if start_s is None else start_s
            pts = max(pts + 1, round((frame.captured_s - start_s) / _TIME_BASE))
            yield replace(frame, index=index, pts=pts, time_base=_TIME_BASE)
            index += 1

    def close(self) -> None:
        """End ``frames`` at once; what hangs in a driver or on a network is left behind after a second."""
        with self._changed:
            if self._closed.is_set():
                return  # whoever was first waits for what hangs
            self._closed.set()
            self._changed.notify_all()
            source = self._source
        if source is not None:
            source.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    def _await_first(self) -> None:
        try:
            with self._changed:
                while self._info is None and not self._over:
                    self._changed.wait(_WAKE_S)
                if self._info is None and self._failure is not None:
                    raise self._failure
        except BaseException:
            self.close()
            raise

    def _next(self, number: int) -> tuple[Frame, int] | None:
        """Wait for a picture after ``number``. Returns: it and its number, the last one again; None at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._number > number or self._over or self._closed.is_set(), self._patience_s()
            )
            # Before the first picture there is nothing to repeat.
            self._changed.wait_for(lambda: self._newest is not None or self._over or self._closed.is_set())
            if self._closed.is_set() or self._newest is None or (self._over and self._number == number):
                if self._failure is not None and not self._closed.is_set():
                    raise self._failure
                return None
            if self._number > number:
                return self._newest, self._number
            return replace(self._newest, captured_s=time.monotonic(), notice=self._notice()), number

    def _patience_s(self) -> float:
        """How long the next picture may take before the last one is repeated."""
        if self._notice():
            return REPEAT_S
        return self._fresh_s + self._stall_limit_s() - time.monotonic()

    def _notice(self) -> str:
        if self._trouble or self._newest is None or self._over:
            return self._trouble
        stalled = time.monotonic() - self._fresh_s >= self._stall_limit_s()
        return f"{self.info.name} sends no pictures; waiting for it" if stalled else ""

    def _stall_limit_s(self) -> float:
        rate = float(self._info.fps) if self._info is not None else 0.0
        return max(self._stall_s, min(MOST_STALL_S, 3 / rate) if rate else 0.0)

    def _work(self) -> None:
        """Life of the thread: connect, pass on, connect again."""
        failure: BaseException | None = None
        try:
            while (source := self._connected()) is not None and not self._relayed(source):
                if not self._pause():
                    break
        except BaseException as error:  # noqa: BLE001 - it travels to the reader of frames and is raised there
            failure = error
        with self._changed:
            self._failure, self._over = failure, True
            self._changed.notify_all()

    def _connected(self) -> Source | None:
        """The source, open; None when closed meanwhile."""
        while not self._closed.is_set():
            try:
                source = self._connect()
            except SourceError as error:
                if self._info is None or not self._again:
                    raise
                self._lost(error)
                self._pause()
                continue
            with self._changed:
                self._info = self._info or source.info
                self._source = source
                self._changed.notify_all()
            if not self._closed.is_set():
                return source
            source.close()
        return None

    def _relayed(self, source: Source) -> bool:
        """Take the pictures of the source. Returns: False when it was lost, True when it has come to its end."""
        start_s = time.monotonic()
        try:
            for frame in source.frames():
                self._publish(frame)
                if self._closed.is_set():
                    break
        except SourceError as error:
            if not self._again:
                raise
            self._lost(error)
            if time.monotonic() - start_s >= LASTED_S:
                self._backoff.reset()
            return False
        finally:
            source.close()
        return True

    def _publish(self, frame: Frame) -> None:
        with self._changed:
            self._newest, self._trouble = frame, ""
            self._number += 1
            self._fresh_s = time.monotonic()
            self._changed.notify_all()

    def _lost(self, error: SourceError) -> None:
        with self._changed:
            self._trouble = f"{error.problem}; waiting for it"
            self._changed.notify_all()

    def _pause(self) -> bool:
        """Wait for the next attempt. Returns: False when closed meanwhile."""
        with self._changed:
            return not self._changed.wait_for(self._closed.is_set, self._backoff.wait_s())
