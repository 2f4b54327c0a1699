"""A microphone as sound of a live run, through sounddevice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from threading import Event, Thread
from typing import Any

from engines.errors import SourceError
from engines.install_hint import pip_install
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import RATE

logger = logging.getLogger(__name__)

DEFAULT = "default"
"""Name of the microphone that the system prefers."""

SILENT_S = 2.0
"""A microphone that delivers nothing for so long is gone, seconds; even silence is delivered."""

_MOST_AGE_S = 1.0
"""Samples cannot be older than this when they arrive, seconds; some systems tell nonsense."""


@dataclass(frozen=True)
class MicrophoneInfo:
    """A microphone of this machine.

    Attributes:
        index: its number.
        name: for people.
        channels: how many it has at most.
        rate: samples per second that it prefers.
    """

    index: int
    name: str
    channels: int
    rate: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def list_microphones() -> list[MicrophoneInfo]:
    """Return the microphones of this machine.

    Raises:
        SourceError: sounddevice or PortAudio is missing.
    """
    found = _sounddevice().query_devices()
    return [_info(one) for one in found if one["max_input_channels"] > 0]


def find_microphone(name: str) -> MicrophoneInfo:
    """Return the microphone of a number, a name or a part of one; ``default`` is the one that the system prefers.

    Raises:
        SourceError: sounddevice or PortAudio is missing, there is no such microphone, or there are several.
    """
    library = _sounddevice()
    if name == DEFAULT:
        try:
            return _info(library.query_devices(kind="input"))
        except (library.PortAudioError, ValueError) as error:
            raise SourceError("no microphone is connected", hint="`rtstyle devices` lists them") from error
    known = list_microphones()
    exact = [one for one in known if name == str(one.index) or name.lower() == one.name.lower()]
    matches = exact[:1] or [one for one in known if name.lower() in one.name.lower()]
    if not matches:
        raise SourceError(f"no microphone is called {name!r}", hint="`rtstyle devices` lists them")
    if len(matches) > 1:
        names = ", ".join(f"{one.index} {one.name}" for one in matches)
        raise SourceError(f"{name!r} may be several microphones", hint=f"give one of the numbers: {names}")
    return matches[0]


def _info(device: Any) -> MicrophoneInfo:
    channels, rate = int(device["max_input_channels"]), round(device["default_samplerate"])
    return MicrophoneInfo(int(device["index"]), str(device["name"]), channels, rate)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise SourceError("a microphone needs sounddevice", hint=pip_install("microphone")) from error
    except OSError as error:  # on Linux the library comes with the system
        raise SourceError("a microphone needs PortAudio", hint="sudo apt install libportaudio2") from error
    return sounddevice


class Microphone:
    """Captures a microphone into a feed until it is closed. If it vanishes, that is logged, and nothing else happens.

    Args:
        name: see ``find_microphone``.

    Attributes:
        sound: the feed, whose format is known at once.

    Raises:
        SourceError: it cannot be opened.
    """

    def __init__(self, name: str = DEFAULT) -> None:
        library, info = _sounddevice(), find_microphone(name)
        self.name = info.name
        self.sound = SoundFeed()
        channels = min(2, info.channels)
        self._blocks = 0
        self._ended = Event()
        self._closed = False
        try:
            rate = _rate(library, info, channels)
            self._format = SoundFormat.pcm(rate, "mono" if channels == 1 else "stereo")
            self.sound.announce(self._format)
            self._stream = library.RawInputStream(
                samplerate=rate,
                device=info.index,
                channels=channels,
                dtype="int16",
                latency="low",
                callback=self._take,
                finished_callback=self._ended.set,
            )
            self._stream.start()
        except (library.PortAudioError, ValueError, OSError) as error:
            problem = f"cannot open the microphone {info.name}: {error}"
            hint = "does another program use it? `rtstyle devices` lists all"
            raise SourceError(problem, hint=hint) from error
        self._thread = Thread(target=self._watch, name="microphone", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Release the microphone; may be called twice."""
        if not self._closed:
            self._closed = True
            self._ended.set()
            self._thread.join()
            self._stream.close()

    def _take(self, samples: Any, count: int, times: Any, _status: Any) -> None:
        """Take the next samples, in a thread of PortAudio, which must not wait.

        Args:
            samples: buffer of all channels, interleaved.
            count: samples of each channel.
            times: ``inputBufferAdcTime``, when the first one was captured, and ``currentTime``, on one clock, seconds.
        """
        length_s, age_s = count / self._format.rate, times.currentTime - times.inputBufferAdcTime
        if not (times.inputBufferAdcTime > 0 and 0 <= age_s <= _MOST_AGE_S):
            age_s = length_s
        self._blocks += 1
        self.sound.put(SoundPacket(bytes(samples), time.monotonic() - age_s, length_s, self._format))

    def _watch(self) -> None:
        """Run the thread: notice when nothing comes any more."""
        seen = -1
        while seen != self._blocks:
            seen = self._blocks
            if self._ended.wait(SILENT_S):
                break
        if not self._closed:
            logger.warning("the microphone %s is gone; the pictures go on without it", self.name)


def _rate(library: Any, info: MicrophoneInfo, channels: int) -> int:
    """Return the rate to capture at: the one of encoders, or else what the microphone prefers."""
    check: Callable[..., None] = library.check_input_settings
    try:
        check(device=info.index, channels=channels, dtype="int16", samplerate=RATE)
    except (library.PortAudioError, ValueError):
        return info.rate
    return RATE
