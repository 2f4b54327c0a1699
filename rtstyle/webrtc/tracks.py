"""Between WebRTC's frames and ours: newest frame in, newest stylized frame out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction

from aiortc import MediaStreamTrack
from aiortc.codecs import h264, vpx
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from rtstyle.frame import Frame, SourceInfo
from rtstyle.frame_queue import FrameQueue, QueueClosedError
from rtstyle.media.colour import BT601_525, UNSPECIFIED, ColourTags, RgbReader, YuvWriter

CLOCK = Fraction(1, 90_000)
"""RTP clock of video; RFC 3551, section 5."""

BROWSER_FPS = Fraction(30)
"""Frame rate that browsers send by default."""

BITRATES = (1_000_000, 4_000_000, 16_000_000)
"""Smallest, first and largest bit rate of a stylized track, bits per second.

aiortc's own, 0.5 to 3 Mbit/s, suit faces before walls; strokes are texture everywhere.
"""


class BrowserSource:
    """Frames of a browser's camera, newest first; their size may change."""

    def __init__(self, name: str, height: int, width: int) -> None:
        self.info = SourceInfo(name, width, height, BROWSER_FPS, None, True)
        self._queue: FrameQueue[tuple[VideoFrame, float]] = FrameQueue(1, newest_wins=True)

    @property
    def replaced(self) -> int:
        """Number of frames that newer ones replaced."""
        return self._queue.dropped

    def put(self, picture: VideoFrame) -> bool:
        """Queue a decoded frame, without waiting; return False once the source is closed."""
        try:
            self._queue.put((picture, time.monotonic()))
        except QueueClosedError:
            return False
        return True

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame each time, until the source is closed."""
        read, start_s = RgbReader(), None
        for index, (picture, captured_s) in enumerate(self._queue.receive()):
            start_s = captured_s if start_s is None else start_s
            if picture.colorspace == UNSPECIFIED:
                picture.colorspace = BT601_525  # what browsers encode, at any size
            rgb = read(picture, picture.height, picture.width)
            yield Frame(rgb, index, round((captured_s - start_s) / CLOCK), CLOCK, captured_s)

    def close(self) -> None:
        """End ``frames``; may be called twice."""
        self._queue.close(drain=False)


class StylizedTrack(MediaStreamTrack):
    """The video sent to a browser: always the newest stylized frame, each at most once."""

    kind = "video"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._home = loop  # pyee has a _loop of its own
        self._newest: VideoFrame | None = None
        self._fresh = asyncio.Event()
        self.sent = 0

    def show(self, picture: VideoFrame) -> None:
        """Send this frame next. Any thread may call it."""
        with suppress(RuntimeError):  # the loop has stopped, and the connection with it
            self._home.call_soon_threadsafe(self._take, picture)

    async def recv(self) -> VideoFrame:
        """Return the next frame; raise MediaStreamError, as aiortc expects, when the track was stopped."""
        await self._fresh.wait()
        self._fresh.clear()
        if self.readyState != "live" or self._newest is None:
            raise MediaStreamError
        self.sent += 1
        return self._newest

    def stop(self) -> None:
        """End the track and a waiting ``recv``."""
        super().stop()
        self._fresh.set()

    def _take(self, picture: VideoFrame) -> None:
        self._newest = picture
        self._fresh.set()


class ViewersSink:
    """Sends stylized frames to all viewers."""

    name = "web"
    main_thread = False

    def __init__(self, tracks: Callable[[], list[StylizedTrack]]) -> None:
        self._tracks = tracks
        self._writer: YuvWriter | None = None
        self._size = (0, 0)
        self._last_pts = -1
        self._start_s: float | None = None

    def write(self, frame: Frame) -> bool:
        """Send one frame to all viewers."""
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
        """Do nothing: there is nothing to close."""

    def _time(self, frame: Frame) -> int:
        """Return the capture time on the RTP clock, later than the previous one."""
        if self._start_s is None:
            self._start_s = frame.captured_s
        self._last_pts = max(self._last_pts + 1, round((frame.captured_s - self._start_s) / CLOCK))
        return self._last_pts


def raise_bitrates() -> None:
    """Make aiortc's encoders use ``BITRATES``; they have no setting for it."""
    for codec in (h264, vpx):
        for name, value in zip(("MIN_BITRATE", "DEFAULT_BITRATE", "MAX_BITRATE"), BITRATES, strict=True):
            setattr(codec, name, value)
