"""A sink that is left alone while the run is paused: in a recording the last picture stands for as long."""

from __future__ import annotations

from collections.abc import Callable

from rtstyle.frame import Frame
from rtstyle.sinks.base import Sink


class Pausing:
    """Keeps frames from a sink while a question is answered with yes.

    Args:
        sink: open; closed with this one.
        paused: the question.
    """

    def __init__(self, sink: Sink, paused: Callable[[], bool]) -> None:
        self._sink, self._paused = sink, paused

    @property
    def name(self) -> str:
        """That of the sink."""
        return self._sink.name

    @property
    def main_thread(self) -> bool:
        """As the sink wants it."""
        return self._sink.main_thread

    def write(self, frame: Frame) -> bool:
        """Pass a frame on, or not."""
        return True if self._paused() else self._sink.write(frame)

    def close(self, *, completed: bool) -> None:
        """Close the sink."""
        self._sink.close(completed=completed)
