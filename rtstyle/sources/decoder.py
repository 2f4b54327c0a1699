"""Decodes the pictures of a range of a clip, and continues after damaged parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from threading import Event
from typing import TYPE_CHECKING, cast

import av
from av import Packet, VideoCodecContext, VideoFrame
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from engines.errors import SourceError
from engines.os_errors import reason
from rtstyle.media.clock import ContinuousClock
from rtstyle.media.container import (
    broken_download,
    demux,
    encrypted,
    may_hold_stills,
    states_size,
    video_stream,
)
from rtstyle.media.deinterlace import Deinterlacer, stated_parity
from rtstyle.media.hardware_decoding import check_accelerated, open_accelerated
from rtstyle.media.urls import is_url, redact
from rtstyle.sources.frame_loss import SHORT_S, FrameLoss
from rtstyle.sources.sound_tap import SoundTap
from rtstyle.sources.timestamps import FALLBACK_FPS, BestTimes, exact_seconds, nominal_fps

if TYPE_CHECKING:
    from rtstyle.sound.feed import SoundFeed

_GEN_PTS = 0x0001
"""FFmpeg's AVFMT_FLAG_GENPTS, which PyAV sets: guess missing presentation times from the next packets."""

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codec → the decoder that reads its transparency; FFmpeg's own one ignores it."""

_KEY_DISTANCE = 1000
"""Packets to keep while looking for the last key frame before the start; streams without any start at this distance."""


