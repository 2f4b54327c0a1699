"""Output and control of a live run for other programs: the lines of ``--json``, ``--control`` and instruments."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtstyle.commands.options import print_json
from rtstyle.commands.play import Instruments, Play

if TYPE_CHECKING:
    from rtstyle.live.actions import Actions
    from rtstyle.live.http_control import ControlServer
    from rtstyle.live.webcam import WebcamJob
    from rtstyle.stats import StatsSnapshot

logger = logging.getLogger(__name__)


class Watch:
    """Print a live run's figures as JSON every second, and serve its HTTP control at ``control`` (HOST:PORT), if any.

    When nobody reads the output any more, ``stop`` is called. Other means to ``play`` the run begin and end with it.

    Raises:
        ConfigError: an address cannot be listened on, or not safely.
        StylerError: see ``Instruments``.
    """

    def __init__(
        self,
        *,
        as_json: bool,
        stop: Callable[[], None],
        control: str | None,
        token: str | None,
        play: Play,
    ) -> None:
        from rtstyle.progress import Heartbeat

        self._instruments = Instruments(play)
        self._as_json = as_json
        self._server: ControlServer | None = None
        if control is not None:
            from rtstyle.live.http_control import ControlServer
            from rtstyle.live.http_guard import parse_address

            try:
                self._server = ControlServer(parse_address(control), token)
            except BaseException:
                self._instruments.close()
                raise
        self._heartbeat = Heartbeat(lambda: print_json({"running": True, **self._actions.read("stats")}), stop)

    def begin(self, actions: Actions) -> None:
        """Start, now that the run is ready."""
        self._actions = actions
        if self._as_json:
            self._heartbeat.start()
        if self._server is not None:
            self._server.start(actions)
            logger.info("control at http://%s", self._server.address)
        self._instruments.begin(actions)

    def close(self) -> None:
        """Stop; may be called twice."""
        self._instruments.close()
        if self._server is not None:
            self._server.close()
        self._heartbeat.close()

    def print_last(self, figures: StatsSnapshot, job: WebcamJob) -> None:
        """Print the last object, with the figures at the end of the run."""
        from rtstyle.media.urls import redact

        last = {"running": False, **self._actions.read("stats"), **figures.to_dict()}
        print_json({**last, "source": redact(job.source), "sinks": [redact(sink) for sink in job.sinks]})
