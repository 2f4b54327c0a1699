"""Convert text subtitles between SubRip, MP4 timed text, WebVTT and ASS."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from av import Packet
from av.container import OutputContainer
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


@dataclass(frozen=True)
class _Cue:
    start_ms: int
    length_ms: int
    lines: tuple[bytes, ...]


class SubtitleTranscoder:
    """Converts one subtitle track.

    Args:
        source: track of the input.
        output: receives a new track; its header must not be written yet.
        encoder: ``srt``, ``mov_text`` or ``webvtt``.

    Attributes:
        target: the new track.
        lost: packets that could not be converted because they are damaged or not in UTF-8.
    """

    def __init__(self, source: SubtitleStream, output: OutputContainer, encoder: str) -> None:
        self.lost = 0
        self.target: Stream = output.add_stream(encoder)
        self._source = source
        self._encoder = cast("SubtitleStream", self.target).codec_context
        self._encoder.subtitle_header = source.codec_context.subtitle_header or _HEADER
        self._one_at_a_time = encoder == "mov_text"
        self._held: _Cue | None = None

    def __call__(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the packets that are ready, with the times of the input; ``None`` flushes."""
        try:
            if packet is None:
                return self._release(None)
            cue = self._decode(packet)
            return [] if cue is None else self._release(cue)
        except (FFmpegError, ValueError):
            self.lost += 1
            return []

    def _release(self, cue: _Cue | None) -> list[Packet[Stream]]:
        """Encode the cues before this one, which is held back where it may have to be joined with the next."""
        held = self._held
        if held is not None and cue is not None and held.start_ms == cue.start_ms:
            self._held = _Cue(held.start_ms, max(held.length_ms, cue.length_ms), held.lines + cue.lines)
            return []
        self._held = cue if self._one_at_a_time else None
        ready = held if self._one_at_a_time else cue
        return [] if ready is None else [self._encode(ready)]

    def _decode(self, packet: Packet[Stream]) -> _Cue | None:
        decoded = self._source.codec_context.decode2(packet)
        lines = tuple(rect.ass for rect in decoded or () if isinstance(rect, AssSubtitle))
        if not lines or packet.pts is None:
            return None
        start_ms = round(packet.pts * packet.time_base / _MS)
        return _Cue(start_ms, round((packet.duration or 0) * packet.time_base / _MS), lines)

    def _encode(self, cue: _Cue) -> Packet[Stream]:
        # A line is nine fields with commas, the last one its text.
        texts = (cue.lines[0], *(line.split(b",", 8)[-1] for line in cue.lines[1:]))
        text = SubtitleSet.create(b"\\N".join(texts), 0, cue.length_ms, cue.start_ms * 1000)
        out = self._encoder.encode_subtitle(text)
        out.stream, out.time_base = self.target, _MS
        out.pts = out.dts = cue.start_ms
        out.duration = cue.length_ms
        return out
