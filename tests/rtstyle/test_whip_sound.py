"""Sound by WHIP: as old as the picture beside it."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from rtstyle.sinks.whip import WhipSink
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import RATE
from rtstyle.webrtc import sound_track
from rtstyle.webrtc.sound_track import BLOCK, SoundTrack
from tests.rtstyle.test_whip import Media, serving
from tests.rtstyle.test_whip import feed as write_until

pytestmark = pytest.mark.real_time


class Clock:
    """Time that a test sets."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


def ramp(feed: SoundFeed, begin_s: float, seconds: float) -> None:
    """Put sound whose loudness tells its moment: 10 000 a second."""
    pcm = SoundFormat.pcm(RATE, "stereo")
    for i in range(round(seconds * 50)):
        wave = (10_000 * (i * 0.02 + np.arange(BLOCK) / RATE)).astype("<i2")
        data = np.repeat(wave[:, None], 2, axis=1).tobytes()
        feed.put(SoundPacket(data, begin_s + i * 0.02, 0.02, pcm))


def test_sound_follows_the_age_of_the_pictures_without_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, feed = Clock(), SoundFeed()
    monkeypatch.setattr(sound_track, "time", clock)
    track = SoundTrack(feed)
    assert not track.block(99.0).any(), "silence before the first picture"
    ramp(feed, 100.0, 2.9)
    ages_s, heard = [0.08] * 40 + [0.095] * 100, list[np.ndarray]()
    for i, age_s in enumerate(ages_s):
        clock.now_s = 100.1 + i * BLOCK / RATE
        track.shown(clock.now_s - age_s)
        heard.append(track.block(clock.now_s)[:, 0])
        if i in (39, 139):
            told_s = clock.now_s - (100.0 + heard[-1][0] / 10_000)
            assert told_s == pytest.approx(age_s, abs=0.004)
    steps = np.diff(np.concatenate(heard).astype(int))
    assert set(steps) <= {0, 1}, "neither a jump nor a step back"


def test_sound_that_arrives_later_than_its_picture_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, feed = Clock(), SoundFeed()
    monkeypatch.setattr(sound_track, "time", clock)
    track, pcm, heard = SoundTrack(feed), SoundFormat.pcm(RATE, "stereo"), list[np.ndarray]()
    loud = np.full((BLOCK, 2), 5000, "<i2").tobytes()
    for i in range(150):
        clock.now_s = 100.0 + i * BLOCK / RATE
        feed.put(SoundPacket(loud, clock.now_s - 0.15, BLOCK / RATE, pcm))
        track.shown(clock.now_s - 0.03)
        heard.append(track.block(clock.now_s)[:, 0])
    assert (np.concatenate(heard[20:]) == 5000).all(), "0.15 s late, and without a hole"


def test_a_server_gets_it() -> None:
    feed, pcm = SoundFeed(), SoundFormat.pcm(RATE, "stereo")
    feed.announce(pcm)
    tone = np.repeat((8000 * np.sin(2 * np.pi * 500 * np.arange(BLOCK) / RATE)).astype("<i2")[:, None], 2, axis=1)

    def loud() -> bool:
        while feed_s[0] < time.monotonic():
            feed.put(SoundPacket(tone.tobytes(), feed_s[0], BLOCK / RATE, pcm))
            feed_s[0] += BLOCK / RATE
        return bool(media.pictures) and any(np.abs(one).max() > 4000 for one in media.sounds)

    with serving(Media()) as media:
        feed_s = [time.monotonic()]
        sink = WhipSink(f"whip+http://127.0.0.1:{media.port}/whip", sound=feed)
        write_until(sink, loud)
        sink.close(completed=True)
