"""Decodes the pictures of a range of a clip, and continues after damaged parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from threading import Event
from typing import cast

import av
from av import Packet, VideoFrame
from av.stream import Stream
from av.video.stream import VideoStream

from engines.errors import SourceError
from rtstyle.media.container import open_input, video_stream
from rtstyle.media.urls import redact
from rtstyle.sources.frame_loss import FrameLoss
from rtstyle.sources.timestamps import exact_seconds


class Decoder:
    """An open clip with its first picture decoded, since only that has the true size, colours and orientation.

    Args:
        name: file or URL.
        start, end: seconds from the beginning of the clip; pictures in [start, end) are delivered.
        live: a stream that breaks off is an error; a file simply ends there.
        stop: set by the caller to end the iteration.

    Raises:
        SourceError: it cannot be opened, has no video, or no picture of the range can be decoded.
    """

    def __init__(self, name: str, start: float | None, end: float | None, live: bool, stop: Event) -> None:
        self.name = redact(name)
        self._start, self._end = exact_seconds(start), exact_seconds(end)
        self._live = live
        self._stop = stop
        self.container = open_input(name)
        try:
            self.stream = video_stream(self.container, self.name)
            # Frame threads delay pictures by one per processor.
            self.stream.thread_type = "SLICE" if live else "AUTO"
            self.origin_s = Fraction(self.container.start_time or 0, av.time_base)
            self.loss = FrameLoss(self.container, self.stream, whole=start is None and end is None and not live)
            self._seek()
            self._decoded = self._decode()
            self.first = self._first_picture()
        except BaseException:
            self.container.close()
            raise

    def pictures(self) -> Iterator[VideoFrame]:
        """Yield the pictures of the range in presentation order.

        Raises:
            SourceError: a live stream broke off.
        """
        picture: VideoFrame | None = self.first
        while picture is not None and not self._stop.is_set() and self._before_end(picture):
            yield picture
            picture = next(self._decoded, None)

    def _first_picture(self) -> VideoFrame:
        for picture in self._decoded:
            if self._start is None or picture.pts is None or self._seconds(picture) >= self._start:
                return picture
        if self._start is not None:
            problem = f"{self.name} has no picture after {float(self._start):g} s"
            raise SourceError(problem, hint="choose an earlier start")
        raise SourceError(f"no picture in {self.name} can be decoded", hint="the file is damaged or cut off")

    def _seek(self) -> None:
        """Seek to the last key frame before the start; an unseekable clip is decoded from its beginning."""
        if not self._start:
            return
        offset_s = self._start + self.origin_s
        with suppress(av.FFmpegError, OSError):
            self.container.seek(int(offset_s / (self.stream.time_base or 1)), stream=self.stream)

    def _decode(self) -> Iterator[VideoFrame]:
        try:
            for packet in self.container.demux(*self.loss.streams_to_watch(self.container)):
                if self._stop.is_set():
                    return
                self.loss.packet(packet)
                # packet.stream_index is always 0 in the packet that flushes the decoder.
                if packet.stream.index == self.stream.index:
                    yield from self._decode_packet(packet)
        except (av.FFmpegError, OSError) as error:
            if self._live:
                silent = isinstance(error, (av.error.ExitError, av.error.TimeoutError))
                problem = "stopped sending" if silent else "broke off"
                raise SourceError(f"{self.name} {problem}", hint="" if silent else error.strerror or "") from error
            self.loss.undecodable()

    def _decode_packet(self, packet: Packet[Stream]) -> list[VideoFrame]:
        try:
            pictures = self.stream.decode(cast("Packet[VideoStream]", packet))
        except av.EOFError:
            return []
        except (av.FFmpegError, OSError):
            self.loss.undecodable()
            return []
        for picture in pictures:
            self.loss.picture(picture)
        return pictures

    def _seconds(self, picture: VideoFrame) -> Fraction:
        """Return the seconds from the beginning of the clip to a picture with a timestamp."""
        return Fraction(picture.pts or 0) * Fraction(picture.time_base or 1) - self.origin_s

    def _before_end(self, picture: VideoFrame) -> bool:
        return self._end is None or picture.pts is None or self._seconds(picture) < self._end
