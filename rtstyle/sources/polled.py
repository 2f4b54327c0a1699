"""A source that asks a library again and again whether another program has sent a new picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from engines.base import RGB, check_size
from engines.errors import SourceError, StylerError
from rtstyle.frame import Frame, SourceInfo
from rtstyle.media.resize import resized, size_for_height

POLL_S = 0.004
"""Pause between questions, seconds. Libraries that can wait hold up all threads of Python meanwhile."""

FIRST_S = 5.0
"""Longest wait for the first picture, seconds."""

_TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True)
class Received:
    """A picture of another program.

    Attributes:
        rgb: (H, W, 3).
        sound_s: see ``Frame.sound_s``.
    """

    rgb: RGB
    sound_s: float | None = None


class Receiver(Protocol):
    """The side of a library that receives. All its methods are called from one thread."""

    @property
    def fps(self) -> Fraction:
        """Nominal frames per second; 0 if unknown."""
        ...

    def poll(self) -> Received | None:
        """Return the newest picture, or ``None`` if there is no newer one than last time; never waits.

        Raises:
            SourceError: the sender is gone.
        """
        ...

    def close(self) -> None:
        """Let go of the sender."""
        ...


class PolledSource:
    """Delivers the newest picture of a receiver each time.

    Args:
        name: display name.
        receiver: closed with this source, in the thread that reads ``frames``.
        height: resize to this height, pixels, keeping the proportions; ``None`` keeps the size.
        first_s: longest wait for the first picture, seconds.

    Raises:
        SourceError: no picture came in time.
        ShapeError: engines do not accept its size.
    """

    def __init__(self, name: str, receiver: Receiver, *, height: int | None = None, first_s: float = FIRST_S) -> None:
        self._receiver, self._height = receiver, height
        self._stop = threading.Event()
        self._reading = False
        try:
            self._first = self._await_first(name, first_s)
            check_size(*self._first.rgb.shape[:2])
        except StylerError:
            receiver.close()
            raise
        rows, columns = self._size_of(self._first.rgb)
        self._info = SourceInfo(name, columns, rows, receiver.fps, None, live=True)

    @property
    def info(self) -> SourceInfo:
        """What the source delivered first; the size may change."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield pictures as they come, until closed.

        Raises:
            SourceError: the sender is gone.
        """
        self._reading = True
        received: Received | None = self._first
        start_s, index = time.monotonic(), 0
        try:
            while not self._stop.is_set():
                if received is not None:
                    now_s = time.monotonic()
                    rows, columns = self._size_of(received.rgb)
                    rgb = resized(received.rgb, (columns, rows))
                    pts = round((now_s - start_s) / _TIME_BASE)
                    yield Frame(rgb, index, pts, _TIME_BASE, now_s, sound_s=received.sound_s)
                    index += 1
                self._stop.wait(POLL_S)
                received = self._receiver.poll()
        finally:
            self._receiver.close()

    def close(self) -> None:
        """End ``frames``. May be called from any thread, and twice."""
        if not self._stop.is_set():
            self._stop.set()
            if not self._reading:
                self._receiver.close()

    def _size_of(self, rgb: RGB) -> tuple[int, int]:
        return size_for_height(rgb.shape[0], rgb.shape[1], self._height)

    def _await_first(self, name: str, first_s: float) -> Received:
        until_s = time.monotonic() + first_s
        while (received := self._receiver.poll()) is None:
            if time.monotonic() > until_s:
                raise SourceError(f"{name} sent no picture within {first_s:g} s", hint="does its program show one?")
            time.sleep(POLL_S)
        return received
