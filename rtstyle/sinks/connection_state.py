"""State of a connection that comes and goes."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class ConnectionState:
    """What a connection is doing now; changes are logged.

    Failed attempts in a row count as one state, whatever reason stands in brackets.

    Args:
        name: of the other side.
        now: initial state, which is not logged.
    """

    def __init__(self, name: str, now: str) -> None:
        self.now = now
        self._name, self._logged = name, ""

    def enter(self, state: str, *, quietly: bool = False) -> None:
        """Change the state; ``quietly`` does not log it."""
        self.now = state
        kind = state.partition(" (")[0]
        if not quietly and kind != self._logged:
            self._logged = kind
            logger.info("%s: %s", self._name, state)
