"""Supported video codecs and containers, and which of them combine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import ConfigError

_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_NUMBERED_PRESETS = tuple(str(number) for number in range(13, -1, -1))
_X265 = {"x265-params": "log-level=none"}
_VP9 = {"deadline": "realtime", "row-mt": "1", "b": "0"}


@dataclass(frozen=True)
class Codec:
    """A video codec and its encoder.

    Attributes:
        name: name on the command line.
        encoder: FFmpeg's name of the encoder.
        crf: default quality; lower is better and gives larger files.
        crf_max: lowest quality.
        presets: from fast to slow.
        preset: default preset, fast enough to leave the processor to the engine.
        preset_option: FFmpeg's option for the preset.
        odd_format: pixel format for odd sizes, which most encoders do not support in 4:2:0.
        options: further options of the encoder.
        threads: of the encoder for a file, the same on every machine because what it writes depends on them; 0 for one
            that writes the same with any number, which takes one for each processor.
    """

    name: str
    encoder: str
    crf: int
    crf_max: int
    presets: tuple[str, ...]
    preset: str
    preset_option: str = "preset"
    odd_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0

    def encoder_options(self, crf: int | None, preset: str | None) -> dict[str, str]:
        """Return the options for FFmpeg; ``None`` stands for the default.

        Raises:
            ConfigError: a value is out of range or unknown.
        """
        if crf is not None and not 0 <= crf <= self.crf_max:
            raise ConfigError(f"crf {crf} is out of range", hint=f"{self.name} takes 0 (best) to {self.crf_max}")
        if preset is not None and preset not in self.presets:
            raise ConfigError(f"unknown preset {preset!r}", hint=f"{self.name} has {', '.join(self.presets)}")
        return {
            "crf": str(self.crf if crf is None else crf),
            self.preset_option: preset or self.preset,
            **self.options,
        }


@dataclass(frozen=True)
class Container:
    """A container format.

    Attributes:
        format: FFmpeg's muxer.
        codecs: names of the video codecs that it can hold, the default first.
        audio_encoder: encoder for audio that it cannot hold as it is.
        text_encoder: encoder for subtitles that it cannot hold as they are.
        avoided: prefixes of codecs that it can hold but few players can play in it.
        options: options of the muxer.
        live_options: options for a file that must be readable before it is finished.
    """

    format: str
    codecs: tuple[str, ...]
    audio_encoder: str
    text_encoder: str
    avoided: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    live_options: Mapping[str, str] = field(default_factory=dict)


CODECS = {
    codec.name: codec
    for codec in (
        Codec("h264", "libx264", 20, 51, _X26X_PRESETS, "veryfast", odd_format="yuv444p", threads=4),
        Codec("hevc", "libx265", 24, 51, _X26X_PRESETS, "ultrafast", odd_format="yuv444p", options=_X265, threads=2),
        Codec("av1", "libsvtav1", 32, 63, _NUMBERED_PRESETS, "11"),
        Codec(
            "vp9", "libvpx-vp9", 32, 63, _NUMBERED_PRESETS[5:], "7", preset_option="cpu-used", options=_VP9, threads=8
        ),
    )
}

# With its index at the end, an MP4 must be fetched whole before a browser shows the first frame. Moving the index costs
# one pass over the finished file, which is negligible.
_FAST = {"movflags": "+faststart"}
# Fragments of half a second (microseconds, milliseconds), each written at once. A finished MP4 also gets an ordinary
# index, for programs that do not support fragments.
_FRAGMENTS = {"movflags": "+hybrid_fragmented+frag_keyframe", "frag_duration": "500000", "flush_packets": "1"}
_CLUSTERS = {"cluster_time_limit": "500", "flush_packets": "1"}
_MP4 = Container("mp4", ("h264", "hevc", "av1", "vp9"), "aac", "mov_text", ("pcm_",), _FAST, _FRAGMENTS)
_MOV = Container("mov", ("h264", "hevc"), "aac", "mov_text", (), _FAST, _FRAGMENTS)
_MKV = Container("matroska", ("h264", "hevc", "av1", "vp9"), "libopus", "srt", live_options=_CLUSTERS)
_WEBM = Container("webm", ("vp9", "av1"), "libopus", "webvtt", live_options=_CLUSTERS)

ALIASES = {"avc": "h264", "x264": "h264", "h265": "hevc", "x265": "hevc"}
"""Other names of codecs."""

CONTAINERS = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM}
"""File suffix → container."""


def choose(path: Path, codec: str | None) -> tuple[Container, Codec]:
    """Return the container for a file's suffix, and the codec by name or the container's default.

    Raises:
        ConfigError: unknown suffix or codec, or the container cannot hold the codec.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        problem = f"unknown kind of video file {path.suffix!r}" if path.suffix else f"{path.name} has no suffix"
        raise ConfigError(problem, hint=f"the output must end in {', '.join(CONTAINERS)}")
    name = codec.lower() if codec else container.codecs[0]
    name = ALIASES.get(name, name)
    if name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}", hint=f"choose from {', '.join(CODECS)}")
    if name not in container.codecs:
        raise ConfigError(f"{path.suffix} cannot hold {name}", hint=f"it can hold {', '.join(container.codecs)}")
    return container, CODECS[name]
