"""Settings that move with sound, and mixes that move: while frames flow, and in clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sync_clip import FPS, clicks_s, number_of, write_clip
from engines.base import RGB, StrengthMap
from engines.errors import ConfigError, SourceError
from rtstyle.cli import main
from rtstyle.commands.play import Play
from rtstyle.commands.web import _checked_source
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.mix_slider import set_mix
from rtstyle.live.modulations import Modulations
from rtstyle.live.session import LiveSession
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.follower import LiveFollower, sources_of
from rtstyle.sound.pcm import RATE
from rtstyle.sources.pattern import PatternSource
from rtstyle.video import StoppedError, VideoJob, VideoProgress, stylize_video
from tests.rtstyle.clips import Clip
from tests.rtstyle.test_mixing_clips import frames, video
from tests.rtstyle.test_mixing_live import NAMES, PHOTO, Ticking, load, off, painted
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time

SECONDS = 4.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered pictures with clicks."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", SECONDS)


class Noting(Identity):
    """Notes the strength of each picture by its number."""

    def __init__(self, seen: dict[int, float]) -> None:
        super().__init__()
        self._seen = seen

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        self._seen[number_of(rgb)] = float(np.mean(strength))
        return rgb.copy()


def starts_of(pulses: dict[int, float]) -> list[float]:
    """Times of the pictures at which a pulse begins, seconds."""
    numbers = sorted(pulses)
    return [b / FPS for a, b in pairwise(numbers) if pulses[b] > 0.7 and pulses[a] < 0.5]


def test_a_live_clip_pulses_with_its_own_beat(clip: Path) -> None:
    seen = dict[int, float]()

    def begin(actions: Actions) -> None:
        actions.change("modulate", "strength=beat 0.1..1")
        actions.change("modulate", "faces=level 0..0")  # both at once

    run_webcam(WebcamJob(str(clip), ("null",)), lambda: Noting(seen), Controls(), on_ready=begin)
    starts = starts_of(seen)
    expected = clicks_s(SECONDS)
    near = [one for one in expected if any(-0.02 < start - one < 0.1 for start in starts)]
    assert len(near) >= len(expected) - 1 and len(starts) <= len(expected) + 1
    assert min(seen.values()) == pytest.approx(0.1, abs=0.05)


def job(clip: Path, output: Path, **settings: object) -> VideoJob:
    return VideoJob(str(clip), output, preset="ultrafast", **settings)  # type: ignore[arg-type]


def strengths(work: VideoJob, stop_after: int | None = None) -> dict[int, float]:
    seen, controls = dict[int, float](), work.controls()

    def show(now: VideoProgress) -> None:
        if now.frames == stop_after:
            controls.request_stop()

    try:
        stylize_video(work, lambda: Noting(seen), on_progress=show, controls=controls)
    except StoppedError:
        assert stop_after is not None
    return seen


def test_a_clip_pulses_with_its_own_beat_and_each_run_gives_the_same(clip: Path, tmp_path: Path) -> None:
    moving = {"modulate": ("strength=beat 0.2..1",), "segment_s": 0.5}
    whole = strengths(job(clip, tmp_path / "whole.mp4", **moving))
    starts = starts_of(whole)
    assert len(whole) == SECONDS * FPS and len(starts) == len(clicks_s(SECONDS))
    assert all(0 <= start - one < 1.5 / FPS for start, one in zip(starts, clicks_s(SECONDS), strict=True))
    part = strengths(job(clip, tmp_path / "part.mp4", start=1.0, **moving))
    assert part == pytest.approx({number: whole[number] for number in range(FPS, round(SECONDS * FPS))}, abs=1e-9)
    assert strengths(job(clip, tmp_path / "one.mp4", modulate=moving["modulate"], segment_s=0)) == whole


def test_a_resumed_clip_goes_on_with_its_sound(clip: Path, tmp_path: Path) -> None:
    work = job(clip, tmp_path / "a.mp4", modulate=("strength=level",), segment_s=0.5, resume=True)
    first = strengths(work, stop_after=70)
    with pytest.raises(ConfigError, match="modulate"):
        strengths(replace(work, modulate=("strength=beat",)))
    rest = strengths(work)
    whole = strengths(job(clip, tmp_path / "b.mp4", modulate=("strength=level",)))
    assert len(rest) < 100 and first | rest == whole
    assert max(whole.values()) > 0.8 and min(whole.values()) < 0.1


def test_an_oscillator_follows_the_time_of_a_clip(clip: Path, tmp_path: Path) -> None:
    seen = strengths(job(clip, tmp_path / "a.mp4", start=1.0, modulate=["strength=saw 1s", "colours=sine 3s 0..0.5"]))
    assert [round(seen[number], 3) for number in (30, 45, 60, 75)] == [0.0, 0.5, 0.0, 0.5]


def test_clips_of_a_folder_are_finished_with_what_moved_them(clip: Path, tmp_path: Path) -> None:
    import rtstyle

    def stylize(*moving: str) -> int:
        reports = rtstyle.stylize_videos(
            [clip], tmp_path / "out", engine="cpu", modulate=moving, end=0.2, overwrite=True
        )
        return len(list(reports))

    assert [stylize("strength=beat"), stylize("strength=beat"), stylize("strength=level"), stylize()] == [1, 0, 1, 1]


def test_a_mix_moves_in_a_clip(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = Clip(frames=25).write(tmp_path / "clip.mp4")
    moving, mix = ("--modulate", "mix=square 1s 0..1"), "vangogh+wave"
    assert video(clip, tmp_path / "moving.mp4", "--style", mix, *moving) == 0
    result = frames(tmp_path / "moving.mp4")
    for style, number in (("vangogh", 5), ("wave", 20)):
        assert video(clip, tmp_path / f"{style}.mp4", "--style", style) == 0
        assert off(result[number], frames(tmp_path / f"{style}.mp4")[number]) < 3
    capfd.readouterr()
    assert video(clip, tmp_path / "b.mp4", "--style", "wave", *moving) == 1
    error = capfd.readouterr().err
    assert "mix moves between two styles" in error and error.count("\n") == 2
    assert video(clip, tmp_path / "b.mp4", "--style", mix, *moving, "--playlist", "wave,vangogh") == 1
    assert video(clip, tmp_path / "b.mp4", "--style", mix, *moving, "--engine", "torch") == 1
    assert "--engine cpu or cuda can" in capfd.readouterr().err and not (tmp_path / "b.mp4").exists()


def test_a_mix_in_python(tmp_path: Path) -> None:
    import rtstyle

    clip = Clip(frames=8).write(tmp_path / "clip.mp4")
    for style, output in (("vangogh+wave", tmp_path / "a.mp4"), ("wave", tmp_path / "b.mp4")):
        moving = ["mix=saw 4s 1..1"] if "+" in style else []
        rtstyle.stylize_video(clip, output, style, engine="cpu", modulate=moving, crf=1)
    assert off(frames(tmp_path / "a.mp4")[3], frames(tmp_path / "b.mp4")[3]) < 3


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    return Clip(frames=10).write(tmp_path / "silent.mp4")


@pytest.mark.parametrize(
    "command",
    [
        ["webcam", "--source", "pattern", "--sink", "null", "--size", "64x48"],
        ["webcam", "--source", "SILENT", "--sink", "null"],
        ["video", "SILENT", "OUT"],
        ["video", "pattern", "OUT"],
    ],
)
def test_without_sound_there_is_one_line(
    command: list[str], silent: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [{"SILENT": str(silent), "OUT": str(tmp_path / "out.mp4")}.get(word, word) for word in command]
    assert main([*words, "--modulate", "strength=level", "--engine", "cpu"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and ("no sound to follow" in lines[0] or "there is none" in lines[0]) and "hint" in lines[1]
    assert not (tmp_path / "out.mp4").exists() and not list(tmp_path.glob("out*"))


def test_the_page_says_at_once_that_there_is_no_sound(clip: Path, silent: Path) -> None:
    play = Play(modulate=["colours=beat"])
    checked = partial(_checked_source, size=None, fps=None, loop=False, reconnect=True)
    with pytest.raises(ConfigError, match="there is none"):
        checked(str(silent), play)
    assert checked(str(clip), play) is not None
    with pytest.raises(SourceError, match=r"microphone"):
        checked(str(silent), play, "no such microphone")
    with pytest.raises(ConfigError, match="add --source"):
        checked(None, Play(), "default")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--modulate", "strength=wobble:4s"], "there is no 'wobble'"),
        (["--modulate", "strength=sine:4s", "--modulate", "strength=level"], "strength is modulated twice"),
        (["--modulate", "strength=sine:4s", "--preview", "3"], "leave out --preview or --modulate"),
        (["--modulate", "strength=sine:4s", "--cluster", "local"], "leave out --cluster or --modulate"),
    ],
)
def test_wrong_options_of_video(
    options: list[str], told: str, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["video", str(clip), str(tmp_path / "out.mp4"), *options]) == 1
    error = capfd.readouterr().err
    assert told in error and "Traceback" not in error


@pytest.fixture
def bursts() -> Iterator[tuple[LiveFollower, Callable[[float], None]]]:
    """A follower, and what plays sound of a loudness for a tenth of a second."""
    feed, pcm, now_s = SoundFeed(), SoundFormat.pcm(RATE, "stereo"), 0.0
    feed.announce(pcm)
    wave = np.sin(2 * np.pi * 440 / RATE * np.arange(RATE // 10))

    def play(loudness: float) -> None:
        nonlocal now_s
        now_s = max(now_s, time.monotonic())
        samples = (32767 * loudness * wave).astype("<i2")[:, None].repeat(2, axis=1).tobytes()
        feed.put(SoundPacket(samples, now_s, 0.1, pcm))
        now_s += 0.1

    follower = LiveFollower(feed)
    with closing(follower):
        yield follower, play


def test_bursts_of_a_microphone_drive_the_strength(
    bursts: tuple[LiveFollower, Callable[[float], None]],
) -> None:
    follower, play = bursts
    controls = Controls()
    modulations = Modulations(controls, sources=sources_of(follower))
    modulations.change("strength=level 0.2..0.9")

    def reach(wanted: Callable[[], bool]) -> None:
        until(lambda: modulations.apply(time.monotonic()) or wanted(), 10)  # type: ignore[func-returns-value]

    for _ in range(10):
        play(0.3)
    reach(lambda: controls.strength > 0.85)
    for _ in range(8):
        play(0.0)
    reach(lambda: controls.strength < 0.3)
    play(0.3)
    reach(lambda: controls.strength > 0.7)
    reach(lambda: controls.strength == pytest.approx(0.2, abs=0.01))  # nothing comes any more


def test_frames_do_not_wait_for_the_sound(bursts: tuple[LiveFollower, Callable[[float], None]]) -> None:
    follower, play = bursts
    modulations = Modulations(Controls(), sources=sources_of(follower))
    for text in ("strength=level", "colours=beat", "faces=sine 2s"):
        modulations.change(text)
    times_s = []
    for number in range(300):
        if number % 10 == 0:
            play(0.3 if number % 50 else 0.0)
        start_s = time.perf_counter()
        modulations.apply(time.monotonic())
        times_s.append(time.perf_counter() - start_s)
        time.sleep(0.002)
    assert np.median(times_s) < 0.2e-3


def test_sound_is_asked_for_in_a_live_run() -> None:
    with LiveSession(PatternSource(64, 48, 30), Controls()) as live:
        change = Actions(live).change
        with pytest.raises(ConfigError, match="there is none"):
            change("modulate", "strength=beat")
        with pytest.raises(ConfigError, match="no second style"):
            change("modulate", "mix=sine 4s")
        assert change("modulate", "on") == {"modulation": {}}, "what failed is not started later"


def test_a_mix_moves_with_each_frame_and_can_be_taken_over() -> None:
    controls = Controls(styles=NAMES, style="vangogh")
    clock = 0.0
    modulations = Modulations(controls, clock=lambda: clock)
    ends = painted("vangogh"), painted("wave")
    far = off(*ends)
    near = 0.06 * far  # graphs in int8 know their own weights better than others
    with closing(Ticking(EnginePool(load).load, controls)) as switcher:
        switcher(PHOTO)
        modulations.change("mix=triangle 2s")
        seen = list[RGB]()

        def step() -> RGB:
            nonlocal clock
            clock += 1 / 30
            modulations.apply(clock)
            seen.append(switcher(PHOTO))
            return seen[-1]

        until(lambda: off(step(), seen[0]) > 0.02 * far, 30)  # the way is prepared
        seen.clear()
        for _ in range(90):
            step()
        assert min(off(one, ends[0]) for one in seen) < near > min(off(one, ends[1]) for one in seen)
        moves = [off(one, other) for one, other in pairwise(seen)]
        assert max(moves) < 0.2 * far and switcher.shown == controls.style, "each frame, and no jump"
        set_mix(controls, 0.25)
        step()
        assert not modulations.running and not controls.mix_moves
        wanted = painted(controls.style)
        until(lambda: off(step(), wanted) < near, 30)
        modulations.change("mix=square 2s 1..0.5")
        until(lambda: off(step(), ends[1]) < near, 30)
        controls.style = "vangogh"
        until(lambda: off(step(), ends[0]) < near, 30)
        assert not modulations.running and switcher.shown == "vangogh"
