"""Copy sound, subtitles and fonts of the input into the output, beside the stylized video.

The input is opened a second time and read in step with the written video, so that memory use does not depend on the
length of the clip, and the tracks are interleaved in the output.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import AttachmentStream, DataStream, Discard, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from rtstyle.media.codecs import Container
from rtstyle.media.container import open_input, video_stream
from rtstyle.sinks.audio_transcoder import AudioTranscoder
from rtstyle.sinks.subtitle_transcoder import TEXT_CODECS, SubtitleTranscoder

_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_BYTES", "NUMBER_OF_FRAMES", "_STATISTICS_", "ENCODER")
"""Prefixes of Matroska's statistics tags, which are wrong for a track that was cut or re-encoded."""

_ABOUT_THE_FILE = ("MAJOR_BRAND", "MINOR_VERSION", "COMPATIBLE_BRANDS", "ENCODER")
"""Tags that describe the container, not the film."""

_QUICKTIME_LANGUAGES = {
    "bod": "tib",
    "cym": "wel",
    "cze": "ces",
    "deu": "ger",
    "ell": "gre",
    "eus": "baq",
    "fas": "per",
    "fre": "fra",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "rum": "ron",
    "slo": "slk",
    "sqi": "alb",
    "swe": "sve",
    "zho": "chi",
}
"""Language code → the code that QuickTime's muxer knows; it drops the language of all others."""

_INTERLEAVED_S = 10
"""Largest distance in a file between packets of the same time, seconds."""


@dataclass(frozen=True)
class TrackSource:
    """A clip whose tracks and metadata are copied.

    Attributes:
        name: file or URL.
        origin_s: time of the input that becomes 0 in the output, seconds.
        start_s, end_s: packets before ``start_s`` and from ``end_s`` on are left out; ``None`` for no limit.
        audio: copy the sound.
    """

    name: str
    origin_s: Fraction = Fraction(0)
    start_s: Fraction | None = None
    end_s: Fraction | None = None
    audio: bool = True


@dataclass
class _Track:
    """One track: how to convert its packets (``None`` flushes), and where they go.

    ``last_dts`` is that of the last packet, in its own time base; the muxer requires it to grow.
    """

    convert: Callable[[Packet[Stream] | None], list[Packet[Stream]]]
    target: Stream
    last_dts: int | None = None


