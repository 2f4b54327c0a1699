"""What every source promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from rtstyle.frame import Frame


@dataclass(frozen=True)
class SourceInfo:
    """What a source delivers, as far as it is known before the first frame.

    Attributes:
        name: for people, e.g. ``clip.mp4`` or ``camera 0``.
        width, height: of the upright frames, pixels.
        fps: nominal frames per second; 0 when unknown.
        frame_count: expected number of frames; ``None`` when unknown or endless.
        live: True when frames that are not fetched in time are worthless (camera, stream).
        pixel_format: how a camera sends its pictures, e.g. ``MJPG``; empty when unknown.
    """

    name: str
    width: int
    height: int
    fps: Fraction
    frame_count: int | None
    live: bool
    pixel_format: str = ""


class Source(Protocol):
    """Frames from somewhere. Made open and ready, or not at all (SourceError)."""

    @property
    def info(self) -> SourceInfo:
        """What is delivered."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order until the end. The size may change from frame to frame.

        Raises:
            SourceError: the device or the stream failed.
        """
        ...

    def close(self) -> None:
        """Release the device. Safe from another thread, makes a blocked ``frames`` end; twice is fine."""
        ...


def notice_of(source: Source) -> str:
    """What is wrong with a source at this moment, for people; empty as long as pictures come.

    A source that can be lost and come back has an attribute ``notice``, which any thread may read, and repeats its last
    picture meanwhile, as frames with the same ``notice``. Other sources never have one: they end, or raise.
    """
    return str(getattr(source, "notice", ""))
