"""Copy sound, subtitles, other video tracks and fonts of the input into the output, beside the stylized video.

The input is opened a second time and read in step with the written video, so that memory use does not depend on the
length of the clip, and the tracks are interleaved in the output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import AttachmentStream, Discard, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from rtstyle.media.clock import ContinuousClock
from rtstyle.media.codecs import Container
from rtstyle.media.container import broken_download, demux, encrypted_streams, open_input, states_size, video_stream
from rtstyle.media.urls import SEGMENTED, is_url
from rtstyle.sinks.audio_transcoder import AudioTranscoder
from rtstyle.sinks.muxer_trial import PacketCheck, add_copy, can_hold
from rtstyle.sinks.subtitle_transcoder import TEXT_CODECS, SubtitleTranscoder
from rtstyle.sinks.track import Copy, Track, TrackSource, is_cover, title
from rtstyle.sinks.track_metadata import copy_description, copy_metadata, cut_chapters, later_timecode
from rtstyle.sinks.video_side_data import VideoSideData

_TS_NONSTRICT = 0x20000
"""FFmpeg's AVFMT_TS_NONSTRICT: packets may have equal times."""

_INTERLEAVED_S = 10
"""Largest distance in a file between packets of the same time, seconds."""

_SERVER_EARLY_S = 1
"""Sound may end this long before the last picture without being cut off, seconds."""

_PEEK_PACKETS, _PEEK_BYTES = 500, 8_000_000
"""How far to read ahead for the first packet of each track."""


