"""What a connection that comes and goes tells people about itself."""

from __future__ import annotations

from collections.abc import Callable


class State:
    """What it is doing now, told when that becomes another thing.

    Attempts that fail one after the other, each for a reason of its own, are one state: a state is what stands before
    its reason, which is in brackets.

    Args:
        name: of what is connected.
        now: to begin with; nobody is told.
        told: is given one line for each change, in the thread of the connection.
    """

    def __init__(self, name: str, now: str, told: Callable[[str], None]) -> None:
        self.now = now
        self._name, self._told = name, told
        self._last = ""

    def enter(self, state: str, *, quietly: bool = False) -> None:
        """It is doing this now; ``quietly`` where that is on the way to something that will be told."""
        self.now = state
        kind = state.partition(" (")[0]
        if not quietly and kind != self._last:
            self._last = kind
            self._told(f"{self._name}: {state}")
