"""Values that several users share, counted: made for the first user, closed after the last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Anything that holds resources until it is closed."""

    def close(self) -> None:
        """Free the resources."""
        ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Closable)


class SharedPool(Generic[K, V]):
    """Reference-counted values by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._entries: dict[K, tuple[V, int]] = {}

    def borrow(self, key: K, make: Callable[[], V]) -> V:
        """Return the value for a key; call ``give_back`` once for each call.

        ``make`` is called if nobody has the value. It runs under the pool's lock and may raise.
        """
        with self._lock:
            value, users = self._entries.get(key) or (make(), 0)
            self._entries[key] = value, users + 1
            return value

    def give_back(self, key: K) -> None:
        """Drop one user; the last one closes the value."""
        with self._lock:
            value, users = self._entries.pop(key)
            if users > 1:
                self._entries[key] = value, users - 1
                return
        value.close()

    def values(self) -> list[V]:
        """Return what is in use."""
        with self._lock:
            return [value for value, _ in self._entries.values()]