class TrackRemuxer:
    """Copies tracks from a clip to an output, re-encoding those that its container cannot hold.

    Args:
        clip: where the tracks come from.
        output: receives tracks, metadata and packets.
        kind: container of the output.

    Attributes:
        side_data: layout and colours of the video.
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
        self._video = video_stream(self._input, clip.name, clip.video_stream)
        self._encrypted = encrypted_streams(self._input)
        self._clock = ContinuousClock(self._input, self._video)
        self.side_data = VideoSideData.of(self._video)
        if self.side_data.has_own_colours:
            self.warnings.append("colours will be wrong: only a Dolby Vision decoder knows those of this clip")
        self._tracks: dict[int, Track] = {}
        self._packets: Iterator[Packet[Stream]] = iter(())
        self._ahead: deque[Packet[Stream]] = deque()
        self._error: Exception | None = None
        self._read_s = self._written_s = Fraction(0)

    def add_tracks(self, video: VideoStream) -> None:
        """Add all tracks but the stylized one, and copy the metadata; the header must not be written yet.

        Args:
            video: the stylized track, which gets the description of the original.
        """
        clip = self._clip
        copy_metadata(self._input, self._output)
        self._describe(video)
        wanted = [stream for stream in self._input.streams if self._is_wanted(stream)]
        for stream in self._input.streams:
            if stream not in wanted and stream not in self._clock.streams:
                stream.discard = Discard.all
        covers = [stream for stream in wanted if is_cover(stream)]
        timed = [stream for stream in wanted if not is_cover(stream)]
        # Covers come first, and only once.
        self._ahead.extend(islice(self._input.demux(*covers), len(covers)) if covers else ())
        if clip.start_s is not None and self._clock.may_seek:
            self._seek(clip.start_s)
        self._packets = self._read(timed)
        self._peek(timed)
        for stream in wanted:
            self._add(stream, next((p for p in self._ahead if p.stream_index == stream.index), None))
        self._attach_files()
        begin_s = clip.start_s if clip.start_s is not None else clip.origin_s or None
        self._output.set_chapters(cut_chapters(self._input.chapters(), begin_s, clip.end_s))

    def _describe(self, target: VideoStream) -> None:
        """Copy language, title, timecode and disposition of the stylized track."""
        copy_description(self._video, target, self._kind)
        if self._clip.start_s is None:
            return
        begin_s = (self._video.start_time or 0) * (self._video.time_base or 1)
        fps = Fraction(self._video.average_rate or 0)
        frames = round((self._clip.start_s - begin_s) * fps)
        for tags in (target.metadata, self._output.metadata):
            tags.update({k: later_timecode(v, frames, fps) for k, v in tags.items() if k.lower() == "timecode"})

    def write_until(self, time_s: Fraction | None) -> None:
        """Write the packets up to a time of the input, seconds; ``None`` for all that are left.

        Raises:
            av.FFmpegError, OSError: the output cannot be written.
            SourceError: the connection to the input broke.
        """
        self._written_s = self._written_s if time_s is None else time_s
        while True:
            packet = self._ahead.popleft() if self._ahead else next(self._packets, None)
            if packet is None:
                return
            if time_s is not None and _start_s(packet) > time_s:
                self._ahead.appendleft(packet)
                return
            if packet.stream_index in self._tracks:
                self._output.mux(self._tracks[packet.stream_index].packets(packet))

    def finish(self) -> None:
        """Write the rest of every track."""
        self.write_until(None)
        for track in self._tracks.values():
            self._output.mux(track.packets(None))
            if track.lost and not track.is_subtitle:
                self.warnings.append(f"{title(track.source)}: packets lost: {track.lost} (damaged or repeated)")
        lost = sum(track.lost for track in self._tracks.values() if track.is_subtitle)
        if lost:
            self.warnings.append(f"subtitles lost: {lost} (damaged, or not in UTF-8)")
        # A server that does not say how long its file is ends every one with an error.
        complete = is_url(self._clip.name) and self._read_s > self._written_s - _SERVER_EARLY_S
        if self._error is not None and not complete:
            self.warnings.append(f"sound and subtitles end early: {self._error}")

    def close(self) -> None:
        """Close the input; may be called twice."""
        for track in self._tracks.values():
            track.close()
        self._input.close()

    def _is_wanted(self, stream: Stream) -> bool:
        if stream.index == self._video.index or isinstance(stream, AttachmentStream):
            return False
        if stream.type == "data":
            # The muxer creates the tracks of timecode and chapters from the metadata.
            is_chapters = getattr(stream, "name", "") == "bin_data" and self._input.chapters()
            return "timecode" not in stream.metadata and not is_chapters
        if stream.type == "video" and self._input.format.name in SEGMENTED:
            return False  # the same film in another quality
        return stream.type != "audio" or self._clip.audio

    def _add(self, stream: Stream, first: Packet[Stream] | None) -> None:
        """Copy or convert a track, or warn that it is left out."""
        if stream.index in self._encrypted or (first is not None and first.has_sidedata("encryption_info")):
            self.warnings.append(f"{title(stream)} is left out: it is encrypted")
            return
        if is_cover(stream) and self._kind.format == "matroska" and first is not None:
            self._attach_cover(stream, first)
            return
        track = self._copied(stream, first) or self._converted(stream)
        if track is None:
            self.warnings.append(f"{title(stream)} is left out: {self._kind.format} cannot hold it")
            return
        copy_description(stream, track.target, self._kind)
        self._tracks[stream.index] = track

    def _copied(self, stream: Stream, first: Packet[Stream] | None) -> Track | None:
        kind = self._kind
        codec = getattr(stream, "name", None) or ""
        if codec.startswith(kind.avoided) or (is_cover(stream) and kind.format != "mp4"):
            return None
        if kind.format == "mov" and not codec:  # QuickTime's muxer takes anything
            return None
        if not can_hold(kind, stream, first):
            return None
        target = add_copy(self._output, stream)
        edited = "mov" in self._input.format.name.split(",")
        convert = Copy(target, edited=edited, hides_start=kind.format in ("mp4", "mov"))
        check = None if is_cover(stream) else PacketCheck(kind, stream)
        return Track(stream, target, convert, self._clip, equal_times=self._equal_times, check=check)

    def _converted(self, stream: Stream) -> Track | None:
        convert: AudioTranscoder | SubtitleTranscoder
        if getattr(stream, "codec_context", None) is None:  # no decoder, whatever the type says
            return None
        if isinstance(stream, AudioStream):
            convert = AudioTranscoder(stream, self._output, self._kind.audio_encoder)
            change = "re-encoded in stereo" if convert.mixed_down else "re-encoded"
            self.warnings.append(f"{title(stream)} is {change}: {self._kind.format} cannot hold it as it is")
        elif isinstance(stream, SubtitleStream) and stream.codec_context.name in TEXT_CODECS:
            convert = SubtitleTranscoder(stream, self._output, self._kind.text_encoder)
            if stream.codec_context.name in ("ass", "ssa"):
                self.warnings.append(f"{title(stream)} loses its styles: {self._kind.format} cannot hold them")
        else:
            return None
        return Track(stream, convert.target, convert, self._clip, equal_times=self._equal_times)

    @property
    def _equal_times(self) -> bool:
        return bool(self._output.format.flags & _TS_NONSTRICT)

    def _attach_cover(self, stream: Stream, packet: Packet[Stream]) -> None:
        """Matroska holds covers as files."""
        kind = "png" if stream.codec_context.name == "png" else "jpeg"
        name = stream.metadata.get("filename") or f"cover.{kind.replace('e', '')}"
        self._output.add_attachment(name, stream.metadata.get("mimetype") or f"image/{kind}", bytes(packet))

    def _attach_files(self) -> None:
        """Copy attached files, usually fonts."""
        files = [stream for stream in self._input.streams if isinstance(stream, AttachmentStream) and stream.data]
        if self._kind.format == "matroska":
            for file in files:
                self._output.add_attachment(
                    file.name or "attachment", file.mimetype or "application/octet-stream", file.data
                )
        elif files:
            names = ", ".join(file.name or "without a name" for file in files)
            self.warnings.append(f"attached files are left out: {self._kind.format} cannot hold them ({names})")

    def _seek(self, start_s: Fraction) -> None:
        # A subtitle may begin a little before, and so may a packet of sound, which never lasts a second.
        try:
            self._input.seek(int((start_s - 1) * av.time_base))
        except (av.FFmpegError, OSError):
            return  # reading from the beginning finds everything as well

    def _read(self, wanted: list[Stream]) -> Iterator[Packet[Stream]]:
        """Yield the packets of the wanted tracks within the range, until the end or until damage stops reading."""
        try:
            for packet in demux(self._input, *wanted, *self._clock.streams) if wanted else ():
                self._clock.fix(packet)
                self._read_s = max(self._read_s, _start_s(packet))
                if packet.stream not in wanted or not packet.size:
                    continue
                if self._far_beyond(packet):
                    return
                if self._in_range(packet):
                    yield packet
        except (av.FFmpegError, OSError) as error:
            if is_url(self._clip.name) and states_size(self._input):
                raise broken_download(self._clip.name) from error
            self._error = error

    def _peek(self, wanted: list[Stream]) -> None:
        """Read ahead until each track has a packet, or to the limit; do not wait for a live stream's subtitles."""
        live = is_url(self._clip.name)
        missing, size = {stream.index for stream in wanted if not live or stream.type != "subtitle"}, 0
        while missing and len(self._ahead) < _PEEK_PACKETS and size < _PEEK_BYTES:
            packet = next(self._packets, None)
            if packet is None:
                break
            self._ahead.append(packet)
            missing.discard(packet.stream_index)
            size += packet.size

    def _in_range(self, packet: Packet[Stream]) -> bool:
        start_s, end_s = self._clip.start_s, self._clip.end_s
        if packet.pts is None:  # it follows another one
            return True
        if end_s is not None and _start_s(packet) >= end_s:
            return False
        length_s = (packet.duration or 0) * packet.time_base if packet.stream.type == "subtitle" else 0
        return start_s is None or _start_s(packet) >= start_s or _start_s(packet) + length_s > start_s

    def _far_beyond(self, packet: Packet[Stream]) -> bool:
        """Return True so long after the end that no track can have packets left before it."""
        end_s = self._clip.end_s
        return end_s is not None and _start_s(packet) >= end_s + _INTERLEAVED_S


def _start_s(packet: Packet[Stream]) -> Fraction:
    """Return when a packet begins, seconds of the input."""
    return (packet.pts or 0) * packet.time_base
