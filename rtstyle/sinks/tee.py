"""Feed several sinks at once, none of which waits for another, and keep frames from a sink during a pause."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Thread
from typing import TypeVar

from engines.errors import SinkError, StylerError
from rtstyle.frame import Frame
from rtstyle.frame_queue import FrameQueue, QueueClosedError
from rtstyle.sinks.base import Sink, dropped_by, state_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAITING = 4
"""Frames that may wait for a slow sink; then the oldest is dropped."""

JOIN_S = 10.0
"""How long a sink may take for its last frames, seconds."""


class TeeSink:
    """Several sinks as one. Only for live runs: a slow sink drops frames and delays no other.

    Sinks that need the main thread, such as a window, are written in the calling thread, every other one in its own. A
    sink that fails is closed and its error logged at once; the others go on. ``close`` raises the first error once all
    are closed.

    Args:
        sinks: open; closed with this one.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._here = [sink for sink in sinks if sink.main_thread]
        self._workers = [SinkWorker(sink) for sink in sinks if not sink.main_thread]
        self.name = ", ".join(sink.name for sink in [*self._here, *(worker.sink for worker in self._workers)])
        self.main_thread = bool(self._here)

    def drops(self) -> dict[str, int]:
        """Return name → frames that the sink dropped; the window, if any, comes first."""
        here = [(sink.name, dropped_by(sink)) for sink in self._here]
        return _numbered([*here, *((one.sink.name, one.dropped + dropped_by(one.sink)) for one in self._workers)])

    def states(self) -> dict[str, str]:
        """Return name → what the sink is doing, or why it failed."""
        here = [(sink.name, state_of(sink)) for sink in self._here]
        return _numbered([*here, *((one.sink.name, str(one.failure or state_of(one.sink))) for one in self._workers)])

    def write(self, frame: Frame) -> bool:
        """Pass the frame to all sinks.

        Returns:
            False if one of them has asked to stop.

        Raises:
            StylerError: every sink has failed; the first error.
        """
        for worker in self._workers:
            worker.put(frame)
        wants_more = [sink.write(frame) for sink in self._here]
        failures = [worker.failure for worker in self._workers if worker.failure]
        if failures and not self._here and len(failures) == len(self._workers):
            raise failures[0]
        return all(wants_more) and all(worker.wants_more for worker in self._workers)

    def close(self, *, completed: bool) -> None:
        """Close all sinks; may be called twice.

        Raises:
            StylerError: the first error of any sink.
        """
        failures = [worker.failure for worker in self._workers if worker.failure]
        for close in [*(sink.close for sink in self._here), *(worker.close for worker in self._workers)]:
            try:
                close(completed=completed)
            except StylerError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def _numbered(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return pairs as a dict, numbering equal names, as those of two streams without their keys."""
    named: dict[str, T] = {}
    for name, value in pairs:
        same = sum(known == name or known.startswith(f"{name} (") for known in named)
        named[f"{name} ({same + 1})" if same else name] = value
    return named


class SinkWorker:
    """Writes a sink in its own thread; if the sink is slow, the newest frames win.

    Args:
        sink: open; closed with this one, or when it fails.

    Attributes:
        sink: the sink.
        failure: why it was closed early; ``None`` if it was not.
        wants_more: False once the sink has asked to stop.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.failure: StylerError | None = None
        self.wants_more = True
        self._queue: FrameQueue[Frame] = FrameQueue(WAITING, newest_wins=True)
        self._thread = Thread(target=self._work, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames dropped because the sink was too slow."""
        return self._queue.dropped

    def put(self, frame: Frame) -> None:
        """Pass on one frame; never waits."""
        if self.failure is None and self.wants_more:
            with suppress(QueueClosedError):
                self._queue.put(frame)

    def close(self, *, completed: bool) -> None:
        """Write the waiting frames if ``completed``, then close the sink.

        Raises:
            SinkError: the sink takes longer than ``JOIN_S``, or cannot be finished.
        """
        self._queue.close(drain=completed)
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            raise SinkError(f"{self.sink.name} did not take its last frames", hint="it may be incomplete")
        if self.failure is None:
            self.sink.close(completed=completed)

    def _work(self) -> None:
        try:
            for frame in self._queue.receive():
                if not self.sink.write(frame):
                    self.wants_more = False
                    return
        except Exception as error:  # noqa: BLE001 - whatever a sink raises must not end this thread silently
            message = f"{self.sink.name} failed: {error or type(error).__name__}"
            self.failure = error if isinstance(error, StylerError) else SinkError(message)
            logger.warning("%s", self.failure)
            with suppress(StylerError):  # what a camera's recording has so far is worth keeping
                self.sink.close(completed=True)


class PausableSink:
    """Keeps frames from a sink during a pause, so that a recording holds its last picture for as long.

    Args:
        sink: open; closed with this one.
        paused: returns True during a pause.
    """

    def __init__(self, sink: Sink, paused: Callable[[], bool]) -> None:
        self._sink, self._paused = sink, paused
        self.name, self.main_thread = sink.name, sink.main_thread

    def write(self, frame: Frame) -> bool:
        """Pass on a frame, except during a pause."""
        return True if self._paused() else self._sink.write(frame)

    def close(self, *, completed: bool) -> None:
        """Close the sink."""
        self._sink.close(completed=completed)
