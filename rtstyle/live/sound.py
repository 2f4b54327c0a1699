"""The sound of a live run: of its source, of a microphone, or of both."""

from __future__ import annotations

import time
from collections.abc import Callable

from rtstyle.sound.feed import SoundFeed, sound_of
from rtstyle.sources.base import Source


class LiveSound:
    """Opens what is heard, which sinks find in ``feed``.

    Args:
        source: may have sound.
        microphone: see ``microphone.find_microphone``; ``None`` for none.
        paused: while it returns True, nothing is heard.

    Attributes:
        feed: the sound; ``None`` if there can be none.

    Raises:
        SourceError: the microphone cannot be opened.
    """

    def __init__(self, source: Source, microphone: str | None, paused: Callable[[], bool]) -> None:
        self.feed: SoundFeed | None = sound_of(source)
        self._closers: list[Callable[[], None]] = []
        if self.feed is not None:
            self.feed.paused = paused
        if microphone is not None:
            self._add(microphone, paused)

    def close(self) -> None:
        """Release the microphone; may be called twice."""
        for close in self._closers:
            close()

    def _add(self, name: str, paused: Callable[[], bool]) -> None:
        from rtstyle.sound.microphone import Microphone
        from rtstyle.sound.mixer import Mixer

        microphone = Microphone(name)
        microphone.sound.paused = paused
        self._closers.append(microphone.close)
        if self.feed is None or self.feed.format is None:
            self.feed = microphone.sound
            return
        mixer = Mixer(self.feed, microphone.sound, begin_s=time.monotonic())
        self._closers.append(mixer.close)
        self.feed = mixer.sound
