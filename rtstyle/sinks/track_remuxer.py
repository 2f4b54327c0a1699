"""Sound, subtitles and fonts of the input, carried over beside the painted video.

The input is opened a second time and read in step with the video that is written, so that memory stays the
same however long the clip is, and the tracks lie interleaved in the output.
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
from rtstyle.sinks.audio_transcoder import SoundEncoder
from rtstyle.sinks.subtitle_transcoder import TEXT_CODECS, TextConverter
from rtstyle.sources.container import open_input, video_stream

_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_BYTES", "NUMBER_OF_FRAMES", "_STATISTICS_", "ENCODER")
"""Matroska's notes about a track, in capitals; they are wrong for a track that was cut or encoded anew."""

_ABOUT_THE_FILE = ("MAJOR_BRAND", "MINOR_VERSION", "COMPATIBLE_BRANDS", "ENCODER")
"""What a container says of itself and not of the film, in capitals."""


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
"""Languages with two codes, or an odd one in QuickTime: the muxer of .mov knows only the second and drops others."""


_INTERLEAVED_S = 10
"""How far apart two tracks lie in a file at the same moment, at most, seconds."""


@dataclass(frozen=True)
class Template:
    """The clip whose tracks and metadata go along.

    Attributes:
        name: file or URL.
        origin_s: moment of the input that becomes 0 in the output, seconds.
        start_s, end_s: packets before and from these moments on are left out; ``None`` for no limit.
        audio: False leaves the sound out.
    """

    name: str
    origin_s: Fraction = Fraction(0)
    start_s: Fraction | None = None
    end_s: Fraction | None = None
    audio: bool = True


@dataclass
class _Track:
    """One track on its way.

    Attributes:
        convert: packet of the input → packets of the output; ``None`` flushes.
        target: where they go.
        last_dts: of the last packet, in its own time base; the muxer wants it to grow.
    """

    convert: Callable[[Packet[Stream] | None], list[Packet[Stream]]]
    target: Stream
    last_dts: int | None = None


class Tracks:
    """Carries tracks from a clip to an output that is not yet started.

    Args:
        template: the clip.
        output: receives the tracks now, the packets later, and the metadata.
        kind: of the output.

    Raises:
        SourceError: the clip cannot be opened a second time.
    """

    def __init__(self, template: Template, output: OutputContainer, kind: Container) -> None:
        self.warnings: list[str] = []
        self._template = template
        self._output = output
        self._kind = kind
        self._input = open_input(template.name)
        self._tracks: dict[int, _Track] = {}
        self._texts: list[TextConverter] = []
        self._video = video_stream(self._input, template.name)
        for stream in self._input.streams:
            self._add(stream)
        self._copy_metadata()
        if template.start_s is not None:
            self._seek(template.start_s)
        self._pending: Packet[Stream] | None = None
        self._packets = self._read()

    def copy_video_metadata(self, target: VideoStream) -> None:
        """Language, title and disposition of the video track."""
        _copy_description(self._video, target, self._kind)

    def write_until(self, time_s: Fraction | None) -> None:
        """Write what comes up to a moment of the input, seconds; ``None`` for all that is left.

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
            self.warnings.append(f"subtitles lost: {lost}, they are damaged or not in UTF-8")

    def close(self) -> None:
        """Release the input. Twice is fine."""
        self._input.close()

    def _add(self, stream: Stream) -> None:
        """Find a way to carry one track, or say that there is none."""
        if stream.index == self._video.index or (stream.type == "audio" and not self._template.audio):
            return
        if isinstance(stream, AttachmentStream):
            self._attach(stream)
            return
        if isinstance(stream, DataStream) and "timecode" in stream.metadata:
            return  # the muxer makes a new one from the video's metadata
        track = self._copied(stream) or self._converted(stream)
        if track is None:
            self.warnings.append(f"the {_title(stream)} is left out: {self._kind.format} cannot carry it")
            return
        _copy_description(stream, track.target, self._kind)
        self._tracks[stream.index] = track

    def _copied(self, stream: Stream) -> _Track | None:
        if isinstance(stream, VideoStream | DataStream) or not _carries(self._kind, stream):
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
            sound = SoundEncoder(stream, self._output, self._kind.audio_encoder)
            self.warnings.append(f"the {_title(stream)} is encoded anew: {self._kind.format} cannot carry it as it is")
            return _Track(sound, sound.target)
        if isinstance(stream, SubtitleStream) and stream.codec_context.name in TEXT_CODECS and self._kind.text_encoder:
            target = cast("SubtitleStream", self._output.add_stream(self._kind.text_encoder))
            text = TextConverter(stream, target)
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
            # A phone's place and model fit in no classic MP4 field; without this flag they are dropped.
            self._output.container_options["movflags"] = f"{flags}+use_metadata_tags"
        if self._template.start_s is None and self._template.end_s is None:
            self._output.set_chapters(self._input.chapters())

    def _seek(self, start_s: Fraction) -> None:
        # A subtitle or a long packet may begin a little before; one second is more than any packet of sound lasts.
        try:
            self._input.seek(int((start_s - 1) * av.time_base))
        except (av.FFmpegError, OSError):
            return  # reading from the beginning finds everything too

    def _read(self) -> Iterator[Packet[Stream]]:
        """Packets of the carried tracks within the range, until the end or until the input is too damaged."""
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
        start_s, end_s = self._template.start_s, self._template.end_s
        if end_s is not None and _start_s(packet) >= end_s:
            return False
        return start_s is None or _start_s(packet) >= start_s

    def _far_beyond(self, packet: Packet[Stream]) -> bool:
        """So long after the end that no other track can have a packet left before it."""
        end_s = self._template.end_s
        return end_s is not None and _start_s(packet) >= end_s + _INTERLEAVED_S

    def _write(self, packet: Packet[Stream]) -> None:
        track = self._tracks[packet.stream_index]
        shift = round(self._template.origin_s / packet.time_base)
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


def _carries(kind: Container, stream: Stream) -> bool:
    """Ask the muxer itself, by writing a header into memory: some say yes first and no then."""
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
    """When a packet begins, seconds of the input."""
    return (packet.pts or 0) * packet.time_base


def _title(stream: Stream) -> str:
    """A track, for people: ``subtitle track 3 (dvb_subtitle, deu)``."""
    codec = stream.codec_context.name if stream.codec_context is not None else stream.name or "unknown"
    language = stream.metadata.get("language")
    return f"{stream.type} track {stream.index} ({codec}{f', {language}' if language else ''})"
