"""Convert text subtitles between SubRip, MP4 timed text, WebVTT and ASS."""

from __future__ import annotations

from fractions import Fraction

from av import Packet
from av.error import FFmpegError
from av.stream import Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, "
    b"MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n\r\n"
    b"[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
"""Style header that FFmpeg's text encoders require; all of them convert from ASS."""

TEXT_CODECS = frozenset({"srt", "subrip", "mov_text", "webvtt", "ass", "ssa", "text"})
"""Subtitle codecs that hold text, not pictures."""

_MS = Fraction(1, 1000)


class SubtitleTranscoder:
    """Converts the packets of one subtitle track.

    Args:
        source: track of the input.
        target: track of the output, created with a text encoder; the header must not be written yet.

    Attributes:
        lost: packets that could not be converted because they are damaged or not in UTF-8.
    """

    def __init__(self, source: SubtitleStream, target: SubtitleStream) -> None:
        self.lost = 0
        self._source = source
        self._target: Stream = target
        self._encoder = target.codec_context
        self._encoder.subtitle_header = source.codec_context.subtitle_header or _HEADER

    def __call__(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the converted packet, if any, with the same time and duration; ``None`` flushes nothing."""
        if packet is None:
            return []
        try:
            return self._converted(packet)
        except (FFmpegError, ValueError):
            self.lost += 1
            return []

    def _converted(self, packet: Packet[Stream]) -> list[Packet[Stream]]:
        decoded = self._source.codec_context.decode2(packet)
        lines = [rect.ass for rect in decoded or () if isinstance(rect, AssSubtitle)]
        if not lines or packet.pts is None:
            return []
        start_ms = round(packet.pts * packet.time_base / _MS)
        length_ms = round((packet.duration or 0) * packet.time_base / _MS)
        text = SubtitleSet.create(b"\\N".join(lines), 0, length_ms, start_ms * 1000)
        out = self._encoder.encode_subtitle(text)
        out.stream, out.time_base = self._target, _MS
        out.pts = out.dts = start_ms
        out.duration = length_ms
        return [out]
