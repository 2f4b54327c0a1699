"""The interface of a source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rtstyle.frame import Frame, SourceInfo


class Source(Protocol):
    """A producer of frames. The constructor opens it, or raises SourceError."""

    @property
    def info(self) -> SourceInfo:
        """What the source delivers."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order until the end. The size may change from frame to frame.

        Raises:
            SourceError: the device or the stream failed.
        """
        ...

    def close(self) -> None:
        """Release the device and end a blocked ``frames``. May be called from any thread, and twice."""
        ...


def notice_of(source: Source) -> str:
    """Return what is wrong with a source right now, for people; empty while pictures arrive.

    A source that reconnects has an attribute ``notice``, which any thread may read. While it is lost, it repeats its
    last picture in frames with the same ``notice``. Other sources have no notice: they end or raise.
    """
    return str(getattr(source, "notice", ""))
