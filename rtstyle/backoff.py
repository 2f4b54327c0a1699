"""When to try again what has failed."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Waits between attempts, each twice as long as the one before, and none quite as told.

    Without chance in it, all who lost one server would come back at the same moment, again and again.

    Args:
        first_s, most_s: the first wait and the longest, seconds. Each is cut by up to a half by chance.
        chance: gives numbers from 0 to 1.
    """

    def __init__(self, first_s: float = 0.5, most_s: float = 10.0, chance: Callable[[], float] = random.random) -> None:
        self._first_s, self._most_s, self._chance = first_s, most_s, chance
        self._next_s = first_s

    def wait_s(self) -> float:
        """The next wait, seconds."""
        wait_s = self._next_s
        self._next_s = min(self._most_s, 2 * wait_s)
        return wait_s * (1 - self._chance() / 2)

    def reset(self) -> None:
        """Begin small again."""
        self._next_s = self._first_s
