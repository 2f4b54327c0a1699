"""Clips made on the spot, every frame with its number in its pixels, and an engine that does next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from engines.base import RGB, EngineInfo
from rtstyle.frame import Frame

BITS = 8
"""Frame numbers go up to 255."""


def numbered(number: int, height: int = 48, width: int = 64) -> RGB:
    """A picture whose upper half shows ``number`` as white and black columns, over red, green, blue and grey."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            rgb[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 255
    colours = ((200, 30, 30), (30, 180, 40), (40, 50, 200), (120, 120, 120))
    for i, colour in enumerate(colours):
        rgb[height // 2 :, i * width // 4 : (i + 1) * width // 4] = colour
    return rgb


def number_of(rgb: RGB) -> int:
    """Read the number back."""
    height, width = rgb.shape[:2]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if rgb[height // 4, x].mean() > 127)


@dataclass(frozen=True)
class Clip:
    """What a generated clip is like.

    ``pts`` are in units of ``time_base``; without them the frames come evenly. ``matrix`` (an H.273 number)
    and ``full`` say how colours are stored, ``tagged`` whether the file says so.
    """

    frames: int = 20
    height: int = 48
    width: int = 64
    fps: int = 25
    time_base: Fraction = Fraction(1, 12800)
    pts: Sequence[int] | None = None
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    matrix: int = 5
    full: bool = False
    tagged: bool = True
    rotation: int | None = None
    pixel_aspect: Fraction | None = None
    sound: str | None = None
    languages: Sequence[str] = ("eng",)
    text: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    file_options: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Make the file."""
        with av.open(str(path), "w", options=self.file_options) as out:
            out.metadata.update(self.metadata)
            video = self._add_video(out)
            sounds = [self._add_sound(out, language) for language in self.languages] if self.sound else []
            text = self._add_text(out) if self.text else None
            pts = self.pts or [round(i / self.fps / self.time_base) for i in range(self.frames)]
            for number, time in enumerate(pts):
                picture = av.VideoFrame.from_ndarray(numbered(number, self.height, self.width)).reformat(
                    format=self.pixel_format, dst_colorspace=self.matrix, dst_color_range=2 if self.full else 1
                )
                picture.pts, picture.time_base = time, self.time_base
                picture.duration = round(1 / self.fps / self.time_base)
                out.mux(video.encode(picture))
            out.mux(video.encode(None))
            seconds = float(pts[-1] * self.time_base) + 1 / self.fps
            for sound in sounds:
                write_sound(out, sound, seconds)
            if text is not None:
                _write_text(out, text)
        return path

    def _add_video(self, out: Any) -> Any:
        fast = {"libx264": {"preset": "ultrafast", "crf": "4"}, "libvpx": {"deadline": "realtime", "cpu-used": "8"}}
        options = fast.get(self.codec, {})
        video = out.add_stream(self.codec, rate=self.fps, options={**options, **self.options})
        video.width, video.height, video.pix_fmt = self.width, self.height, self.pixel_format
        video.codec_context.time_base = self.time_base
        if self.tagged:
            video.codec_context.colorspace = self.matrix
            video.codec_context.color_range = 2 if self.full else 1
        if self.rotation is not None:
            video.set_display_rotation(self.rotation)
        if self.pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = self.pixel_aspect
        return video

    def _add_sound(self, out: Any, language: str) -> Any:
        sound = out.add_stream(self.sound, rate=48000, bit_rate=128_000)
        sound.layout = "stereo"
        sound.metadata["language"] = language
        return sound

    def _add_text(self, out: Any) -> Any:
        from rtstyle.sinks.subtitle_transcoder import _HEADER

        text = out.add_stream(self.text)
        text.codec_context.subtitle_header = _HEADER
        text.metadata["language"] = "fra"
        return text


def write_sound(out: Any, sound: Any, seconds: float) -> None:
    """Fill a track with a tone."""
    done, size = 0, 1024
    while done < seconds * 48000:
        t = (np.arange(size) + done) / 48000
        wave = (np.sin(2 * np.pi * 440 * t) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, done, Fraction(1, 48000)
        out.mux(sound.encode(frame))
        done += size
    out.mux(sound.encode(None))


def _write_text(out: Any, text: Any) -> None:
    from av.subtitles.subtitle import SubtitleSet

    for i in range(2):
        line = SubtitleSet.create(f"{i},0,Default,,0,0,0,,line {i}".encode(), 0, 200, i * 300_000)
        packet = text.codec_context.encode_subtitle(line)
        packet.stream, packet.time_base = text, Fraction(1, 1000)
        packet.pts = packet.dts = i * 300
        packet.duration = 200
        out.mux(packet)


@dataclass(frozen=True)
class Seen:
    """What is in a file, as an ordinary player would find it."""

    numbers: list[int]
    times: list[float]
    height: int
    width: int
    rotation: int
    packets: dict[str, int]
    languages: list[str]
    metadata: dict[str, str]
    duration: float
    last: Any

    @classmethod
    def of(cls, path: Path) -> Seen:
        with av.open(str(path)) as file:
            packets: dict[str, int] = {}
            for packet in file.demux():
                if packet.size:
                    packets[packet.stream.type] = packets.get(packet.stream.type, 0) + 1
        with av.open(str(path)) as file:
            pictures = list(file.decode(video=0))
            languages = [s.language or "" for s in file.streams if s.type in ("audio", "subtitle")]
            first = pictures[0]
            return cls(
                numbers=[number_of(p.to_ndarray(format="rgb24")) for p in pictures],
                times=[float(p.time) for p in pictures],
                height=first.height,
                width=first.width,
                rotation=first.rotation,
                packets=packets,
                languages=languages,
                metadata={k.lower(): v for k, v in file.metadata.items()},
                duration=(file.duration or 0) / av.time_base,
                last=pictures[-1],
            )


class Still:
    """An engine that gives the input back, or its negative."""

    def __init__(self, *, negative: bool = False) -> None:
        self.negative = negative
        self.calls = 0
        self.closed = 0

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("still", "none", "none", "uint8", "still")

    def __call__(self, rgb: RGB, strength: float = 1.0, colours: float = 0.0) -> RGB:
        self.calls += 1
        return 255 - rgb if self.negative else rgb.copy()

    def close(self) -> None:
        self.closed += 1


def frames(count: int, *, height: int = 48, width: int = 64, fps: int = 25) -> Iterator[Frame]:
    """Numbered frames, captured at second 0, 1, 2 …"""
    for i in range(count):
        yield Frame(numbered(i, height, width), i, i, Fraction(1, fps), float(i))
