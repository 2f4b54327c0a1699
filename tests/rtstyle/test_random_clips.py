"""Clips drawn at random: nothing crashes, and what FFmpeg reads from the input it reads from the output."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from engines.errors import StylerError
from rtstyle.video import VideoJob, stylize_video
from tests.rtstyle.clips import Still
from tests.rtstyle.random_clips import RandomClip, Read, draw

CASES, AT_ONCE = 500, 20
"""Clips drawn in all, and in one test."""

TICK_S = 0.0011
"""Rounding of Matroska's clock."""

OFF_S = 0.03
"""How far sound may be off, seconds: less than anybody hears."""

PADDING = 2048
"""Samples of silence that an encoder may add at the two ends of re-encoded sound."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_random_clips(first: int, tmp_path: Path) -> None:
    problems = []
    for seed in range(first, first + AT_ONCE):
        folder = tmp_path / str(seed)
        folder.mkdir()
        clip = draw(seed)
        try:
            path = clip.write(folder)
        except subprocess.CalledProcessError:
            continue  # FFmpeg refuses this combination
        found = problem(clip, path, folder)
        if found:
            problems.append(f"{seed} {clip.container} → {clip.output} {clip.damage} {' '.join(clip.parts)}: {found}")
    assert not problems, "\n".join(problems)


def problem(clip: RandomClip, path: Path, folder: Path) -> str:
    """Stylize the clip; return what is wrong with the result, or nothing."""
    out = folder / f"out.{clip.output}"
    before = {*folder.iterdir()}
    try:
        stylize_video(VideoJob(str(path), out), Still)
    except StylerError as error:
        if {*folder.iterdir()} != before:
            return f"left behind {sorted(p.name for p in {*folder.iterdir()} - before)}"
        return "" if clip.damage and "\n" not in str(error) else f"refused: {error}"
    except Exception as error:  # noqa: BLE001 - that is what this test looks for
        return f"{type(error).__name__}: {error}"
    return "" if clip.damage else difference(Read.of(path), Read.of(out))


def difference(given: Read, made: Read) -> str:
    """Return how two readings differ, or nothing."""
    if len(given.times) != len(made.times):
        return f"{len(given.times)} frames became {len(made.times)}"
    steps = [abs((b - made.times[0]) - (a - given.times[0])) for a, b in zip(given.times, made.times, strict=True)]
    if max(steps) > TICK_S:
        return f"a frame is {max(steps):.4f} s off"
    if len(given.sounds) != len(made.sounds):
        return f"{len(given.sounds)} sounds became {len(made.sounds)}"
    for old, new in zip(given.sounds, made.sounds, strict=True):
        if abs(old.length_s - new.length_s) > OFF_S + PADDING / new.rate:
            return f"{old.length_s:.3f} s of sound became {new.length_s:.3f} s"
        shift = (new.onset_s - made.times[0]) - (old.onset_s - given.times[0])
        if abs(shift) > OFF_S:
            return f"the sound is {shift:+.3f} s off"
    return ""
