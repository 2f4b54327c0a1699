"""Between WebRTC's frames and ours: the newest picture in, the newest painting out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from rtstyle.frame import Frame
from rtstyle.frame_queue import Link, LinkClosedError
from rtstyle.media.colour import BT601_525, UNSPECIFIED, ColourTags, RgbReader, YuvWriter
from rtstyle.sources.base import SourceInfo

CLOCK = Fraction(1, 90_000)
"""RTP's clock for video, RFC 3551, section 5."""

BROWSER_FPS = Fraction(30)
"""What browsers send unless they are asked for something else."""


class BrowserSource:
    """What a browser's camera sends, the newest picture first.

    Args:
        name: for people.
        height, width: of the pictures, pixels; they may change.
    """

    def __init__(self, name: str, height: int, width: int) -> None:
        self._info = SourceInfo(name, width, height, BROWSER_FPS, None, True)
        self._link: Link[tuple[VideoFrame, float]] = Link(1, newest_wins=True)
        self._dropped = 0

    @property
    def info(self) -> SourceInfo:
        """What is delivered."""
        return self._info

    @property
    def replaced(self) -> int:
        """Pictures that newer ones replaced before they were fetched."""
        return self._link.dropped

    def put(self, picture: VideoFrame) -> bool:
        """Take a decoded picture; never waits.

        Returns:
            False once the source is closed.
        """
        try:
            self._link.put((picture, time.monotonic()))
        except LinkClosedError:
            return False
        return True

    def frames(self) -> Iterator[Frame]:
        """Yield the newest picture each time, until the source is closed."""
        read, start_s = RgbReader(), None
        for index, (picture, captured_s) in enumerate(self._link.receive()):
            start_s = captured_s if start_s is None else start_s
            if picture.colorspace == UNSPECIFIED:
                picture.colorspace = BT601_525  # what browsers encode, whatever the size
            rgb = read(picture, picture.height, picture.width)
            yield Frame(rgb, index, round((captured_s - start_s) / CLOCK), CLOCK, captured_s)

    def close(self) -> None:
        """End ``frames``. Twice is fine."""
        self._link.close(drain=False)


class PaintedTrack(MediaStreamTrack):
    """The video that a browser gets: always the newest painting, and none twice.

    Args:
        loop: of the connection.
    """

    kind = "video"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._home = loop  # pyee has a _loop of its own
        self._newest: VideoFrame | None = None
        self._fresh = asyncio.Event()
        self.sent = 0

    def show(self, picture: VideoFrame) -> None:
        """Send this picture next. Any thread may call it."""
        try:
            self._home.call_soon_threadsafe(self._take, picture)
        except RuntimeError:
            return  # the loop has ended, and with it the connection

    async def recv(self) -> VideoFrame:
        """The next picture, in aiortc's words.

        Raises:
            MediaStreamError: the track was stopped.
        """
        await self._fresh.wait()
        self._fresh.clear()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        self.sent += 1
        return self._newest

    def stop(self) -> None:
        """End the track, also a ``recv`` that waits."""
        super().stop()
        self._fresh.set()

    def _take(self, picture: VideoFrame) -> None:
        self._newest = picture
        self._fresh.set()


class ViewersSink:
    """Paintings as video frames, to everybody who watches.

    Args:
        tracks: gives those who watch now.
    """

    def __init__(self, tracks: Callable[[], list[PaintedTrack]]) -> None:
        self._tracks = tracks
        self._writer: YuvWriter | None = None
        self._size = (0, 0)
        self._last_pts = -1
        self._start_s: float | None = None

    @property
    def name(self) -> str:
        """``web``."""
        return "web"

    @property
    def main_thread(self) -> bool:
        """Any thread will do."""
        return False

    def write(self, frame: Frame) -> bool:
        """Hand one painting to all."""
        tracks = self._tracks()
        if not tracks:
            return True
        # Chroma has half the size, and encoders take even sides only.
        size = (frame.rgb.shape[0] // 2 * 2, frame.rgb.shape[1] // 2 * 2)
        if self._writer is None or size != self._size:
            self._writer, self._size = YuvWriter(ColourTags(BT601_525), "yuv420p", *size), size
        picture = self._writer(frame.rgb)
        picture.pts, picture.time_base = self._time(frame), CLOCK
        for track in tracks:
            track.show(picture)
        return True

    def close(self, *, completed: bool) -> None:
        """Nothing is open."""

    def _time(self, frame: Frame) -> int:
        """When it was captured, on RTP's clock, and later than the one before."""
        if self._start_s is None:
            self._start_s = frame.captured_s
        self._last_pts = max(self._last_pts + 1, round((frame.captured_s - self._start_s) / CLOCK))
        return self._last_pts
