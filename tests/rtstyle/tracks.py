"""Clips with tracks of all kinds, and what is in the tracks of a result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from rtstyle.video import VideoJob, VideoReport, stylize_video
from tests.rtstyle.clips import Clip, Still, frames


@contextmanager
def film(path: Path, count: int = 25, codec: str = "libx264") -> Iterator[Any]:
    """Write a clip of numbered frames; the context adds tracks and their packets."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        yield out
        for frame in frames(count):
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame.rgb)))
        out.mux(video.encode(None))


def payload(path: Path, kind: str) -> list[bytes]:
    """Return the packets as they are stored, without empty fillers of MP4 subtitles."""
    with av.open(str(path)) as file:
        return [bytes(p) for p in file.demux(*(s for s in file.streams if s.type == kind)) if p.size > 2]


def clip_with(path: Path, sound: str, *, count: int = 25) -> Path:
    picture = {"webm": "libvpx", "avi": "mpeg4"}.get(path.suffix[1:], "libx264")
    time_base = Fraction(1, 25) if path.suffix == ".avi" else Fraction(1, 12800)
    clip = Clip(frames=count, sound=sound, codec=picture, time_base=time_base)
    return dataclasses.replace(clip, file_options={"strict": "experimental"}).write(path)


def stylize(clip: Path, out: Path, **options: Any) -> VideoReport:
    return stylize_video(VideoJob(str(clip), out, overwrite=True, **options), Still)


def remux(source: Path, target: Path, change: Callable[[Any], list[Any]]) -> Path:
    """Copy a file, with each packet replaced by those that ``change`` returns."""
    with av.open(str(source)) as file, av.open(str(target), "w") as out:
        streams = [out.add_stream_from_template(stream, opaque=True) for stream in file.streams]
        for packet in file.demux():
            if packet.dts is not None:
                for changed in change(packet):
                    changed.stream = streams[packet.stream.index]
                    out.mux(changed)
    return target


def packet_times(path: Path, kind: str) -> list[float]:
    with av.open(str(path)) as file:
        stream = next(s for s in file.streams if s.type == kind)
        return [float(p.pts * p.time_base) for p in file.demux(stream) if p.size > 2]


def sound_of(path: Path, rate: int = 8000) -> tuple[float, Any]:
    """Time of the first sample, seconds, and the sound in mono; damaged packets are left out."""
    resampler = av.AudioResampler("flt", "mono", rate)
    parts: list[Any] = []
    first_s = None
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.audio[0]):
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for frame in [ready for one in decoded for ready in resampler.resample(one)]:
                first_s = frame.time if first_s is None else first_s
                parts.append(frame.to_ndarray()[0])
    assert first_s is not None
    return first_s, np.concatenate(parts)


def sound_length(path: Path) -> float:
    return len(sound_of(path)[1]) / 8000


def tone(path: Path) -> float:
    """Loudest frequency, hertz."""
    wave = sound_of(path)[1]
    return float(np.argmax(np.abs(np.fft.rfft(wave))[1:]) + 1) * 8000 / len(wave)


def onset(path: Path) -> float:
    """Time at which the sound becomes loud, seconds."""
    first_s, wave = sound_of(path)
    return first_s + float(np.flatnonzero(np.abs(wave) > 0.2)[0]) / 8000
