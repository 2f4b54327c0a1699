"""Exponential backoff between attempts."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Waits between attempts that double each time, with jitter.

    Without jitter, which shortens each wait by up to a half, all clients that lost a server would return at the same
    moment, again and again.
    """

    def __init__(self, first_s: float = 0.5, most_s: float = 10.0, chance: Callable[[], float] = random.random) -> None:
        self._first_s, self._most_s, self._chance = first_s, most_s, chance
        self._next_s = first_s

    def wait_s(self) -> float:
        """Return the next wait, seconds."""
        wait_s = self._next_s
        self._next_s = min(self._most_s, 2 * wait_s)
        return wait_s * (1 - self._chance() / 2)

    def reset(self) -> None:
        """Start again with the first wait."""
        self._next_s = self._first_s
