"""File source: frames of a video file or a stream."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, cast

import av
from av import VideoFrame
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer, Type

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.frame import Alpha, Frame, SourceInfo
from rtstyle.media.clock import TS_DISCONT
from rtstyle.media.colour import ColourTags, RgbReader, has_alpha, hdr_name
from rtstyle.media.container import not_a_film, video_streams
from rtstyle.media.matroska import is_cut_off
from rtstyle.media.resize import size_for_height
from rtstyle.media.urls import SEGMENTED, is_url
from rtstyle.sources.decoder import Decoder
from rtstyle.sources.orientation import Orientation
from rtstyle.sources.pacing import Pace
from rtstyle.sources.sound_tap import ArrivalClock, SoundTap
from rtstyle.sources.timestamps import Timeline, nominal_fps

if TYPE_CHECKING:
    from rtstyle.sound.feed import SoundFeed

_LATE_S = 10
"""A file whose first timestamp is this far from 0 was cut from a running stream, seconds."""

_SHORT_S = 1.0
"""A clip that stops this much before its stated length broke off, seconds."""


@dataclass(frozen=True)
class Flaws:
    """What was unusual about the pictures of a clip.

    Attributes:
        undecodable: packets that could not be decoded.
        corrupt: pictures that were decoded with errors.
        interlaced: pictures that were deinterlaced.
        transparent: there were transparent parts.
        jumps: of the clip's clock.
        repaired: frames without a valid timestamp.
    """

    undecodable: int = 0
    corrupt: int = 0
    interlaced: int = 0
    transparent: bool = False
    jumps: int = 0
    repaired: int = 0


class FileSource:
    """Reads the frames of a clip or stream, upright, in sRGB, with their own timestamps.

    Damaged parts are skipped. After the end, ``frames_lost`` and ``warnings`` report them.

    Args:
        name: file or URL.
        height: resize to this height, pixels, keeping the proportions; ``None`` keeps the size.
        start, end: seconds from the beginning of the clip; frames in [start, end) are delivered.
        live: deliver in real time, as a camera would. The frames of a stream that its sender paces are delivered as
            they arrive.
        video_stream: which video stream to read, from 1; ``None`` for the film, see ``container.video_stream``.
        hwaccel: what decodes, one of ``hardware_decoding.HWACCELS``; the processor where that does not work.
        keep_alpha: deliver transparency in ``Frame.alpha``; otherwise it is shown on black.
        container: open container to read instead, in which nothing can be sought; ``name`` is for people then.
        sound: takes the sound of a live clip or stream; ``LoopSource`` aligns it with its own clock.

    Attributes:
        sound: the feed that takes the sound.
        transparent: whether frames have ``alpha``.

    Raises:
        SourceError: no such file, not a video, or no frame of the range can be decoded.
    """

    def __init__(
        self,
        name: str,
        *,
        height: int | None = None,
        start: float | None = None,
        end: float | None = None,
        live: bool = False,
        video_stream: int | None = None,
        hwaccel: str = "none",
        keep_alpha: bool = False,
        container: InputContainer | None = None,
        sound: SoundFeed | None = None,
    ) -> None:
        self.sound = sound
        self.warnings: list[str] = []
        self.frames_lost = 0
        self.end_pts: int | None = None
        self._name, self._end = name, end
        self._path = None if container is not None or is_url(name) else Path(name)
        self._skips: Callable[[int], bool] = lambda _: False
        self._closed = Event()
        self._lock = Lock()
        self._reading = False
        self._stream = live and is_url(name)
        clip = (name, start, end, self._stream, self._closed, video_stream)
        try:
            self._decoder = Decoder(*clip, hwaccel, container, sound)
        except SourceError:
            if hwaccel == "none":
                raise
            self._decoder = Decoder(*clip, sound=sound)  # a chip took the clip, but cannot decode it
        self._pace: Pace | None = None
        self._arrival = ArrivalClock()
        if live and not self._paced_by_sender():
            self._pace = Pace(self._closed, late_s=1.0, early_s=10.0) if self._stream else Pace(self._closed)
        first, stream = self._decoder.first, self._decoder.stream
        self._orientation = Orientation.of(first)
        self._height = height
        self.transparent = keep_alpha and has_alpha(first)
        self._fps = nominal_fps(stream)
        self._time_base = Fraction(first.time_base or stream.time_base or Fraction(1, 1000))
        self._timeline = Timeline(self._time_base, self._fps)
        self._colour = ColourTags.of(first)
        self._to_rgb = RgbReader()
        upright = size_for_height(*self._orientation.size(first.height, first.width), height)
        count = None if live else self._expected_frames(start, end)
        has_sound = bool(self._decoder.container.streams.audio)
        self._info = SourceInfo(self._decoder.name, upright[1], upright[0], self._fps, count, live, sound=has_sound)
        self._coded_aspect = self._decoder.coded_aspect
        # A broadcast has no aspect ratio but that of its pictures, and the probe may have seen one of another part.
        broadcast = self._decoder.container.format.flags & TS_DISCONT
        self._aspect = self._coded_aspect if broadcast else Fraction(stream.sample_aspect_ratio or 1)
        self.warnings += self._notes(first, video_stream)

    @property
    def info(self) -> SourceInfo:
        """What the source delivers."""
        return self._info

    @property
    def colour(self) -> ColourTags:
        """Colour tags for a file with the same colours."""
        return self._colour

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of every frame's ``pts``."""
        return self._time_base

    @property
    def first_pts(self) -> int:
        """Time of the first frame, in units of ``time_base``."""
        return self._decoder.first.pts or 0

    @property
    def begin_s(self) -> Fraction:
        """Time at which the clip begins, on the scale of its own timestamps, seconds."""
        return self._decoder.origin_s

    @property
    def origin_s(self) -> Fraction:
        """Time that should become 0 in a copy, seconds.

        Timestamps of broadcasts start anywhere, and so do those of a recording that began while a stream was running. A
        small offset of a file is kept.
        """
        starts_anywhere = self._decoder.container.format.flags & TS_DISCONT or abs(self.begin_s) > _LATE_S
        return self.begin_s if starts_anywhere else Fraction(0)

    @property
    def may_seek(self) -> bool:
        """False if pictures depend on all those before them, or on where reading began."""
        return self._decoder.clock.may_seek and not self._decoder.deinterlaces and not self._stream

    @property
    def flaws(self) -> Flaws:
        """What was unusual about the pictures decoded so far."""
        decoder = self._decoder
        return Flaws(
            decoder.loss.undecodable_packets,
            decoder.loss.corrupt_pictures,
            decoder.interlaced,
            self._to_rgb.transparent,
            decoder.clock.jumps,
            self._timeline.repaired,
        )

    @property
    def is_cut_off(self) -> bool:
        """True if the file says that more should follow, even if it states no length."""
        matroska = "matroska" in self._decoder.container.format.name
        return matroska and self._end is None and self._path is not None and is_cut_off(self._path)

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width / height of an upright pixel; ``None`` when square or unknown."""
        if self._aspect == 1:
            return None
        return 1 / self._aspect if self._orientation.transpose else self._aspect

    @property
    def tap(self) -> SoundTap | None:
        """What passes the sound on; ``None`` if there is none, or nobody wants it."""
        return self._decoder.tap

    def check_is_film(self) -> None:
        """Reject a photo; call it before ``frames``. A film of one frame is accepted.

        Raises:
            SourceError: the file holds a single picture, in a format of pictures.
        """
        if self._decoder.is_photo():
            raise not_a_film(self._decoder.name)

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order until the end of the clip or range. May be called once.

        Raises:
            SourceError: a connection broke off.
        """
        with self._lock:
            if self._closed.is_set() or self._reading:
                return
            self._reading = True
        try:
            yield from self._frames()
        finally:
            with self._lock:
                self._reading = False
                if self._closed.is_set():
                    self._decoder.container.close()

    def first_frame(self) -> Frame:
        """Return the first frame, which ``frames`` delivers all the same."""
        first = self._decoder.first
        rgb = self._orientation.apply(self._to_rgb(first, *self._size_of(first)))
        return Frame(rgb, 0, self.first_pts, self._time_base, time.monotonic())

    def skip(self, skips: Callable[[int], bool]) -> None:
        """Do not deliver the frames for whose ``pts`` a function returns True; call it before ``frames``."""
        self._skips = skips

    def skip_first(self, count: int) -> None:
        """Do not deliver the first frames; call it before ``frames``."""
        seen = itertools.count()
        self.skip(lambda _: next(seen) < count)

    def seek(self, dts: int) -> None:
        """Begin at the key frame with this decoding time, in the units of its stream; call it before ``frames``."""
        self._decoder.seek(dts)

    def close(self) -> None:
        """End ``frames`` and release the file. May be called from any thread, and twice."""
        with self._lock:
            self._closed.set()
            # A container must not be closed while another thread reads from it: then the reader closes it.
            if not self._reading:
                self._decoder.container.close()

    def _frames(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._decoder.pictures()):
            pts = self._timeline.next(picture.pts)
            self.end_pts = pts + (picture.duration or self._timeline.step)
            if self._pace is not None and not self._pace.wait(float(pts * self._time_base)):
                return
            if self._skips(pts):
                continue
            captured_s = time.monotonic()
            rgb, alpha = self._upright(picture)
            sound_s = self._align_sound(float(pts * self._time_base), captured_s)
            yield Frame(rgb, index, pts, self._time_base, captured_s, alpha=alpha, sound_s=sound_s)
        if self._closed.is_set():
            return
        if self._end is None and self.end_pts is not None:
            self.end_pts = max(self.end_pts, self._decoder.repeated_until)
        if self._stream and not self._reached_its_end():
            raise SourceError(f"{self._decoder.name} has ended")
        self.report(self.flaws, self.count_lost())

    def _align_sound(self, time_s: float, captured_s: float) -> float | None:
        """Put the sound on the clock of a picture, and return the time of the picture there."""
        if self.tap is None or not self._info.live:
            return None
        if self._pace is not None:
            offset_s = self._pace.start_s
            self.tap.align(offset_s)
        else:
            offset_s = self._arrival.offset_s(time_s, captured_s)
            self.tap.align(offset_s if self._arrival.settled else None)
        return time_s + offset_s

    def _upright(self, picture: VideoFrame) -> tuple[RGB, Alpha | None]:
        size, orientation = self._size_of(picture), self._orientation
        if not (self.transparent and has_alpha(picture)):
            return orientation.apply(self._to_rgb(picture, *size)), None
        rgb, alpha = self._to_rgb.with_alpha(picture, *size)
        return orientation.apply(rgb), orientation.apply(alpha)

    def _size_of(self, picture: VideoFrame) -> tuple[int, int]:
        """Return the (height, width) to resize a stored picture to; all frames have the same pixel aspect."""
        height, width = picture.height, picture.width
        if (height, width) != (self._decoder.first.height, self._decoder.first.width):
            width = max(1, round(width * self._decoder.coded_aspect / self._coded_aspect))
        upright = size_for_height(*self._orientation.size(height, width), self._height)
        return self._orientation.size(*upright)

    def _notes(self, first: VideoFrame, number: int | None) -> Iterator[str]:
        """Yield what there is to say about the clip before it is read."""
        count = len(video_streams(self._decoder.container))
        if number is None and count > 1:
            size = f"{first.width}×{first.height}"
            choose = "--video-stream, in Python video_stream, chooses another"
            yield f"video streams: {count}; the one of {size} is read ({choose})"
        hdr = hdr_name(first)
        if hdr is not None:
            yield f"{hdr} high dynamic range is converted to standard BT.709 colours"
        if Type.A53_CC in cast("SideDataContainer", first.side_data):
            yield "closed captions inside the pictures are lost"

    def _paced_by_sender(self) -> bool:
        """Return True for a stream that its sender delivers in real time."""
        container = self._decoder.container
        return self._stream and not container.duration and container.format.name.split(",")[0] not in SEGMENTED

    def _reached_its_end(self) -> bool:
        """Return True for a clip played to its stated length. A stream without a length should never end."""
        length_s = (self._decoder.container.duration or 0) / av.time_base
        if self._decoder.clock.jumps:  # it was taken from the last timestamp
            return length_s > 0
        return 0 < length_s <= float((self.end_pts or 0) * self._time_base - self.begin_s) + _SHORT_S

    def count_lost(self) -> int:
        """Return how many of the frames so far could not be decoded; after the end, of all frames."""
        return self._decoder.loss.count()

    def report(self, flaws: Flaws, frames_lost: int) -> None:
        """Collect what was lost and changed, after the end.

        Args:
            flaws: in all pictures that were read, here or in other processes.
            frames_lost: frames of the clip that could not be decoded.
        """
        self.frames_lost = frames_lost
        if frames_lost:
            self.warnings.append(f"frames lost: {frames_lost}; the clip is damaged or cut off")
        elif self.is_cut_off:
            self.warnings.append("the clip is cut off; it ends early")
        if flaws.corrupt:
            self.warnings.append(f"frames damaged: {flaws.corrupt}; kept as far as they could be decoded")
        if flaws.interlaced:
            self.warnings.append(f"interlaced frames: {flaws.interlaced}; deinterlaced")
        if flaws.transparent:
            self.warnings.append("transparent parts are shown on black")
        if flaws.jumps:
            self.warnings.append(f"the clock of the recording jumps: {flaws.jumps}; its parts are joined without a gap")
        if flaws.repaired:
            self.warnings.append(f"frames without a valid timestamp: {flaws.repaired}; new ones were assigned")

    def _expected_frames(self, start: float | None, end: float | None) -> int | None:
        """Return the number of frames in the range, as far as the container states it."""
        count = self._decoder.stream.frames
        if count and start is None and end is None:
            return count
        duration_s = (self._decoder.container.duration or 0) / av.time_base
        if duration_s <= 0 or not self._fps:
            return None
        return max(1, round((min(end or duration_s, duration_s) - (start or 0.0)) * float(self._fps)))
