"""Whoever watches and steers a live run from outside: the lines of ``--json``, and the control address."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any

from rtstyle.commands.options import note, print_json

if TYPE_CHECKING:
    from rtstyle.live.http_control import ControlServer
    from rtstyle.live.session import Live
    from rtstyle.stats import Figures


class Watch:
    """Tells of a live run while it goes on, and lets others steer it.

    Args:
        as_json: print a line of JSON each second on standard output.
        stop: ends the run; called when nobody reads those lines any more, and when somebody asks for the end.
        control: address to listen on, ``HOST:PORT``; ``None`` for none.
        token: what everybody must know who asks there.

    Raises:
        ConfigError: the address cannot be listened on, or not safely.
    """

    def __init__(
        self, *, as_json: bool, stop: Callable[[], None], control: str | None = None, token: str | None = None
    ) -> None:
        from rtstyle.progress import Heartbeat

        self._as_json, self._stop = as_json, stop
        self._server: ControlServer | None = None
        if control is not None:
            from rtstyle.live.http_control import ControlServer
            from rtstyle.live.http_guard import parse_address

            self._server = ControlServer(parse_address(control), token)
        self._live: Live | None = None
        self._heartbeat = Heartbeat(self._print, stop)

    def begin(self, live: Live) -> None:
        """The run is ready."""
        self._live = live
        if self._as_json:
            self._heartbeat.start()
        if self._server is not None:
            from rtstyle.live.actions import Actions

            # Closing a camera may take a second; who asked gets the answer before.
            self._server.start(Actions(live, lambda: Thread(target=self._stop, name="stop", daemon=True).start()))
            note(f"control at http://{self._server.address}")

    def close(self) -> None:
        """The run is over. Twice is fine."""
        if self._server is not None:
            self._server.close()
        self._heartbeat.close()

    def last(self, figures: Figures) -> dict[str, Any]:
        """The last reading, with the figures of the moment when the run ended."""
        told = self._live.reading().to_dict() if self._live is not None else {}
        return {"running": False, **told, **figures.to_dict()}

    def _print(self) -> None:
        if self._live is not None:
            print_json({"running": True, **self._live.reading().to_dict()})
