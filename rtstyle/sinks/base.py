"""What every sink promises."""

from __future__ import annotations

from typing import Protocol

from rtstyle.frame import Frame


class Sink(Protocol):
    """Takes painted frames. Made open and ready, or not at all (SinkError)."""

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

        Returns: False when the user has asked to stop (closed the window), True otherwise.
        Raises: SinkError: the device is gone, the disk is full.
        """
        ...

    def close(self, *, completed: bool) -> None:
        """Finish, or with ``completed=False`` drop what is unfinished. Twice is fine.

        Raises: SinkError: the end of the file cannot be written.
        """
        ...
