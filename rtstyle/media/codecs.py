"""Supported video codecs and containers, and which of them combine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import ConfigError

_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_NUMBERED_PRESETS = tuple(str(number) for number in range(13, -1, -1))
_X265 = {"x265-params": "log-level=none"}
_VP9 = {"deadline": "realtime", "row-mt": "1", "b": "0"}

_WITHIN_A_SECOND = {"maxrate": "{bits}", "bufsize": "{bits}"}
# On its own, VP9 is up to 48 % above its rate in ten seconds, AV1 17 %; like this 6 % and 8 %.
_VP9_RATE = {**_WITHIN_A_SECOND, "minrate": "{bits}", "overshoot-pct": "0", "undershoot-pct": "100"}
_X264_LIVE = {"tune": "zerolatency", "sc_threshold": "0"}  # keyframes at the regular distance only
_SVT_RATE = {"svtav1-params": "overshoot-pct=0"}


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
        rate_options: options that hold a bit rate, with ``{bits}`` in the place of its number.
        quality_options: returns the options for a quality.
        pixel_format: what the encoder takes.
        odd_format: pixel format for odd sizes, which most encoders do not support in 4:2:0; empty if there is none.
        options: further options of the encoder.
        live_options: options with which no picture waits for a later one.
        family: maker's interface of an encoder in hardware, a key of ``FAMILIES``; ``software`` for the others.
        preset_names: FFmpeg's names of presets, where they differ.
        alpha_format: pixel format that keeps transparency; empty if there is none.
        alpha_options: options of the encoder for it, instead of others.
        alpha_containers: formats of containers that can hold it.
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
    rate_options: Mapping[str, str] = field(default_factory=lambda: _WITHIN_A_SECOND)
    quality_options: Callable[[int], Mapping[str, str]] = lambda crf: {"crf": str(crf)}
    pixel_format: str = "yuv420p"
    odd_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    live_options: Mapping[str, str] = field(default_factory=dict)
    family: str = "software"
    preset_names: Mapping[str, str] = field(default_factory=dict)
    alpha_format: str = ""
    alpha_options: Mapping[str, str] = field(default_factory=dict)
    alpha_containers: tuple[str, ...] = ()
    threads: int = 0

    @property
    def full_name(self) -> str:
        """Name on the command line, with the maker's interface of an encoder in hardware."""
        return self.name if self.family == "software" else f"{self.name}_{self.family}"

    def format_for(self, width: int, height: int, *, alpha: bool = False) -> str:
        """Return the pixel format for a size, with or without transparency; empty if the encoder has none."""
        if alpha:
            return self.alpha_format
        return self.odd_format if width % 2 or height % 2 else self.pixel_format

    def encoder_options(self, crf: int | None, preset: str | None, bits: int | None = None) -> dict[str, str]:
        """Return the options for FFmpeg; ``None`` stands for the default.

        Args:
            crf: quality.
            preset: speed.
            bits: per second, instead of a quality.

        Raises:
            ConfigError: a value is out of range or unknown, or there are both a quality and a bit rate.
        """
        if not self.presets:
            if any(setting is not None for setting in (crf, preset, bits)):
                hint = "leave out --crf, --preset, --bitrate and --target-size"
                hint += " (in Python: crf, preset, bits, target_bytes)"
                raise ConfigError(f"{self.name} has one quality and one speed", hint=hint)
            return dict(self.options)
        if crf is not None and bits is not None:
            raise ConfigError(
                "a quality and a bit rate exclude each other", hint="leave out --crf (in Python: crf), or the bit rate"
            )
        if crf is not None and not 0 <= crf <= self.crf_max:
            raise ConfigError(f"crf {crf} is out of range", hint=f"{self.name} takes 0 (best) to {self.crf_max}")
        if preset is not None and preset not in self.presets:
            raise ConfigError(f"unknown preset {preset!r}", hint=f"{self.full_name} has {', '.join(self.presets)}")
        preset = preset or self.preset
        options = {self.preset_option: self.preset_names.get(preset, preset), **self.options}
        if bits is None:
            return {**options, **self.quality_options(self.crf if crf is None else crf)}
        rate = {name: value.format(bits=bits) for name, value in self.rate_options.items()}
        return options | {"b": str(bits)} | rate


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
        Codec(
            "h264",
            "libx264",
            20,
            51,
            _X26X_PRESETS,
            "veryfast",
            odd_format="yuv444p",
            live_options=_X264_LIVE,
            threads=4,
        ),
        Codec("hevc", "libx265", 24, 51, _X26X_PRESETS, "ultrafast", odd_format="yuv444p", options=_X265, threads=2),
        Codec("av1", "libsvtav1", 32, 63, _NUMBERED_PRESETS, "11", rate_options=_SVT_RATE),
        Codec(
            "vp9",
            "libvpx-vp9",
            32,
            63,
            _NUMBERED_PRESETS[5:],
            "7",
            preset_option="cpu-used",
            rate_options=_VP9_RATE,
            threads=8,
            options=_VP9,
            alpha_format="yuva420p",
            alpha_containers=("matroska", "webm"),
        ),
        # For editing: quality is not chosen.
        Codec(
            "prores",
            "prores_ks",
            0,
            0,
            (),
            "",
            odd_format="yuv444p10le",
            options={"vendor": "apl0"},
            pixel_format="yuv422p10le",
            alpha_format="yuva444p10le",
            alpha_options={"alpha_bits": "16"},
            alpha_containers=("mov", "matroska"),
        ),
        # RGB, so that pictures are kept bit by bit.
        Codec(
            "ffv1",
            "ffv1",
            0,
            0,
            (),
            "",
            odd_format="bgr0",
            options={"level": "3", "slicecrc": "1", "g": "1"},
            pixel_format="bgr0",
            alpha_format="bgra",
            alpha_containers=("matroska",),
        ),
    )
}

# Encoders in hardware have few presets. Those of the encoders in software stand for the nearest.
_FAST = ("fast", *_X26X_PRESETS[:5], *_NUMBERED_PRESETS[:4])
_MEDIUM = ("medium", *_NUMBERED_PRESETS[4:7])
_SLOW = ("slow", *_X26X_PRESETS[6:], *_NUMBERED_PRESETS[7:])


@dataclass(frozen=True)
class Family:
    """What the encoders of one maker's interface have in common, see ``Codec``.

    Attributes:
        codecs: that it has.
        quality: codec and crf → options.
        presets: FFmpeg's names of a fast, a medium and a slow one.
    """

    codecs: tuple[str, ...]
    quality: Callable[[str, int], Mapping[str, str]]
    presets: tuple[str, str, str]
    preset_option: str
    rate_options: Mapping[str, str]
    live_options: Mapping[str, str]
    odd_formats: Mapping[str, str] = field(default_factory=dict)

    def encoder(self, family: str, codec: Codec) -> Codec:
        """Return the family's encoder of a codec."""
        names = dict.fromkeys(_FAST, self.presets[0]) | dict.fromkeys(_MEDIUM, self.presets[1])
        names |= dict.fromkeys(_SLOW, self.presets[2])
        return Codec(
            codec.name, f"{codec.name}_{family}", codec.crf, codec.crf_max, tuple(dict.fromkeys(names)), "medium",
            self.preset_option, self.rate_options, lambda crf: self.quality(codec.name, crf), "nv12",
            self.odd_formats.get(codec.name, ""), {}, self.live_options, family, names,
        )  # fmt: skip


def _of(crf: int, codec: str, most: int) -> str:
    """Scale a quality to 1 … ``most``."""
    return str(max(1, round(crf * most / CODECS[codec].crf_max)))


def _amf_quality(codec: str, crf: int) -> dict[str, str]:
    level = _of(crf, codec, 255 if codec == "av1" else 51)
    return {"rc": "cqp", "qp_i": level, "qp_p": level} | ({} if codec == "hevc" else {"qp_b": level})


def _videotoolbox_quality(codec: str, crf: int) -> dict[str, str]:
    # FFmpeg's -q:v, from 1 (worst) to 100, in units of 1/118.
    return {"flags": "+qscale", "global_quality": str(118 * (101 - int(_of(crf, codec, 100))))}


_ALL = ("h264", "hevc", "av1")
FAMILIES = {
    "nvenc": Family(
        _ALL,
        lambda _, crf: {"rc": "vbr", "cq": str(crf), "b": "0"},
        ("p2", "p4", "p6"),
        "preset",
        {"rc": "vbr", **_WITHIN_A_SECOND},
        {"tune": "ll", "zerolatency": "1", "delay": "0", "rc-lookahead": "0", "bf": "0"},
        {"h264": "yuv444p", "hevc": "yuv444p"},
    ),
    "qsv": Family(
        _ALL,
        lambda codec, crf: {"global_quality": _of(crf, codec, 51)},
        ("veryfast", "medium", "slower"),
        "preset",
        _WITHIN_A_SECOND,
        {"async_depth": "1", "bf": "0"},
    ),
    "amf": Family(
        _ALL,
        _amf_quality,
        ("speed", "balanced", "quality"),
        "quality",
        {"rc": "vbr_peak", **_WITHIN_A_SECOND},
        {"usage": "ultralowlatency", "bf": "0"},
    ),
    "videotoolbox": Family(
        _ALL[:2],
        _videotoolbox_quality,
        ("1", "0", "0"),
        "prio_speed",
        _WITHIN_A_SECOND,
        {"realtime": "1", "bf": "0"},
    ),
}
"""Interface of a maker → its encoders, in the order in which ``auto`` tries them: NVIDIA, Intel, AMD, Apple."""

HARDWARE = {
    f"{codec}_{name}": family.encoder(name, CODECS[codec])
    for name, family in FAMILIES.items()
    for codec in family.codecs
}
"""Encoders in hardware, by FFmpeg's names."""

ENCODERS = ("software", "auto", *FAMILIES)
"""What may encode."""

# With its index at the end, an MP4 must be fetched whole before a browser shows the first frame. Moving the index costs
# one pass over the finished file, which is negligible.
_FASTSTART = {"movflags": "+faststart"}
# Fragments of half a second (microseconds, milliseconds), each written at once. A finished MP4 also gets an ordinary
# index, for programs that do not support fragments.
_FRAGMENTS = {"movflags": "+hybrid_fragmented+frag_keyframe", "frag_duration": "500000", "flush_packets": "1"}
_CLUSTERS = {"cluster_time_limit": "500", "flush_packets": "1"}
_MP4 = Container("mp4", ("h264", "hevc", "av1", "vp9"), "aac", "mov_text", ("pcm_",), _FASTSTART, _FRAGMENTS)
_MOV = Container("mov", ("h264", "hevc", "prores"), "aac", "mov_text", (), _FASTSTART, _FRAGMENTS)
_MKV = Container("matroska", ("h264", "hevc", "av1", "vp9", "prores", "ffv1"), "libopus", "srt", live_options=_CLUSTERS)
_WEBM = Container("webm", ("vp9", "av1"), "libopus", "webvtt", live_options=_CLUSTERS)

ALIASES = {
    **dict.fromkeys(("avc", "avc1", "x264", "libx264"), "h264"),
    **dict.fromkeys(("h265", "x265", "hvc1", "hev1", "libx265"), "hevc"),
    **dict.fromkeys(("av01", "svtav1", "libsvtav1"), "av1"),
    **dict.fromkeys(("vp09", "libvpx-vp9"), "vp9"),
}
"""Other names of codecs: of their encoders, and those that containers use."""

CONTAINERS = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM}
"""File suffix → container."""


def holds_alpha(container: Container, codec: Codec) -> bool:
    """Return True if transparency can be kept."""
    return container.format in codec.alpha_containers


def choose(path: Path, codec: str | None) -> tuple[Container, Codec]:
    """Return the container for a file's suffix, and the codec by name or the container's default.

    Raises:
        ConfigError: unknown suffix or codec, or the container cannot hold the codec.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        problem = f"unknown kind of video file {path.suffix!r}" if path.suffix else f"{path.name} has no suffix"
        raise ConfigError(problem, hint=f"the output must end in {', '.join(CONTAINERS)}")
    name = codec.lower().replace(".", "") if codec else container.codecs[0]
    name = ALIASES.get(name, name)
    found = CODECS.get(name) or HARDWARE.get(name)
    if found is None:
        raise ConfigError(f"unknown codec {name!r}", hint=f"choose from {', '.join((*CODECS, *HARDWARE))}")
    if found.name not in container.codecs:
        raise ConfigError(f"{path.suffix} cannot hold {found.name}", hint=f"it can hold {', '.join(container.codecs)}")
    return container, found
