"""What every sink promises."""

from __future__ import annotations

from typing import Protocol

from rtstyle.frame import Frame


class Sink(Protocol):
    """Takes painted frames. Made open and ready, or not at all (SinkError).

    One that may lose frames by itself, or be out of order for a while, has ``dropped`` and ``state`` as well, which any
    thread may read; see ``dropped_by`` and ``state_of``.
    """

    @property
    def name(self) -> str:
        """For people, e.g. ``out.mp4`` or ``window``."""
        ...

    @property
    def main_thread(self) -> bool:
        """True when ``write`` must be called from the main thread (windows, on macOS above all)."""
        ...

    def write(self, frame: Frame) -> bool:
        """Show, encode or send one frame.

        Returns:
            False when the user has asked to stop (closed the window), True otherwise.

        Raises:
            SinkError: the device is gone, the disk is full.
        """
        ...

    def close(self, *, completed: bool) -> None:
        """Finish, or with ``completed=False`` drop what is unfinished. Twice is fine.

        Raises:
            SinkError: the end of the file cannot be written.
        """
        ...


def dropped_by(sink: Sink) -> int:
    """Frames that a sink took and could not use, because it or its network was too slow."""
    return int(getattr(sink, "dropped", 0))


def state_of(sink: Sink) -> str:
    """What a sink is doing, for people: ``open``, or e.g. ``connected``."""
    return str(getattr(sink, "state", "open"))
