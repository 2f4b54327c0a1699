"""Clips for the benchmarks: the built-in scene with a tone, in H.264 and AAC, as a phone or a camera writes them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rtstyle.sources.pattern import PatternSource

RATE = 48_000
"""Audio samples per second."""

BLOCK = 1024
"""Samples in an AAC frame."""


def write_clip(path: Path, width: int, height: int, fps: int, seconds: int, *, distinct: int | None = None) -> Path:
    """Write a clip.

    Args:
        path: ends in ``.mp4``.
        width: of the frames, pixels.
        height: of the frames, pixels.
        fps: frames per second.
        seconds: of picture and sound.
        distinct: render so many pictures and repeat them, which is faster; ``None`` renders all.
    """
    scene = PatternSource(width, height, fps, live=False)
    count = fps * seconds
    pictures = [scene.picture(number) for number in range(min(distinct, count))] if distinct else []
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "23"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = Fraction(1, fps)
        audio = output.add_stream("aac", rate=RATE, layout="mono")
        samples = 0
        for number in range(count):
            rgb = pictures[number % len(pictures)] if pictures else scene.picture(number)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = number
            output.mux(video.encode(frame))
            while samples * fps < number * RATE:
                output.mux(audio.encode(_tone(samples)))
                samples += BLOCK
        output.mux(video.encode(None))
        output.mux(audio.encode(None))
    return path


def _tone(start: int) -> av.AudioFrame:
    """440 Hz."""
    wave = 0.2 * np.sin(2 * np.pi * 440 / RATE * np.arange(start, start + BLOCK))
    frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
    return frame


def read_frames(path: Path, count: int, start: int = 0) -> list[np.ndarray]:
    """Consecutive frames as RGB, lossless from here on.

    Args:
        path: a clip.
        count: how many.
        start: frames that are passed over first.
    """
    frames: list[np.ndarray] = []
    with av.open(str(path)) as clip:
        for index, frame in enumerate(clip.decode(video=0)):
            if index >= start:
                frames.append(np.ascontiguousarray(frame.to_ndarray(format="rgb24")))
            if len(frames) == count:
                break
    return frames
