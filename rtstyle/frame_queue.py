"""Hand-over between two threads: lossless, or the newest wins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")

_WAKE_S = 0.5
"""A wait is renewed this often: on Windows a lock that is waited for without a limit shuts out Ctrl-C."""


class LinkClosedError(Exception):
    """The other end of a link has gone; the sender has nobody left to send to."""


class Link(Generic[T]):
    """A bounded queue between one sender and one receiver.

    A file loses nothing, so its sender waits while the link is full. From a camera only the newest
    frame is worth anything, so a frame that nobody has fetched is replaced and counted as dropped.

    Args:
        capacity: items that may wait, at least 1.
        newest_wins: replace the oldest item instead of waiting for room.
    """

    def __init__(self, capacity: int, *, newest_wins: bool = False) -> None:
        if capacity < 1:
            raise ValueError(f"a link holds at least one item, not {capacity}")
        self._capacity = capacity
        self._newest_wins = newest_wins
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._closed = False
        self._cause: BaseException | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items that were replaced before anybody fetched them."""
        with self._changed:
            return self._dropped

    @property
    def waiting(self) -> int:
        """Items that nobody has fetched yet."""
        with self._changed:
            return len(self._items)

    def put(self, item: T) -> bool:
        """Hand over one item; waits for room when lossless.

        Returns:
            False when an older item was dropped to make room.

        Raises:
            LinkClosedError: the link is closed; the item is not taken.
        """
        with self._changed:
            while len(self._items) >= self._capacity and not self._newest_wins and not self._closed:
                self._changed.wait(_WAKE_S)
            if self._closed:
                raise LinkClosedError
            lossless = len(self._items) < self._capacity
            if not lossless:
                self._items.popleft()
                self._dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return lossless

    def receive(self, give_up: Callable[[], bool] = lambda: False) -> Iterator[T]:
        """Fetch items until the link is closed and empty.

        Args:
            give_up: asked twice a second while nothing comes; True ends the iteration.

        Raises:
            the cause with which the link was closed, after the last item.
        """
        while True:
            with self._changed:
                while not self._items and not self._closed:
                    self._changed.wait(_WAKE_S)
                    if not self._items and give_up():
                        return
                if not self._items:
                    if self._cause is not None:
                        raise self._cause
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self, cause: BaseException | None = None, *, drain: bool = True) -> None:
        """Wake both ends. Twice is fine; the first cause stays.

        Args:
            cause: what went wrong at this end; the receiver raises it.
            drain: let the receiver fetch what is waiting; False throws that away.
        """
        with self._changed:
            if not self._closed:
                self._cause = cause
            self._closed = True
            if not drain:
                self._items.clear()
            self._changed.notify_all()
