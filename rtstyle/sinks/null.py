"""Null sink: discard frames, to measure everything else."""

from __future__ import annotations

from rtstyle.frame import Frame


class NullSink:
    """Discards every frame at once."""

    name = "null"
    main_thread = False

    def write(self, frame: Frame) -> bool:  # noqa: ARG002 - part of the interface
        """Discard the frame."""
        return True

    def close(self, *, completed: bool) -> None:
        """Do nothing."""
