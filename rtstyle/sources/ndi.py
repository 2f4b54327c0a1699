"""NDI source: pictures and sound of a program in the local network, through cyndilib.

cyndilib 0.1.3 gives every receiver a frame synchronizer, which takes the frames away from ``Receiver.receive``; so they
are read from the synchronizer. Its calls return at once, and hold the interpreter's lock only that long.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.media.picture_sharing import gone, load, matching, name_in, only_match
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import CHANNELS, RATE
from rtstyle.sources.base import Source
from rtstyle.sources.polled import POLL_S, PolledSource, Received
from rtstyle.sources.sound_tap import ArrivalClock

FIND_S = 5.0
"""Longest search for a source, seconds: announcements may take some."""

SETTLE_S = 0.5
"""How much longer the search goes on for others with a similar name, seconds."""

LIST_S = 1.5
"""How long sources are looked for to list them, seconds."""

SOUND_S = 1.0
"""How long to wait for sound beside the first picture, seconds; sinks must know early whether there is some."""

BLOCK = 480
"""Samples that are read at once."""

_BEHIND_S = 0.5
"""If reading falls behind by this much, the samples between are left out, seconds."""

_EPOCH_S, _UNKNOWN_S = 1e9, 1e11
"""Times outside of these mean that there is none, seconds since 1970."""

AVAHI = Path("/run/avahi-daemon/socket")
"""Where NDI on Linux asks for what is announced in the network."""


def list_ndi_sources(wait_s: float | None = None) -> list[str]:
    """Return the names of the NDI sources in the network, such as ``STUDIO (Camera 1)``.

    Args:
        wait_s: how long to look, seconds; ``None`` for ``LIST_S``.

    Raises:
        SourceError: cyndilib is missing.
    """
    finder = load("ndi", SourceError, ".finder").Finder()
    time.sleep(LIST_S if wait_s is None else wait_s)
    return sorted(finder.update_sources())


class NdiOpener:
    """Opens an NDI source, and after it was lost the one with the same full name.

    Args:
        text: ``ndi:NAME``, where NAME is a name or a part of one; ``ndi`` takes the only source that there is.
        height: resize to this height, pixels; ``None`` keeps the size.
        sound: takes the sound.
    """

    def __init__(self, text: str, *, height: int | None = None, sound: SoundFeed | None = None) -> None:
        self._wanted, self._height, self._sound = name_in(text), height, sound
        self._known = ""

    def __call__(self) -> Source:
        """Look for the source and open it.

        Raises:
            SourceError: cyndilib is missing, there is no such source, or it sends no pictures.
        """
        finder = load("ndi", SourceError, ".finder").Finder()
        names = _found(finder, self._known or self._wanted)
        if self._known and self._known not in names:
            raise gone("ndi", self._known)
        name = self._known or only_match("ndi", self._wanted, names, _none_hint())
        receiver = NdiReceiver(finder.get_source(name), name, self._sound)
        source = PolledSource(f"NDI {name}", receiver, height=self._height)
        self._known = name
        receiver.await_sound()
        return source


def _found(finder: Any, wanted: str) -> list[str]:
    """Return the names of the sources in the network, once the wanted one is among them or the time is up."""
    start_s = time.monotonic()
    settled_s = start_s + FIND_S
    while True:
        names = [str(name) for name in finder.update_sources()]
        if wanted in names:
            return names
        now_s = time.monotonic()
        if matching(wanted, names):
            settled_s = min(settled_s, now_s + SETTLE_S)
        if now_s >= settled_s:
            return names
        time.sleep(0.05)


def _none_hint() -> str:
    if sys.platform.startswith("linux") and not AVAHI.exists():
        return "on Linux NDI finds sources through avahi: sudo apt install avahi-daemon"
    return "is it running, in the same network, and does the firewall let NDI through?"


class NdiReceiver:
    """Receives one NDI source.

    Args:
        source: of cyndilib's finder.
        name: display name.
        sound: takes the sound; ``None`` discards it.
    """

    def __init__(self, source: Any, name: str, sound: SoundFeed | None) -> None:
        formats = load("ndi", SourceError, ".wrapper.ndi_recv")
        self._video = load("ndi", SourceError, ".video_frame").VideoFrameSync()
        self._audio = load("ndi", SourceError, ".audio_frame").AudioFrameSync()
        self._audio.sample_rate, self._audio.num_channels = RATE, CHANNELS
        self._receiver = load("ndi", SourceError, ".receiver").Receiver(
            color_format=formats.RecvColorFormat.RGBX_RGBA,
            bandwidth=formats.RecvBandwidth.highest,
            allow_video_fields=False,
            recv_name="rtstyle",
        )
        self._sync = self._receiver.frame_sync
        self._sync.set_video_frame(self._video)
        self._sync.set_audio_frame(self._audio)
        self._receiver.connect_to(source)
        self._name, self._sound = name, sound
        self._format: SoundFormat | None = None
        self._clock = ArrivalClock()
        self._offset_s: float | None = None
        self._stamps: tuple[float, float] | None = None
        self._begin_s, self._read, self._next_s = 0.0, 0, 0.0

    @property
    def fps(self) -> Fraction:
        """Nominal frames per second, as the source says; 0 if that is not plausible."""
        rate: Fraction = self._video.get_frame_rate()
        return rate if 1 <= rate <= 1000 else Fraction(0)

    def poll(self) -> Received | None:
        """Return the newest picture, or ``None`` if there is no newer one; pass sound on.

        Raises:
            SourceError: the source is gone.
        """
        self._sync.capture_video()
        self._pass_sound_on()
        timestamp_s = self._video.get_timestamp_posix()
        stamps = (timestamp_s, self._video.get_timecode_posix())
        if not self._video.yres or stamps == self._stamps:
            if self._stamps is not None and not self._receiver.is_connected():
                raise gone("ndi", self._name)
            return None
        self._stamps = stamps
        rgb = self._picture()
        if not _EPOCH_S < timestamp_s < _UNKNOWN_S:
            return Received(rgb)
        self._offset_s = self._clock.offset_s(timestamp_s, time.monotonic())
        return Received(rgb, None if self._format is None else timestamp_s + self._offset_s)

    def await_sound(self) -> None:
        """Wait until sound comes beside the pictures, if any does."""
        until_s = time.monotonic() + SOUND_S
        while self._format is None and time.monotonic() < until_s:
            self._pass_sound_on()
            time.sleep(POLL_S)

    def close(self) -> None:
        """Disconnect from the source."""
        with suppress(RuntimeError, ValueError):
            self._receiver.disconnect()

    def _picture(self) -> RGB:
        """Return a copy of the newest picture; the synchronizer takes its own memory back."""
        import cv2

        rgba = np.frombuffer(self._video, np.uint8).reshape(self._video.yres, -1, 4)[:, : self._video.xres]
        return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)

    def _pass_sound_on(self) -> None:
        """Read the samples that are due by now: the synchronizer adapts its rate to how fast they are read."""
        now_s = time.monotonic()
        if now_s - self._begin_s - self._read / RATE > _BEHIND_S:
            self._begin_s, self._read = now_s, 0
            if waiting := self._sync.audio_samples_available():
                self._sync.capture_audio(waiting)  # discarded: it would be late for ever
        while self._read + BLOCK <= (now_s - self._begin_s) * RATE:
            self._read += BLOCK
            if self._sync.capture_audio(BLOCK) and self._sound is not None:
                self._put(self._sound, now_s)

    def _put(self, sound: SoundFeed, now_s: float) -> None:
        """Put the samples that were just read into the feed, on the clock of the pictures."""
        if self._format is None:
            self._format = SoundFormat.pcm(RATE, "stereo")
            sound.announce(self._format)
        samples = np.clip(self._audio.get_array().T * 32768, -32768, 32767).astype("<i2")
        length_s, timestamp_s = len(samples) / RATE, self._audio.get_timestamp_posix()
        if self._offset_s is not None and _EPOCH_S < timestamp_s < _UNKNOWN_S:
            begin_s = timestamp_s + self._offset_s
        else:  # of silence that the synchronizer put in, or of an old sender
            begin_s = max(self._next_s, now_s - length_s - _BEHIND_S)
        self._next_s = begin_s + length_s
        sound.put(SoundPacket(samples.tobytes(), begin_s, length_s, self._format))
