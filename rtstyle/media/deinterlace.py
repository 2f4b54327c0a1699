"""Deinterlaces the pictures that are marked as interlaced, and leaves the others alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av import VideoFrame
from av.filter import Graph


class Deinterlacer:
    """Passes pictures through; from the first interlaced one on, through FFmpeg's filter ``bwdif``.

    A clip without interlaced pictures never enters the filter, which takes time and delays each picture by one.

    Attributes:
        count: interlaced pictures so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._graph: Graph | None = None
        self._format: tuple[object, ...] = ()
        self._waiting: deque[VideoFrame] = deque()

    def __call__(self, pictures: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield each picture once, in order, with its own time."""
        for picture in pictures:
            self.count += picture.interlaced_frame
            if not self.count:
                yield picture
                continue
            form = (picture.width, picture.height, picture.format.name, picture.time_base)
            if self._graph is None or form != self._format:
                yield from self._flush()
                self._graph, self._format = _open(picture), form
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
            yield picture


def _open(picture: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=Fraction(picture.time_base or 1),
    )
    bwdif = graph.add("bwdif", mode="send_frame", parity="auto", deint="interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph
