"""Output and control of a live run for other programs: the lines of ``--json``, and ``--control``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rtstyle.commands.options import print_json

if TYPE_CHECKING:
    from rtstyle.live.actions import Actions
    from rtstyle.live.http_control import ControlServer
    from rtstyle.stats import StatsSnapshot

logger = logging.getLogger(__name__)


class Watch:
    """Print a live run's figures as JSON, and serve its HTTP control.

    Args:
        as_json: print one JSON object a second on standard output.
        stop: ends the run; called when nobody reads the output any more.
        control: address to listen on, ``HOST:PORT``, or ``None``.
        token: token that clients must send.

    Raises:
        ConfigError: the address cannot be listened on, or not safely.
    """

    def __init__(
        self, *, as_json: bool, stop: Callable[[], None], control: str | None = None, token: str | None = None
    ) -> None:
        from rtstyle.progress import Heartbeat

        self._as_json = as_json
        self._server: ControlServer | None = None
        if control is not None:
            from rtstyle.live.http_control import ControlServer
            from rtstyle.live.http_guard import parse_address

            self._server = ControlServer(parse_address(control), token)
        self._actions: Actions | None = None
        self._heartbeat = Heartbeat(self._print, stop)

    def begin(self, actions: Actions) -> None:
        """Start, now that the run is ready."""
        self._actions = actions
        if self._as_json:
            self._heartbeat.start()
        if self._server is not None:
            self._server.start(actions)
            logger.info("control at http://%s", self._server.address)

    def close(self) -> None:
        """Stop; may be called twice."""
        if self._server is not None:
            self._server.close()
        self._heartbeat.close()

    def last(self, figures: StatsSnapshot) -> dict[str, Any]:
        """Return the last object, with the figures at the end of the run."""
        stats = self._actions.read("stats") if self._actions is not None else {}
        return {"running": False, **stats, **figures.to_dict()}

    def _print(self) -> None:
        if self._actions is not None:
            print_json({"running": True, **self._actions.read("stats")})
