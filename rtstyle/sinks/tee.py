"""Several sinks at once, none of which waits for another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Thread
from typing import TypeVar

from engines.errors import SinkError, StylerError
from rtstyle.frame import Frame
from rtstyle.frame_queue import Link, LinkClosedError
from rtstyle.sinks.base import Sink, dropped_by, state_of

T = TypeVar("T")

WAITING = 4
"""Frames that may wait for a slow sink; then the oldest is dropped."""

JOIN_S = 10.0
"""How long a sink may take for its last frames before it is left to itself, seconds."""


class SeveralSinks:
    """One sink in front of several. Live only: a sink that is too slow loses frames and holds up nobody.

    A window is written in the calling thread, everything else in a thread of its own. A sink that fails is closed and
    told at once; the others go on. ``close`` raises the first failure when all are closed.

    Args:
        sinks: open; closed with this one. At most one of them needs the main thread.
        on_failure: told each failure, in the thread of its sink.
    """

    def __init__(self, sinks: Sequence[Sink], on_failure: Callable[[str], None] = lambda _: None) -> None:
        self._here = [sink for sink in sinks if sink.main_thread]
        self._others = [Fed(sink, on_failure) for sink in sinks if not sink.main_thread]

    @property
    def name(self) -> str:
        """All names."""
        return ", ".join(sink.name for sink in [*self._here, *(fed.sink for fed in self._others)])

    @property
    def main_thread(self) -> bool:
        """True when one of them needs it."""
        return bool(self._here)

    def losses(self) -> dict[str, int]:
        """Name → frames that the sink was too slow for; the window, written in the calling thread, comes first."""
        here = [(sink.name, dropped_by(sink)) for sink in self._here]
        return _named([*here, *((fed.sink.name, fed.dropped + dropped_by(fed.sink)) for fed in self._others)])

    def states(self) -> dict[str, str]:
        """Name → what the sink is doing, or why it has failed."""
        here = [(sink.name, state_of(sink)) for sink in self._here]
        return _named([*here, *((fed.sink.name, str(fed.failure or state_of(fed.sink))) for fed in self._others)])

    def write(self, frame: Frame) -> bool:
        """Hand the frame to all.

        Returns:
            False when one of them was told to stop.

        Raises:
            the first failure when none is left.
        """
        for fed in self._others:
            fed.put(frame)
        wanted = [sink.write(frame) for sink in self._here]
        if not self._here and all(fed.failure for fed in self._others):
            raise next(fed.failure for fed in self._others if fed.failure)
        return all(wanted) and all(fed.wanted for fed in self._others)

    def close(self, *, completed: bool) -> None:
        """Close all. Twice is fine. Raises: the first failure of any."""
        failures = [fed.failure for fed in self._others if fed.failure]
        closers = [*(sink.close for sink in self._here), *(fed.close for fed in self._others)]
        for close in closers:
            try:
                close(completed=completed)
            except StylerError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def _named(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Pairs as a dict; names that are alike, as those of two streams without their keys, are numbered."""
    named: dict[str, T] = {}
    for name, value in pairs:
        alike = sum(known == name or known.startswith(f"{name} (") for known in named)
        named[f"{name} ({alike + 1})" if alike else name] = value
    return named


class Fed:
    """A sink with its own thread and its own queue.

    Args:
        sink: open; closed with this one, or when it fails.
        on_failure: told the failure, in the thread of the sink.

    Attributes:
        sink: the sink.
        failure: why it was closed before its time; ``None`` as long as all is well.
        wanted: False once the sink has asked to stop.
    """

    def __init__(self, sink: Sink, on_failure: Callable[[str], None]) -> None:
        self.sink, self._on_failure = sink, on_failure
        self.failure: StylerError | None = None
        self.wanted = True
        self._link: Link[Frame] = Link(WAITING, newest_wins=True)
        self._thread = Thread(target=self._feed, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that the sink was too slow for."""
        return self._link.dropped

    def put(self, frame: Frame) -> None:
        """Hand over one frame; never waits."""
        if self.failure is None and self.wanted:
            try:
                self._link.put(frame)
            except LinkClosedError:
                return

    def close(self, *, completed: bool) -> None:
        """After the frames that wait, unless the sink takes too long for them."""
        self._link.close(drain=completed)
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            raise SinkError(f"{self.sink.name} does not take its last frames", hint="it may be incomplete")
        if self.failure is None:
            self.sink.close(completed=completed)

    def _feed(self) -> None:
        try:
            for frame in self._link.receive():
                if not self.sink.write(frame):
                    self.wanted = False
                    return
        except Exception as error:  # noqa: BLE001  # nothing may end this thread in silence
            told = f"{self.sink.name} failed: {error or type(error).__name__}"
            self.failure = error if isinstance(error, StylerError) else SinkError(told)
            self._on_failure(str(self.failure))
            # What a camera's recording has so far is worth keeping.
            try:
                self.sink.close(completed=True)
            except StylerError:
                return
