"""Whoever watches a live run from outside: the lines of ``--json``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rtstyle.commands.options import print_json

if TYPE_CHECKING:
    from rtstyle.live import Live
    from rtstyle.stats import Figures


class Watch:
    """Tells of a live run once a second while it goes on.

    Args:
        as_json: print lines of JSON on standard output.
        stop: ends the run; called when nobody reads them any more.
    """

    def __init__(self, *, as_json: bool, stop: Callable[[], None]) -> None:
        from rtstyle.progress import Heartbeat

        self._as_json = as_json
        self._live: Live | None = None
        self._heartbeat = Heartbeat(self._print, stop)

    def begin(self, live: Live) -> None:
        """The run is ready."""
        self._live = live
        if self._as_json:
            self._heartbeat.start()

    def close(self) -> None:
        """The run is over. Twice is fine."""
        self._heartbeat.close()

    def last(self, figures: Figures) -> dict[str, Any]:
        """The last reading, with the figures of the moment when the run ended."""
        told = self._live.reading().to_dict() if self._live is not None else {}
        return {"running": False, **told, **figures.to_dict()}

    def _print(self) -> None:
        if self._live is not None:
            print_json({"running": True, **self._live.reading().to_dict()})
