"""Deinterlaces the pictures that are interlaced by their own word or their container's, and leaves others alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av import VideoFrame
from av.filter import Graph
from av.video.stream import VideoStream

_OWN_FLAG = frozenset(
    {
        "cfhd",
        "dnxhd",
        "dvvideo",
        "ffv1",
        "h264",
        "hevc",
        "magicyuv",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "prores",
        "utvideo",
        "vc1",
        "vvc",
        "wmv3",
    }
)
"""Codecs that state for each picture whether it is interlaced, and know better than the container."""

_TOP_FIRST, _BOTTOM_FIRST = (2, 5), (3, 4)
"""FFmpeg's AVFieldOrder: TT and BT show the upper field first, BB and TB the lower one."""


def stated_parity(stream: VideoStream) -> str | None:
    """Return which field comes first in all pictures, as ``bwdif`` calls it, if only the container can know."""
    context = stream.codec_context
    if context.name in _OWN_FLAG:
        return None
    if context.field_order in _TOP_FIRST:
        return "tff"
    return "bff" if context.field_order in _BOTTOM_FIRST else None


class Deinterlacer:
    """Passes pictures through; from the first interlaced one on, through FFmpeg's filter ``bwdif``.

    A clip without interlaced pictures never enters the filter, which takes time and delays each picture by one.

    Args:
        parity: ``tff`` or ``bff`` if all pictures are interlaced, whatever they say; see ``stated_parity``.

    Attributes:
        changed: True if the newest picture that was passed on was interlaced.
    """

    def __init__(self, parity: str | None = None) -> None:
        self.changed = False
        self._parity = parity
        self._graph: Graph | None = None
        self._format: tuple[object, ...] = ()
        self._waiting: deque[VideoFrame] = deque()

    @property
    def began(self) -> bool:
        """True from the first interlaced picture on: pictures depend on their neighbours from there."""
        return self._graph is not None

    def __call__(self, pictures: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield each picture once, in order, with its own time."""
        for picture in pictures:
            if self._graph is None and not self._is_interlaced(picture):
                yield picture
                continue
            form = (picture.width, picture.height, picture.format.name, picture.time_base)
            if self._graph is None or form != self._format:
                yield from self._flush()
                self._graph, self._format = _open(picture, self._parity), form
            self._waiting.append(picture)
            self._graph.vpush(picture)
            yield from self._finished(self._graph)
        yield from self._flush()

    def _flush(self) -> Iterator[VideoFrame]:
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._finished(self._graph)
            self._waiting.clear()

    def _finished(self, graph: Graph) -> Iterator[VideoFrame]:
        while True:
            try:
                picture = graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            original = self._waiting.popleft()
            # The filter counts in half units, for two pictures from each.
            picture.pts, picture.time_base = original.pts, original.time_base
            picture.duration = original.duration
            self.changed = self._is_interlaced(original)
            yield picture

    def _is_interlaced(self, picture: VideoFrame) -> bool:
        return picture.interlaced_frame or self._parity is not None


def _open(picture: VideoFrame, parity: str | None) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=Fraction(picture.time_base or 1),
    )
    which = "interlaced" if parity is None else "all"
    bwdif = graph.add("bwdif", mode="send_frame", parity=parity or "auto", deint=which)
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph
