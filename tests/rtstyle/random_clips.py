"""Small clips made at random by FFmpeg's own program: every container, codec, sound, rate and start, some damaged."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

VIDEO = {
    "mp4": ("libx264", "libx265", "mpeg4", "mjpeg", "libvpx-vp9"),
    "mov": ("libx264", "prores_ks", "mjpeg", "qtrle", "png", "mpeg4", "rawvideo"),
    "mkv": ("libx264", "libx265", "ffv1", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg", "huffyuv", "mpeg2video"),
    "avi": ("libx264", "mpeg4", "mjpeg", "huffyuv", "msmpeg4", "rawvideo"),
    "ts": ("libx264", "libx265", "mpeg2video"),
    "webm": ("libvpx", "libvpx-vp9"),
    "flv": ("libx264", "flv"),
    "mpg": ("mpeg1video", "mpeg2video"),
    "m4v": ("libx264", "mpeg4"),
}
"""Video encoders of each container."""

SOUND = {
    "mp4": ("aac", "libmp3lame", "ac3", "flac", "alac"),
    "mov": ("aac", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_s16be", "alac", "pcm_mulaw", "adpcm_ima_qt"),
    "mkv": (
        "aac",
        "pcm_s16le",
        "pcm_s24le",
        "pcm_f32le",
        "flac",
        "libopus",
        "libvorbis",
        "ac3",
        "eac3",
        "mp2",
        "wmav2",
    ),
    "avi": ("libmp3lame", "pcm_s16le", "ac3", "mp2", "adpcm_ms", "pcm_u8"),
    "ts": ("aac", "mp2", "ac3", "libopus"),
    "webm": ("libopus", "libvorbis"),
    "flv": ("aac", "libmp3lame"),
    "mpg": ("mp2", "ac3"),
    "m4v": ("aac",),
}
"""Audio encoders of each container."""

TEXT = {"mp4": "mov_text", "mov": "mov_text", "m4v": "mov_text", "mkv": "subrip", "webm": "webvtt"}
"""Subtitle encoders of each container."""

PIXELS = {
    "libx264": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "yuvj420p"),
    "libx265": ("yuv420p", "yuv422p", "yuv420p10le", "yuv444p"),
    "libvpx-vp9": ("yuv420p", "yuv444p", "yuva420p"),
    "prores_ks": ("yuv422p10le", "yuva444p10le"),
    "ffv1": ("yuv420p", "bgr0", "gray16le", "yuva420p"),
    "qtrle": ("rgb24", "argb", "gray"),
    "png": ("rgb24", "rgba"),
    "huffyuv": ("yuv422p", "rgb24"),
    "rawvideo": ("yuv420p", "uyvy422"),
    "mjpeg": ("yuvj420p", "yuvj422p", "yuvj444p"),
    "mpeg2video": ("yuv420p", "yuv422p"),
}
"""Pixel formats of each encoder; yuv420p where it is missing."""

RATES = ("8000", "22050", "44100", "48000")
NO_LOW_RATES = ("ac3", "eac3", "mp2", "aac", "libmp3lame")
SURROUND = ("aac", "ac3", "flac", "pcm_s16le", "pcm_s24le", "libopus", "libvorbis", "alac")

LOUD = 0.03
"""A quarter of the tone's amplitude: what an encoder may put before the tone is softer."""

OUTPUTS = ("mp4", "mkv", "mov", "webm")


@dataclass(frozen=True)
class RandomClip:
    """A recipe for one clip.

    Attributes:
        seed: of everything that was drawn.
        container: name of the file's ending.
        output: ending of the file to write from it.
        arguments: of ffmpeg.
        damage: what is done to the file's bytes, or nothing.
        parts: what was drawn, to read in a report.
    """

    seed: int
    container: str
    output: str
    arguments: tuple[str, ...]
    damage: str = ""
    parts: tuple[str, ...] = ()

    def write(self, folder: Path) -> Path:
        """Make the file.

        Raises:
            subprocess.CalledProcessError: FFmpeg refuses this combination.
        """
        path = folder / f"in.{self.container}"
        (folder / "text.srt").write_text(
            "1\n00:00:00,100 --> 00:00:00,600\nHello\n\n2\n00:00:00,600 --> 00:00:00,900\nYou\n"
        )
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *self.arguments, str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=folder)
        if self.damage:
            path.write_bytes(damaged(path.read_bytes(), self.damage, random.Random(self.seed)))
        return path


def draw(seed: int) -> RandomClip:
    """Draw a clip; half of them are damaged."""
    rng = random.Random(seed)
    container = rng.choice(list(VIDEO))
    codec = rng.choice(VIDEO[container])
    rates = (
        ("24", "25", "30000/1001", "50")
        if codec.startswith(("mpeg1", "mpeg2"))
        else ("10", "15", "25", "30000/1001", "60")
    )
    rate, seconds = rng.choice(rates), rng.choice((0.3, 0.9, 1.3))
    size = rng.choice(("64x48", "96x64", "66x50", "160x96", "98x66"))
    arguments = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]
    sounds = rng.choice((0, 1)) if container == "flv" else rng.choice((0, 1, 1, 1, 2))
    for n in range(sounds):
        arguments += ["-f", "lavfi", "-i", f"sine={330 * (n + 1)}:d={rng.choice((0.5, 1.0, seconds))}"]
    text = container in TEXT and rng.random() < 0.3
    if text:
        arguments += ["-i", "text.srt"]
    arguments += [part for n in range(1 + sounds + text) for part in ("-map", str(n))]
    draws = [_draw_video(rng, container, codec)]
    if sounds:
        draws.append(_draw_sound(rng, container))
    if text:
        draws.append((["-c:s", TEXT[container]], ["text"]))
    draws.append(_draw_file(rng, container))
    arguments += [argument for own, _ in draws for argument in own]
    parts = tuple(part for _, own in draws for part in own)
    damage = rng.choice(("", "", "", "few bytes", "many bytes", "cut"))
    return RandomClip(seed, container, rng.choice(OUTPUTS), (*arguments, "-strict", "-2"), damage, parts)


def _draw_video(rng: random.Random, container: str, codec: str) -> tuple[list[str], list[str]]:
    """Return arguments and remarks."""
    arguments, parts = ["-c:v", codec, "-pix_fmt", rng.choice(PIXELS.get(codec, ("yuv420p",)))], [codec]
    arguments += ["-g", rng.choice(("5", "12", "250"))]
    if codec in ("libx264", "libx265", "mpeg4", "mpeg2video") and container != "flv":
        arguments += ["-bf", rng.choice(("0", "2"))]
    if codec in ("libx264", "libx265"):
        arguments += ["-preset", "ultrafast"]
    if codec == "libx265":
        arguments += ["-x265-params", "log-level=none"]
    if rng.random() < 0.2 and container in ("mp4", "mov", "mkv", "ts", "webm"):
        # Frames are missing, and the others keep their times.
        arguments += ["-vf", "select='mod(n,3)*mod(n,7)+eq(n,0)'", "-vsync", "vfr"]
        parts.append("vfr")
    if rng.random() < 0.2 and codec == "mpeg2video":
        arguments += ["-flags", "+ilme+ildct", "-top", "1"]
        parts.append("interlaced")
    return arguments, parts


def _draw_sound(rng: random.Random, container: str) -> tuple[list[str], list[str]]:
    codec, rate, channels = rng.choice(SOUND[container]), rng.choice(RATES), rng.choice(("1", "2", "2", "6"))
    if codec == "libopus" or (codec in NO_LOW_RATES and int(rate) < 32000):
        rate = "48000"
    if container == "flv":
        rate = "44100"
    if codec not in SURROUND:
        channels = rng.choice("12")
    return ["-c:a", codec, "-ar", rate, "-ac", channels], [codec, rate, channels]


def _draw_file(rng: random.Random, container: str) -> tuple[list[str], list[str]]:
    arguments, parts = [], []
    if rng.random() < 0.3:
        arguments += ["-metadata", "title=A título", "-metadata:s:v:0", "language=fra"]
    if rng.random() < 0.2 and container in ("mp4", "mov"):
        arguments += ["-metadata:s:v:0", f"rotate={rng.choice((90, 180, 270))}"]
        parts.append("rotated")
    if rng.random() < 0.25 and container in ("mp4", "mov", "mkv", "ts"):
        arguments += ["-output_ts_offset", rng.choice(("0.5", "3", "100", "7200"))]
        parts.append("offset")
    if rng.random() < 0.15 and container in ("mp4", "mov"):
        arguments += ["-movflags", rng.choice(("+frag_keyframe+empty_moov", "+faststart"))]
    if container == "mpg":
        arguments += ["-f", "mpeg"]
    return arguments, parts


def damaged(data: bytes, damage: str, rng: random.Random) -> bytes:
    """Flip bytes anywhere, or cut the file off."""
    if damage == "cut":
        return data[: rng.randrange(1, len(data))]
    broken = bytearray(data)
    for _ in range({"few bytes": 4, "many bytes": 200}[damage]):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken)


@dataclass(frozen=True)
class Sound:
    """An audio stream as decoded.

    Attributes:
        onset_s: when the tone begins, seconds; silence that an encoder puts before it does not count.
        length_s: duration of all its samples, seconds.
        rate: samples per second.
    """

    onset_s: float
    length_s: float
    rate: int


@dataclass(frozen=True)
class Read:
    """What FFmpeg decodes from a file.

    Attributes:
        times: of the frames of the first video stream, seconds.
        sounds: the audio streams that have samples.
    """

    times: tuple[float, ...]
    sounds: tuple[Sound, ...]

    @classmethod
    def of(cls, path: Path) -> Read:
        """Decode the file with ffprobe."""
        entries = "frame=stream_index,best_effort_timestamp_time,nb_samples:stream=index,codec_type,sample_rate"
        command = ["ffprobe", "-v", "quiet", "-of", "json", "-show_entries", entries, str(path)]
        found = json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)
        frames: dict[int, list[dict[str, str]]] = {stream["index"]: [] for stream in found["streams"]}
        for frame in found["frames"]:
            if "stream_index" in frame:  # subtitles have none
                frames[frame["stream_index"]].append(frame)
        video = next(stream["index"] for stream in found["streams"] if stream["codec_type"] == "video")
        sounds = []
        for stream in found["streams"]:
            own = frames[stream["index"]]
            if stream["codec_type"] == "audio" and own:
                rate, samples = int(stream["sample_rate"]), _samples(path, stream["index"])
                onset = int(np.argmax(np.abs(samples) > LOUD))
                sounds.append(Sound(_time(own[0]) + onset / rate, len(samples) / rate, rate))
        return cls(tuple(_time(frame) for frame in frames[video]), tuple(sounds))


def _samples(path: Path, index: int) -> npt.NDArray[np.float32]:
    """Return one channel of an audio stream, decoded, as float32 from −1 to 1."""
    # The first channel, since a mix of channels with opposite signs could be silence.
    only = ["-map", f"0:{index}", "-af", "pan=mono|c0=c0", "-f", "f32le", "-"]
    command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(path), *only]
    return np.frombuffer(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout, np.float32)


def _time(frame: dict[str, str]) -> float:
    return float(frame.get("best_effort_timestamp_time", "nan"))
