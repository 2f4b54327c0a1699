"""Recording that is switched on and off: by the key R, and while frames go on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engines.errors import SinkError
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions
from rtstyle.live.recorder import Recorder
from rtstyle.live.session import LiveSession
from rtstyle.live.snapshot import free_path, save_picture
from rtstyle.live.webcam import WebcamJob, run_webcam
from rtstyle.live.window_keys import WindowKeys
from rtstyle.sinks.file import FileSink
from rtstyle.sources.pattern import PatternSource
from rtstyle.stats import Stats
from tests.rtstyle.clips import Seen, frames, numbered
from tests.rtstyle.test_style_switcher import until
from tests.rtstyle.test_webcam import Identity

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.chdir(tmp_path)
    one = Recorder(Fraction(25))
    yield one
    one.close()


def feed(recorder: Recorder, count: int) -> None:
    for frame in frames(count):
        recorder.put(frame)
        time.sleep(0.002)  # newest wins: all at once would drop some


def test_a_recording_that_got_no_frame_names_no_file(recorder: Recorder) -> None:
    path = recorder.start()
    assert recorder.stop() is None
    recorder.close()
    assert not path.exists()


def test_a_file_for_each_recording_with_the_frames_that_came_meanwhile(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    feed(recorder, 3)
    first = recorder.start()
    assert recorder.path == first == recorder.start() and first.name.startswith("rtstyle-") and first.is_absolute()
    feed(recorder, 20)
    assert recorder.stop() == first and recorder.path is None
    feed(recorder, 3)
    second = recorder.start()
    assert second != first
    feed(recorder, 10)
    recorder.close()
    assert len(Seen.of(first).numbers) + len(Seen.of(second).numbers) == 30 - recorder.dropped
    assert Seen.of(second).numbers[-1] == 9 and caplog.messages == []
    with pytest.raises(SinkError):
        recorder.start()
    recorder.close()


def test_a_disk_that_is_too_slow_loses_frames_and_holds_up_nobody(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    write = FileSink.write
    monkeypatch.setattr(FileSink, "write", lambda self, frame: gate.wait(10) and write(self, frame))
    path = recorder.start()
    start = time.monotonic()
    feed(recorder, 50)
    recorder.stop()
    assert time.monotonic() - start < 5 and recorder.dropped >= 40
    gate.set()
    recorder.close()
    assert Seen.of(path).numbers[-1] == 49, "the newest"


def test_one_without_a_frame_leaves_nothing(
    recorder: Recorder, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    recorder.start()
    recorder.stop()
    recorder.close()
    assert list(tmp_path.iterdir()) == [] and "no frame" in caplog.messages[0]


def test_a_failure_ends_it_and_is_logged(
    recorder: Recorder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileSink, frame: object) -> bool:
        raise SinkError("cannot write it", hint="the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(FileSink, "write", fail)
        recorder.start()
        feed(recorder, 2)
        until(lambda: recorder.path is None)
    assert "disk is full" in caplog.messages[0] and recorder.fault == caplog.messages[0]
    path = recorder.start()
    assert recorder.fault == ""
    feed(recorder, 5)
    recorder.close()
    assert Seen.of(path).numbers


def test_a_folder_that_is_gone_is_told(recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SinkError, match="cannot record"):
        recorder.start()
    with pytest.raises(SinkError, match="cannot save"):
        save_picture(numbered(1))


def test_names_are_free_also_for_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken: list[Path] = []
    threads = [threading.Thread(target=lambda: taken.append(free_path(".mp4"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 20 and all(path.exists() for path in taken)


def keys(recorder: Recorder) -> WindowKeys:
    live = LiveSession(PatternSource(64, 48, 30), Controls())
    live.recorder = recorder
    return WindowKeys(Actions(live))


def test_key_r_records_with_a_red_dot_and_a_notice(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from rtstyle.sinks.window import WindowSink

    window = WindowSink("test", keys(recorder), size=(320, 240))
    notices, red = [], []
    for number, frame in enumerate(frames(60, height=240, width=320)):
        if number in (10, 50):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_r))
        window.write(frame)
        recorder.put(frame)
        notices.append(window.caption)
        shown = pygame.surfarray.array3d(pygame.display.get_surface())
        red.append(bool((shown[290:, :30] == (220, 0, 0)).all(axis=2).any()))
        time.sleep(0.005)
    window.close(completed=True)
    recorder.close()
    (path,) = tmp_path.iterdir()
    assert [n for n, is_red in enumerate(red) if is_red] == list(range(10, 50))
    assert notices[10] == f"recording {path}" and notices[50] == f"recorded {path}"
    assert set(Seen.of(path).numbers) <= set(range(10, 50)) and len(Seen.of(path).numbers) > 20


def test_a_recording_that_failed_is_noticed_in_the_window(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from rtstyle.sinks.window import WindowSink

    window = WindowSink("test", keys(recorder), size=(64, 48))
    (frame,) = frames(1)

    def fail(self: FileSink, frame: object) -> bool:
        raise SinkError("the disk is full")

    monkeypatch.setattr(FileSink, "write", fail)
    recorder.start()
    window.write(frame)
    recorder.put(frame)
    until(lambda: recorder.path is None)
    window.write(frame)
    assert window.caption == "the disk is full"
    window.close(completed=True)


def test_recordings_stand_still_while_it_is_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    controls, seen = Controls(), list[Actions]()

    def pause(stats: Stats) -> None:
        out = stats.progress()[0]
        if out == 2:
            seen[0].live.recorder.start()
        controls.paused = 20 <= out < 40

    job = WebcamJob("pattern", ("take.mkv", "null"), (64, 48), 50.0, 60)
    run_webcam(job, Identity, controls, on_frame=pause, on_ready=seen.append)
    (own,) = tmp_path.glob("rtstyle-*.mp4")
    for path in (tmp_path / "take.mkv", own):
        times = Seen.of(path).times
        assert 20 < len(times) <= 40, "20 of 60 frames came while it was paused"
        assert max(late - early for early, late in pairwise(times)) > 0.3


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_what_a_sink_records_live_survives_kill_9(tiny_style: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    program = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "webcam", "--style", str(tiny_style), "--source", "pattern", "--fps", "50",
         "--size", "64x48", "--sink", "null", "--sink", str(path)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stderr is not None
    lines = [program.stderr.readline() for _ in range(4)]  # a line each second
    program.kill()
    program.wait(timeout=20)
    program.stderr.close()
    assert "fps" in lines[-1]
    seen = Seen.of(path)
    assert len(seen.times) > 10 and np.ptp(seen.times) > 0.5
