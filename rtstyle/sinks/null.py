"""The sink that throws frames away, for measuring everything else."""

from __future__ import annotations

from rtstyle.frame import Frame


class NullSink:
    """Takes every frame at once and keeps none."""

    name = "null"
    main_thread = False

    def write(self, frame: Frame) -> bool:  # noqa: ARG002 - the name belongs to the contract
        """Forget the frame."""
        return True

    def close(self, *, completed: bool) -> None:
        """Nothing to close."""
