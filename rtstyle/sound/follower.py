"""Level and beat of sound at the moment of a picture, for settings that move with them."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterable
from threading import Event, Lock, Thread
from typing import Protocol

from engines.errors import ConfigError
from rtstyle.sound.analysis import HOP_S, Analyser, Heard
from rtstyle.sound.feed import HISTORY_S, SoundFeed
from rtstyle.sound.pcm import PcmTrack

logger = logging.getLogger(__name__)

HOLD_S, DECAY_S = 0.04, 0.15
"""A beat holds the top for so long, so that each has its picture, and then decays with this time constant, seconds."""

KEPT_S = 5.0
"""How long it is remembered what was heard: pictures are younger."""

_LOOK_S = 0.01
"""Time between two looks at what a live run hears, seconds."""


class Follower(Protocol):
    """Knows what was heard at a moment."""

    def begin(self) -> None:
        """Start to listen. Raises ConfigError if there is no sound."""
        ...

    def level(self, moment_s: float) -> float:
        """Return how loud it is, 0 … 1."""
        ...

    def beat(self, moment_s: float) -> float:
        """Return 1 when something begins to sound, and less and less from then on."""
        ...


class Level:
    """Moves a setting with the level of sound; see ``rtstyle.modulation.ModulationSource``."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def begin(self) -> None:
        """See ``ModulationSource``."""
        self._follower.begin()

    def share(self, elapsed_s: float, moment_s: float) -> float:  # noqa: ARG002
        """See ``ModulationSource``."""
        return self._follower.level(moment_s)


class Beat:
    """Moves a setting with each beat; see ``rtstyle.modulation.ModulationSource``."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def begin(self) -> None:
        """See ``ModulationSource``."""
        self._follower.begin()

    def share(self, elapsed_s: float, moment_s: float) -> float:  # noqa: ARG002
        """See ``ModulationSource``."""
        return self._follower.beat(moment_s)


class Silence:
    """Hears nothing: for checking what was asked for."""

    def begin(self) -> None:
        """See ``Follower``."""

    def level(self, moment_s: float) -> float:  # noqa: ARG002
        """See ``Follower``."""
        return 0.0

    def beat(self, moment_s: float) -> float:  # noqa: ARG002
        """See ``Follower``."""
        return 0.0


def sources_of(follower: Follower) -> dict[str, Level | Beat]:
    """Return what can move a setting with sound, by the names that people write."""
    return {"level": Level(follower), "beat": Beat(follower)}


class HeardLately:
    """What was heard in the last seconds. Any thread may call any method."""

    def __init__(self) -> None:
        self._levels: deque[tuple[float, float]] = deque()
        self._onsets: deque[float] = deque()
        self._lock = Lock()

    @property
    def until_s(self) -> float:
        """The end of what was heard, seconds."""
        with self._lock:
            return self._levels[-1][0] if self._levels else -math.inf

    def add(self, heard: Iterable[Heard], forget_s: float) -> None:
        """Take what was heard next; forget what ended before a moment."""
        with self._lock:
            for hop in heard:
                self._levels.append((hop.moment_s, hop.level))
                if hop.onset_s is not None:
                    self._onsets.append(hop.onset_s)
            while len(self._levels) > 1 and self._levels[0][0] < forget_s:
                self._levels.popleft()
            while len(self._onsets) > 1 and self._onsets[1] < forget_s:
                self._onsets.popleft()

    def level(self, moment_s: float) -> float:
        """Return the level at a moment, or the newest one before it."""
        with self._lock:
            return next((level for hop_s, level in reversed(self._levels) if hop_s - HOP_S <= moment_s), 0.0)

    def beat(self, moment_s: float) -> float:
        """Return what is left of the pulse of the newest onset before a moment."""
        with self._lock:
            onset_s = next((one for one in reversed(self._onsets) if one <= moment_s), -math.inf)
        return math.exp(-max(0.0, moment_s - onset_s - HOLD_S) / DECAY_S)


def check_sound(feed: SoundFeed | None) -> None:
    """Raise ConfigError unless there is sound to follow in a live run."""
    if feed is None or feed.format is None:
        hint = "add --microphone default, or choose a source that has sound"
        raise ConfigError("level and beat follow sound, and there is none", hint=hint)


class LiveFollower:
    """Listens to a live run in a thread of its own, from ``begin`` on, so that frames never wait for it.

    Args:
        feed: the sound; ``None`` if there can be none.
    """

    def __init__(self, feed: SoundFeed | None) -> None:
        self._feed = feed
        self._lately = HeardLately()
        self._closed = Event()
        self._thread: Thread | None = None

    def begin(self) -> None:
        """See ``Follower``."""
        check_sound(self._feed)
        if self._feed is not None and self._thread is None and not self._closed.is_set():
            self._thread = Thread(target=self._listen, args=(self._feed,), name="sound", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; may be called twice."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def level(self, moment_s: float) -> float:
        """See ``Follower``."""
        return self._lately.level(moment_s)

    def beat(self, moment_s: float) -> float:
        """See ``Follower``."""
        return self._lately.beat(moment_s)

    def _listen(self, feed: SoundFeed) -> None:
        listen = Listening(feed, time.monotonic() - HISTORY_S)
        try:
            while not self._closed.wait(_LOOK_S):
                now_s = time.monotonic()
                self._lately.add(listen(now_s), now_s - KEPT_S)
        except Exception as error:  # noqa: BLE001  # pictures go on without it
            logger.warning("the sound is no longer followed: %s", error)


class Listening:
    """Reads a feed and analyses it: silence where there is none."""

    def __init__(self, feed: SoundFeed, begin_s: float) -> None:
        self._track, self._analyse = PcmTrack(feed, begin_s), Analyser()

    def __call__(self, needed_s: float) -> list[Heard]:
        """Return what has come; silence counts up to a moment once nothing came for a while."""
        blocks = self._track.read(math.inf, needed_s)
        return [hop for block in blocks for hop in self._analyse.add(block.samples, block.moment_s)]
