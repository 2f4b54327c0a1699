"""The interface of sinks."""

from __future__ import annotations

from typing import Protocol

from rtstyle.frame import Frame


class Sink(Protocol):
    """Takes stylized frames. Its constructor opens it, or raises SinkError.

    A sink that may drop frames, or lose its connection for a while, also has the attributes ``dropped`` and ``state``,
    which any thread may read; see ``dropped_by`` and ``state_of``.
    """

    @property
    def name(self) -> str:
        """Display name, e.g. ``out.mp4`` or ``window``."""

    @property
    def main_thread(self) -> bool:
        """True if ``write`` must be called from the main thread, as for windows on macOS."""

    def write(self, frame: Frame) -> bool:
        """Show, encode or send one frame.

        Returns:
            False if the user has asked to stop, e.g. closed the window.

        Raises:
            SinkError: the device is gone, the disk is full.
        """

    def close(self, *, completed: bool) -> None:
        """Finish, or with ``completed=False`` drop what is unfinished. May be called twice.

        Raises:
            SinkError: the end of the file cannot be written.
        """


def dropped_by(sink: Sink) -> int:
    """Return how many frames a sink took but dropped, because it or its network was too slow."""
    return int(getattr(sink, "dropped", 0))


def state_of(sink: Sink) -> str:
    """Return the state of a sink: ``open``, or e.g. ``connected``."""
    return str(getattr(sink, "state", "open"))
