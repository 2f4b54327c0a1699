"""Which encoders and containers there are, and which go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import ConfigError

_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Codec:
    """One way to compress video.

    Attributes:
        name: as on the command line.
        encoder: the library's name for it.
        crf: default quality; smaller is better and larger.
        crf_max: worst quality.
        presets: from fast to slow.
        preset: default, chosen to leave the processor to the engine.
        preset_option: what the library calls the preset.
        odd_format: pixel format for odd sizes, which 4:2:0 of most encoders does not know.
        options: what else the encoder is told.
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

    def encoder_options(self, crf: int | None, preset: str | None) -> dict[str, str]:
        """Options for the library.

        Raises:
            ConfigError: a value that this encoder does not know.
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
    """One kind of file.

    Attributes:
        format: the muxer.
        codecs: names of the video codecs that it may carry, the default first.
        audio_encoder: for audio that it cannot carry as it is.
        text_encoder: for subtitles that it cannot carry as they are; empty when there is none.
        options: what the muxer is told.
        live_options: what it is told instead when the file must be readable before it is finished.
    """

    format: str
    codecs: tuple[str, ...]
    audio_encoder: str
    text_encoder: str
    options: Mapping[str, str] = field(default_factory=dict)
    live_options: Mapping[str, str] = field(default_factory=dict)


CODECS = {
    codec.name: codec
    for codec in (
        Codec("h264", "libx264", 20, 51, _X26X_PRESETS, "veryfast", odd_format="yuv444p"),
        Codec(
            "hevc",
            "libx265",
            24,
            51,
            _X26X_PRESETS,
            "ultrafast",
            odd_format="yuv444p",
            options={"x265-params": "log-level=none"},
        ),
        Codec("av1", "libsvtav1", 32, 63, tuple(str(n) for n in range(13, -1, -1)), "11"),
        Codec(
            "vp9",
            "libvpx-vp9",
            32,
            63,
            tuple(str(n) for n in range(8, -1, -1)),
            "7",
            preset_option="cpu-used",
            options={"deadline": "realtime", "row-mt": "1", "b": "0"},
        ),
    )
}

# The index of an MP4 belongs at the front, or a browser must fetch the whole file before it shows the first frame.
# Moving it there costs one more pass over the finished file, which is nothing beside the stylizing.
_FAST = {"movflags": "+faststart"}
# Fragments of half a second (microseconds, milliseconds), each handed to the system at once. An MP4 gets the index of
# an ordinary one when it is finished, so that programs that know no fragments can cut it.
_FRAGMENTS = {"movflags": "+hybrid_fragmented+frag_keyframe", "frag_duration": "500000", "flush_packets": "1"}
_CLUSTERS = {"cluster_time_limit": "500", "flush_packets": "1"}
_MP4 = Container("mp4", ("h264", "hevc", "av1", "vp9"), "aac", "mov_text", _FAST, _FRAGMENTS)
_MOV = Container("mov", ("h264", "hevc"), "aac", "mov_text", _FAST, _FRAGMENTS)
_MKV = Container("matroska", ("h264", "hevc", "av1", "vp9"), "libopus", "srt", live_options=_CLUSTERS)
_WEBM = Container("webm", ("vp9", "av1"), "libopus", "webvtt", live_options=_CLUSTERS)

CONTAINERS = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM}
"""File name ending → container."""


def choose(path: Path, codec: str | None) -> tuple[Container, Codec]:
    """Container by the file's ending, codec by name or the container's default.

    Raises:
        ConfigError: unknown ending or codec, or the two do not go together.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        problem = f"unknown kind of video file {path.suffix!r}" if path.suffix else f"{path.name} has no ending"
        raise ConfigError(problem, hint=f"the output must end in {', '.join(CONTAINERS)}")
    name = codec or container.codecs[0]
    if name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}", hint=f"choose from {', '.join(CODECS)}")
    if name not in container.codecs:
        raise ConfigError(
            f"{path.suffix} cannot hold {name}",
            hint=f"it takes {', '.join(container.codecs)}",
        )
    return container, CODECS[name]