class TrackRemuxer:
    """Copies tracks from a clip to an output, re-encoding those that its container cannot hold.

    Args:
        clip: where the tracks come from.
        output: receives tracks and metadata now, packets later; its header must not be written yet.
        kind: container of the output.

    Attributes:
        warnings: tracks that were re-encoded or left out, and other losses, one line each.

    Raises:
        SourceError: the clip cannot be opened a second time.
    """

    def __init__(self, clip: TrackSource, output: OutputContainer, kind: Container) -> None:
        self.warnings: list[str] = []
        self._clip = clip
        self._output = output
        self._kind = kind
        self._input = open_input(clip.name)
        self._tracks: dict[int, _Track] = {}
        self._texts: list[SubtitleTranscoder] = []
        self._video = video_stream(self._input, clip.name)
        for stream in self._input.streams:
            self._add(stream)
        self._copy_metadata()
        if clip.start_s is not None:
            self._seek(clip.start_s)
        self._pending: Packet[Stream] | None = None
        self._packets = self._read()

    def copy_video_metadata(self, target: VideoStream) -> None:
        """Copy language, title and disposition of the video track."""
        _copy_description(self._video, target, self._kind)

    def write_until(self, time_s: Fraction | None) -> None:
        """Write the packets up to a time of the input, seconds; ``None`` for all that are left.

        Raises:
            av.FFmpegError, OSError: the output cannot be written.
        """
        while True:
            packet = next(self._packets, None) if self._pending is None else self._pending
            self._pending = None
            if packet is None:
                return
            if time_s is not None and _start_s(packet) > time_s:
                self._pending = packet
                return
            self._write(packet)

    def finish(self) -> None:
        """Write the rest of every track."""
        self.write_until(None)
        for track in self._tracks.values():
            self._mux(track, track.convert(None))
        lost = sum(text.lost for text in self._texts)
        if lost:
            self.warnings.append(f"subtitles lost: {lost} (damaged, or not in UTF-8)")

    def close(self) -> None:
        """Close the input; may be called twice."""
        self._input.close()

    def _add(self, stream: Stream) -> None:
        """Copy or convert a track, or warn that it is left out."""
        if stream.index == self._video.index or (stream.type == "audio" and not self._clip.audio):
            return
        if isinstance(stream, AttachmentStream):
            self._attach(stream)
            return
        if isinstance(stream, DataStream) and "timecode" in stream.metadata:
            return  # the muxer creates a new one from the video's metadata
        track = self._copied(stream) or self._converted(stream)
        if track is None:
            self.warnings.append(f"the {_title(stream)} is left out: {self._kind.format} cannot hold it")
            return
        _copy_description(stream, track.target, self._kind)
        self._tracks[stream.index] = track

    def _copied(self, stream: Stream) -> _Track | None:
        if isinstance(stream, VideoStream | DataStream) or not _holds(self._kind, stream):
            return None
        target = self._output.add_stream_from_template(stream)

        def copy(packet: Packet[Stream] | None) -> list[Packet[Stream]]:
            if packet is None:
                return []
            packet.stream = target
            return [packet]

        return _Track(copy, target)

    def _converted(self, stream: Stream) -> _Track | None:
        if getattr(stream, "codec_context", None) is None:  # no decoder, whatever the type says
            return None
        if isinstance(stream, AudioStream):
            sound = AudioTranscoder(stream, self._output, self._kind.audio_encoder)
            self.warnings.append(f"the {_title(stream)} is re-encoded: {self._kind.format} cannot hold it as it is")
            return _Track(sound, sound.target)
        if isinstance(stream, SubtitleStream) and stream.codec_context.name in TEXT_CODECS and self._kind.text_encoder:
            target = cast("SubtitleStream", self._output.add_stream(self._kind.text_encoder))
            text = SubtitleTranscoder(stream, target)
            self._texts.append(text)
            return _Track(text, target)
        return None

    def _attach(self, stream: AttachmentStream) -> None:
        if self._kind.format == "matroska" and stream.data:
            self._output.add_attachment(stream.name or "attachment", stream.mimetype or "", stream.data)

    def _copy_metadata(self) -> None:
        output = self._output.metadata
        output.update({k: v for k, v in self._input.metadata.items() if k.upper() not in _ABOUT_THE_FILE})
        flags = self._output.container_options.get("movflags")
        if flags and any(key.startswith("com.apple.quicktime.") for key in output):
            # A phone's location and model fit no classic MP4 field; without this flag they are dropped.
            self._output.container_options["movflags"] = f"{flags}+use_metadata_tags"
        if self._clip.start_s is None and self._clip.end_s is None:
            self._output.set_chapters(self._input.chapters())

    def _seek(self, start_s: Fraction) -> None:
        # A subtitle may begin a little before, and so may a packet of sound, which never lasts a second.
        try:
            self._input.seek(int((start_s - 1) * av.time_base))
        except (av.FFmpegError, OSError):
            return  # reading from the beginning finds everything as well

    def _read(self) -> Iterator[Packet[Stream]]:
        """Yield the packets of the copied tracks within the range, until the end or until damage stops reading."""
        wanted = [self._input.streams[index] for index in self._tracks]
        if not wanted:
            return
        for stream in self._input.streams:
            if stream.index not in self._tracks:
                stream.discard = Discard.all
        try:
            for packet in self._input.demux(*wanted):
                if self._in_range(packet):
                    yield packet
                elif self._far_beyond(packet):
                    return
        except (av.FFmpegError, OSError) as error:
            self.warnings.append(f"sound and subtitles end early: {error}")

    def _in_range(self, packet: Packet[Stream]) -> bool:
        if not packet.size or packet.pts is None:
            return False
        start_s, end_s = self._clip.start_s, self._clip.end_s
        if end_s is not None and _start_s(packet) >= end_s:
            return False
        return start_s is None or _start_s(packet) >= start_s

    def _far_beyond(self, packet: Packet[Stream]) -> bool:
        """Return True so long after the end that no track can have packets left before it."""
        end_s = self._clip.end_s
        return end_s is not None and _start_s(packet) >= end_s + _INTERLEAVED_S

    def _write(self, packet: Packet[Stream]) -> None:
        track = self._tracks[packet.stream_index]
        shift = round(self._clip.origin_s / packet.time_base)
        packet.pts = (packet.pts or 0) - shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        self._mux(track, track.convert(packet))

    def _mux(self, track: _Track, packets: list[Packet[Stream]]) -> None:
        for packet in packets:
            dts = packet.dts
            if dts is not None and track.last_dts is not None and dts <= track.last_dts:
                packet.dts = dts = track.last_dts + 1
                packet.pts = max(dts, packet.pts or dts)
            track.last_dts = dts
            self._output.mux(packet)


def _holds(kind: Container, stream: Stream) -> bool:
    """Try the muxer by writing a header into memory: some accept a track first and refuse it then."""
    try:
        with av.open(io.BytesIO(), "w", format=kind.format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def _copy_description(source: Stream, target: Stream, kind: Container) -> None:
    kept = {k: v for k, v in source.metadata.items() if not k.upper().startswith(_STATISTICS)}
    if kind.format == "mov" and "language" in kept:
        kept["language"] = _QUICKTIME_LANGUAGES.get(kept["language"], kept["language"])
    target.metadata.update(kept)
    target.disposition = source.disposition


def _start_s(packet: Packet[Stream]) -> Fraction:
    """Return when a packet begins, seconds of the input."""
    return (packet.pts or 0) * packet.time_base


def _title(stream: Stream) -> str:
    """Describe a track, e.g. ``subtitle track 3 (dvb_subtitle, deu)``."""
    codec = stream.codec_context.name if stream.codec_context is not None else stream.name or "unknown"
    language = stream.metadata.get("language")
    return f"{stream.type} track {stream.index} ({codec}{f', {language}' if language else ''})"
