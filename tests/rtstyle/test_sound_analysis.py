"""Level and beat of sound: generated beats are found, noise is not, and a quiet microphone is as good as a loud one."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from rtstyle.sound.analysis import Analyser, Heard
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.follower import DECAY_S, HOLD_S, HeardLately
from rtstyle.sound.pcm import RATE, PcmDecoder

SECONDS = 20
TOLERANCE_S = 0.05
Wave = npt.NDArray[np.float64]

TIME_S: Wave = np.arange(SECONDS * RATE) / RATE


def listen(wave: Wave) -> list[Heard]:
    """Analyse sound, 1 is full scale, in blocks of uneven length."""
    samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)[:, None].repeat(2, axis=1)
    analyse, heard, at = Analyser(), list[Heard](), 0
    for length in itertools.cycle((100, 960, 1024, 4800)):
        if at >= len(samples):
            return heard
        heard += analyse.add(samples[at : at + length], at / RATE)
        at += length
    return heard


def onsets(heard: list[Heard]) -> list[float]:
    return [hop.onset_s for hop in heard if hop.onset_s is not None]


def scores(found: list[float], true: list[float]) -> tuple[float, float]:
    """Recall and precision; each true one counts once."""
    left, hits = list(true), 0
    for one in found:
        near = [other for other in left if abs(one - other) <= TOLERANCE_S]
        if near:
            left.remove(min(near, key=lambda other: abs(one - other)))
            hits += 1
    return hits / len(true), hits / max(1, len(found))


def strokes(kind: str, rng: np.random.Generator) -> Wave:
    """One stroke of an instrument."""
    time_s = np.arange(RATE // 4) / RATE
    if kind == "click":
        return np.where(time_s < 0.001, 1.0, 0.0)
    if kind == "beep":
        return np.sin(2 * np.pi * 1000 * time_s) * np.exp(-time_s / 0.02)
    if kind == "kick":
        return np.sin(2 * np.pi * (50 * time_s + 9 * (1 - np.exp(-time_s / 0.03)))) * np.exp(-time_s / 0.08)
    return rng.normal(0, 0.3, len(time_s)) * np.exp(-time_s / 0.015)  # a hi-hat


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.01], ids=["loud", "soft", "as of a quiet microphone"])
@pytest.mark.parametrize("kind", ["click", "beep", "kick", "hi-hat"])
def test_beats_at_120_a_minute_are_found_under_noise_and_an_organ(kind: str, gain: float) -> None:
    rng = np.random.default_rng(2)
    beats = [0.5 * k + rng.uniform(-0.01, 0.01) for k in range(1, 2 * SECONDS)]
    wave = rng.normal(0, 0.01, len(TIME_S)) + 0.05 * np.sin(2 * np.pi * 220 * TIME_S)
    for beat_s in beats:
        stroke = strokes(kind, rng)
        part = wave[round(beat_s * RATE) :][: len(stroke)]
        part += 0.7 * stroke[: len(part)]
    recall, precision = scores(onsets(listen(gain * wave)), beats)
    assert recall >= 0.95 and precision >= 0.95


def test_what_goes_on_has_no_beat() -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, len(TIME_S))
    swelling = 0.3 * np.sin(2 * np.pi * 220 * TIME_S) * (1 + 0.5 * np.sin(np.pi * TIME_S))
    for wave in (noise, swelling, 0 * TIME_S, 0.001 * noise):
        assert len(onsets(listen(wave))) <= 1


@pytest.mark.parametrize("gain", [0.5, 0.005])
def test_bursts_of_a_tone_raise_the_level_and_silence_lets_it_fall(gain: float) -> None:
    """Two tones, the second 6 dB softer, each for half a second of two."""
    loud, soft = (TIME_S % 2) < 0.5, (TIME_S % 2 >= 1) & (TIME_S % 2 < 1.5)
    heard = listen(gain * np.sin(2 * np.pi * 440 * TIME_S) * (loud + 0.5 * soft))
    level = {round(hop.moment_s, 2): hop.level for hop in heard}
    for second in range(6, SECONDS, 2):
        assert level[second + 0.1] > 0.9, "fast attack"
        assert 0.5 < level[second + 1.4] < 0.8, "a third of 18 dB less"
        assert 0.03 < level[second + 1.5 + 0.49] < 0.25, "slow release"


def test_hiss_stays_below_and_a_soft_passage_is_not_pumped_up() -> None:
    hiss = np.random.default_rng(5).normal(0, 0.0003, len(TIME_S))
    assert max(hop.level for hop in listen(hiss)) < 0.25
    tone = np.sin(2 * np.pi * 440 * TIME_S) * np.where(TIME_S < 5, 0.5, 0.125)  # 12 dB softer from second 5
    level = [hop.level for hop in listen(tone)]
    assert level[650] == pytest.approx(1 / 3, abs=0.06) and level[1500] - level[650] < 0.35
    pause = np.sin(2 * np.pi * 440 * TIME_S) * np.where(TIME_S < 5, 0.5, 0.0)
    pause[18 * RATE :] = 0.125 * np.sin(2 * np.pi * 440 * TIME_S[: 2 * RATE])
    assert listen(pause)[-50].level == pytest.approx(1 / 3, abs=0.06), "silence is not learned from"


def test_a_pulse_begins_with_the_beat_and_decays() -> None:
    lately = HeardLately()
    assert lately.beat(5.0) == lately.level(5.0) == 0.0
    lately.add([Heard(9.99, 0.2, None), Heard(10.02, 0.7, 10.0), Heard(10.03, 0.6, None)], 0.0)
    assert lately.beat(9.99) == 0.0 and lately.beat(10.0) == lately.beat(10.0 + HOLD_S) == 1.0
    assert lately.beat(10.0 + HOLD_S + DECAY_S) == pytest.approx(np.exp(-1))
    assert [lately.level(time_s) for time_s in (9.9, 9.985, 10.015, 99.0)] == [0.0, 0.2, 0.7, 0.6]
    lately.add([Heard(30.0, 0.1, None)], 25.0)
    assert lately.level(10.02) == 0.0 and lately.beat(10.0) == 1.0, "the newest beat is remembered"


def sound_of(path: Path) -> Wave:
    """The sound of a clip through the decoder of a live run."""
    feed, decode, blocks = SoundFeed(), PcmDecoder(), []
    with av.open(str(path)) as file:
        form = SoundFormat.of(file.streams.audio[0])
        feed.announce(form)
        for packet in file.demux(file.streams.audio[0]):
            if packet.size and packet.pts is not None:
                one = SoundPacket(bytes(packet), float(packet.pts * packet.time_base), 0.0, form)
                blocks += [block.samples for block in decode(one)]
    return np.concatenate(blocks).mean(axis=1) / 32768


def test_music_is_followed_on_its_grid(data_dir: Path) -> None:
    """The song has 200 quavers a minute, and what is struck in it lies on their grid."""
    heard = listen(sound_of(data_dir / "video" / "mediaelement__echo_hereweare.webm"))
    found = np.array(onsets(heard))
    phase_s = float(np.angle(np.exp(2j * np.pi * found / 0.3).mean())) / (2 * np.pi) * 0.3
    off_s = np.abs((found - phase_s + 0.15) % 0.3 - 0.15)
    assert len(found) > 90 and np.mean(off_s < TOLERANCE_S) > 0.95, "a third would be by chance"
    levels = np.array([hop.level for hop in heard])
    assert np.percentile(levels, 90) > 0.9 and np.percentile(levels, 10) < 0.85
