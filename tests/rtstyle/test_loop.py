"""A clip over and over: no gap, no jump, no leak, and an end when it is wanted."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import pytest

from engines.errors import SourceError
from rtstyle.commands.play import Play
from rtstyle.commands.web import _checked_source
from rtstyle.sources.factory import open_source
from rtstyle.sources.loop import LoopSource
from rtstyle.sources.pacing import Pace
from tests.rtstyle.clips import Clip, number_of

pytestmark = pytest.mark.real_time


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Clip(frames=6, fps=50).write(tmp_path / "clip.mp4")


def test_round_after_round_without_a_gap(clip: Path) -> None:
    source = open_source(str(clip), loop=True)
    assert source.info.live and source.info.frame_count is None and source.info.fps == 50
    frames = list(islice(source.frames(), 20))
    source.close()
    assert [number_of(frame.rgb) for frame in frames] == [*range(6), *range(6), *range(6), 0, 1]
    assert [frame.index for frame in frames] == list(range(20))
    times = [frame.pts * frame.time_base for frame in frames]
    assert [b - a for a, b in pairwise(times)] == [Fraction(1, 50)] * 19
    assert frames[-1].captured_s - frames[0].captured_s >= 0.95 * 19 / 50


def test_a_clip_whose_times_begin_anywhere(tmp_path: Path) -> None:
    pts = [90_000 * 3600 + 1800 * number for number in range(4)]
    Clip(frames=4, fps=50, time_base=Fraction(1, 90_000), pts=pts).write(tmp_path / "clip.ts")
    source = LoopSource(str(tmp_path / "clip.ts"))
    frames = list(islice(source.frames(), 12))
    source.close()
    assert [number_of(frame.rgb) for frame in frames] == [0, 1, 2, 3] * 3
    assert frames[0].pts == 0 and all(b.pts - a.pts == 1800 for a, b in pairwise(frames))


def test_one_picture_is_a_clip(tmp_path: Path) -> None:
    source = LoopSource(str(Clip(frames=1, fps=50).write(tmp_path / "clip.mp4")), height=24)
    frames = list(islice(source.frames(), 3))
    source.close()
    assert all(a.pts < b.pts for a, b in pairwise(frames)) and frames[0].rgb.shape[0] == 24


def test_close_ends_a_wait(tmp_path: Path) -> None:
    clip = Clip(frames=2, pts=[0, 12800 * 60]).write(tmp_path / "clip.mp4")
    source = LoopSource(str(clip))
    frames = source.frames()
    next(frames)
    threading.Timer(0.1, source.close).start()
    start_s = time.monotonic()
    assert next(frames, None) is None and time.monotonic() - start_s < 10.0
    source.close()


def test_a_clip_that_is_taken_away_is_an_error(clip: Path) -> None:
    source = LoopSource(str(clip))
    frames = source.frames()
    next(frames)
    clip.unlink()
    with pytest.raises(SourceError, match="no such file"):
        list(frames)
    source.close()


@pytest.mark.parametrize("text", ["0", "pattern", "/dev/video0", "rtsp://host/1", "HD Pro Webcam"])
def test_what_has_no_end_is_not_looped(text: str) -> None:
    with pytest.raises(SourceError, match="is not a clip"):
        open_source(text, loop=True)
    with pytest.raises(SourceError, match="no such file"):
        open_source("none.mp4", loop=True)


def test_pace_restarts_after_a_stall_and_after_a_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, waits = 0.0, []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    monkeypatch.setattr("rtstyle.sources.pacing.time.monotonic", lambda: now_s)
    pace, patient = Pace(Stop(), late_s=1.0, early_s=10.0), Pace(Stop())
    assert pace.wait(100.0) and pace.wait(100.5)
    now_s = 5.0  # four and a half seconds late: from here on
    assert pace.wait(100.6) and pace.wait(100.7)
    assert pace.wait(9000.0) and pace.wait(9000.1)
    assert waits == pytest.approx([0.0, 0.5, 0.0, 0.1, 0.0, 0.1])
    waits.clear()
    assert patient.wait(0.0) and patient.wait(60.0)
    now_s = 200.0
    assert patient.wait(61.0) and waits == pytest.approx([0.0, 60.0, 0.0])


def test_a_clip_that_the_machine_shows_begins_again(tmp_path: Path) -> None:
    path = Clip(frames=5).write(tmp_path / "clip.mp4")
    settings = {"size": None, "fps": None, "reconnect": True}
    for loop in (True, False):
        opened = _checked_source(str(path), Play(), loop=loop, **settings)
        assert opened is not None
        with closing(opened()) as source:
            assert len(list(islice(source.frames(), 12))) == (12 if loop else 5)