class Decoder:
    """An open clip with its first picture decoded, since only that has the true size, colours and orientation.

    Args:
        name: file or URL.
        start, end: seconds from the beginning of the clip; pictures in [start, end) are delivered.
        live: a stream without a length should never end.
        stop: set by the caller to end the iteration.
        number: which video stream to decode; see ``video_stream``.
        hwaccel: what decodes; see ``hardware_decoding.open_accelerated``.
        container: open container to read instead, in which nothing can be sought; ``name`` is for people then.
        sound: takes the sound that is read beside the pictures.

    Attributes:
        tap: passes the sound on; ``None`` if there is none.
        interlaced: pictures of the range that were deinterlaced, so far.
        repeated_until: when the last of the packets ends that only repeat a picture, in the units of ``pts``.

    Raises:
        SourceError: it cannot be opened, has no video, is encrypted, or no picture of the range can be decoded.
    """

    def __init__(
        self,
        name: str,
        start: float | None,
        end: float | None,
        live: bool,
        stop: Event,
        number: int | None = None,
        hwaccel: str = "none",
        container: InputContainer | None = None,
        sound: SoundFeed | None = None,
    ) -> None:
        self.name = redact(name)
        self._start, self._end = exact_seconds(start), exact_seconds(end)
        self._live, self._is_url = live, is_url(name)
        self._stop = stop
        self.interlaced = self.repeated_until = 0
        self.container = container or open_accelerated(name, hwaccel)
        try:
            self.stream = video_stream(self.container, self.name, number)
            self._codec = _decoder_of(self.stream)
            check_accelerated(self._codec, hwaccel)
            # Frame threads delay pictures by one per processor.
            self._codec.thread_type = ThreadType.SLICE if live else ThreadType.AUTO
            # The guess is wrong where the decoder reorders pictures; ``BestTimes`` is not.
            self.container.flags &= ~_GEN_PTS
            self.origin_s = Fraction(self.container.start_time or 0, av.time_base)
            self.clock = ContinuousClock(self.container, self.stream)
            self._times = BestTimes()
            self.tap = SoundTap.of(self.container, self.stream, sound)
            self.loss = FrameLoss(self.container, self.stream, whole=start is None and end is None and not live)
            if self._start and self.clock.may_seek and container is None:
                self._seek(self._start)
            self._deinterlacer = Deinterlacer(stated_parity(self.stream))
            self._decoded: Iterator[VideoFrame] = self._deinterlacer(self._decode())
            self.first = self._first_picture()
            self._sought = False
        except BaseException:
            self.container.close()
            raise

    @property
    def coded_aspect(self) -> Fraction:
        """Width / height of a pixel as the newest picture states it; 1 if it does not."""
        return Fraction(self._codec.sample_aspect_ratio or 1)

    @property
    def deinterlaces(self) -> bool:
        """True if an interlaced picture was decoded, whether it was passed on or not."""
        return self._deinterlacer.began

    def is_photo(self) -> bool:
        """Return True for a single picture in a format of pictures; call it before ``pictures``."""
        if not may_hold_stills(self.container):
            return False
        second = next(self._decoded, None)
        if second is None:
            return self.loss.packets <= 1  # more, if the range begins at the last one
        self._decoded = chain((second,), self._decoded)
        return False

    def seek(self, dts: int) -> None:
        """Go on at the last key frame that is decoded at this time or before it, in the units of the stream."""
        self.container.seek(dts, stream=self.stream)
        self._codec.flush_buffers()
        self._times, self._sought = BestTimes(), True
        self._decoded = self._deinterlacer(self._decode())

    def pictures(self) -> Iterator[VideoFrame]:
        """Yield the pictures of the range in presentation order.

        Raises:
            SourceError: a connection broke. A file that is cut off simply ends there: it cannot be fetched again.
        """
        picture = next(self._decoded, None) if self._sought else self.first
        while picture is not None and not self._stop.is_set() and self._before_end(picture):
            self.interlaced += self._deinterlacer.changed
            yield picture
            picture = next(self._decoded, None)

    def _first_picture(self) -> VideoFrame:
        for picture in self._decoded:
            if self._start is None or picture.pts is None or self._seconds(picture) >= self._start:
                return picture
        if self._start is not None:
            problem = f"{self.name} has no picture after {float(self._start):g} s"
            raise SourceError(problem, hint="choose an earlier start")
        animated_webp = self._codec.name == "webp"
        hint = "only `rtstyle video` reads animated WebP" if animated_webp else "it is damaged, cut off or encrypted"
        raise SourceError(f"no picture in {self.name} can be decoded", hint=hint)

    def _seek(self, start_s: Fraction) -> None:
        """Seek to the last key frame before the start; an unseekable clip is decoded from its beginning."""
        # An index of decoding times, as in AVI, lists a key frame a little before it is shown.
        early_s = self.stream.codec_context.reorder_depth / (nominal_fps(self.stream) or FALLBACK_FPS)
        if start_s <= early_s:
            return
        offset_s = start_s - early_s + self.origin_s
        with suppress(av.FFmpegError, OSError):
            self.container.seek(int(offset_s / (self.stream.time_base or 1)), stream=self.stream)

    def _read(self) -> Iterator[Packet[Stream]]:
        """Yield all watched packets from here to the end, with the clock repaired."""
        watched = (*self.loss.streams_to_watch(self.container), *self.clock.streams)
        heard = None if self.tap is None else self.tap.stream
        beside = () if heard is None or heard in watched else (heard,)
        for packet in demux(self.container, *watched, *beside):
            if self._stop.is_set():
                return
            self.clock.fix(packet)
            if self.tap is not None and packet.stream is heard:
                self.tap.packet(packet)
            if packet.stream not in beside:
                yield packet

    def _read_from_start(self) -> Iterator[Packet[Stream]]:
        """Yield the packets from the last key frame before the start, where seeking does not find it."""
        packets = self._read()
        if self._start and not self.clock.may_seek:
            start = (self._start + self.origin_s) / (self.stream.time_base or 1)
            kept: deque[Packet[Stream]] = deque(maxlen=_KEY_DISTANCE)
            for packet in packets:
                if packet.stream.index != self.stream.index:
                    continue
                if packet.is_keyframe and packet.pts is not None and packet.pts <= start:
                    kept.clear()
                kept.append(packet)
                if packet.dts is None or packet.dts >= start:
                    break
            yield from kept
        yield from packets

    def _decode(self) -> Iterator[VideoFrame]:
        try:
            for packet in self._read_from_start():
                self.loss.packet(packet)
                # packet.stream_index is always 0 in the packet that flushes the decoder.
                if packet.stream.index == self.stream.index:
                    if packet.has_sidedata("encryption_info"):
                        raise encrypted(self.name)
                    yield from self._decode_packet(packet)
        except (av.FFmpegError, OSError) as error:
            self._check_connection(error)
            flush: Packet[Stream] = Packet()
            flush.time_base = Fraction(self.stream.time_base or 1)  # its pictures have this time base
            yield from self._decode_packet(flush)
        else:
            self._check_connection(None)

    def _check_connection(self, error: Exception | None) -> None:
        """Raise an error if the stream ended because its connection broke; ``error`` is what reading raised."""
        if not self._is_url:
            if error is not None:
                self.loss.undecodable()
            return
        complete, missing_s = states_size(self.container), self.loss.missing_s()
        short = missing_s is not None and missing_s > SHORT_S
        if error is None:
            broken = short and not complete and not self._live and not self._stop.is_set()
        else:
            broken = short or complete or (self._live and missing_s is None)
        silent = isinstance(error, (av.error.ExitError, av.error.TimeoutError))
        if broken and not self._live:
            raise broken_download(self.name) from error
        if broken:
            problem = "stopped sending" if silent else "broke off"
            problem += f": {reason(error)}" if error is not None and not silent else ""
            raise SourceError(f"{self.name} {problem}", hint="is the sender still running?") from error
        if silent:
            self.loss.undecodable()

    def _decode_packet(self, packet: Packet[Stream]) -> list[VideoFrame]:
        time = packet.dts if packet.pts is None else packet.pts
        if not packet.size and time is not None:
            # The picture before is shown on. The decoder would refuse the packet, or take it for the end of the clip.
            self.repeated_until = time + (packet.duration or 0)
            return []
        try:
            pictures = self._codec.decode(packet)
        except av.EOFError:
            return []
        except (av.FFmpegError, OSError):
            self.loss.undecodable()
            return []
        for picture in pictures:
            self.loss.picture(picture)
            picture.pts = self._times.of(picture)
        return pictures

    def _seconds(self, picture: VideoFrame) -> Fraction:
        """Return the seconds from the beginning of the clip to a picture with a timestamp."""
        return Fraction(picture.pts or 0) * Fraction(picture.time_base or 1) - self.origin_s

    def _before_end(self, picture: VideoFrame) -> bool:
        return self._end is None or picture.pts is None or self._seconds(picture) < self._end


def _decoder_of(stream: VideoStream) -> VideoCodecContext:
    """Return a decoder that keeps transparency, if the container says that there is some."""
    decoder = _WITH_ALPHA.get(stream.codec_context.name, "")
    tags = {name.lower(): value for name, value in stream.metadata.items()}  # FFmpeg's own files have ALPHA_MODE
    if tags.get("alpha_mode") != "1" or decoder not in av.codecs_available:
        return stream.codec_context
    return cast("VideoCodecContext", av.CodecContext.create(decoder, "r"))
