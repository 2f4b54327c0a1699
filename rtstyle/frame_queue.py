"""Bounded queue between two threads: lossless, or with the newest item replacing the oldest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")

_WAKE_S = 0.5
"""Longest single wait: on Windows, waiting for a lock without a timeout blocks Ctrl-C."""


class QueueClosedError(Exception):
    """The queue is closed, so the item was not taken."""


class FrameQueue(Generic[T]):
    """A bounded queue between one sender and one receiver.

    A lossless queue makes the sender wait while it is full, which suits a file. For a camera only the newest frame
    matters, so ``newest_wins`` replaces the oldest waiting item and counts it as dropped.

    Attributes:
        closed: True once ``close`` was called.
        dropped: items that were replaced before they were received.
    """

    def __init__(self, capacity: int, *, newest_wins: bool = False) -> None:
        if capacity < 1:
            raise ValueError(f"a queue must hold at least one item, not {capacity}")
        self._capacity = capacity
        self._newest_wins = newest_wins
        self._items: deque[T] = deque()
        self._changed = Condition()
        self.closed = False
        self.dropped = 0
        self._cause: BaseException | None = None

    @property
    def waiting(self) -> int:
        """Items that were not received yet."""
        return len(self._items)

    def put(self, item: T) -> bool:
        """Add an item, and return False if an older one was dropped to make room; a lossless queue waits for room.

        Raises:
            QueueClosedError: the queue is closed.
        """
        with self._changed:
            while len(self._items) >= self._capacity and not self._newest_wins and not self.closed:
                self._changed.wait(_WAKE_S)
            if self.closed:
                raise QueueClosedError
            lossless = len(self._items) < self._capacity
            if not lossless:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return lossless

    def get(self, timeout_s: float | None = None) -> T | None:
        """Return the oldest item, or ``None`` if none came in time or the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.closed, timeout_s)
            return self._pop() if self._items else None

    def receive(self, give_up: Callable[[], bool] = lambda: False) -> Iterator[T]:
        """Yield items until the queue is closed and empty, then raise the cause given to ``close``, if any.

        While no item comes, ``give_up`` is called twice a second; True ends the iteration.
        """
        while True:
            with self._changed:
                while not self._items and not self.closed:
                    self._changed.wait(_WAKE_S)
                    if not self._items and give_up():
                        return
                if not self._items:
                    if self._cause is not None:
                        raise self._cause
                    return
                item = self._pop()
            yield item

    def close(self, cause: BaseException | None = None, *, drain: bool = True) -> None:
        """Close the queue and wake both ends; ``drain`` lets the receiver take the waiting items.

        ``receive`` raises the cause, an error of the sender. Calling it again keeps the first cause.
        """
        with self._changed:
            if not self.closed:
                self._cause = cause
            self.closed = True
            if not drain:
                self._items.clear()
            self._changed.notify_all()

    def _pop(self) -> T:
        item = self._items.popleft()
        self._changed.notify_all()
        return item
