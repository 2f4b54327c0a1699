"""A live source that reopens itself when lost, and repeats its last picture meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from engines.errors import SourceError
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame, SourceInfo
from rtstyle.sources.base import Source

if TYPE_CHECKING:
    from rtstyle.sound.feed import SoundFeed

STALL_S = 1.5
"""The last picture is repeated after this long without one. A camera in the dark delivers five per second."""

MAX_STALL_S = 10.0
"""Upper limit of that wait for sources with a low frame rate."""

REPEAT_S = 0.2
"""Time between repetitions: windows must keep reacting to keys, and readers of a virtual camera stay connected."""

STABLE_S = 10.0
"""A connection that lasted this long resets the backoff."""

_WAKE_S = 0.5
"""Timeout of each wait in the main thread: on Windows a wait without one blocks Ctrl-C."""

_TIME_BASE = Fraction(1, 90_000)


class ReconnectingSource:
    """Delivers the newest picture of a source, and reopens the source whenever it fails.

    A thread opens the source and reads all its pictures, so a slow reader does not hold up the source, and a hanging
    driver or network does not hold up the reader. While no picture arrives, the last one is repeated with a fresh
    capture time and a notice. Frames are numbered and timed here, because those of the source restart each time.

    Args:
        connect: opens the source; called from the thread, again after each failure. It may hang.
        reconnect: False raises the error of a lost source instead.
        backoff: waits between attempts.
        stall_s: time without a picture before the last one is repeated; longer for sources with a low frame rate.
        sound: takes the sound of every connection.

    Raises:
        SourceError: the first attempt failed.
    """

    def __init__(
        self,
        connect: Callable[[], Source],
        *,
        reconnect: bool = True,
        backoff: Backoff | None = None,
        stall_s: float = STALL_S,
        sound: SoundFeed | None = None,
    ) -> None:
        self.sound = sound
        self._connect, self._reconnect = connect, reconnect
        self._backoff = backoff or Backoff()
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._source: Source | None = None
        self._info: SourceInfo | None = None
        self._newest: Frame | None = None
        self._number = 0
        self._fresh_s = time.monotonic()
        self._problem = ""
        self._over = False
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="live source", daemon=True)
        self._thread.start()
        self._await_first()

    @property
    def info(self) -> SourceInfo:
        """Description of the source as first opened; after a reconnect its size may differ."""
        assert self._info is not None
        return self._info

    @property
    def notice(self) -> str:
        """What is wrong right now; empty while pictures arrive."""
        with self._changed:
            return self._notice()

    def frames(self) -> Iterator[Frame]:
        """Yield the newest picture each time, or repeat the last one if none arrives.

        Raises:
            SourceError: the source failed and is not to be reopened.
        """
        number, index, pts = 0, 0, -1
        start_s: float | None = None
        while (found := self._next(number)) is not None:
            frame, number = found
            start_s = frame.moment_s if start_s is None else start_s
            pts = max(pts + 1, round((frame.moment_s - start_s) / _TIME_BASE))
            yield replace(frame, index=index, pts=pts, time_base=_TIME_BASE)
            index += 1

    def close(self) -> None:
        """End ``frames`` at once; a thread that hangs in a driver or on a network is abandoned after a second."""
        with self._changed:
            if self._closed.is_set():
                return  # the first caller waits for the thread
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
        """Return a picture newer than ``number`` with its number, or the last one again; None at the end."""
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
            return replace(self._newest, captured_s=time.monotonic(), sound_s=None, notice=self._notice()), number

    def _patience_s(self) -> float:
        """Return how long to wait for a picture before the last one is repeated, seconds."""
        if self._notice():
            return REPEAT_S
        return self._fresh_s + self._stall_limit_s() - time.monotonic()

    def _notice(self) -> str:
        if self._problem or self._newest is None or self._over:
            return self._problem
        stalled = time.monotonic() - self._fresh_s >= self._stall_limit_s()
        return f"{self.info.name} sends no pictures; waiting for it" if stalled else ""

    def _stall_limit_s(self) -> float:
        rate = float(self._info.fps) if self._info is not None else 0.0
        return max(self._stall_s, min(MAX_STALL_S, 3 / rate) if rate else 0.0)

    def _work(self) -> None:
        """Run the thread: open the source and relay its pictures, until closed or ended."""
        failure: BaseException | None = None
        try:
            while (source := self._open()) is not None and not self._relay(source):
                if not self._pause():
                    break
        except BaseException as error:  # noqa: BLE001 - raised to the reader of frames
            failure = error
        with self._changed:
            self._failure, self._over = failure, True
            self._changed.notify_all()

    def _open(self) -> Source | None:
        """Open the source, repeatedly if it was open before. Return None when closed meanwhile."""
        while not self._closed.is_set():
            try:
                source = self._connect()
            except SourceError as error:
                if self._info is None or not self._reconnect:
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

    def _relay(self, source: Source) -> bool:
        """Publish the pictures of the source. Return False if it was lost, True at its end or when closed."""
        start_s = time.monotonic()
        try:
            for frame in source.frames():
                self._publish(frame)
                if self._closed.is_set():
                    break
        except SourceError as error:
            if not self._reconnect:
                raise
            self._lost(error)
            if time.monotonic() - start_s >= STABLE_S:
                self._backoff.reset()
            return False
        finally:
            source.close()
        return True

    def _publish(self, frame: Frame) -> None:
        with self._changed:
            self._newest, self._problem = frame, ""
            self._number += 1
            self._fresh_s = time.monotonic()
            self._changed.notify_all()

    def _lost(self, error: SourceError) -> None:
        with self._changed:
            self._problem = f"{error.problem}; waiting for it"
            self._changed.notify_all()

    def _pause(self) -> bool:
        """Wait for the next attempt. Return False when closed meanwhile."""
        with self._changed:
            return not self._changed.wait_for(self._closed.is_set, self._backoff.wait_s())
