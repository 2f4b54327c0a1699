"""A clip with a number in every picture and clicks at known pictures, and how far apart they are at the end of a run.

The time between a click and its picture is known even if that picture was dropped.

python -m benchmarks.sync_clip URL SECONDS: receive a stream of this clip, and print the offsets, seconds, as JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from engines.base import RGB

RATE = 48_000
"""Audio samples per second."""

BLOCK = 1024
"""Samples that are written at once."""

FPS = 30
WIDTH, HEIGHT, BITS = 160, 96, 8

CLICK_HZ, CLICK_S = 1000, 0.03
"""Pitch and length of a click."""

CUT_S = 0.1
"""Where two pictures are farther from each other, or nearer, than in the clip, something was cut out, seconds."""

LOUD = 0.1
"""Samples beyond this belong to a click, full scale 1."""


def clicks_s(seconds: float) -> list[float]:
    """Return the times of the clicks: unevenly, so that none is mistaken for the next."""
    return [time_s for k in range(int(seconds)) if (time_s := 0.5 + 0.9 * k + 0.15 * (k % 3)) < seconds - CLICK_S]


def picture(number: int) -> RGB:
    """Return a picture that shows its number, modulo 256, as white and black columns."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            rgb[:, bit * WIDTH // BITS : (bit + 1) * WIDTH // BITS] = 235
    return rgb


def number_of(rgb: RGB) -> int:
    """Read the number of a picture."""
    height, width = rgb.shape[:2]
    centres = ((2 * bit + 1) * width // (2 * BITS) for bit in range(BITS))
    return sum(1 << bit for bit, x in enumerate(centres) if rgb[height // 2, x].mean() > 127)


def write_clip(path: Any, seconds: float, *, sound: str = "aac", fps: int = FPS, pace: Any = None) -> Any:
    """Write numbered pictures with clicks, and return the path.

    Args:
        path: a clip; or the URL of a stream, or an object with ``write``, for a transport stream.
        seconds: length.
        sound: encoder of the sound.
        fps: pictures per second.
        pace: called with the seconds since the beginning before each picture; False ends the clip.
    """
    wave = _clicks(seconds)
    fast = {"preset": "ultrafast", "tune": "zerolatency", "crf": "10", "g": "15"}
    stream = not isinstance(path, Path)
    with av.open(path, "w", format="mpegts" if stream else None, options={"flush_packets": "1"}) as output:
        video = output.add_stream("libx264", rate=fps, options=fast)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = output.add_stream(sound, rate=RATE, layout="mono")
        written = 0
        for number in range(round(seconds * fps)):
            if pace is not None and not pace(number / fps):
                break
            while written * fps < (number + 1) * RATE and written < len(wave):
                output.mux(audio.encode(_samples(wave, written)))
                written += BLOCK
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            output.mux(video.encode(frame))
        output.mux([*video.encode(None), *audio.encode(None)])
    return path


def _clicks(seconds: float) -> npt.NDArray[np.int16]:
    """Return the samples of the clip's sound."""
    wave = np.zeros(-(-round(seconds * RATE) // BLOCK) * BLOCK, np.int16)
    click = 20_000 * np.sin(2 * np.pi * CLICK_HZ / RATE * np.arange(round(CLICK_S * RATE)))
    for begin_s in clicks_s(seconds):
        part = wave[round(begin_s * RATE) :][: len(click)]
        part[:] = click[: len(part)]
    return wave


def _samples(wave: npt.NDArray[np.int16], start: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(wave[None, start : start + BLOCK], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
    return frame


@dataclass
class Heard:
    """What came out of a sink: the pictures with their times, and the times of the clicks, seconds."""

    numbers: list[int]
    times_s: list[float]
    clicks_s: list[float]
    level: float = LOUD

    @classmethod
    def of(cls, name: str, level: float = LOUD, **options: Any) -> Heard:
        """Read a recording, or a stream until it ends; clicks are louder than the level."""
        heard, loud_s = cls([], [], [], level), -1.0
        with av.open(name, **options) as file, suppress(OSError):  # a stream that is silent for long has ended
            for packet in file.demux(file.streams.video[0], file.streams.audio[0]):
                loud_s = heard._take(packet, loud_s)
        return heard

    def _take(self, packet: Any, loud_s: float) -> float:
        try:
            decoded: Sequence[Any] = packet.decode()
        except av.FFmpegError:
            return loud_s  # who tunes in late waits for the next keyframe
        for one in decoded:
            if isinstance(one, av.VideoFrame):
                self._see(number_of(cast("RGB", one.to_ndarray(format="rgb24"))), float(one.time or 0))
            else:
                loud_s = self._hear(one, loud_s)
        return loud_s

    def _see(self, number: int, time_s: float) -> None:
        if self.numbers:
            number = self.numbers[-1] + (number - self.numbers[-1]) % (1 << BITS)
        self.numbers.append(number)
        self.times_s.append(time_s)

    def _hear(self, frame: av.AudioFrame, loud_s: float) -> float:
        """Note the click that begins in a frame, if any; return when it was loud last."""
        samples = frame.to_ndarray().astype(np.float64)
        full = 32768.0 if frame.format.name.startswith("s16") else 1.0
        one = samples[0] if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))[:, 0]
        loud = np.flatnonzero(np.abs(one) > self.level * full)
        if len(loud):
            begin_s = float(frame.time or 0) + loud[0] / frame.sample_rate
            if begin_s - loud_s > 0.3:
                self.clicks_s.append(begin_s)
            loud_s = float(frame.time or 0) + loud[-1] / frame.sample_rate
        return loud_s

    def offsets_s(self, seconds: float, fps: int = FPS) -> list[float]:
        """Return by how much each click is later than its picture, seconds; a repeated picture counts once.

        A click is left out if the pictures around it are nearer in time than in the clip: a stream that stalls for more
        than a second cuts out the rest, so that its picture is not there.
        """
        first = [i for i, number in enumerate(self.numbers) if i == 0 or number != self.numbers[i - 1]]
        numbers, times_s = np.array(self.numbers)[first], np.array(self.times_s)[first]
        found: list[float] = []
        for click_s in self.clicks_s:
            if not times_s[0] <= click_s <= times_s[-1]:
                continue
            after = min(int(np.searchsorted(times_s, click_s, side="right")), len(times_s) - 1)
            in_clip_s = (numbers[after] - numbers[after - 1]) / fps
            if abs(times_s[after] - times_s[after - 1] - in_clip_s) > CUT_S:
                continue
            shown_s = float(np.interp(click_s, times_s, numbers)) / fps
            known_s = min(clicks_s(seconds), key=lambda one: abs(one - shown_s))
            found.append(shown_s - known_s)
        return found


def main() -> None:
    """Receive a stream until it ends: by UDP, or as a server of RTMP."""
    url, seconds = sys.argv[1], float(sys.argv[2])
    options = {"listen": "1"} if url.startswith("rtmp") else {"timeout": "5000000", "overrun_nonfatal": "1"}
    heard = Heard.of(url, options=options)
    print(json.dumps(heard.offsets_s(seconds)), flush=True)


if __name__ == "__main__":
    main()
