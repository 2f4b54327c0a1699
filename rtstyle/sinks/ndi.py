"""NDI sink: other programs in the local network see the stylized frames, through cyndilib."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np

from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.media.picture_sharing import load
from rtstyle.media.resize import letterbox
from rtstyle.sinks.paused_slate import shown
from rtstyle.sound.feed import SoundFeed
from rtstyle.sound.pcm import CHANNELS, RATE, PcmTrack, Samples

DEFAULT_FPS = Fraction(30)
"""Frame rate that receivers are told if the source does not know its own."""

BLOCK = 480
"""Samples of sound that are sent at once, always as many: cyndilib 0.1.3 misplaces the second channel of fewer."""

MOST_BLOCKS = 2
"""Blocks that are sent at once at most, each time that one is due."""

SMOOTH, JUMP_S = 0.02, 0.2
"""Least share of a new age of the pictures in the smoothed one, and the difference that is a jump, seconds."""


class NdiSink:
    """Sends every frame to whoever receives it, and holds no frame up for a receiver.

    Args:
        name: of the picture; receivers see ``MACHINE (name)``, with a number if the machine sends that name already.
        size: (width, height), pixels; odd sides become even, and frames of another size are fitted onto black.
        fps: frames per second that receivers are told; 0 stands for ``DEFAULT_FPS``.
        paused: returns True while receivers are to see the paused slate.
        sound: sent as late as the pictures are.

    Attributes:
        name: with the name that receivers see.

    Raises:
        SinkError: cyndilib is missing, or NDI cannot send.
    """

    main_thread = False

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        fps: Fraction = DEFAULT_FPS,
        *,
        paused: Callable[[], bool] = lambda: False,
        sound: SoundFeed | None = None,
    ) -> None:
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)  # NDI would cut off an odd row
        rate = Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
        self._paused = paused
        video = load("ndi", SinkError, ".video_frame").VideoSendFrame()
        video.set_resolution(*self._size)
        video.set_fourcc(load("ndi", SinkError, ".wrapper.ndi_structs").FourCC.RGBX)
        video.set_frame_rate(rate)
        audio = load("ndi", SinkError, ".audio_frame").AudioSendFrame(max_num_samples=BLOCK)
        audio.sample_rate, audio.num_channels = RATE, CHANNELS
        sender = load("ndi", SinkError, ".sender").Sender(name, clock_video=False, clock_audio=False)
        sender.set_video_frame(video)
        sender.set_audio_frame(audio)
        try:
            sender.open()
        except Exception as error:
            raise SinkError(f"NDI cannot send as {name!r}: {error or type(error).__name__}") from error
        self._sender, self.name = sender, f"NDI {sender.name}"
        self._sound = None if sound is None else _SoundSender(sound, sender)

    def write(self, frame: Frame) -> bool:
        """Send a frame.

        Raises:
            SinkError: NDI refused it.
        """
        rgb = letterbox(shown(frame, paused=self._paused()), self._size)
        rgbx = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)
        try:
            self._sender.write_video(rgbx.reshape(-1))
        except Exception as error:
            raise SinkError(f"{self.name} failed: {error or type(error).__name__}") from error
        if self._sound is not None and not frame.notice:
            self._sound.shown(time.monotonic() - frame.moment_s)
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002 - what was sent is sent
        """Stop sending; may be called twice."""
        if self._sound is not None:
            self._sound.close()
        self._sender.close()


class _SoundSender:
    """Sends sound as old as the pictures that are sent now, in a thread."""

    def __init__(self, feed: SoundFeed, sender: Any) -> None:
        self._feed, self._sender = feed, sender
        self._age_s: float | None = None
        self._count = 0
        self._samples: Samples = np.zeros((0, CHANNELS), np.int16)  # too few for a block
        self._closed = Event()
        self._thread = Thread(target=self._work, name="NDI sound", daemon=True)
        self._thread.start()

    def shown(self, age_s: float) -> None:
        """Learn the age of the picture that was just sent, seconds."""
        known_s = self._age_s
        if known_s is None or abs(age_s - known_s) > JUMP_S:
            known_s, self._count = age_s, 0
        self._count += 1
        # The first ones of a run are older than the others: their mean is taken.
        self._age_s = known_s + max(SMOOTH, 1 / self._count) * (age_s - known_s)

    def close(self) -> None:
        """End the thread; may be called twice."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        track: PcmTrack | None = None
        while not self._closed.wait(BLOCK / RATE):
            if self._age_s is None or self._feed.format is None:
                continue
            due_s = time.monotonic() - self._age_s
            track = track or PcmTrack(self._feed, due_s)
            self._send([block.samples for block in track.read(due_s, due_s)])

    def _send(self, new: list[Samples]) -> None:
        """Send what is due, at twice its speed at most: receivers lose sound that comes in bursts."""
        samples = np.concatenate([self._samples, *new])
        for _ in range(min(MOST_BLOCKS, len(samples) // BLOCK)):
            self._sender.write_audio(np.ascontiguousarray(samples[:BLOCK].T, np.float32) / 32768)
            samples = samples[BLOCK:]
        self._samples = samples
