"""Level and beat of the sound of a clip at the times of its pictures."""

from __future__ import annotations

import math

from engines.errors import ConfigError
from rtstyle.media.container import demux, open_input
from rtstyle.media.container import video_stream as find_video
from rtstyle.media.urls import redact
from rtstyle.sound.analysis import HOP_S
from rtstyle.sound.feed import SoundFeed
from rtstyle.sound.follower import KEPT_S, HeardLately, Listening
from rtstyle.sound.pcm import MISSING_S
from rtstyle.sources.sound_tap import SoundTap

_AHEAD_S = 0.1
"""How far beyond a picture a clip is listened to: an onset is known a little later than it is heard, seconds."""

WARM_UP_S = 30.0
"""How much before the first picture a clip is listened to, so that it is known what is loud, seconds."""


class ClipFollower:
    """Listens to the sound of a clip, picture by picture in order: the same in every run. One thread calls it.

    Args:
        name: file or URL.
        first_s: timestamp of the first picture that counts, seconds.
        video_stream: the film, see ``container.video_stream``.

    Raises:
        ConfigError: the clip has no sound, or its sound cannot be decoded.
        SourceError: the clip cannot be read.
    """

    def __init__(self, name: str, first_s: float, video_stream: int | None = None) -> None:
        self._container = open_input(name)
        try:
            feed = SoundFeed()
            tap = SoundTap.of(self._container, find_video(self._container, name, video_stream), feed)
            if tap is None:
                raise ConfigError(
                    f"{redact(name)} has no sound to follow", hint="level and beat need it; a shape like sine does not"
                )
            tap.align(0.0)
            begin_s = math.floor((first_s - WARM_UP_S) / HOP_S) * HOP_S  # a part is heard as the whole is
            unit_s = float(tap.stream.time_base or 1)
            if begin_s > float(tap.stream.start_time or 0) * unit_s:
                self._container.seek(int(begin_s / unit_s), stream=tap.stream)
        except BaseException:
            self._container.close()
            raise
        self._tap, self._packets = tap, demux(self._container, tap.stream)
        self._listen, self._lately = Listening(feed, begin_s), HeardLately()
        self._ended = False

    def begin(self) -> None:
        """See ``Follower``."""

    def close(self) -> None:
        """Close the clip; may be called twice."""
        self._container.close()

    def level(self, moment_s: float) -> float:
        """See ``Follower``; moments are timestamps of pictures, each later than the one before."""
        self._read(moment_s)
        return self._lately.level(moment_s)

    def beat(self, moment_s: float) -> float:
        """See ``Follower``; moments as above."""
        self._read(moment_s)
        return self._lately.beat(moment_s)

    def _read(self, moment_s: float) -> None:
        until_s = moment_s + _AHEAD_S
        while self._lately.until_s < until_s:
            packet = None if self._ended else next(self._packets, None)
            self._ended = packet is None
            if packet is not None:
                self._tap.packet(packet)
            silent_s = until_s + MISSING_S if self._ended else -math.inf
            self._lately.add(self._listen(silent_s), moment_s - KEPT_S)
